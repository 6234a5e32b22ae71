"""The proven bounds of the screen, with rows whose rounding errors all point the same way."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import fraction_product

from coreset.numeric.codes import Layout, coded, fitted_layout, fitted_scale
from coreset.numeric.products import Engine, fastest_engine


def aligned(seed: int, d: int, half: float) -> np.ndarray:
    """Rows of which each component lies almost half a step above a step of the others': errors add up."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-3, 4, (12, d)) + half
    steps[0, 0] = 127
    return (steps / np.linalg.norm(steps, axis=1).max()).astype(np.float16)


@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 5, 64, 400]),
    st.sampled_from([0.0, 0.25, 0.49, 0.5]),
    st.floats(-1.0, 1.0),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_products_bound_what_they_stand_for(seed: int, d: int, half: float, threshold: float, centred: bool) -> None:
    rows = aligned(seed, d, half)
    scale = fitted_scale(torch.from_numpy(rows[seed % 11 :]), threshold)
    codes, norms = coded(torch.from_numpy(rows), scale)
    layout = fitted_layout(codes.b, centred=centred)
    held = np.flatnonzero(layout.holds(codes.b))
    right = layout.right(codes)
    products = (layout.swapped(right).double() @ right.double().T).numpy() - layout.limit
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    for i in held:
        for j in held:
            assert products[i, j] > 0 or exact[i, j] <= threshold
            assert products[i, j] <= codes.r[i] + codes.r[j] or exact[i, j] > threshold
    np.testing.assert_allclose(norms, np.diag(exact), rtol=2**-10)
    assert codes.length >= np.linalg.norm(codes.q.double(), axis=1).max()


def test_the_band_is_narrow_for_rows_like_embeddings() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 768)) * 0.6 + rng.normal(size=768) * 0.8
    x = torch.from_numpy((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16))
    scale = fitted_scale(x, 0.86)
    codes, _ = coded(x, scale)
    assert 2 * np.median(codes.r) * scale.step**2 < 0.03
    assert fitted_layout(codes.b, centred=True).digits <= 16


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=50))
def test_digits_sum_to_the_number(numbers: list[int]) -> None:
    b = np.array(numbers)
    for centred in (True, False):
        layout = fitted_layout(b, centred=centred)
        held = layout.holds(b)
        digits = layout._split(b[held]).long().sum(dim=1).numpy()
        np.testing.assert_array_equal(digits + layout.centre, b[held])


@pytest.mark.parametrize("dtype", [torch.int8, torch.bfloat16, torch.float32])
def test_engines_keep_signs_and_values(dtype: torch.dtype) -> None:
    engine = Engine(dtype, "cpu", 2.0**-8 if dtype == torch.bfloat16 else 0.0)
    rng = np.random.default_rng(0)
    left = torch.from_numpy(rng.integers(-127, 128, (70, 840)).astype(np.int8))
    right = torch.from_numpy(rng.integers(-127, 128, (50, 840)).astype(np.int8))
    left[0] = right[0] = 127
    left[1, :] = 127
    left[1, ::2] = -127
    right[1] = 127
    exact = left.long().numpy() @ right.long().numpy().T
    found = engine.products(left, right).numpy()
    np.testing.assert_array_equal(np.sign(found), np.sign(exact))
    assert (np.abs(found - exact) <= engine.rounding * np.abs(exact)).all()


def test_rows_too_long_for_float32_sums_use_integers() -> None:
    assert fastest_engine("cpu", 2.0**24).dtype == torch.int8


def test_exact_products_are_exact() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 300)).astype(np.float16) / np.float16(18)
    assert Fraction(float(x.astype(np.float64) @ y.astype(np.float64))) == fraction_product(x, y)
    assert Layout(1, 0).limit == 0
