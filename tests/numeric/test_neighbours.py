"""Counts of neighbours against the whole matrix of exact products, and intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from strategies import THRESHOLDS, hard_rows, unit_rows

from coreset.numeric import products
from coreset.numeric.intervals import pairs_interval, ratio_interval, share_interval
from coreset.numeric.neighbours import Queried, neighbours_counted
from coreset.numeric.products import Engine

ENGINES = [
    Engine(torch.int8, "cpu", 0.0),
    Engine(torch.bfloat16, "cpu", 2.0**-8),
    Engine(torch.float32, "cpu", 0.0),
]


def counted(rows: np.ndarray, chosen: np.ndarray, own: np.ndarray, threshold: float, seed: int, memory: int) -> None:
    """Compare with the whole matrix."""
    rng = np.random.default_rng(seed)
    cluster, kept = rng.integers(0, 3, len(rows)).astype(np.int32), rng.random(len(rows)) < 0.5
    queries = Queried(rows[chosen], cluster[chosen], np.where(own, chosen, -1))
    found = neighbours_counted(queries, rows, cluster, kept, threshold, memory=memory)
    exact = rows.astype(np.float64)
    above = exact[chosen] @ exact.T > threshold
    above[np.flatnonzero(own), chosen[own]] = False
    same = cluster[chosen][:, None] == cluster
    np.testing.assert_array_equal(found.same, (above & same).sum(axis=1))
    np.testing.assert_array_equal(found.other, (above & ~same).sum(axis=1))
    np.testing.assert_array_equal(found.survivors, (above & ~same & kept).sum(axis=1))


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: str(engine.dtype))
def test_the_whole_matrix_agrees_on_any_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_fastest", lambda _: engine)

    @given(hard_rows(), st.sampled_from(THRESHOLDS), st.integers(0, 2**32), st.sampled_from([1, 1 << 24]))
    @settings(max_examples=60, deadline=None)
    def agrees(rows: np.ndarray, threshold: float, seed: int, memory: int) -> None:
        if not len(rows):
            return
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(len(rows))[: rng.integers(1, len(rows) + 1)]
        counted(rows, chosen, rng.random(len(chosen)) < 0.7, threshold, seed, memory)

    agrees()


@pytest.mark.parametrize("memory", [1 << 16, 1 << 28])
def test_more_than_one_tile_and_rows_without_codes(memory: int) -> None:
    rng = np.random.default_rng(0)
    base = unit_rows(rng, 50, 64).astype(np.float64)
    x = base[rng.integers(0, 50, 5000)] + 0.06 * rng.normal(size=(5000, 64))
    rows = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)
    rows[17] = 0  # no unit vector, and unlike the others: its integers need digits that the layout does not have
    rows[4321] = np.eye(64, dtype=np.float16)[3]
    counted(rows, rng.permutation(5000)[:700], np.ones(700, bool), 0.8, 1, memory)


@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 1000))
def test_shares_are_those_of_clopper_and_pearson(hits: int, more: int, beyond: int) -> None:
    drawn = hits + more
    expected = binomtest(hits, drawn).proportion_ci(0.95, "exact")
    found = share_interval(hits, drawn, drawn + beyond)
    assert found.value == hits / drawn
    np.testing.assert_allclose(found[1:], (expected.low, expected.high), atol=1e-6)


def test_intervals_hold_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    pairs = rng.poisson(rng.choice([0, 0, 0, 1, 4], 4000)) * rng.integers(1, 3, 4000)
    whole = pairs + rng.poisson(2, 4000)
    held = np.zeros(3)
    for _ in range(300):
        some = rng.permutation(4000)[:400]
        part, every = pairs[some], whole[some]
        truths = ((pairs > 0).mean(), pairs.sum() / 2, pairs.sum() / whole.sum())
        share = share_interval(int((part > 0).sum()), 400, 4000)
        for at, (truth, found) in enumerate(
            zip(truths, (share, pairs_interval(part, 4000), ratio_interval(part, every, 4000)), strict=True)
        ):
            assert found is not None
            assert found.low <= found.value <= found.high
            held[at] += found.low <= truth <= found.high
    assert (held / 300 > 0.92).all()


def test_all_rows_leave_no_doubt() -> None:
    counts = np.array([0, 3, 1, 2])
    for found in (share_interval(3, 4, 4), pairs_interval(counts, 4), ratio_interval(counts, counts + 1, 4)):
        assert found is not None
        assert found.low == found.value == found.high
    assert pairs_interval(counts, 4).value == 3
    assert ratio_interval(counts, counts * 0, 4) is None
