"""The kept rows against sorted lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import members
from strategies import unit_rows

from coreset.numeric.copies import copies, fingerprints
from coreset.numeric.members import Keep, chosen_members, kept_cosines


@pytest.mark.parametrize("keep", ["median", "nearest", "farthest"])
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, -0.0, 0.25, 1.0])), max_size=40), st.data())
def test_sorted_lists_agree(keep: Keep, rows: list[tuple[int, float]], data: st.DataObject) -> None:
    labels = np.array([label for label, _ in rows], np.int64)
    distances = np.array([distance for _, distance in rows])
    order = np.array(data.draw(st.permutations(range(len(rows)))), np.uint64)
    assert chosen_members(labels, distances, order, keep).tolist() == members(labels, distances, order, keep)


def test_of_two_rows_the_farther_one_is_kept() -> None:
    assert chosen_members(np.array([5, 5]), np.array([2.0, 1.0]), np.array([0, 1], np.uint64)).tolist() == [0]


@pytest.mark.parametrize("memory", [1, 1 << 30])
def test_cosines_to_kept_rows(memory: int) -> None:
    rng = np.random.default_rng(0)
    rows, kept = unit_rows(rng, 90, 12), rng.integers(0, 90, 90)
    exact = rows.astype(np.float64)
    np.testing.assert_array_equal(
        kept_cosines(rows, kept, memory=memory), (exact * exact[kept]).sum(axis=1).astype(np.float32)
    )


@pytest.mark.parametrize("d", [1, 3, 8])
def test_copies_are_equal_bytes(d: int) -> None:
    rng = np.random.default_rng(d)
    rows = rng.choice(np.array([0.0, -0.0, 0.5], np.float16), size=(200, d))
    later, first = copies(rows, fingerprints(rows), at_once=7)
    seen: dict[bytes, int] = {}
    expected = {i: seen[row.tobytes()] for i, row in enumerate(rows) if seen.setdefault(row.tobytes(), i) != i}
    assert dict(zip(later.tolist(), first.tolist(), strict=True)) == expected


def test_equal_fingerprints_are_not_enough() -> None:
    rows = unit_rows(np.random.default_rng(0), 5, 8)
    later, _ = copies(rows, np.zeros(5, np.uint64))
    assert later.tolist() == []
