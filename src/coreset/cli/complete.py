"""What the shell offers when TAB is pressed; loads nothing that takes time, so lists of the code stand here again.

A test compares them with the code. Where nothing is offered, the shell completes files.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable

VALUES = {
    "device": ("auto", "cpu", "cuda"),
    "precision": ("auto", "float32", "bfloat16", "float16"),
    "format": ("auto", "clip-retrieval", "npy", "parquet", "parquet_npy", "datacomp"),
    "text_cosine": ("auto", "embeddings", "similarity"),
    "features": ("l14", "b32"),
    "keep": ("median", "nearest", "farthest", "random"),
}
"""What a parameter may be, by its name."""


def values_of(name: str) -> Callable[[str], list[str]]:
    """Completes the values of a parameter.

    Example:
        >>> values_of("keep")("n")
        ['nearest']
    """

    def offered(incomplete: str) -> list[str]:
        return [value for value in VALUES[name] if value.startswith(incomplete)]

    return offered


def run_folders(incomplete: str) -> list[str]:
    """Completes run directories: folders in which a stage was begun, whatever they are called."""
    found = glob.glob(glob.escape(os.path.expanduser(incomplete)) + "*")
    return sorted(name for name in found if glob.glob(os.path.join(glob.escape(name), "*", "plan.json")))


def recipes(incomplete: str) -> list[str]:
    """Completes TOML files."""
    return sorted(glob.glob(glob.escape(os.path.expanduser(incomplete)) + "*.toml"))
