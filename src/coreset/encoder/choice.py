"""Which model embeds, and how: small values that name it, without loading anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float32

from coreset.encoder.calls import Pending

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from coreset.sources.fitting import Fit


class Encoder(Protocol):
    """Anything that gives unit vectors for pictures and captions, all of one dimension.

    An encoder may have more attributes: `fit`, by which the processes that decode do the resizing, and
    `captions_at_once`, each with the meaning that `OpenClipEncoder` gives it; and `identity`, a text that is another
    when its weights are, such as a hash or a version. Without it the torch modules that are attributes of the encoder
    are hashed.
    """

    dimension: int

    def prepared(self, image: Image.Image) -> torch.Tensor:
        """What the model reads for a picture; may be called from several threads."""
        ...

    def image_vectors(self, prepared: list[torch.Tensor]) -> Float32[np.ndarray, "b d"] | torch.Tensor | Pending:
        """A float32 vector of length 1 for each prepared picture, at most a batch of them."""
        ...

    def text_vectors(self, captions: list[str]) -> Float32[np.ndarray, "b d"] | torch.Tensor | Pending:
        """A float32 vector of length 1 for each caption, at most a batch of them."""
        ...


@dataclass(frozen=True)
class Choice:
    """Which model, and how it is to run; small and picklable, so that each worker loads its own.

    Attributes:
        model: as open_clip names it: `ViT-L-14`, `local-dir:FOLDER` or `hf-hub:NAME`; or `encoder:NAME`
        pretrained: a tag of open_clip's or a weights file; None for the forms that name a folder or a hub
        quick_gelu: whether the activation is forced to quick-GELU
        device: `cpu`, `cuda` or `cuda:N`
        precision: `float32`, `bfloat16` or `float16`: of weights and activations
        batch_size: pictures that the model is given together; short calls are padded, so their shape never changes
        threads: threads that call the model
    """

    model: str
    pretrained: str | None
    quick_gelu: bool
    device: str
    precision: str
    batch_size: int
    threads: int

    @property
    def name(self) -> str:
        """The model as a person names it."""
        return f"{self.model} {self.pretrained or ''}".strip()


@dataclass(frozen=True)
class Weights:
    """The weights that a choice of model stands for.

    Attributes:
        location: the file
        sha256: of its bytes, and of the model's own configuration when that is a file too
        quick_gelu: whether these weights were trained with quick-GELU
    """

    location: str
    sha256: str
    quick_gelu: bool


def as_array(vectors: Float32[np.ndarray, "b d"] | torch.Tensor | Pending) -> Float32[np.ndarray, "b d"]:
    """Vectors as an array; waits for those that are still computed."""
    if isinstance(vectors, Pending):
        return vectors.array()
    found: np.ndarray = vectors if isinstance(vectors, np.ndarray) else vectors.cpu().numpy()
    return found


def drop(vectors: Float32[np.ndarray, "b d"] | torch.Tensor | Pending) -> None:
    """Say that vectors are not waited for any more."""
    if isinstance(vectors, Pending):
        vectors.drop()


def fit_of(encoder: Encoder) -> Fit | None:
    """How pictures are brought to the model's size, if that is all that comes before its arithmetic."""
    fit: Fit | None = getattr(encoder, "fit", None)
    return fit


def captions_at_once(encoder: Encoder, batch_size: int) -> int:
    """How many captions the encoder likes to be given together; a batch unless it says more."""
    return int(getattr(encoder, "captions_at_once", batch_size))
