"""On request: clusters -> forest/. The maximum spanning forest of each cluster, which answers every threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, partial
from typing import ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64, UInt64

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import InputError, UsageError
from coreset.engine.files import Location
from coreset.engine.names import part_number
from coreset.engine.progress import ticker
from coreset.engine.stage import Execute, Needs, Part, Parts, Stage, Summary, Task, fold
from coreset.slices import cluster_ranges, clusters_of, keys_in_order, slices_of

BINS = 1 << 16


@dataclass(frozen=True)
class ForestParams:
    """Parameters of `forest`."""

    stage: ClassVar[str] = "forest"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset({"rule", "source", "floor"})

    floor: float = field(default=0.80, metadata={"help": "the lowest threshold that the forest can answer"})

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if not 0 < self.floor < 1:
            meant = f"; did you mean {self.floor / 100:g}?" if 1 < self.floor < 100 else "."
            raise UsageError(f"--floor {self.floor:g} must be above 0 and below 1{meant}")


def forest_stage(folder: Location, clusters: Parts, params: ForestParams, memory: int) -> Stage:
    """Plan `forest/`: the same ranges of clusters as `dedup/`, part by part."""

    @cache
    def ranges() -> list[tuple[int, int]]:
        return list(cluster_ranges(clusters))

    def tasks() -> Iterator[Task]:
        for number, clustered in enumerate(ranges()):
            given = (clusters.folder, clusters.names, clustered, params, memory)
            yield Task(files.join(folder, part_number(number)), write_forest, given)

    return Stage(
        folder,
        params,
        tasks,
        clusters.hash,
        rows.receipt_of,
        Needs(memory),
        facts=lambda: {"floor": params.floor},
        rows=lambda: clusters.counts["rows"],
    )


def write_forest(
    folder: Location,
    names: Sequence[str],
    clustered: tuple[int, int],
    params: ForestParams,
    memory: int,
    part: Part,
) -> Summary:
    """Find the spanning forests of some clusters, and write their edges."""
    from coreset.numeric.forest import spanning_forest

    slices = slices_of(folder, names, clustered)
    index = keys_in_order(slices)[2]
    dimension = rows.open_vectors(slices[0].part).shape[1]
    table = rows.PartTable(part, rows.FOREST)
    for cluster, (vectors, at) in enumerate(clusters_of(slices, index, dimension), start=clustered[0]):
        forest = spanning_forest(vectors, params.floor, at, memory=memory)
        numbers = np.full(len(forest), cluster, np.int32)
        columns = [numbers, forest.u, forest.v, forest.cosine]
        table.write(pa.table(dict(zip(rows.FOREST.names, columns, strict=True)), schema=rows.FOREST))
        ticker.add(len(at))
    return table.close({"edges": table.rows, "rows": len(index)})


def thresholds_from(floor: float, step: float) -> list[float]:
    """The floor and the multiples of a step above it and below 1.

    Example:
        >>> thresholds_from(0.95, 0.02)
        [0.95, 0.96, 0.98]
    """
    exact, first = Fraction(str(step)), Fraction(str(floor))
    begin = int(first / exact) + 1
    return [floor, *(float(exact * number) for number in range(begin, -int(-1 / exact)) if exact * number < 1)]


def kept_above(forest: Parts, thresholds: Sequence[float], execute: Execute) -> list[int]:
    """How many rows `dedup` keeps at each of some thresholds, exactly.

    Raises:
        UsageError: A threshold is below the forest's floor.
    """
    floor = float(forest.facts["floor"])
    if min(thresholds) < floor:
        raise UsageError(f"threshold {min(thresholds):g} is below the floor {floor:g} of {forest.folder}.")
    calls = (partial(edges_above, where, tuple(thresholds)) for where in forest.locations())
    edges = summed(fold(calls, np.add, execute), len(thresholds))
    return [forest.counts["rows"] - int(above) for above in edges]


def summed(counts: Int64[np.ndarray, "c"] | None, size: int) -> Int64[np.ndarray, "c"]:
    """Counts of all parts; zeros if there is no part."""
    return np.zeros(size, np.int64) if counts is None else counts


def edges_above(location: Location, thresholds: Sequence[float]) -> Int64[np.ndarray, "t"]:
    """How many edges of one part are above each of some thresholds."""
    cosine = np.sort(rows.read_table(location, ["cosine"])["cosine"].to_numpy())
    return len(cosine) - np.searchsorted(cosine, np.array(thresholds), side="right")


def threshold_keeping(forest: Parts, kept: int, execute: Execute) -> float:
    """The highest threshold at which at most so many rows are kept.

    Each edge above the threshold removes one row, so with e rows to remove it is the float64 just below the e-th
    heaviest edge; never above 1, which copies whose length was rounded up may exceed.

    Raises:
        InputError: Even at the forest's floor more are kept; says how many.
    """
    total, edges = forest.counts["rows"], forest.counts["edges"]
    if total - kept <= 0:
        return 1.0
    if total - edges > kept:
        floor = float(forest.facts["floor"])
        raise InputError(
            f"At the floor {floor:g} of the forest {total - edges:,} of {total:,} rows are kept, and at most {kept:,} "
            f"are asked for; lower --floor, or ask for {-(-(10**4) * (total - edges) // total) / 10**4:g} or more."
        )
    return min(1.0, float(np.nextafter(heaviest_at(forest, total - kept, execute), 0)))


def heaviest_at(forest: Parts, rank: int, execute: Execute) -> float:
    """The cosine of the rank-th heaviest edge, counted from 1, found by four passes that count 16 bits each."""
    known, left = 0, rank
    for shift in (48, 32, 16, 0):
        calls = (partial(digits_below, where, known, shift) for where in forest.locations())
        counts = summed(fold(calls, np.add, execute), BINS)
        ends = np.cumsum(counts)
        digit = int(np.searchsorted(ends, left))
        left -= int(ends[digit] - counts[digit])
        known = known << 16 | digit
    return float((~np.array([known], np.uint64)).view(np.float64)[0])


def digits_below(location: Location, known: int, shift: int) -> Int64[np.ndarray, "bins"]:
    """How many edges of one part have each value of the next 16 bits below those that are known."""
    order = falling(rows.read_table(location, ["cosine"])["cosine"].to_numpy())
    if shift < 48:
        order = order[order >> np.uint64(shift + 16) == np.uint64(known)]
    digits = (order >> np.uint64(shift)) & np.uint64(BINS - 1)
    return np.bincount(digits.astype(np.int64), minlength=BINS)


def falling(cosine: Float64[np.ndarray, "e"]) -> UInt64[np.ndarray, "e"]:
    """Numbers that rise as positive cosines fall.

    Example:
        >>> a, b = falling(np.array([0.9, 0.8]))
        >>> bool(a < b)
        True
    """
    return ~np.ascontiguousarray(cosine).view(np.uint64)
