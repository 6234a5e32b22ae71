"""A user's own encoder with its answers looked at: what is wrong with them is said in one sentence, not stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from coreset.encoder.calls import Pending
from coreset.encoder.choice import Choice, Encoder, as_array, captions_at_once, fit_of
from coreset.encoder.memory import memory_said
from coreset.engine.errors import CoresetError, InputError

CALLED = ("prepared", "image_vectors", "text_vectors")
LENGTH = 1e-3
"""How far the length of a vector may be from 1."""


class CheckedEncoder:
    """Calls an encoder, and refuses what is not as the Protocol says.

    Numbers that are not finite are let through: they are a matter of single rows, which are quarantined.

    Attributes:
        model: the encoder that is called
        dimension: of its vectors
        fit: how pictures are brought to its size, if it says so
        captions_at_once: how many captions it likes to be given together
    """

    def __init__(self, model: Encoder, choice: Choice) -> None:
        dimension: Any = model.dimension
        if not isinstance(dimension, int) or dimension < 1:
            raise InputError(f"{choice.model} has the dimension {dimension!r}; a number of at least 1 is wanted.")
        self.model, self.dimension = model, dimension
        self.fit, self.captions_at_once = fit_of(model), captions_at_once(model, choice.batch_size)
        self._choice = choice
        self._lengths_seen: set[str] = set()

    def prepared(self, image: Image.Image) -> torch.Tensor:
        """As the encoder's."""
        found: torch.Tensor = self._called("prepared", image)
        return found

    def image_vectors(self, prepared: list[torch.Tensor]) -> Float32[np.ndarray, "b d"] | torch.Tensor:
        """As the encoder's, in float32."""
        return self._vectors("image_vectors", prepared)

    def text_vectors(self, captions: list[str]) -> Float32[np.ndarray, "b d"] | torch.Tensor:
        """As the encoder's, in float32."""
        return self._vectors("text_vectors", captions)

    def _vectors(self, name: str, given: list[Any]) -> Float32[np.ndarray, "b d"] | torch.Tensor:
        found = self._called(name, given)
        if isinstance(found, Pending):  # one of coreset's encoders within it
            found = as_array(found)
        if not isinstance(found, np.ndarray | torch.Tensor):
            raise InputError(f"{self._choice.model}: {name} gave {type(found).__name__}, not an array or a tensor.")
        wanted = (len(given), self.dimension)
        if tuple(found.shape) != wanted:
            raise InputError(f"{self._choice.model}: {name} gave the shape {tuple(found.shape)}, not {wanted}.")
        vectors = found.float() if isinstance(found, torch.Tensor) else found.astype(np.float32, copy=False)
        if name not in self._lengths_seen:  # of the first call only, because it waits for the device
            self._check_lengths(name, as_array(vectors))
            self._lengths_seen.add(name)
        return vectors

    def _check_lengths(self, name: str, vectors: Float32[np.ndarray, "b d"]) -> None:
        lengths = np.linalg.norm(vectors, axis=1)
        wrong = lengths[np.isfinite(lengths) & (lengths > 0) & (np.abs(lengths - 1) > LENGTH)]
        if len(wrong):
            raise InputError(f"{self._choice.model}: {name} gave vectors of length {wrong[0]:.4g}; 1 is wanted.")

    def _called(self, name: str, given: Any) -> Any:  # noqa: ANN401  what the encoder takes
        try:
            with memory_said(self._choice):
                return getattr(self.model, name)(given)
        except (CoresetError, MemoryError):
            raise
        except Exception as error:  # it is anybody's code
            raise InputError(f"{self._choice.model} failed in {name}: {named(error)}.") from error


def named(error: Exception) -> str:
    """An error of somebody else's code in a line.

    Example:
        >>> named(ValueError("no such thing.")), named(KeyError())
        ('ValueError: no such thing', 'KeyError')
    """
    said = (str(error).splitlines() or [""])[0][:300].rstrip(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
