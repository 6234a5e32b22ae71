"""Encoders of the user's own: an entry point of an installed package names what makes one.

A recipe may name an entry point, never a file or a function: what runs was installed by the user, not by a recipe.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

import torch
from torch import nn

from coreset.encoder.checked import CALLED, CheckedEncoder, named
from coreset.encoder.choice import Choice, Encoder, Weights
from coreset.encoder.memory import memory_said
from coreset.engine.errors import CoresetError, InputError

OWN, GROUP = "encoder:", "coreset.encoders"


def own_encoder(choice: Choice) -> Encoder:
    """What the entry point of a choice makes of it; its answers are looked at.

    Raises:
        InputError: There is no such entry point, it fails, or it makes something else than an encoder.
    """
    entry = found_entry(choice.model)
    try:
        with memory_said(choice):
            made: Encoder = entry.load()(choice)
    except CoresetError:
        raise
    except Exception as error:  # it is anybody's code
        raise InputError(f"{choice.model} could not be loaded from {entry.value}: {named(error)}.") from error
    lacking = [name for name in ("dimension", *CALLED) if not hasattr(made, name)]
    if lacking:
        raise InputError(f"{choice.model} is no encoder: what {entry.value} makes has no {' and no '.join(lacking)}.")
    return CheckedEncoder(made, choice)


def is_own(model: str) -> bool:
    """Whether a model is named as the user's own.

    Example:
        >>> is_own("encoder:colours"), is_own("ViT-L-14")
        (True, False)
    """
    return model.startswith(OWN)


def own_weights(choice: Choice, say: Callable[[str], None]) -> Weights:
    """What identifies an encoder of the user's own: its package, version and place, and what it is made of.

    That is the text `identity` of the class or of the object; where there is none, the weights of the torch modules
    that the object holds, for which it is loaded; and where there are none, that is said.

    Raises:
        InputError: There is no such entry point, it cannot be imported, or it fails.
    """
    model = choice.model
    entry = found_entry(model)
    try:
        said = getattr(entry.load(), "identity", None)
    except Exception as error:
        raise InputError(f"{model} could not be loaded from {entry.value}: {named(error)}.") from error
    if said is None:
        from coreset.encoder.loading import loaded_encoder

        said = own_identity(loaded_encoder(choice))
    if said is None:
        say(f"{model} has no `identity` and no torch module: if its weights change, nothing will notice")
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
    identity = f"{package} {entry.value} {said or ''}"
    return Weights(entry.value, hashlib.sha256(identity.encode()).hexdigest(), quick_gelu=False)


def own_identity(encoder: object) -> str | None:
    """What an object says of itself, else the hash of all weights that its torch modules hold; None if it has none.

    Example:
        >>> class Encoder:
        ...     def __init__(self, weight): self.layer = torch.nn.Linear(1, 1); self.layer.weight.data.fill_(weight)
        >>> own_identity(Encoder(1.0)) == own_identity(Encoder(2.0)), own_identity(object())
        (False, None)
    """
    encoder = encoder.model if isinstance(encoder, CheckedEncoder) else encoder
    said = getattr(encoder, "identity", None)
    if said is not None:
        return str(said)
    held = {"": encoder} if isinstance(encoder, nn.Module) else getattr(encoder, "__dict__", {})
    modules = {name: module for name, module in sorted(held.items()) if isinstance(module, nn.Module)}
    if not any(module.state_dict() for module in modules.values()):
        return None
    digest = hashlib.sha256()
    for name, module in modules.items():
        for key, value in sorted(module.state_dict().items()):
            digest.update(f"{name} {key} {getattr(value, 'dtype', '')} {tuple(getattr(value, 'shape', ()))}\n".encode())
            if isinstance(value, torch.Tensor):
                flat = value.detach().cpu().contiguous().reshape(-1)
                digest.update(flat.view(torch.uint8).numpy().tobytes())
            else:
                digest.update(repr(value).encode())
    return digest.hexdigest()


def found_entry(model: str) -> EntryPoint:
    """The entry point that `encoder:NAME` names.

    Raises:
        InputError: There is none of that name.
    """
    name = model.removeprefix(OWN)
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    meant = f" (did you mean {OWN}{near[0]}?)" if near else ""
    raise InputError(
        f"{model} is not known{meant}: no installed package has an entry point {name} in the group {GROUP}; "
        f"those that are there: {', '.join(sorted(known)) or 'none'}."
    )
