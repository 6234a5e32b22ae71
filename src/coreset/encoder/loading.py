"""The encoder of a choice, loaded once in a process; why it could not be, in one sentence."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from dataclasses import replace
from functools import lru_cache
from typing import Any

import open_clip
import torch
from open_clip.factory import load_state_dict
from safetensors import SafetensorError

from coreset.encoder.choice import Choice, Encoder
from coreset.encoder.memory import is_out_of_memory
from coreset.encoder.open_clip_model import OpenClipEncoder
from coreset.encoder.own import is_own, own_encoder
from coreset.encoder.quiet import quiet
from coreset.engine.errors import InputError, ResourceError

_loading = threading.Lock()
SHOWN = 3
"""Keys of a checkpoint that are named, of each kind of difference."""


def loaded_encoder(choice: Choice) -> Encoder:
    """The encoder of a choice; loaded once in a process, whichever of its threads asks first.

    Raises:
        InputError: The weights do not fit the model.
        ResourceError: The device has not enough memory.
    """
    with _loading:
        return _loaded(replace(choice, device=device_here(choice.device)))


def device_here(device: str) -> str:
    """The device of this process: where `cuda` alone is asked for, workers take the devices in turn.

    Example:
        >>> device_here("cpu"), device_here("cuda:1")
        ('cpu', 'cuda:1')
    """
    if device != "cuda":
        return device
    number = multiprocessing.current_process().name.rpartition("-")[2]  # SpawnProcess-1, SpawnProcess-2, ...
    return f"cuda:{(int(number) - 1 if number.isdigit() else 0) % max(1, torch.cuda.device_count())}"


def fresh_encoder(choice: Choice, **ways: Any) -> Encoder:  # noqa: ANN401  what the encoder has
    """An encoder of its own, called in another way: `fit`, or `numbers` by which pixels are normalised.

    Raises:
        InputError: As `loaded_encoder`.
        ResourceError: Likewise.
    """
    encoder = _made(choice)
    if isinstance(encoder, OpenClipEncoder):
        encoder.changed(**ways)
    return encoder


@lru_cache(maxsize=1)
def _loaded(choice: Choice) -> Encoder:
    return _made(choice)


def _made(choice: Choice) -> Encoder:
    if is_own(choice.model):
        return own_encoder(choice)
    try:
        return OpenClipEncoder(choice)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{choice.name} could not be loaded: it is damaged, or holds more than tensors, which may run code; "
            f"save it as safetensors where you trust it."
        ) from error
    except (RuntimeError, ValueError, KeyError, AttributeError, ImportError, OSError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise ResourceError(f"{choice.name} does not fit into the memory of {choice.device}.") from error
        if isinstance(error, ImportError) and error.name == "transformers":
            raise InputError(
                f"{choice.name} has a tokenizer of Hugging Face's: run `pip install transformers`."
            ) from error
        reason = differing_keys(choice) or _first_line(error)
        raise InputError(f"{choice.name} could not be loaded: {reason}.") from error


def differing_keys(choice: Choice) -> str:
    """In which keys the weights of a choice differ from its model; empty if they do not, or cannot be compared."""
    from coreset.encoder.found import found_weights

    try:
        with quiet():
            model = open_clip.create_model(choice.model, choice.pretrained, load_weights=False, pretrained_text=False)
            held = load_state_dict(found_weights(choice.model, choice.pretrained).location)
    except Exception:  # noqa: BLE001  whatever speaks against it, the error that is being explained was first
        return ""
    return difference({key: _shape(value) for key, value in held.items()}, _shapes(model))


def difference(held: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> str:
    """How the shapes of two sets of weights differ, by key.

    Example:
        >>> print(difference({"a": (2,), "c": (1,)}, {"a": (3,), "b": (1,)}).partition(": ")[2])
        1 key(s) are missing (b), 1 unknown (c), 1 of another shape (a: (2,), not (3,))
    """
    other = [f"{key}: {held[key]}, not {wanted[key]}" for key in held if key in wanted and held[key] != wanted[key]]
    kinds = {
        "are missing": [key for key in wanted if key not in held],
        "unknown": [key for key in held if key not in wanted],
        "of another shape": other,
    }
    said = [f"{len(keys):,}{' key(s)' * (not n)} {kind} ({_few(keys)})" for n, (kind, keys) in enumerate(kinds.items())]
    return f"the weights are of another architecture: {', '.join(said)}" if any(kinds.values()) else ""


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", …" if len(keys) > SHOWN else "") or "none"


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:  # noqa: ANN401  open_clip has no types
    return {key: _shape(value) for key, value in model.state_dict().items()}


def _shape(value: Any) -> tuple[int, ...]:  # noqa: ANN401  a checkpoint may hold anything
    return tuple(getattr(value, "shape", ()))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
