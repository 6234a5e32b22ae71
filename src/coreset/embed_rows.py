"""The pairs of one shard to vectors and rows: decoded ahead, called in batches of one shape, put in order again."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image

from coreset.engine.progress import ticker
from coreset.sources.decoding import pixels_apart
from coreset.sources.pairs import Pair, Reject
from coreset.sources.pictures import BadPictureError

if TYPE_CHECKING:
    import torch

    from coreset.encoder import Encoder
    from coreset.encoder.calls import Pending

    Vectors: TypeAlias = "Float32[np.ndarray, 'b d'] | torch.Tensor | Pending"
    Ready: TypeAlias = "torch.Tensor | np.ndarray[Any, Any]"
    """What a model reads for a picture, or the vector itself where it is known."""

S = TypeVar("S")
T = TypeVar("T")
WINDOW = 4096
"""Rows whose captions are called together, sorted by length; their pictures are not held."""
UNDER_WAY = 2
"""Batches that the model may have before the vectors of the first are waited for."""


Known = Callable[[Pair], Float32[np.ndarray, "d"] | None]


def nothing_known(pair: Pair) -> None:
    """No vector is known before it is computed."""


@dataclass(frozen=True)
class How:
    """What decides the vectors besides the encoder.

    Attributes:
        batch_size: pictures that the model is given together
        threads: of decoding
        max_pixels: larger pictures are refused undecoded
        draft: whether JPEGs are decoded smaller where that is enough
    """

    batch_size: int
    threads: int
    max_pixels: int
    draft: bool = False


@dataclass(frozen=True)
class Embedded:
    """Some pairs in the order of their shard; row i of each array is of pair i.

    Attributes:
        pairs: without their pictures' bytes
        images: of length 1
        texts: of length 1; of an empty caption where there is none
        cosines: of picture and caption; NaN where there is no caption
    """

    pairs: list[Pair]
    images: Float32[np.ndarray, "n d"]
    texts: Float32[np.ndarray, "n d"]
    cosines: Float32[np.ndarray, "n"]


def embedded_pairs(
    pairs: Iterable[Pair | Reject], encoder: Encoder, how: How, rejects: list[Reject], known: Known = nothing_known
) -> Iterator[Embedded]:
    """Pairs in order, with unit vectors and text cosines, about a window at a time; bad ones join `rejects`.

    `known` gives the image vector of a pair that need not be computed.
    """
    kept: list[Pair] = []
    images: list[Images] = []
    try:
        for batch in batches_of(prepared_pairs(pairs, encoder, how, rejects, known), how.batch_size):
            kept += [dataclasses.replace(pair, image=b"") for pair, _ in batch]
            images.append(Images([found for _, found in batch], encoder))
            ticker.add(len(batch))
            if len(images) >= UNDER_WAY:
                images[-UNDER_WAY].array()
            if len(kept) >= WINDOW:
                yield finished(kept, images, encoder, how, rejects)
                kept, images = [], []
        if kept:
            yield finished(kept, images, encoder, how, rejects)
    except BaseException:
        for some in images:
            some.drop()
        raise


def finished(kept: list[Pair], images: list[Images], encoder: Encoder, how: How, rejects: list[Reject]) -> Embedded:
    """A window with the vectors of its captions; rows that are not finite join `rejects`."""
    from coreset.encoder import as_array, drop

    captions = called_captions([pair.caption or "" for pair in kept], encoder, how.batch_size)
    try:
        pictures = np.concatenate([some.array() for some in images])
        texts = np.concatenate([as_array(some) for some in captions])
    except BaseException:
        for asked in captions:
            drop(asked)
        raise
    cosines = np.einsum("nd,nd->n", pictures, texts, dtype=np.float32)
    good = finite_rows(pictures, cosines)
    rejects.extend(
        Reject(pair.key, pair.row, "not_finite", "the model gave NaN, infinity or a zero vector", 1)
        for pair, fine in zip(kept, good, strict=True)
        if not fine
    )
    cosines[[pair.caption is None for pair in kept]] = np.nan
    left = [pair for pair, fine in zip(kept, good, strict=True) if fine]
    return Embedded(left, pictures[good], texts[good], cosines[good])


def called_captions(captions: list[str], encoder: Encoder, batch_size: int) -> list[Vectors]:
    """Calls the model with captions, as many at once as the encoder likes."""
    from coreset.encoder import captions_at_once

    many = captions_at_once(encoder, batch_size)
    starts = range(0, len(captions), many)
    return [encoder.text_vectors(captions[start : start + many]) for start in starts]


def batches_of(ready: Iterable[tuple[Pair, Ready]], batch_size: int) -> Iterator[list[tuple[Pair, Ready]]]:
    """Pairs in order, of which at most `batch_size` have a picture for the model; the others' vectors are known."""
    batch: list[tuple[Pair, Ready]] = []
    pictures = 0
    for pair, found in ready:
        batch.append((pair, found))
        pictures += not isinstance(found, np.ndarray)
        if pictures == batch_size or len(batch) == WINDOW:
            yield batch
            batch, pictures = [], 0
    if batch:
        yield batch


class Images:
    """The image vectors of a batch: some may be known, and the model may still compute the others."""

    def __init__(self, found: list[Ready], encoder: Encoder) -> None:
        self._shape = len(found), encoder.dimension
        self._known = {place: one for place, one in enumerate(found) if isinstance(one, np.ndarray)}
        pictures = [one for one in found if not isinstance(one, np.ndarray)]
        self._computed = encoder.image_vectors(pictures) if pictures else None
        self._vectors: Float32[np.ndarray, "b d"] | None = None

    def array(self) -> Float32[np.ndarray, "b d"]:
        """The vectors in order; waits for them."""
        if self._vectors is None:
            self._vectors = self._waited()
            self._computed = None
        return self._vectors

    def drop(self) -> None:
        """Nobody will ask for the vectors."""
        from coreset.encoder import drop

        if self._computed is not None:
            drop(self._computed)

    def _waited(self) -> Float32[np.ndarray, "b d"]:
        from coreset.encoder import as_array

        vectors = np.empty(self._shape, np.float32)
        if self._computed is not None:
            vectors[[place for place in range(len(vectors)) if place not in self._known]] = as_array(self._computed)
        for place, vector in self._known.items():
            vectors[place] = vector
        return vectors


def finite_rows(images: Float32[np.ndarray, "b d"], cosines: Float32[np.ndarray, "b"]) -> Bool[np.ndarray, "b"]:
    """Which rows have a vector of length 1 and a cosine that is a number.

    Example:
        >>> finite_rows(np.float32([[1, 0], [0, 0], [np.nan, 1]]), np.float32([0.5, 0.5, 0.5]))
        array([ True, False, False])
    """
    norms = np.linalg.norm(images, axis=1)
    good: Bool[np.ndarray, "b"] = (np.abs(norms - 1) < 1e-3) & np.isfinite(cosines)
    return good


def prepared_pairs(
    pairs: Iterable[Pair | Reject], encoder: Encoder, how: How, rejects: list[Reject], known: Known = nothing_known
) -> Iterator[tuple[Pair, Ready]]:
    """Pairs whose picture decodes, with what the model reads; decoded ahead, yielded in order."""
    from coreset.encoder import fit_of

    fit = fit_of(encoder)

    def prepared(pair: Pair | Reject) -> tuple[Pair, Ready] | Reject:
        if isinstance(pair, Reject):
            return pair
        vector = known(pair)
        if vector is not None:
            return pair, vector
        try:
            pixels = pixels_apart(pair.image, how.max_pixels, fit, how.draft)
        except BadPictureError as error:
            return Reject(pair.key, pair.row, error.reason, error.detail, 1)
        return pair, encoder.prepared(Image.fromarray(pixels))

    with ThreadPoolExecutor(how.threads) as pool:
        for result in ordered_ahead(pool, prepared, pairs, 2 * how.batch_size):
            if isinstance(result, Reject):
                rejects.append(result)
            else:
                yield result


def ordered_ahead(pool: ThreadPoolExecutor, call: Callable[[S], T], values: Iterable[S], window: int) -> Iterator[T]:
    """Results in the order of the values, at most `window` of them computed ahead.

    Example:
        >>> with ThreadPoolExecutor(2) as pool:
        ...     list(ordered_ahead(pool, lambda x: x * x, [1, 2, 3], window=2))
        [1, 4, 9]
    """
    waiting: deque[Future[T]] = deque()
    for value in values:
        waiting.append(pool.submit(call, value))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
