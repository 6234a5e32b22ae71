"""Nearest centroids and distances against rational numbers."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import fraction_distance, nearest
from strategies import hard_rows, unit_rows

from coreset.numeric import candidates
from coreset.numeric.codes import coded_rows
from coreset.numeric.nearest import centroid_cosines, nearest_centroids, rounded_centroids, squared_distances


def exactly(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return np.square(rows.astype(np.float64)[:, None] - centroids.astype(np.float64)[None]).sum(axis=2)


@given(hard_rows(20), st.integers(1, 9), st.integers(0, 2**32), st.sampled_from([0.01, 0.5, 3.9]))
@settings(max_examples=150, deadline=None)
def test_rational_numbers_agree(rows: np.ndarray, k: int, seed: int, length: float) -> None:
    rng = np.random.default_rng(seed)
    centroids = rounded_centroids(unit_rows(rng, k, rows.shape[1]).astype(np.float32) * np.float32(length))
    centroids = centroids[rng.integers(0, k, k)]  # copies: ties
    assigned, distances = nearest_centroids(rows, centroids)
    assert assigned.tolist() == nearest(rows, centroids)
    for row, (j, distance) in enumerate(zip(assigned, distances, strict=True)):
        assert Fraction(distance) == fraction_distance(rows[row], centroids[j])
    for j in range(k):
        one = squared_distances(rows, centroids[j])
        assert [Fraction(d) for d in one] == [fraction_distance(x, centroids[j]) for x in rows]


@pytest.mark.parametrize("k", [1, 700, 2500])
@pytest.mark.parametrize("memory", [1 << 20, 1 << 30])
def test_many_centroids_agree(k: int, memory: int) -> None:
    rng = np.random.default_rng(k)
    rows = unit_rows(rng, 1500, 24)
    centroids = rounded_centroids(rng.normal(size=(k, 24)).astype(np.float32) * np.float32(0.15))
    full = exactly(rows, centroids)
    assigned, distances = nearest_centroids(rows, centroids, memory=memory, threads=2)
    np.testing.assert_array_equal(assigned, full.argmin(axis=1))
    np.testing.assert_array_equal(distances, full.min(axis=1))


@given(st.integers(0, 2**32), st.sampled_from([3, 64, 300]), st.sampled_from([0.1, 1.0, 3.9]))
@settings(max_examples=40, deadline=None)
def test_the_screen_bounds_what_it_stands_for(seed: int, d: int, length: float) -> None:
    rng = np.random.default_rng(seed)
    rows = unit_rows(rng, 20, d)
    centroids = rounded_centroids(unit_rows(rng, 15, d).astype(np.float32) * np.float32(length))
    screen = candidates.fitted_screen(rows, centroids, device="cpu")
    codes, _ = coded_rows(torch.from_numpy(rows), screen.scale)
    products = (screen.layout.padded(codes).double() @ screen.codes.double().T).numpy()
    products += 127 * screen.layout.centre
    unit, mean = screen.scale.step**2, screen.scale.mean.double().numpy()
    # f of the module's docstring: -|x - c|^2 / 2, without the part that depends on the row alone
    f = -exactly(rows, centroids)[:, screen.order] / 2 + (np.square(rows - mean).sum(axis=1) / 2)[:, None]
    half = ((codes.r - 127) / 2)[:, None]  # h(x) / s^2, rounded up
    assert (products >= f / unit - half - 1).all()
    assert (products <= f / unit + half + screen.r + 1).all()


def test_equally_far_centroids_give_the_lower_index() -> None:
    rows = np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float16)
    centroids = np.array([[0, -1], [0.5, 0.5], [0.5, 0.5], [0, -1]], np.float32)
    assert nearest_centroids(rows, centroids)[0].tolist() == [1, 1, 1]
    assert nearest_centroids(rows, centroids[::3])[0].tolist() == [0, 0, 0]


def test_the_last_bit_of_a_centroid_decides() -> None:
    rows = np.array([[1, 0]], np.float16)
    centroids = np.array([[0.5, 0], [0.5 + 2.0**-24, 0]], np.float32)
    assert nearest_centroids(rows, centroids)[0].tolist() == [1]


def test_equal_centroids_beyond_the_list_halve_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_LISTED", 100)
    rows = unit_rows(np.random.default_rng(0), 50, 8)
    assigned, distances = nearest_centroids(rows, np.full((300, 8), 0.25, np.float32))
    assert not assigned.any()
    np.testing.assert_array_equal(distances, exactly(rows, np.full((1, 8), 0.25))[:, 0])


def test_cosines_round_once_for_each_operation() -> None:
    rng = np.random.default_rng(0)
    rows = unit_rows(rng, 200, 24)
    centroids = rounded_centroids(np.concatenate([np.zeros((1, 24)), rng.normal(size=(6, 24)) / 5]).astype(np.float32))
    assigned = rng.integers(0, 7, 200).astype(np.int32)
    c = centroids[assigned].astype(np.float64)
    with np.errstate(invalid="ignore"):
        expected = (rows.astype(np.float64) * c).sum(axis=1) / np.sqrt((c * c).sum(axis=1))
    expected[assigned == 0] = 0
    np.testing.assert_array_equal(
        centroid_cosines(rows, centroids, assigned, memory=1 << 14), expected.astype(np.float32)
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 4.1])
def test_impossible_centroids_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="centroid 1"):
        rounded_centroids(np.array([[1, 2], [0, bad]], np.float32))


def test_rounded_centroids_are_multiples() -> None:
    rounded = rounded_centroids(np.random.default_rng(0).normal(size=(50, 9), scale=0.3).astype(np.float32))
    assert np.array_equal(rounded.astype(np.float64) * 2**24, np.rint(rounded.astype(np.float64) * 2**24))
    assert not np.signbit(rounded_centroids(np.array([[-0.0, -(2.0**-30)]], np.float32))).any()


def test_no_centroids_are_refused_and_no_rows_are_fine() -> None:
    with pytest.raises(ValueError, match="no centroids"):
        nearest_centroids(np.zeros((1, 4), np.float16), np.empty((0, 4), np.float32))
    assert nearest_centroids(np.empty((0, 4), np.float16), np.zeros((1, 4), np.float32))[0].shape == (0,)
    with pytest.raises(ValueError, match="row 0"):
        nearest_centroids(np.full((1, 4), np.nan, np.float16), np.zeros((1, 4), np.float32))
