"""A finished run as Python sees it: frames, fates, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa

from coreset import rows
from coreset.account import Step, funnel, quarantine_tables
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join, read_json
from coreset.results.beside import clusters_behind
from coreset.results.chains.chains import chains
from coreset.results.chains.stretched import Chains
from coreset.results.explain.chain import component_graph
from coreset.results.explain.explain import Explained, explained_keys
from coreset.results.fate import (
    Decided,
    ScoreWindow,
    decided,
    fated_tables,
    picture_bytes,
    rows_with_fate,
    score_windows,
)
from coreset.results.lookup import component_places, place_of, rows_at


def open_run(run: Location) -> OpenedRun:
    """A run that is selected to its end, to be looked at; nothing is read before it is asked for, nothing is written.

    Args:
        run: the run directory

    Raises:
        InputError: There is no run, or a stage of it is missing; says which command makes it.
    """
    run = run.rstrip("/")
    return OpenedRun(run, decided(run))


@dataclass(frozen=True)
class OpenedRun:
    """A run that is selected to its end.

    Tables are Arrow's: `.to_pandas()` makes frames of them, DuckDB queries them where they stand.

    Attributes:
        folder: the run directory
        decided: its parameters and cuts
    """

    folder: Location
    decided: Decided

    @property
    def threshold(self) -> float:
        """The cosine above which rows were joined."""
        plan = read_json(join(self.decided.dedup.folder, "plan.json")) or {}
        return float(plan["params"]["threshold"])

    def funnel(self) -> list[Step]:
        """The steps of the selection, with exact counts."""
        return funnel(self.folder)

    def fates(self) -> pa.Table:
        """Every row with all columns of `dedup/` and its `fate`; all are held at once."""
        return rows_with_fate(self.folder)

    def batches(self, columns: Sequence[str] = rows.DEDUP.names) -> Iterator[pa.Table]:
        """Every row with some columns of `dedup/` and its `fate`, in pieces: however many there are."""
        return fated_tables(self.decided, columns)

    def windows(self) -> list[ScoreWindow]:
        """The two rank windows on the axis of scores; none where ranks were counted within clusters."""
        return score_windows(self.decided)

    def coreset(self) -> pa.Table:
        """The rows that were chosen, in the order of the files: any prefix is a uniform sample."""
        return pa.concat_tables([rows.read_table(location) for location in self.decided.coreset.locations()])

    def quarantined(self) -> pa.Table:
        """What could not be used of the input, with a reason for each; all are held at once."""
        return pa.concat_tables([rows.QUARANTINE.empty_table(), *quarantine_tables(self.folder)])

    def row(self, key: str) -> dict[str, Any]:
        """One row with all columns of `dedup/` and its `fate`; the hashes of the keys are streamed to find it.

        Raises:
            InputError: No row of `dedup/` has this key.
        """
        place = place_of(self.decided, key)
        found: dict[str, Any] = rows_at(self.decided, place, np.array([place.row]), rows.DEDUP.names).to_pylist()[0]
        return found

    def component(self, key: str) -> pa.Table:
        """All rows of the component of a row, with all columns of `dedup/` and `fate`, in the order of `dedup/`.

        Raises:
            InputError: No row of `dedup/` has this key.
        """
        place = place_of(self.decided, key)
        return rows_at(self.decided, place, component_places(place), rows.DEDUP.names)

    def graph(self, key: str) -> nx.Graph:
        """The component of a row as a graph: nodes named by their keys, edges with `cosine`.

        Raises:
            InputError: No row of `dedup/` has this key, or `clusters/` is gone.
        """
        clusters = clusters_behind(self.folder, self.decided.dedup)
        return component_graph(self.decided, clusters, place_of(self.decided, key))

    def why(self, key: str) -> Explained:
        """What became of a sample and why: fate, ranks, cut values, and the chain to the row that stands for it.

        Raises:
            InputError: No sample has this key.
        """
        found = explained_keys(self.decided, [key])
        if key not in found:
            raise InputError(f"{key} is no key of {self.folder}; `coreset explain KEY` says which ones are near.")
        return found[key]

    def chains(self, n: int = 20) -> Chains:
        """How far components are stretched, with the n most stretched and the n largest ones."""
        return chains(self.folder, n)

    def picture(self, row: Mapping[str, Any]) -> bytes:
        """The stored bytes of a row's picture, from its place in its tar or Parquet; nothing is scanned.

        Args:
            row: with `source`, `image_offset` and `image_bytes`, as `to_pylist()` gives it

        Raises:
            InputError: The source is compressed, holds no pictures, is gone, or is not what it was.
        """
        return picture_bytes(self.folder, row["source"], row["image_offset"], row["image_bytes"])
