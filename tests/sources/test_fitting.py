"""Pictures brought to size, against open_clip's own transforms."""

from __future__ import annotations

import io

import numpy as np
import open_clip
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from coreset.encoder.open_clip_model import fit_of_config
from coreset.sources.decoding import pixels_apart
from coreset.sources.fitting import Fit, fit_from_json, fitted
from coreset.sources.pictures import decoded

MODES = ("shortest", "longest", "squash")


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), np.uint8))


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.sampled_from([32, 33, (32, 32), (24, 40)]),
    st.sampled_from(MODES),
    st.sampled_from(["bicubic", "bilinear"]),
    st.sampled_from([0, 127]),
)
@settings(max_examples=150)
@example((300, 2), 32, "longest", "bicubic", 127)
@example((32, 32), 32, "shortest", "bicubic", 0)
def test_the_pixels_are_those_of_open_clip(
    size: tuple[int, int], model: int | tuple[int, int], mode: str, interpolation: str, fill: int
) -> None:
    asked = PreprocessCfg(model, mean=(0.0,) * 3, std=(1.0,) * 3, resize_mode=mode, interpolation=interpolation)
    asked.fill_color = fill
    fit = fit_of_config(vars(asked))
    if 0 in fit.resized(*size) or (mode == "longest" and min(size) * 32 < max(size)):
        return  # open_clip fails where a side comes to nothing
    expected = image_transform_v2(asked, is_train=False)(noise(size)).numpy()
    found = np.asarray(fitted(noise(size), fit))
    assert np.array_equal(np.round(expected * 255).astype(np.uint8), found.transpose(2, 0, 1))


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (60_000, 40)])
@pytest.mark.parametrize("mode", MODES)
def test_a_thread_of_a_picture_fits_without_a_giant_between(size: tuple[int, int], mode: str) -> None:
    assert fitted(noise(size), Fit(224, 224, mode)).size == (224, 224)


def test_decoding_apart_fits_too() -> None:
    file = io.BytesIO()
    noise((90, 61)).save(file, "PNG")
    fit = Fit(32, 32, "longest", "bilinear", 9)
    assert fit_from_json(fit.to_json()) == fit
    assert np.array_equal(pixels_apart(file.getvalue(), fit=fit), fitted(noise((90, 61)), fit))


def test_a_draft_is_close_and_changes_only_large_jpegs() -> None:
    smooth = noise((40, 30)).resize((1000, 760), Image.Resampling.BICUBIC)
    for form, size, same in (("JPEG", (1000, 760), False), ("JPEG", (200, 150), True), ("PNG", (1000, 760), True)):
        file = io.BytesIO()
        smooth.resize(size).save(file, form)
        whole, draft = (
            np.asarray(decoded(file.getvalue(), fit=Fit(64, 64), draft=draft), np.float32) for draft in (False, True)
        )
        assert np.array_equal(whole, draft) is same
        assert np.abs(whole - draft).mean() < 2


def test_every_model_of_open_clip_has_a_fit() -> None:
    ways = {tuple(pair) for pair in open_clip.list_pretrained()}
    assert {
        mode for name, tag in ways if (mode := (open_clip.get_pretrained_cfg(name, tag) or {}).get("resize_mode"))
    } <= set(MODES)
