"""The forest of a run: the same dedup with and without it, and the threshold that keeps a wanted fraction."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from synthetic import MEMORY, Given, random_given, selected_from

from coreset.dedup import DedupParams, dedup_stage
from coreset.engine.errors import InputError, UsageError
from coreset.engine.local import in_process, on_processes
from coreset.engine.stage import Parts, complete, open_parts
from coreset.forest import ForestParams, forest_stage, heaviest_at, kept_above, threshold_keeping
from coreset.rows import read_table
from coreset.sample import SampleParams

SAMPLE = SampleParams(n=1, allow_fewer=True)


def parts_of(folder: Path, name: str) -> Parts:
    found = open_parts(f"{folder}/{name}")
    assert found is not None
    return found


def dedup_at(
    folder: Path, name: str, threshold: float, keep: str, forest: Parts | None = None, bound: float = 0.0
) -> Parts:
    clusters, centroids = parts_of(folder, "clusters"), parts_of(folder, "centroids")
    params = DedupParams(threshold, keep, min_kept_cosine=bound)  # type: ignore[arg-type]
    return complete(dedup_stage(f"{folder}/{name}", clusters, centroids, params, MEMORY, forest), in_process)


def forest_of(folder: Path, given: Given, floor: float) -> Parts:
    clusters, _, _ = selected_from(folder, given, DedupParams(0.86), SAMPLE)
    return complete(forest_stage(f"{folder}/forest", clusters, ForestParams(floor), MEMORY), in_process)


@pytest.mark.parametrize("seed", range(24))
def test_dedup_is_the_same_with_and_without_a_forest(seed: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("coreset.slices.TASK_ROWS", 12)
    forest = forest_of(tmp_path, random_given(seed), 0.5)
    cosines = np.concatenate([read_table(where)["cosine"].to_numpy() for where in forest.locations()])
    for number, threshold in enumerate((0.5, 0.86, 1.0, *np.minimum(cosines[:2], 1.0))):
        keep = ("median", "nearest", "random")[number % 3]
        alone = dedup_at(tmp_path, f"alone-{number}", float(threshold), keep)
        assert dedup_at(tmp_path, f"from-{number}", float(threshold), keep, forest).hash == alone.hash
        bound = float(threshold) * (0.5, 0.9, 1)[number % 3]
        bounded = dedup_at(tmp_path, f"alone-{number}", float(threshold), keep, None, bound)
        assert dedup_at(tmp_path, f"from-{number}", float(threshold), keep, forest, bound).hash == bounded.hash
        if forest.names:
            assert kept_above(forest, [float(threshold)], in_process) == [alone.counts["kept"]]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("fraction", ["0.3", "0.5", "0.7", "0.95", "1"])
def test_the_threshold_that_keeps_a_fraction_is_the_highest(seed: int, fraction: str, tmp_path: Path) -> None:
    forest = forest_of(tmp_path, random_given(seed, most=60), 0.3)
    total = forest.counts["rows"]
    most = int(Fraction(fraction) * total)
    if total - forest.counts["edges"] > most:
        with pytest.raises(InputError, match="lower --floor"):
            threshold_keeping(forest, most, in_process)
        return
    threshold = threshold_keeping(forest, most, in_process)
    assert float(repr(threshold)) == threshold
    assert kept_above(forest, [threshold], in_process)[0] <= most
    if threshold < 1:
        assert kept_above(forest, [float(np.nextafter(threshold, 1))], in_process)[0] > most


def test_edges_are_found_by_rank_among_ties(tmp_path: Path) -> None:
    forest = forest_of(tmp_path, random_given(3, most=80), 0.1)
    cosines = np.sort(np.concatenate([read_table(where)["cosine"].to_numpy() for where in forest.locations()]))[::-1]
    found = [heaviest_at(forest, rank, in_process) for rank in range(1, len(cosines) + 1)]
    assert found == cosines.tolist()


@pytest.mark.parametrize("seed", [2, 5])
def test_a_forest_is_the_same_for_any_order_memory_and_processes(seed: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("coreset.slices.TASK_ROWS", 12)
    forest = forest_of(tmp_path, random_given(seed, most=80), 0.4)
    clusters = parts_of(tmp_path, "clusters")
    processes = on_processes(2)

    def backwards(calls, needs):
        return in_process(reversed(list(calls)), needs)

    with contextlib.closing(processes):
        for number, (memory, execute) in enumerate([(1 << 16, backwards), (MEMORY, processes)]):
            stage = forest_stage(f"{tmp_path}/other-{number}", clusters, ForestParams(0.4), memory)
            assert complete(stage, execute).hash == forest.hash


def test_values_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 0\.8"):
        ForestParams(80)
    forest = forest_of(tmp_path, random_given(1), 0.8)
    with pytest.raises(UsageError, match="below the floor"):
        kept_above(forest, [0.7], in_process)
