"""Patches as one product against the convolution, and pixels line by line against open_clip's way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import needs_products
from PIL import Image
from torch import nn
from torchvision import transforms

from coreset.encoder.open_clip_model import normalised_lines
from coreset.encoder.packed import PackedPatches

ONE = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def conv(**changed: Any) -> nn.Conv2d:
    torch.manual_seed(0)
    asked: dict[str, Any] = {"kernel_size": 8, "stride": 8, **changed}
    return nn.Conv2d(3, 6, **asked).to(torch.bfloat16).requires_grad_(False)


@needs_products
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("kernel", "size"), [(8, (32, 32)), (8, (16, 40)), (8, (39, 33)), ((4, 8), (24, 24)), (32, (32, 32))]
)
def test_patches_are_those_of_the_convolution(
    kernel: int | tuple[int, int], size: tuple[int, int], layout: torch.memory_format, bias: bool
) -> None:
    one = conv(kernel_size=kernel, stride=kernel, bias=bias)
    numbers = torch.randn(5, 3, *size).to(torch.bfloat16).contiguous(memory_format=layout)
    exact = nn.functional.conv2d(
        numbers.double(), one.weight.double(), None if one.bias is None else one.bias.double(), one.stride
    )
    found = PackedPatches(one)(numbers)
    assert found.dtype == torch.bfloat16
    assert found.shape == exact.shape
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=2**-8)


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        ({}, True),
        ({"kernel_size": (4, 8), "stride": (4, 8)}, True),
        ({"stride": 4}, False),
        ({"padding": 1}, False),
        ({"padding": "valid"}, False),
        ({"dilation": 2}, False),
    ],
)
def test_only_convolutions_of_patches_are_packed(changed: dict[str, Any], fits: bool) -> None:
    assert PackedPatches.fits(conv(**changed)) == fits
    assert not PackedPatches.fits(conv(**changed).float())


def test_other_modules_and_convolutions_of_groups_are_not_packed() -> None:
    assert not PackedPatches.fits(nn.Conv2d(3, 6, 8, 8, groups=3).to(torch.bfloat16))
    assert not PackedPatches.fits(nn.Identity())
    assert not PackedPatches.fits(type("Own", (nn.Conv2d,), {})(3, 6, 8, 8).to(torch.bfloat16))


@given(
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
    st.sampled_from([torch.bfloat16, torch.float32]),
)
def test_pixels_become_the_numbers_of_totensor_and_normalize(
    rows: int, height: int, width: int, seed: int, dtype: torch.dtype
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, height, width, 3), np.uint8)
    as_usual = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*ONE)])
    expected = torch.stack([as_usual(Image.fromarray(picture)) for picture in pixels]).to(dtype)
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in ONE)
    found = normalised_lines(torch.from_numpy(pixels), mean, std, dtype)
    assert found.dtype == dtype
    assert torch.equal(found, expected)
    assert found.permute(0, 2, 3, 1).is_contiguous()
