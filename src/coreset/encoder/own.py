"""Encoders of the user's own: an entry point of an installed package names what makes one.

A recipe may name an entry point, never a file or a function: what runs was installed by the user, not by a recipe.
"""

from __future__ import annotations

import difflib
import hashlib
from importlib.metadata import EntryPoint, entry_points

from coreset.encoder.choice import Choice, Encoder, Weights
from coreset.engine.errors import InputError

OWN, GROUP = "encoder:", "coreset.encoders"


def own_encoder(choice: Choice) -> Encoder:
    """What the entry point of a choice makes of it.

    Raises:
        InputError: There is no such entry point, or it fails.
    """
    entry = found_entry(choice.model)
    try:
        made: Encoder = entry.load()(choice)
    except (ImportError, AttributeError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{choice.model} could not be loaded from {entry.value}: {error}.") from error
    return made


def own_weights(model: str) -> Weights:
    """What identifies an encoder of the user's own: its package, version and place, and what it says of itself.

    Raises:
        InputError: There is no such entry point, or it cannot be imported.
    """
    entry = found_entry(model)
    try:
        said = getattr(entry.load(), "identity", "")
    except (ImportError, AttributeError) as error:
        raise InputError(f"{model} could not be loaded from {entry.value}: {error}.") from error
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
    identity = f"{package} {entry.value} {said}"
    return Weights(entry.value, hashlib.sha256(identity.encode()).hexdigest(), quick_gelu=False)


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
