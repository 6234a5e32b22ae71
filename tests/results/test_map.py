"""A point for every row: where plain linear algebra puts it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import check_refused, coreset, done
from synthetic import Given, random_given, selected_from

import coreset as package
from coreset import rows
from coreset.dedup import DedupParams
from coreset.results.map import MAP, map_points, write_map
from coreset.sample import SampleParams

WIDE = SampleParams(n=3, text_rank=(0, 80), centroid_rank=(10, 100), allow_fewer=True)


def selected(folder: Path, given: Given) -> str:
    selected_from(folder, given, DedupParams(), WIDE)
    return str(folder)


@pytest.mark.parametrize("seed", range(6))
def test_points_are_the_two_principal_components(tmp_path: Path, seed: int) -> None:
    given = random_given(seed)
    run = selected(tmp_path, given)
    table = map_points(run, 1000)
    x = given.vectors.astype(np.float64)
    centred = x - x.mean(0)
    variances = np.linalg.eigvalsh(centred.T @ centred / len(x))[::-1]
    found = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1).astype(np.float64)
    assert np.allclose(found.mean(0), 0, atol=1e-6)
    assert np.allclose(np.cov(found.T, bias=True), np.diag(variances[:2]), atol=1e-6)
    place = {key: row for row, key in enumerate(given.keys)}
    order = [place[key] for key in table["key"].to_pylist()]
    assert np.all(np.linalg.norm(found, axis=1) <= np.linalg.norm(centred[order], axis=1) + 1e-6)
    fates = package.rows_with_fate(run)
    assert table.select(["fate", "key", "caption"]).equals(fates.select(["fate", "key", "caption"]))


def test_a_sample_lies_where_the_whole_map_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = random_given(5)
    run = selected(tmp_path, given)
    monkeypatch.setattr("coreset.results.map.FIT_ROWS", 7)
    monkeypatch.setattr("coreset.results.plane.BATCH_ROWS", 3)
    write_map(run, f"{tmp_path}/a.parquet", seed=4)
    every = {row["key"]: row for row in pq.read_table(f"{tmp_path}/a.parquet").to_pylist()}
    assert sorted(every) == sorted(given.keys)
    hashes = dict(zip(given.keys, rows.key_hashes(given.keys, 4).tolist(), strict=True))
    for most in (1, 5, len(every)):
        some = map_points(run, most, seed=4).to_pylist()
        assert {row["key"] for row in some} == set(sorted(hashes, key=hashes.__getitem__)[:most])
        assert all(every[row["key"]] == row for row in some)


def test_one_dimension_is_a_line(tmp_path: Path) -> None:
    keys = ["a", "b", "c"]
    given = Given(keys, np.float16([[1], [-1], [1]]), np.float32([0.1, 0.2, 0.3]), np.float32([[0.5]]))
    table = map_points(selected(tmp_path, given), 10)
    assert table["y"].to_pylist() == [0, 0, 0]
    assert len(set(table["x"].to_pylist())) == 2


def test_the_command_writes_the_same_bytes_twice(finished: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        said = done("map", name, "--json", cwd=finished)
    table = pq.read_table(finished / "a.parquet")
    assert table.schema.equals(MAP)
    assert json.loads(said.out) == {"file": "b.parquet", "points": table.num_rows}
    assert (finished / "a.parquet").read_bytes() == (finished / "b.parquet").read_bytes()
    assert f"{table.num_rows} points: c.parquet" in done("map", "c.parquet", cwd=finished).out


def test_what_is_refused(finished: Path) -> None:
    check_refused(coreset("map", "m.csv", cwd=finished), 2, "m.csv must end in .parquet")
    shutil.rmtree(finished / "run/clusters")
    check_refused(coreset("map", "m.parquet", cwd=finished), 3, "run/clusters is not what run/dedup was made from")
    (finished / "run/coreset/stage.json").unlink()
    check_refused(coreset("map", "m.parquet", cwd=finished), 3, "run `coreset sample` first")
    assert not (finished / "m.parquet").exists()
