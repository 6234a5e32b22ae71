"""The report's plots, with matplotlib: SVG in the colours and the font of the page, and the map as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64
from markupsafe import Markup

from coreset.results.report.own_svg import COLOURS, page_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (5.0, 3.1)
"""Inches: text of 10 points is then readable on a phone, where a plot is as wide as the screen."""
POINTS = 200
"""Of a line; more could not be told apart."""
Points = Float64[np.ndarray, "n 2"]
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": COLOURS["line"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": COLOURS["dim"],
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout everywhere
    "font.size": 10,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["dim"],
    "ytick.color": COLOURS["dim"],
    "ytick.left": False,
    "svg.fonttype": "none",  # text stays text: read aloud, copied, in the page's font
}
_NOTE: dict[str, Any] = {"fontsize": 9, "annotation_clip": False}


def score_plot(
    name: str,
    edges: Sequence[float],
    before: Sequence[int] | None,
    after: Sequence[int],
    cuts: Sequence[tuple[float, str]],
    label: str,
) -> Markup:
    """A histogram, with one behind it, and lines at cuts.

    Args:
        name: of the plot, unique in the page
        edges: of the bins
        before: counts behind
        after: counts in front
        cuts: where a line stands, and what is written at it; of two the space between is shaded
        label: of the scores
    """
    with _drawing() as (figure, axes):
        if before is not None:
            axes.stairs(before, edges, fill=True, color=COLOURS["soft"])
            axes.stairs(before, edges, color=COLOURS["dim"], linewidth=0.8)
        axes.stairs(after, edges, fill=True, color=COLOURS["accent"])
        if len(cuts) == 2:
            axes.axvspan(cuts[0][0], cuts[1][0], color=COLOURS["mark"], alpha=0.18, linewidth=0)
        for (place, text), side in zip(cuts, ("right", "left"), strict=False):
            axes.axvline(place, color=COLOURS["mark"], linewidth=1.2)
            shift = (-4, 2) if side == "right" else (4, 2)
            at: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "ha": side, "va": "bottom"}
            axes.annotate(text, (place, 1.0), shift, textcoords="offset points", **at, **_NOTE)
        axes.set_xlabel(label)
        axes.yaxis.set_major_formatter(_short)
        axes.margins(x=0.01)
        return drawn(figure, name)


def curve_plot(name: str, thresholds: Sequence[float], shares: Sequence[float], now: tuple[float, float]) -> Markup:
    """The percent of rows that each threshold keeps, and where the run stands."""
    with _drawing() as (figure, axes):
        axes.plot(thresholds, shares, color=COLOURS["accent"], linewidth=2)
        axes.axvline(now[0], color=COLOURS["mark"], linewidth=1.2)
        axes.plot(*now, marker="o", markersize=7, color=COLOURS["mark"], linestyle="")
        text = f"this run: {now[0]:g} keeps {now[1]:.1f} %"
        is_left = now[0] > 0.9  # above the curve on its left, or below it on its right: it rises
        shift, side = ((-10, 12), "right") if is_left else ((10, -12), "left")
        at: dict[str, Any] = {"ha": side, "va": "center"}
        axes.annotate(text, now, shift, textcoords="offset points", **at, **_NOTE)
        axes.set(xticks=[0.8, 0.85, 0.9, 0.95, 1.0], ylim=(0, 100))
        axes.set(xlabel="threshold: rows with a cosine above it are joined", ylabel="rows kept, percent")
        return drawn(figure, name)


def tail_plot(name: str, sizes: dict[int, int], what: str) -> Markup:
    """How many things have at least so many rows, both logarithmic."""
    with _drawing() as (figure, axes):
        size, at_least = tail(sizes)
        axes.plot(size, at_least, color=COLOURS["accent"], linewidth=2, marker="o", markersize=3)
        axes.set(xscale="log", yscale="log", xlabel=f"rows of a {what}, at least", ylabel=f"{what}s")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_short)
            axis.set_minor_formatter("")
        axes.grid(visible=True, which="major", axis="x")
        return drawn(figure, name)


def tail(sizes: dict[int, int]) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """Sizes, and how many have at least that; at most `POINTS` of them, evenly apart in the logarithm.

    Example:
        >>> tail({1: 5, 3: 2})
        (array([1., 3.]), array([7., 2.]))
    """
    size = np.array(sorted(sizes), np.float64)
    at_least = np.cumsum([sizes[int(one)] for one in size[::-1]])[::-1].astype(np.float64)
    if len(size) > POINTS:
        wanted = np.geomspace(size[0], size[-1], POINTS)
        chosen = np.unique(np.searchsorted(size, wanted).clip(0, len(size) - 1))
        size, at_least = size[chosen], at_least[chosen]
    return size, at_least


def map_picture(groups: Sequence[tuple[str, Points]], front: Points | None = None, width: int = 1170) -> bytes:
    """Points in colours on nothing, as a PNG; later groups lie on earlier ones.

    Args:
        groups: colours, as #rrggbbaa, and points
        front: points that stand out, in the last group's colour
        width: of the picture in pixels
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = io.BytesIO()
    with rc_context():
        figure = Figure(figsize=(9, 6.4))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        count = sum(len(points) for _, points in groups)
        side = float(np.clip(50_000 / max(count, 1), 5, 36)) * (1170 / width)
        for colour, points in groups:
            axes.scatter(points[:, 0], points[:, 1], s=side, color=colour, linewidths=0)
        if front is not None:
            axes.scatter(
                front[:, 0], front[:, 1], s=2.5 * side, color=groups[-1][0], edgecolors="white", linewidths=800 / width
            )
        axes.margins(0.02)
        figure.savefig(picture, format="png", dpi=width / 9, transparent=True, metadata={"Software": None})
    return picture.getvalue()


class _drawing:  # noqa: N801  used as a function
    """A figure with one plot, in the report's style, while the block runs."""

    def __enter__(self) -> tuple[Figure, Axes]:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        self._context = rc_context(_STYLE)
        self._context.__enter__()
        figure = Figure(figsize=SIZE, layout="constrained")
        return figure, figure.subplots()

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401  as the protocol says
        self._context.__exit__(*error)


def _short(number: float, _place: float = 0) -> str:
    """A count as an axis says it.

    Example:
        >>> [_short(number) for number in (0, 0.5, 950, 12_000, 2_500_000)]
        ['0', '', '950', '12k', '2.5M']
    """
    if number != int(number):
        return ""
    for power, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if abs(number) >= power:
            return f"{number / power:g}{unit}"
    return f"{number:g}"


def drawn(figure: Figure, name: str) -> Markup:
    """A figure as an element of the page; equal figures have equal bytes."""
    from matplotlib import rc_context

    written = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    return page_svg(written.getvalue(), name)
