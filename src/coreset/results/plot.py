"""Pictures of figures, with matplotlib: an extra, `pip install 'coreset[plot]'`."""

from __future__ import annotations

import io
from collections.abc import Sequence

from coreset.engine.errors import InputError, UsageError
from coreset.engine.files import write_bytes

KINDS = ("svg", "png", "pdf")


def kind_of(location: str) -> str:
    """The kind of picture that a file's name asks for.

    Raises:
        UsageError: It is none that can be drawn.

    Example:
        >>> kind_of("sweep.svg")
        'svg'
    """
    kind = location.rpartition(".")[2].lower()
    if kind not in KINDS:
        raise UsageError(f"--plot {location} must end in {', '.join('.' + name for name in KINDS)}.")
    return kind


def draw_sweep(location: str, thresholds: Sequence[float], kept: Sequence[int], total: int) -> None:
    """Write the curve of the kept share against the threshold.

    Raises:
        InputError: matplotlib is not installed.
    """
    kind = kind_of(location)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("--plot needs matplotlib; pip install 'coreset[plot]'.") from error
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(thresholds, [100 * count / total for count in kept], marker="o", markersize=3)
    axes.set(xlabel="threshold: rows with a cosine above it are joined", ylabel="rows kept, percent")
    axes.set_ylim(0, 100)
    axes.grid(visible=True, alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format=kind)
    write_bytes(location, picture.getvalue())
