"""LAION-2B is planned by its shape alone: nothing overflows, nothing is lost, nothing is held for a row."""

from __future__ import annotations

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coreset.numeric.ranks import window_counts
from coreset.slices import TASK_ROWS, ranges_of

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "laion_shape.py"
MANY = 2**40
counts = st.integers(1, MANY)


@pytest.fixture(scope="module")
def shape() -> ModuleType:
    spec = importlib.util.spec_from_file_location("laion_shape", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["laion_shape"] = module  # where its dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_the_whole_shape_is_planned(shape: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    before = shape.peak()
    moved = shape.planned(100_002)
    assert shape.peak() - before < 1024 * shape.TARS
    assert moved["rows"].parts == 232_320
    assert moved["clusters"].parts == 2_038
    assert 7_000 < moved["dedup"].parts < 2_053_332_591 / TASK_ROWS
    assert moved["coreset"].parts == 4
    shape.print_moved(moved, 100_002)
    assert "dollars" in capsys.readouterr().out


@settings(max_examples=25, deadline=None)
@given(count=counts, data=st.data())
def test_ranks_are_found_past_what_32_bits_count(shape: ModuleType, count: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, count))
    low, high = window_counts((15, 35), count)
    assert shape.found_ranks([rank, low, high, count], count) <= 7


@given(sizes=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=40))
def test_ranges_of_clusters_lose_no_row(sizes: list[int]) -> None:
    found = list(ranges_of(np.array(sizes, np.int64)))
    assert sum(sum(sizes[first:stop]) for first, stop in found) == sum(sizes)
    assert all(stop == first for (_, stop), (first, _) in pairwise(found))
    assert all(sum(sizes[first : stop - 1]) < TASK_ROWS for first, stop in found)
