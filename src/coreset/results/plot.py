"""Pictures of figures, with matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence

from coreset.engine.errors import UsageError
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
    """Write the curve of the kept share against the threshold."""
    from matplotlib.figure import Figure

    kind = kind_of(location)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(thresholds, [100 * count / total for count in kept], marker="o", markersize=3)
    axes.set(xlabel="threshold: rows with a cosine above it are joined", ylabel="rows kept, percent")
    axes.set_ylim(0, 100)
    axes.grid(visible=True, alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format=kind)
    write_bytes(location, picture.getvalue())
