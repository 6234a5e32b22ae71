"""The map of a sample, as a picture whose points have the colours of their fates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coreset.engine.files import Location
from coreset.results.fate import QUARANTINED
from coreset.results.map import map_points
from coreset.results.report.plots import map_picture
from coreset.sample import FATES, KEPT

MOST = 20_000
"""Points that are drawn."""
FATE_COLOURS = {
    "duplicate": "#8b929d",
    "text rank too high": "#c2611c",
    "text rank too low": "#a8791a",
    "centroid rank too high": "#8659d8",
    "centroid rank too low": "#c04a94",
    "no caption": "#7a7f45",
    "not sampled": "#2f7fd6",
    "kept": "#0a8f63",
}
"""In the order in which points are drawn; each at least 3 : 1 against the page, light and dark."""
NO_COLOUR = "#8b929d"
BACKGROUND = "#8b929d2a"
PANEL = 420
"""Pixels that a small map is wide."""


@dataclass(frozen=True)
class MapShown:
    """A map.

    Attributes:
        points: drawn, by fate
        picture: a PNG of them
        panels: a small PNG for each fate: its points, the others behind them in grey
    """

    points: dict[str, int]
    picture: bytes
    panels: dict[str, bytes]


def colour_of(fate: str) -> str:
    """The colour of a fate, also of those that no row has."""
    return "#b3383f" if fate == QUARANTINED else FATE_COLOURS.get(fate, NO_COLOUR)


def map_shown(run: Location, seed: int) -> MapShown:
    """The map of a sample of a run's rows.

    Args:
        run: the run directory
        seed: of the sample
    """
    table = map_points(run, MOST, seed)
    places = np.stack([table[name].to_numpy().astype(np.float64) for name in ("x", "y")], axis=1)
    number = pc.index_in(table["fate"], pa.array(list(FATE_COLOURS))).to_numpy()
    groups = {fate: places[number == place] for place, fate in enumerate(FATE_COLOURS)}
    drawn = [(f"{FATE_COLOURS[fate]}c0", points) for fate, points in groups.items()]
    found = {fate: groups[fate] for fate in FATES if len(groups[fate])}
    panels = {
        fate: map_picture([(BACKGROUND, places), (FATE_COLOURS[fate], points)], width=PANEL)
        for fate, points in found.items()
    }
    picture = map_picture(drawn, front=groups[FATES[KEPT]])
    return MapShown({fate: len(points) for fate, points in found.items()}, picture, panels)
