"""The map of a sample, as a picture whose points have the colours of their fates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from coreset.engine.errors import InputError
from coreset.engine.files import Location
from coreset.results.fate import QUARANTINED
from coreset.results.map import map_points
from coreset.results.plots import map_picture
from coreset.sample import FATES

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


@dataclass(frozen=True)
class MapShown:
    """A map.

    Attributes:
        points: drawn, by fate
        picture: a PNG of them
    """

    points: dict[str, int]
    picture: bytes


def colour_of(fate: str) -> str:
    """The colour of a fate, also of those that no row has."""
    return "#b3383f" if fate == QUARANTINED else FATE_COLOURS.get(fate, NO_COLOUR)


def map_shown(run: Location, seed: int) -> MapShown | str:
    """The map of a seeded sample of a run's rows, or why there is none.

    Args:
        run: the run directory
        seed: of the sample
    """
    try:
        table = map_points(run, MOST, seed)
    except InputError as error:
        return str(error)
    if not table.num_rows:
        return f"{run} has no rows to draw."
    groups, counts = [], {}
    for fate, colour in FATE_COLOURS.items():
        of_fate = table.filter(pc.equal(table["fate"], fate))
        counts[fate] = of_fate.num_rows
        groups.append((colour, np.stack([of_fate[name].to_numpy().astype(np.float64) for name in ("x", "y")], axis=1)))
    return MapShown({fate: counts[fate] for fate in FATES if counts[fate]}, map_picture(groups))


