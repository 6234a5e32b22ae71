"""Whether the vectors of a folder are those that a model gives: some computed again, and what explains a difference.

Two tools that embed the same pictures with the same weights often differ, by the resizing, by quick-GELU, by the
numbers that pixels are normalised with. Each of these is tried, and what agrees best is named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32
from PIL import Image

from coreset.embed import EmbedParams, resolved
from coreset.engine.errors import InputError
from coreset.sources.decoding import pixels_apart
from coreset.sources.known_vectors import KnownVectors, known_vectors
from coreset.sources.pairs import Pair
from coreset.sources.pictures import BadPictureError
from coreset.sources.readers import read_pairs
from coreset.sources.tars import Shard, find_shards

if TYPE_CHECKING:
    from coreset.encoder import Choice

ROWS = 64
"""Rows that are computed again."""
LOOKED = 4096
"""Pairs of a shard in which such rows are looked for."""
AGREES, QUANTILES = 0.999, (0.0, 0.01, 0.1, 0.5)
"""The median cosine above which vectors agree, and the quantiles that are shown."""
OPENAI, HALVES = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)), ((0.5,) * 3, (0.5,) * 3)


@dataclass(frozen=True)
class Parity:
    """What came of computing some rows of a folder again.

    Attributes:
        folder: the folder
        model: the model that was named
        rows: how many were compared
        cosines: quantiles of their cosines by their shares, the lowest under 0
        agrees: whether the median is above 0.999
        causes: the median cosine after each change of the ways, best first; empty if they agree
        longest: how far the stored length of a vector is from 1 at most
    """

    folder: str
    model: str
    rows: int
    cosines: dict[str, float]
    agrees: bool
    causes: tuple[tuple[str, float], ...]
    longest: float


def parity(folder: str, patterns: Sequence[str], asked: EmbedParams) -> Parity:
    """Compute some rows of a folder of vectors again.

    Args:
        folder: a run, or `.npy` files with keys
        patterns: the shards that hold the pictures
        asked: the model, in float32 unless a precision is named

    Raises:
        InputError: No key of the folder is in the shards, or the dimension of the model is another.
    """
    known = known_vectors(folder)
    if asked.precision == "auto":
        asked = dataclasses.replace(asked, precision="float32")
    _, choice = resolved(asked, f"{folder}/nothing")
    pairs = list(islice(_shared(find_shards(patterns), known), ROWS))
    if not pairs:
        raise InputError(f"None of the {len(known):,} keys in {folder} is in the shards; name those it was made from.")
    stored = np.stack([np.asarray(known.stored(*_names(name, pair)), np.float32) for name, pair in pairs])
    lengths = np.linalg.norm(stored, axis=1)
    unit = stored / np.maximum(lengths, 1e-12)[:, None]
    found = cosines_of(choice, [pair for _, pair in pairs], unit, folder)
    median = float(np.median(found))
    causes = () if median >= AGREES else tuple(_causes(choice, [pair for _, pair in pairs], unit, folder))
    return Parity(
        folder,
        choice.name,
        len(pairs),
        {str(share): float(np.quantile(found, share)) for share in QUANTILES},
        median >= AGREES,
        tuple(sorted(causes, key=lambda cause: -cause[1])),
        float(np.abs(lengths - 1).max()),
    )


def cosines_of(
    choice: Choice, pairs: Sequence[Pair], unit: Float32[np.ndarray, "n d"], folder: str, **ways: object
) -> Float32[np.ndarray, "n"]:
    """Cosines of stored vectors and those that a model gives; `ways` replace attributes of the encoder.

    Raises:
        InputError: They have other numbers of numbers.
    """
    from coreset.encoder import as_array, fit_of
    from coreset.encoder.loading import fresh_encoder

    encoder = fresh_encoder(choice, **ways)
    if encoder.dimension != unit.shape[1]:
        raise InputError(
            f"The vectors in {folder} have {unit.shape[1]} numbers, those of {choice.name} {encoder.dimension}: "
            f"another model made them."
        )
    fit = fit_of(encoder)
    pixels = [pixels_apart(pair.image, fit=fit) for pair in pairs]
    prepared = [encoder.prepared(Image.fromarray(picture)) for picture in pixels]
    size = choice.batch_size
    starts = range(0, len(prepared), size)
    vectors = np.concatenate([as_array(encoder.image_vectors(prepared[start : start + size])) for start in starts])
    cosines: Float32[np.ndarray, "n"] = np.einsum("nd,nd->n", vectors, unit)
    return cosines


def _causes(
    choice: Choice, pairs: Sequence[Pair], unit: Float32[np.ndarray, "n d"], folder: str
) -> Iterator[tuple[str, float]]:
    """The median cosine after each change of the ways in which open_clip's models are called."""
    from coreset.encoder.loading import fresh_encoder
    from coreset.encoder.open_clip_model import OpenClipEncoder

    if not isinstance(encoder := fresh_encoder(choice), OpenClipEncoder):
        return
    fit = encoder.fit
    other = "bilinear" if fit.interpolation == "bicubic" else "bicubic"
    changes: list[tuple[str, Choice, dict[str, object]]] = [
        ("quick-GELU on", dataclasses.replace(choice, quick_gelu=True), {}),
        ("quick-GELU off", dataclasses.replace(choice, quick_gelu=False), {}),
        (f"resized by a {other} filter", choice, {"fit": dataclasses.replace(fit, interpolation=other)}),
        ("pixels normalised by OpenAI's numbers", choice, {"numbers": OPENAI}),
        ("pixels normalised to -1 .. 1", choice, {"numbers": HALVES}),
    ]
    changes += [
        (f"resized {mode}", choice, {"fit": dataclasses.replace(fit, mode=mode)})
        for mode in ("shortest", "longest", "squash")
        if mode != fit.mode
    ]
    for cause, changed, ways in changes:
        if changed != choice or ways:
            yield cause, float(np.median(cosines_of(changed, pairs, unit, folder, **ways)))


def _shared(shards: Sequence[Shard], known: KnownVectors) -> Iterator[tuple[str, Pair]]:
    """Pairs whose pictures decode and whose vectors are known, a few of each shard first."""
    few = max(1, -(-ROWS // max(1, len(shards))))
    for shard in shards:
        found = (pair for pair in islice(read_pairs(shard), LOOKED) if isinstance(pair, Pair))
        yield from islice(((shard.name, pair) for pair in found if _usable(pair, shard.name, known)), few)


def _usable(pair: Pair, source: str, known: KnownVectors) -> bool:
    if known.stored(*_names(source, pair)) is None:
        return False
    try:
        pixels_apart(pair.image)
    except BadPictureError:
        return False
    return True


def _names(source: str, pair: Pair) -> tuple[str, str]:
    return f"{source}/{pair.key}", pair.key
