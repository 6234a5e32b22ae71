"""Missed duplicates against the whole matrix of products."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xxhash
from command import check_refused, coreset, done
from synthetic import Given, random_given, selected_from

import coreset as package
from coreset import rows
from coreset.dedup import DedupParams
from coreset.engine.local import in_process
from coreset.results.chains.missed import missed
from coreset.results.chains.misses import Estimated, Missed
from coreset.sample import SampleParams

SAMPLE = SampleParams(n=1, allow_fewer=True)


def run_of(folder: Path, given: Given, params: DedupParams, parts: int = 2) -> dict[str, tuple[int, bool]]:
    """Makes a run; the cluster of each key, and whether it is kept."""
    _, survivors, _ = selected_from(folder, given, params, SAMPLE, parts)
    tables = [rows.read_table(where).to_pylist() for where in survivors.locations()]
    return {row["key"]: (row["cluster"], row["kept"]) for table in tables for row in table}


def above_of(given: Given, threshold: float) -> np.ndarray:
    x = given.vectors.astype(np.float64)
    above = x @ x.T > threshold
    np.fill_diagonal(above, False)
    return above


@pytest.mark.parametrize("seed", range(20))
def test_the_whole_matrix_agrees(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coreset.slices.TASK_ROWS", 9)
    monkeypatch.setattr("coreset.cluster.PART_ROWS", 15)
    given, params = random_given(seed, most=60), DedupParams(0.7, min_kept_cosine=0.6 * (seed % 2))
    where = run_of(tmp_path, given, params, parts=3)
    cluster = np.array([where[key][0] for key in given.keys])
    kept = np.array([where[key][1] for key in given.keys])
    other = above_of(given, 0.7) & (cluster[:, None] != cluster)
    total, above = len(given.keys), above_of(given, 0.7)
    for count in (7, 1000):
        order = sorted(range(total), key=lambda i: xxhash.xxh3_64_intdigest(given.keys[i].encode(), 4))
        drawn = np.array(order[:count])
        found = missed(str(tmp_path), count, seed=4)
        assert (found.rows, found.survivors, found.sampled) == (total, kept.sum(), len(drawn))
        assert found.sampled_missed == other[drawn].any(axis=1).sum()
        assert found.missed_pairs.value == pytest.approx(other[drawn].sum() / len(drawn) * total / 2)
        mine = drawn[kept[drawn]]
        assert found.sampled_survivors == len(mine)
        assert found.sampled_surviving == (other & kept)[mine].any(axis=1).sum()
        if found.missed_of_pairs is not None:
            assert found.missed_of_pairs.value == pytest.approx(other[drawn].sum() / above[drawn].sum())
    assert found.missed_pairs == Estimated(*[other.sum() / 2] * 3)
    assert not (above & (cluster[:, None] == cluster))[np.ix_(kept, kept)].any()


def test_any_order_and_memory_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coreset.slices.TASK_ROWS", 12)
    run_of(tmp_path, random_given(9, most=80), DedupParams(0.6), parts=3)

    def backwards(calls, needs):
        return in_process(reversed(list(calls)), needs)

    expected = missed(str(tmp_path), 20)
    assert missed(str(tmp_path), 20, execute=backwards, memory=1 << 10) == expected


def test_the_command_says_what_the_function_says(finished: Path) -> None:
    said = json.loads(done("missed", "--rows", "5", "--json", cwd=finished).out)
    found = package.missed(str(finished / "run"), 5)
    assert said["sampled"] == found.sampled == 5
    assert said["missed"] == found.missed._asdict()
    assert said["advice"] == found.advice
    assert "95 % interval" in done("missed", cwd=finished).out
    assert json.loads(done("missed", "--rows", "5", "--workers", "2", "--json", cwd=finished).out) == said


def said_of(clusters: int, surviving: Estimated | None) -> Missed:
    one = Estimated(0.5, 0.4, 0.6)
    return Missed(0.86, clusters, 9, 9, 0, 9, 9, 9, 9, one, one, one, surviving, one)


def test_the_advice_follows_the_interval() -> None:
    assert "no pair" in said_of(1, Estimated(0, 0, 0)).advice
    assert "not too many" in said_of(8, Estimated(0.0, 0.0, 0.01)).advice
    assert "`coreset dedup --clusters 4 --overwrite`" in said_of(8, Estimated(0.2, 0.1, 0.3)).advice
    assert "more --rows" in said_of(8, Estimated(0.01, 0.001, 0.03)).advice
    assert "more --rows" in said_of(8, None).advice


def test_what_is_refused(finished: Path) -> None:
    check_refused(coreset("missed", "--rows", "0", cwd=finished), 2, "--rows 0")
    check_refused(coreset("missed", "--run", "none", cwd=finished), 3, "coreset dedup")
    (finished / "run" / "dedup" / "stage.json").unlink()
    check_refused(coreset("missed", cwd=finished), 3, "run `coreset dedup` first")
