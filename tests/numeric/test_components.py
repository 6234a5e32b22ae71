"""Components against networkx on the full graph, and the properties that they have by definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import component_labels
from strategies import THRESHOLDS, chain, hard_rows, unit_rows

from coreset.numeric import components, products
from coreset.numeric.components import connected_components
from coreset.numeric.products import Engine

ENGINES = [
    Engine(torch.int8, "cpu", 0.0),
    Engine(torch.bfloat16, "cpu", 2.0**-8),
    Engine(torch.float32, "cpu", 0.0),
]


class OnlySlices:
    """Rows that can be sliced and nothing else, in read-only memory, as a reader over files would give them."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows.copy()
        self._rows.setflags(write=False)
        self.shape = rows.shape

    def __getitem__(self, rows: slice) -> np.ndarray:
        assert isinstance(rows, slice)
        return self._rows[rows]


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row goes through the screen, however few there are."""
    monkeypatch.setattr(components, "_TINY", 0)


def clustered(n: int, d: int, seed: int, spread: float) -> np.ndarray:
    """Rows around a common mean, a third of them near-duplicates of others."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, d)) * spread / np.sqrt(d) + rng.normal(size=d) / np.sqrt(d)
    base[n // 3 :] = base[rng.integers(0, n // 3, n - n // 3)] + rng.normal(size=(n - n // 3, d)) * 0.3 / np.sqrt(d)
    return (base / np.linalg.norm(base, axis=1, keepdims=True)).astype(np.float16)


@given(hard_rows(), st.sampled_from(THRESHOLDS))
@settings(max_examples=300, deadline=None)
def test_the_full_graph_agrees(rows: np.ndarray, threshold: float) -> None:
    np.testing.assert_array_equal(connected_components(rows, threshold, threads=1), component_labels(rows, threshold))


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: str(engine.dtype))
@pytest.mark.usefixtures("screened")
def test_the_screen_agrees_on_any_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_fastest", lambda _: engine)

    @given(hard_rows(), st.sampled_from(THRESHOLDS))
    @settings(max_examples=150, deadline=None, database=None)
    def agrees(rows: np.ndarray, threshold: float) -> None:
        found = connected_components(rows, threshold, threads=1)
        np.testing.assert_array_equal(found, component_labels(rows, threshold))

    agrees()
    rows = clustered(900, 96, 1, 1.0)
    for threshold in (0.6, 0.7, 0.9):
        np.testing.assert_array_equal(connected_components(rows, threshold), component_labels(rows, threshold))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threshold", [0.62, 0.86])
def test_clusters_of_many_tiles_agree(seed: int, threshold: float) -> None:
    rows = clustered(1700, 64, seed, [0.5, 1.0, 1.5][seed])
    expected = component_labels(rows, threshold)
    np.testing.assert_array_equal(connected_components(rows, threshold, threads=2), expected)
    np.testing.assert_array_equal(connected_components(rows, threshold, memory=1 << 20, threads=1), expected)
    np.testing.assert_array_equal(connected_components(OnlySlices(rows), threshold, memory=1 << 21), expected)


@pytest.mark.usefixtures("screened")
def test_a_pair_exactly_at_the_threshold_is_not_an_edge() -> None:
    rows = np.array([[1, 0], [0.5, 0.75], [0, 1]], np.float16)
    assert connected_components(rows, 0.5).tolist() == [0, 1, 1]
    assert connected_components(rows, 0.75).tolist() == [0, 1, 2]
    assert connected_components(rows, np.nextafter(0.75, 0)).tolist() == [0, 1, 1]
    assert connected_components(rows, np.nextafter(0.5, 0)).tolist() == [0, 0, 0]


@pytest.mark.usefixtures("screened")
@pytest.mark.parametrize("ulps", [-1, 0, 1])
def test_the_last_bit_decides(ulps: int) -> None:
    """Products that differ from the threshold by 2^-48, the least that products of float16 rows can differ by."""
    tiny = 2.0**-24
    rows = np.array([[0.5, 0.5, tiny], [1, 0.5, ulps * tiny]], np.float16)
    assert connected_components(rows, 0.75).tolist() == ([0, 0] if ulps > 0 else [0, 1])


@pytest.mark.parametrize("threshold", [0.999, 1.0, 1.01])
def test_exact_copies_are_joined_only_above_the_threshold(threshold: float) -> None:
    rows = np.repeat(unit_rows(np.random.default_rng(0), 40, 16), 5, axis=0)
    np.testing.assert_array_equal(connected_components(rows, threshold), component_labels(rows, threshold))


@pytest.mark.parametrize("n", [2, 200, 1000])
def test_a_chain_is_one_component_and_a_broken_link_makes_two(n: int) -> None:
    rows = chain(n)[np.random.default_rng(n).permutation(n)]
    assert not connected_components(rows, 0.49).any()
    assert len(np.unique(connected_components(chain(n)[np.arange(n) != n // 2], 0.49))) == 2 - (n == 2)


def test_identical_rows_are_one_component() -> None:
    rows = np.repeat(unit_rows(np.random.default_rng(0), 1, 32), 3000, axis=0)
    assert not connected_components(rows, 0.86).any()


@given(hard_rows(), st.sampled_from(THRESHOLDS), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_rows_changes_nothing(rows: np.ndarray, threshold: float, random: object) -> None:
    order = np.arange(len(rows))
    random.shuffle(order)  # type: ignore[attr-defined]
    labels, shuffled = connected_components(rows, threshold), connected_components(rows[order], threshold)
    together = labels[order][:, None] == labels[order][None, :]
    np.testing.assert_array_equal(shuffled[:, None] == shuffled[None, :], together)


@given(hard_rows(), st.floats(-1, 1), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_higher_threshold_only_splits(rows: np.ndarray, threshold: float, more: float) -> None:
    labels, split = connected_components(rows, threshold), connected_components(rows, threshold + more)
    np.testing.assert_array_equal(labels, labels[split])


@pytest.mark.usefixtures("screened")
@given(st.integers(0, 2**32), st.integers(8, 300), st.floats(0.1, 0.95))
@settings(max_examples=60, deadline=None)
def test_no_edge_leaves_a_component(seed: int, d: int, threshold: float) -> None:
    rows = clustered(150, d, seed, 1.0)
    labels = connected_components(rows, threshold)
    i, j = np.nonzero(rows.astype(np.float64) @ rows.astype(np.float64).T > threshold)
    np.testing.assert_array_equal(labels[i], labels[j])


@pytest.mark.usefixtures("screened")
def test_rows_unlike_the_others_are_compared_too() -> None:
    rng = np.random.default_rng(3)
    rows = clustered(1200, 48, 3, 1.0)
    strange = rng.choice(1200, 1, replace=False)
    rows[strange] = 0
    rows[strange, 7] = 1
    np.testing.assert_array_equal(connected_components(rows, 0.86), component_labels(rows, 0.86))


@pytest.mark.parametrize(
    ("rows", "threshold", "words"),
    [
        (np.full((3, 4), np.nan, np.float16), 0.5, "row 0"),
        (np.full((3, 4), np.inf, np.float16), 0.5, "row 0"),
        (np.ones((3, 4), np.float16), 0.5, "<x, x> = 4"),
        (np.zeros((3, 4), np.float32), 0.5, "float32"),
        (np.zeros((3, 4), np.float16), np.nan, "threshold is nan"),
    ],
)
def test_impossible_rows_are_refused(rows: np.ndarray, threshold: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        connected_components(rows, threshold)


def test_no_rows_give_no_labels() -> None:
    assert connected_components(np.empty((0, 8), np.float16), 0.5).shape == (0,)


def test_zero_rows_are_alone_and_threads_are_restored() -> None:
    before = torch.get_num_threads()
    assert connected_components(np.zeros((300, 4), np.float16), 0.0, threads=1).tolist() == list(range(300))
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="threads is 0"):
        connected_components(np.zeros((3, 4), np.float16), 0.5, threads=0)
