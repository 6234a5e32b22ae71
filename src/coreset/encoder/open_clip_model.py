"""Every model that open_clip loads: its own preprocessing, tokenizer and towers."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import open_clip
import torch
from jaxtyping import Float32
from PIL import Image
from torch import nn

from coreset.encoder.calls import Call, Calls, Pending, side_by_side
from coreset.encoder.captions import CaptionTower
from coreset.encoder.choice import Choice, as_array
from coreset.encoder.found import PRECISIONS
from coreset.encoder.memory import memory_said
from coreset.encoder.packed import PackedPatches, pack, packs, read_first_token
from coreset.encoder.quiet import quiet
from coreset.sources.fitting import Fit, fitted

CAPTIONS = 4096
"""Captions that are sorted by length together: so many that few batches of a length are not full."""

PART = 16
"""Pictures of one call where weights are packed: a batch is then several calls, side by side."""

Numbers = tuple[tuple[float, ...], tuple[float, ...]]
"""What is taken from each colour of a pixel, and what it is divided by."""


class OpenClipEncoder:
    """A model of open_clip's with its own preprocessing and tokenizer.

    Attributes:
        dimension: numbers of a vector
        fit: how pictures are brought to the model's size
        captions_at_once: how many captions `text_vectors` likes to be given together

    Example:
        >>> from coreset.demo import demo_choice
        >>> from coreset.encoder import as_array, loaded_encoder
        >>> encoder = loaded_encoder(demo_choice())
        >>> vectors = as_array(encoder.text_vectors(["a red heart", "a black cat"]))
        >>> vectors.shape[1] == encoder.dimension
        True
    """

    captions_at_once = CAPTIONS

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._device = torch.device(choice.device)
        self._model = loaded_model(choice, self._device)
        with quiet():
            self._tokenizer = open_clip.get_tokenizer(choice.model)
        self._tower = CaptionTower(self._model, self._tokenizer([""]).shape[1])
        layers = (layer for layer in self._model.visual.modules() if isinstance(layer, nn.Conv2d | nn.Linear))
        self._dtype = next(layers).weight.dtype
        self._part = choice.batch_size
        if choice.precision == "bfloat16" and choice.device == "cpu" and packs():
            pack(self._model)
            read_first_token(self._model.visual)
            self._part = min(PART, choice.batch_size)
        of_a_batch = math.ceil(choice.batch_size / self._part)
        self._calls = Calls(side_by_side(choice.threads, of_a_batch), choice.threads)
        asked = open_clip.get_model_preprocess_cfg(self._model)
        self.fit = fit_of_config(asked)
        self._mean, self._std = (_channels(asked[name], self._device) for name in ("mean", "std"))
        self._by_lines = any(isinstance(layer, PackedPatches) for layer in self._model.visual.modules())
        self.dimension = as_array(self.text_vectors([""])).shape[1]

    def changed(self, fit: Fit | None = None, numbers: Numbers | None = None) -> None:
        """Call the model in another way than its own: to see what explains vectors that differ."""
        self.fit = fit or self.fit
        if numbers is not None:
            self._mean, self._std = (_channels(values, self._device) for values in numbers)

    def prepared(self, image: Image.Image) -> torch.Tensor:
        """The pixels that the model reads of an RGB picture: uint8 (height, width, 3)."""
        return torch.from_numpy(np.array(fitted(image, self.fit)))

    def image_vectors(self, prepared: list[torch.Tensor]) -> torch.Tensor | Pending:
        """A float32 vector of length 1 for each prepared picture, at most a batch of them."""
        rows = self._part
        parts = [torch.stack(prepared[start : start + rows]) for start in range(0, len(prepared), rows)]
        calls: list[Call] = [partial(self._image_unit, padded(part, rows), len(part)) for part in parts]
        return self._calls.begun(calls)

    def text_vectors(self, captions: list[str]) -> Float32[np.ndarray, "n d"] | Pending:
        """A float32 vector of length 1 for each caption, any number of them."""
        tokens = self._tokenizer(captions)
        groups = list(self._tower.groups(tokens, self._choice.batch_size))
        calls: list[Call] = [
            partial(self._text_unit, padded(tokens[rows, :length], many), len(rows)) for rows, length, many in groups
        ]
        order = np.concatenate([rows for rows, _, _ in groups])
        found = self._calls.begun(calls)
        return found.placed(order) if isinstance(found, Pending) else as_array(found)[np.argsort(order)]

    @torch.inference_mode()
    def _image_unit(self, pixels: torch.Tensor, count: int) -> torch.Tensor:
        with memory_said(self._choice):
            return unit(self._model.encode_image(self._normalised(self._placed(pixels)))[:count])

    @torch.inference_mode()
    def _text_unit(self, tokens: torch.Tensor, count: int) -> torch.Tensor:
        with memory_said(self._choice):
            return unit(self._tower.vectors(self._placed(tokens))[:count])

    def _placed(self, batch: torch.Tensor) -> torch.Tensor:
        """On the device; to a GPU the copy runs beside what is computed there."""
        if self._device.type != "cuda":
            return batch
        return batch.pin_memory().to(self._device, non_blocking=True)

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """What torchvision's ToTensor and Normalize make of each picture."""
        if self._by_lines:
            return normalised_lines(pixels, self._mean, self._std, self._dtype)
        layout = torch.channels_last if is_convolutional(self._model.visual) else torch.contiguous_format
        pixels = pixels.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        numbers = pixels.to(torch.float32).div_(255)
        return numbers.sub_(self._mean).div_(self._std).to(self._dtype)


def normalised_lines(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """uint8 (rows, height, width, 3) to numbers of (rows, 3, height, width) that stay where they are in memory.

    A picture at a time, which a core's cache holds, and a line of it at a time: as (3, 1, 1) the numbers of the
    colours would leave each operation with runs of 3.
    """
    rows, height, width, colours = pixels.shape
    of_line = [numbers.view(colours).repeat(width) for numbers in (mean, std)]
    found = torch.empty(rows, height, width * colours, dtype=dtype)
    for picture, place in zip(pixels.view(rows, height, -1), found, strict=True):
        place.copy_(picture.to(torch.float32).div_(255).sub_(of_line[0]).div_(of_line[1]))
    return found.view(rows, height, width, colours).permute(0, 3, 1, 2)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """The vectors in float32, each of length 1."""
    return nn.functional.normalize(vectors.float(), dim=-1)


def padded(batch: torch.Tensor, rows: int) -> torch.Tensor:
    """A batch of at least so many rows: the last one again and again, so that the shape of a call never changes.

    Example:
        >>> padded(torch.tensor([[1], [2]]), 4).tolist()
        [[1], [2], [2], [2]]
    """
    short = rows - len(batch)
    return torch.cat([batch, batch[-1:].expand(short, *batch.shape[1:])]) if short > 0 else batch


def loaded_model(choice: Choice, device: torch.device) -> Any:  # noqa: ANN401  open_clip has no types
    """The model of a choice, ready to be called."""
    model = _created(choice, PRECISIONS[choice.precision], device)
    if choice.precision == "bfloat16" and is_convolutional(model.visual):
        model.visual = _created(choice, PRECISIONS["float32"], device).visual
    if is_convolutional(model.visual):
        model.visual.to(memory_format=torch.channels_last)  # a third faster on a CPU; of no use to a transformer
    return model.eval().requires_grad_(False)


def _created(choice: Choice, precision: str, device: torch.device) -> Any:  # noqa: ANN401  open_clip has no types
    with quiet():
        model, _, _ = open_clip.create_model_and_transforms(
            choice.model,
            pretrained=choice.pretrained,
            precision=precision,
            device=device,
            force_quick_gelu=choice.quick_gelu,
        )
    return model


def is_convolutional(tower: nn.Module) -> bool:
    """Whether a tower has more convolutions than the one that cuts a picture into patches.

    bfloat16 rounds those too much: of the demo's ResNet, the vectors of 1 picture in 1,000 come to a cosine below 0.997
    with their float32 ones. So such a tower stays in float32.

    Example:
        >>> one = nn.Conv2d(3, 3, 8)
        >>> is_convolutional(one), is_convolutional(nn.Sequential(one, nn.Conv2d(3, 8, 3)))
        (False, True)
    """
    return sum(isinstance(layer, nn.Conv2d) for layer in tower.modules()) > 1


def fit_of_config(asked: dict[str, Any]) -> Fit:
    """How pictures are brought to size, by open_clip's preprocessing configuration.

    Example:
        >>> fit_of_config({"size": 224, "resize_mode": "squash", "interpolation": "bicubic", "fill_color": 0}).mode
        'squash'
    """
    size = asked["size"]
    height, width = (size, size) if isinstance(size, int) else size
    smooth = "bilinear" if asked["interpolation"] == "bilinear" else "bicubic"
    return Fit(height, width, asked["resize_mode"] or "shortest", smooth, asked["fill_color"] or 0)


def _channels(values: Any, device: torch.device) -> torch.Tensor:  # noqa: ANN401  a number or three of them
    three = values if isinstance(values, list | tuple) else (values,) * 3
    return torch.tensor(three, dtype=torch.float32, device=device).view(-1, 1, 1)
