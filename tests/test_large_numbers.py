"""More rows than 32 bits can count: what decides by counts alone is given counts that nobody has the disk for."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from bad_inputs.case import npy_header

import coreset
from coreset.cluster import PART_ROWS, default_clusters, groups_of_parts
from coreset.engine.errors import InputError
from coreset.engine.stage import Parts
from coreset.numeric.ranks import window_counts
from coreset.rows import OFFSETS
from coreset.slices import MOST_ROWS, TASK_ROWS, cluster_ranges

LAION = 2_053_332_591
MANY = 2**33 + 7


def parts_of(folder: Path, rows: list[int]) -> Parts:
    """A stage as its `stage.json` would say it."""
    names = tuple(f"{number:05d}" for number in range(len(rows)))
    summaries = {name: {"rows": count} for name, count in zip(names, rows, strict=True)}
    return Parts(str(folder), names, {"rows": sum(rows)}, "", None, {}, summaries)


@pytest.mark.parametrize("count", [2**31 - 1, 2**31, 2**31 + 1, LAION, MANY])
@pytest.mark.parametrize("percent", [(40, 60), (15, 35), (0, 100), (33.3, 66.6)])
def test_windows_are_counted_exactly(count: int, percent: tuple[float, float]) -> None:
    assert window_counts(percent, count) == tuple(floor(Fraction(str(bound)) * count / 100) for bound in percent)


def test_the_papers_rows_have_clusters_in_the_papers_ratio() -> None:
    assert default_clusters(LAION) == round(Fraction(LAION, 20_533)) == 100_002


def test_parts_are_grouped_however_many_rows_they_have_together(tmp_path: Path) -> None:
    parts = parts_of(tmp_path, [PART_ROWS] * 3 + [2**32] + [PART_ROWS // 2] * 4)
    assert [len(group) for group in groups_of_parts(parts, PART_ROWS)] == [1, 1, 1, 1, 2, 2]


def test_clusters_are_divided_however_many_rows_they_have_together(tmp_path: Path) -> None:
    """Two parts, each with a half of five clusters that have as many rows as a cluster may have, and of small ones."""
    sizes = np.array([MOST_ROWS] * 5 + [TASK_ROWS // 2] * 4)
    halves = [sizes // 2, sizes - sizes // 2]
    for number, half in enumerate(halves):
        np.save(tmp_path / f"{number:05d}{OFFSETS}", np.cumsum([0, *half]))
    parts = parts_of(tmp_path, [int(half.sum()) for half in halves])
    assert parts.counts["rows"] > 2**33
    assert list(cluster_ranges(parts)) == [*((number, number + 1) for number in range(5)), (5, 7), (7, 9)]


def test_a_cluster_that_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / f"00000{OFFSETS}", np.cumsum([0, 5, MOST_ROWS + 1, 5]))
    with pytest.raises(
        InputError, match=r"Cluster 1 has 2,147,483,648 rows, more than 2,147,483,647; choose more --cl"
    ):
        list(cluster_ranges(parts_of(tmp_path, [MOST_ROWS + 11])))


def test_headers_of_more_rows_are_read_right(tmp_path: Path) -> None:
    rows = 2**31 + 5
    for name in ("img_emb/img_emb_0.npy", "text_emb/text_emb_0.npy"):
        path = tmp_path / name
        path.parent.mkdir()
        with path.open("wb") as file:
            file.write(npy_header(f"({rows}, 16)"))
            file.truncate(file.tell() + rows * 32)  # takes no room
    found = coreset.inspect([str(tmp_path)])
    assert (found.rows, found.dimension, found.problems) == (rows, 16, ())
    assert found.estimate is not None
    assert found.estimate.disk == rows * 32
