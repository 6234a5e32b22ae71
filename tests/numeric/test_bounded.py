"""Bounded components against networkx, one component after the other, and what must hold of them by definition."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import bounded_kept, component_labels
from strategies import THRESHOLDS, chain, hard_rows, unit_rows

from coreset.numeric import bounded, near_pairs
from coreset.numeric.bounded import SomeRows, bounded_members
from coreset.numeric.members import Keep, chosen_members

KEEP = get_args(Keep)


def clumped(seed: int, n: int, d: int = 24) -> np.ndarray:
    """Rows around few directions, so near to each other that components are large and bounds split them."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(4, d))
    x = base[rng.integers(0, 4, n)] + rng.normal(size=(n, d)) * rng.choice([0.2, 0.45, 0.7], (n, 1))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)


def ranked(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances with ties, and the order that decides them."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, max(1, n // 2), n) / 4, rng.permutation(n).astype(np.uint64)


def bounded_of(rows: np.ndarray, threshold: float, bound: float, seed: int, keep: Keep, memory: int) -> list[int]:
    given = (threshold, bound, *ranked(seed, len(rows)), keep)
    return bounded_members(rows, component_labels(rows, threshold), *given, memory=memory).tolist()


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row goes through the screen, however few there are."""
    monkeypatch.setattr(near_pairs, "_TINY", 0)


@pytest.mark.usefixtures("screened")
@pytest.mark.parametrize("memory", [1, 1 << 24], ids=["compared again", "from a list"])
@pytest.mark.parametrize("keep", KEEP)
def test_networkx_agrees(keep: Keep, memory: int) -> None:
    @given(hard_rows(), st.sampled_from(THRESHOLDS), st.sampled_from([0.25, 0.5, 0.75, 1.0]), st.integers(0, 99))
    @settings(max_examples=60, deadline=None)
    def agrees(rows: np.ndarray, threshold: float, part: float, seed: int) -> None:
        bound = threshold * part
        expected = bounded_kept(rows, threshold, bound, *ranked(seed, len(rows)), keep)
        assert bounded_of(rows, threshold, bound, seed, keep, memory) == expected

    agrees()


@pytest.mark.parametrize("memory", [1, 1 << 15, 1 << 26])
@pytest.mark.parametrize(("n", "bound"), [(300, 0.7), (1100, 0.8), (1100, 0.86)])
def test_large_components_agree(n: int, bound: float, memory: int) -> None:
    rows = clumped(n, n)
    expected = bounded_kept(rows, 0.86, bound, *ranked(1, n), "median")
    assert len(set(expected)) > len(np.unique(component_labels(rows, 0.86)))
    assert bounded_of(rows, 0.86, bound, 1, "median", memory) == expected


@given(st.integers(0, 2**32), st.integers(2, 200), st.sampled_from(KEEP), st.floats(0.01, 1))
@settings(max_examples=40, deadline=None)
def test_what_holds_by_definition(seed: int, n: int, keep: Keep, part: float) -> None:
    rows, threshold = clumped(seed, n), 0.8
    kept = np.array(bounded_of(rows, threshold, threshold * part, seed, keep, 1 << 20))
    exact = rows.astype(np.float64)
    own = kept == np.arange(n)
    assert own[kept].all()
    assert ((exact * exact[kept]).sum(axis=1)[~own] > threshold * part).all()
    products = exact[own] @ exact[own].T
    np.fill_diagonal(products, 0)
    assert (products <= threshold).all()
    labels = component_labels(rows, threshold)
    assert (labels == labels[kept]).all()


@given(st.integers(0, 2**32), st.integers(2, 120), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_rows_changes_nothing(seed: int, n: int, random: object) -> None:
    rows, shuffle = clumped(seed, n), np.arange(n)
    random.shuffle(shuffle)  # type: ignore[attr-defined]
    distances, order = ranked(seed, n)
    found = bounded_members(rows, component_labels(rows, 0.8), 0.8, 0.7, distances, order)
    again = bounded_members(
        rows[shuffle], component_labels(rows[shuffle], 0.8), 0.8, 0.7, distances[shuffle], order[shuffle]
    )
    np.testing.assert_array_equal(shuffle[again], found[shuffle])


@pytest.mark.parametrize("memory", [1, 1 << 26])
def test_a_chain_falls_apart_into_pieces_of_three(memory: int) -> None:
    rows, order = chain(40), np.arange(40, dtype=np.uint64)
    found = bounded_members(rows, np.zeros(40, np.int64), 0.4, 0.3, np.arange(40.0), order, "nearest", memory=memory)
    assert found.tolist() == [row - row % 2 for row in range(40)]


def test_a_bound_that_all_are_above_changes_nothing() -> None:
    rows = clumped(3, 400)
    labels, (distances, order) = component_labels(rows, 0.8), ranked(3, 400)
    chosen = chosen_members(labels, distances, order)
    found = bounded_members(rows, labels, 0.8, -1.5, distances, order)
    np.testing.assert_array_equal(found, chosen[np.unique(labels, return_inverse=True)[1]])


def test_a_pair_exactly_at_the_bound_leaves() -> None:
    rows = np.array([[1, 0], [0.75, 0.625], [0.5, 0.875]], np.float16)
    given = (np.zeros(3, np.int64), 0.7, 0.5, np.array([0.0, 1.0, 2.0]), np.arange(3, dtype=np.uint64), "nearest")
    assert bounded_members(rows, *given).tolist() == [0, 0, 2]
    below = float(np.nextafter(0.5, 0))
    assert bounded_members(rows, *given[:2], below, *given[3:]).tolist() == [0, 0, 0]


def test_a_list_that_is_too_long_is_given_up() -> None:
    rows = np.repeat(unit_rows(np.random.default_rng(0), 1, 16), 2000, axis=0)
    groups = np.zeros(2000, np.int64)
    assert near_pairs.near_pairs(rows, groups, 0.5, 0.86, 1000) is None
    found = near_pairs.near_pairs(rows, groups, 0.5, 0.86, 2000 * 1999 // 2)
    assert found is not None
    assert len(found) == 2000 * 1999 // 2 == found.joined.sum()


def test_some_rows_are_rows() -> None:
    rows = unit_rows(np.random.default_rng(0), 9, 4)
    some = SomeRows(rows, np.array([1, 4, 5, 8]))
    assert some.shape == (4, 4)
    np.testing.assert_array_equal(some[1:3], rows[[4, 5]])
    np.testing.assert_array_equal(some.chosen(np.array([0, 3])), rows[[1, 8]])
    assert isinstance(some, bounded.RowBlocks)
