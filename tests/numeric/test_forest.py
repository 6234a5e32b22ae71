"""The spanning forest against Kruskal's algorithm on all edges, and what it says against the full graph."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import component_labels, spanning_edges
from strategies import THRESHOLDS, chain, hard_rows, unit_rows

from coreset.numeric import forest as module
from coreset.numeric import growing, products
from coreset.numeric.bottlenecks import Edges, heaviest_forest, line_of, smallest_between
from coreset.numeric.components import connected_components
from coreset.numeric.forest import Forest, components_above, spanning_forest
from coreset.numeric.products import Engine

ENGINES = [
    Engine(torch.int8, "cpu", 0.0),
    Engine(torch.bfloat16, "cpu", 2.0**-8),
    Engine(torch.float32, "cpu", 0.0),
]


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row goes through the screen, in small groups, with the line drawn often and few edges held."""
    monkeypatch.setattr(module, "_TINY", 0)
    monkeypatch.setattr(module, "_FIRST_GROUP", 4)
    monkeypatch.setattr(growing, "_HELD", 8)
    monkeypatch.setattr(growing, "_FEW", 1 << 30)


def edges_of(forest: Forest) -> list[tuple[int, int, float]]:
    return list(zip(forest.u.tolist(), forest.v.tolist(), forest.cosine.tolist(), strict=True))


def blobs(n: int, d: int, seed: int) -> np.ndarray:
    """Three dense groups that are far from each other, some exact copies, some rows alone."""
    rng = np.random.default_rng(seed)
    base = unit_rows(rng, 3, d).astype(np.float64)
    x = base[rng.integers(0, 3, n)] + rng.normal(size=(n, d)) * rng.choice([0.1, 0.3, 2.0], (n, 1)) / np.sqrt(d)
    x[rng.integers(0, n, n // 5)] = x[rng.integers(0, n, n // 5)]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: str(engine.dtype))
@pytest.mark.usefixtures("screened")
def test_kruskal_on_all_edges_agrees(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_fastest", lambda _: engine)

    @given(hard_rows(), st.sampled_from(THRESHOLDS), st.integers(0, 2**32))
    @settings(max_examples=200, deadline=None, database=None)
    def agrees(rows: np.ndarray, floor: float, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(rows))
        found = spanning_forest(rows, floor, order, threads=1)
        assert edges_of(found) == spanning_edges(rows, floor, order)

    agrees()


@given(hard_rows(), st.sampled_from(THRESHOLDS))
@settings(max_examples=100, deadline=None)
def test_few_rows_agree(rows: np.ndarray, floor: float) -> None:
    order = np.arange(len(rows))
    assert edges_of(spanning_forest(rows, floor, order, threads=1)) == spanning_edges(rows, floor, order)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("memory", [1 << 20, 1 << 30])
def test_clusters_of_many_tiles_agree(seed: int, memory: int) -> None:
    rows = blobs(1500, 48, seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    expected = spanning_edges(rows, 0.7, order)
    assert edges_of(spanning_forest(rows, 0.7, order, memory=memory, threads=2)) == expected
    assert len(expected) > 1000


@given(hard_rows(), st.sampled_from(THRESHOLDS), st.floats(0, 0.5))
@settings(max_examples=100, deadline=None)
def test_the_forest_says_what_the_components_are_at_every_threshold(
    rows: np.ndarray, floor: float, more: float
) -> None:
    forest = spanning_forest(rows, floor, np.arange(len(rows)), threads=1)
    labels = components_above(len(rows), forest, floor + more)
    np.testing.assert_array_equal(labels, component_labels(rows, floor + more))
    if len(rows):
        assert len(np.unique(labels)) == len(rows) - (forest.cosine > floor + more).sum()


@pytest.mark.parametrize("link", [0.86, 0.9])
def test_thresholds_equal_to_a_cosine_of_the_forest_are_strict(link: float) -> None:
    rows = blobs(600, 32, 5)
    forest = spanning_forest(rows, 0.7, np.arange(600))
    cosine = float(forest.cosine[np.abs(forest.cosine - link).argmin()])
    for threshold in (cosine, np.nextafter(cosine, 0), np.nextafter(cosine, 1)):
        np.testing.assert_array_equal(
            components_above(600, forest, threshold), connected_components(rows, float(threshold))
        )


def test_a_chain_and_identical_rows() -> None:
    rows = chain(700)
    found = spanning_forest(rows, 0.49, np.arange(700))
    assert found.u.tolist() == list(range(699))
    assert found.v.tolist() == list(range(1, 700))
    same = np.repeat(unit_rows(np.random.default_rng(0), 1, 32), 3000, axis=0)
    found = spanning_forest(same, 0.8, np.arange(3000)[::-1].copy())
    assert not found.u.any()
    assert found.v.tolist() == list(range(1, 3000))


def test_a_copy_hangs_on_the_row_that_is_nearest_even_if_that_is_not_its_original() -> None:
    """A longer row may have a larger product with a short one than the short one with itself."""
    rows = np.array([[0.5, 0], [1, 0], [0.5, 0]], np.float16)
    assert edges_of(spanning_forest(rows, 0.2, np.arange(3))) == [(0, 1, 0.5), (1, 2, 0.5)]


def test_floors_and_rows_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="floor is nan"):
        spanning_forest(np.zeros((2, 2), np.float16), np.nan, np.arange(2))
    with pytest.raises(ValueError, match="float32"):
        spanning_forest(np.zeros((2, 2), np.float32), 0.5, np.arange(2))
    assert len(spanning_forest(np.empty((0, 3), np.float16), 0.5, np.arange(0))) == 0
    assert len(spanning_forest(np.zeros((300, 3), np.float16), 0.0, np.arange(300))) == 0


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 150))
@settings(max_examples=150, deadline=None)
def test_the_line_knows_the_weakest_link_of_every_pair(seed: int, n: int, many: int) -> None:
    rng = np.random.default_rng(seed)
    i, j = rng.integers(0, n, (2, many))
    cosine = rng.integers(1, 6, (n, n))[np.minimum(i, j), np.maximum(i, j)] / 8  # one cosine for a pair; many ties
    edges = Edges(i, j, cosine)[i != j]
    forest = heaviest_forest(edges, np.arange(n))
    weakest = np.full((n, n), -np.inf)
    np.fill_diagonal(weakest, np.inf)
    for u, v, w in zip(edges.i, edges.j, edges.cosine, strict=True):
        weakest[u, v] = weakest[v, u] = w
    for middle in range(n):  # Floyd and Warshall, for the widest path
        weakest = np.maximum(weakest, np.minimum(weakest[:, middle, None], weakest[middle]))
    line, gaps = line_of(n, forest)
    assert sorted(line.tolist()) == list(range(n))
    for a in range(n):
        for b in range(a + 1, n):
            assert gaps[a:b].min() == weakest[line[a], line[b]]


@given(st.integers(0, 2**32), st.integers(2, 40))
@settings(max_examples=200, deadline=None)
def test_smallest_gaps_between_any_places(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    gaps = rng.integers(0, 50, n).astype(np.int32)
    rows, columns = (np.sort(rng.choice(n, rng.integers(1, n + 1), replace=False)) for _ in range(2))
    found = smallest_between(gaps, rows, columns)
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            assert found[i, j] == (gaps[min(a, b) : max(a, b)].min() if a != b else 2**31 - 1)
