"""Lengths and inner products against rational numbers and numpy in one piece."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import hard_rows

from coreset.numeric.lengths import correlation, inner_products, lengths, unit_rows


def fraction_product(x: np.ndarray, y: np.ndarray) -> Fraction:
    return sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, y, strict=True)), Fraction(0))


@given(hard_rows())
def test_inner_products_are_the_rational_ones_rounded_once(rows: np.ndarray) -> None:
    other = rows[::-1]
    exact = [fraction_product(x, y) for x, y in zip(rows, other, strict=True)]
    assert inner_products(rows, other).tolist() == [np.float32(float(value)) for value in exact]
    squares = [fraction_product(row, row) for row in rows]
    assert lengths(rows).tolist() == [float(np.sqrt(float(value))) for value in squares]


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (700, 300), (3, 200_000)])
def test_every_form_and_shape_is_one_result(dtype: str, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    wanted = np.sqrt(np.square(x.astype(np.float64)).sum(axis=1))
    assert np.allclose(lengths(x), wanted, rtol=1e-12)
    assert np.allclose(lengths(unit_rows(x)), 1, atol=1e-3)


@pytest.mark.parametrize("factor", [1e-300, 1e300, 1e-160])
def test_the_largest_and_smallest_numbers_have_a_length(factor: float) -> None:
    x = np.array([[3.0, 4.0]]) * factor
    assert lengths(x)[0] == pytest.approx(5 * factor, rel=1e-12)
    assert unit_rows(x).tolist() == np.float16([[0.6, 0.8]]).tolist()


def test_what_is_not_finite_shows() -> None:
    x = np.array([[np.nan, 1], [np.inf, 1], [-np.inf, np.inf], [0, 0], [65504, 65504]], np.float16)
    assert np.isfinite(lengths(x)).tolist() == [False, False, False, True, True]
    for dtype in (np.float32, np.float64):
        assert np.isfinite(lengths(x.astype(dtype))).tolist() == [False, False, False, True, True]


@given(st.lists(st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32)), min_size=3, max_size=30))
def test_correlation_is_numpys(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs, np.float32).T
    if min(a.std(), b.std()) > 1e-3:
        assert correlation(a, b) == pytest.approx(np.corrcoef(a.astype(float), b.astype(float))[0, 1], abs=1e-9)
    assert correlation(a, np.zeros_like(a)) == 0
