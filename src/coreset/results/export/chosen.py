"""The rows that an export is of, in the order of xxh3_64(key, seed): any prefix is a uniform sample of them.

The coreset is written in that order already. Rows of other fates are collected from `dedup/` into
`OUT/.coreset/chosen/`, files of `FILE_ROWS` rows, each by one pass over `dedup/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import InputError, InvariantError
from coreset.engine.files import Location
from coreset.engine.names import part_number
from coreset.engine.stage import Execute, Needs, Part, Parts, Stage, Summary, Task, fold
from coreset.numeric.ranks import Answer, OrderKey, Question, answered, between, keys_at_ranks, merged, rows_in_order
from coreset.results.fate import Decided
from coreset.sample import FATES, FILE_ROWS, SMALLEST, Cuts, SampleParams, fates, order_tables

FATE = pa.field("fate", pa.string())
CHOSEN = rows.CORESET.append(FATE)
KEPT_ONLY = ("kept",)


@dataclass(frozen=True)
class ChosenParams:
    """Which rows, as `plan.json` says it."""

    stage: ClassVar[str] = "chosen"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset({"rule", "source", "fates"})

    fates: tuple[str, ...] = field(default=KEPT_ONLY, metadata={"help": "of the rows"})


@dataclass(frozen=True)
class Listing:
    """Chosen rows in order, as files that hold one range of them after the other.

    Attributes:
        locations: Parquet files with at least the columns of `coreset/`
        counts: rows of each
    """

    locations: tuple[Location, ...]
    counts: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(self.counts)

    def pieces(self, start: int, stop: int) -> tuple[tuple[Location, int, int], ...]:
        """The files that hold rows `start` to `stop`, and which of their rows these are.

        Example:
            >>> Listing(("a", "b"), (3, 3)).pieces(2, 5)
            (('a', 2, 3), ('b', 0, 2))
        """
        found, first = [], 0
        for location, count in zip(self.locations, self.counts, strict=True):
            low, high = max(start - first, 0), min(stop - first, count)
            if low < high:
                found.append((location, low, high))
            first += count
        return tuple(found)


def listing_of(parts: Parts) -> Listing:
    """The rows of a complete `coreset/` or `chosen/`."""
    return Listing(tuple(parts.locations()), tuple(parts.summaries[name]["rows"] for name in parts.names))


def listed_rows(pieces: Sequence[tuple[Location, int, int]]) -> pa.Table:
    """Rows of a listing with the columns of `CHOSEN`; those of `coreset/` are all kept."""
    tables = [CHOSEN.empty_table()]
    for location, start, stop in pieces:
        table = rows.read_table(location, None, start, stop)
        if FATE.name not in table.column_names:
            table = table.append_column(FATE, pa.array(["kept"] * table.num_rows, pa.string()))
        tables.append(table.select(CHOSEN.names).cast(CHOSEN))
    return pa.concat_tables(tables)


@dataclass(frozen=True)
class Meant:
    """What decides whether a row of `dedup/` is meant.

    Attributes:
        params: of `coreset/`
        cuts: of `coreset/`
        fates: of the rows that are meant
    """

    params: SampleParams
    cuts: Cuts
    fates: tuple[str, ...]


@dataclass(frozen=True)
class Tally:
    """What a pass over the rows finds: how many are meant, and the sources that they come from."""

    rows: int
    sources: frozenset[str]

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.rows + other.rows, self.sources | other.sources)


def tallied(by: Decided, meant: tuple[str, ...], execute: Execute) -> Tally:
    """How many rows have the fates that are meant, and their sources.

    Raises:
        InputError: There are none.
    """
    if meant == KEPT_ONLY:
        calls = [partial(coreset_tally, location) for location in by.coreset.locations()]
    else:
        asked = Meant(by.params, by.cuts, meant)
        calls = [partial(fate_tally, location, asked) for location in by.dedup.locations()]
    found: Tally | None = fold(calls, Tally.__add__, execute)
    if found is None or not found.rows:
        raise InputError(
            f"{by.run} has no row whose fate is {' or '.join(meant)}; `coreset decisions` lists all fates."
        )
    return found


def coreset_tally(location: Location) -> Tally:
    """Rows and sources of one file of `coreset/`."""
    table = rows.read_table(location, ["source"])
    return Tally(table.num_rows, frozenset(pc.unique(table["source"]).to_pylist()))


def fate_tally(location: Location, meant: Meant) -> Tally:
    """Rows and sources of one part of `dedup/`, of the fates that are meant."""
    index = np.concatenate([first + found for first, _, found in meant_rows(location, meant)])
    sources = rows.read_table(location, ["source"])["source"].take(pa.array(index))
    return Tally(len(index), frozenset(pc.unique(sources).to_pylist()))


def meant_rows(location: Location, meant: Meant) -> Iterator[tuple[int, pa.Table, Int64[np.ndarray, "r"]]]:
    """For each piece of a part of `dedup/`: its first row, its rows, and which of them have a fate that is meant."""
    wanted = [FATES.index(fate) for fate in meant.fates]
    first = 0
    for table in order_tables(location, meant.params):
        yield first, table, np.flatnonzero(np.isin(fates(table, meant.params, meant.cuts), wanted))
        first += table.num_rows


def chosen_stage(
    folder: Location, by: Decided, fates_meant: tuple[str, ...], count: int, execute: Execute, memory: int
) -> Stage:
    """Plan `chosen/`: the `count` rows that have the fates that are meant, in files of `FILE_ROWS`."""
    meant, locations = Meant(by.params, by.cuts, fates_meant), by.dedup.locations()

    @cache
    def ends() -> list[OrderKey | None]:
        ranks = [min(count, end) for end in range(FILE_ROWS, count + FILE_ROWS, FILE_ROWS)]
        return keys_at_ranks(ranks, count, 64, lookup_pass(locations, meant, execute))

    def tasks() -> Iterator[Task]:
        for number, (start, end) in enumerate(zip((None, *ends()[:-1]), ends(), strict=True)):
            yield Task(files.join(folder, part_number(number)), write_chosen, (locations, meant, start, end))

    params = ChosenParams(fates_meant)
    return Stage(folder, params, tasks, by.coreset.hash, rows.receipt_of, Needs(memory))


def lookup_pass(
    locations: Sequence[Location], meant: Meant, execute: Execute
) -> Callable[[tuple[Question, ...]], tuple[Answer, ...]]:
    """Makes one pass over the rows that are meant and merges what they answer."""

    def look(questions: tuple[Question, ...]) -> tuple[Answer, ...]:
        calls = (partial(part_answers, location, meant, questions) for location in locations)
        answers = fold(calls, merged, execute)
        if answers is None:
            raise InvariantError("dedup/ has no parts.")
        return answers

    return look


def part_answers(location: Location, meant: Meant, questions: tuple[Question, ...]) -> tuple[Answer, ...]:
    """What the meant rows of one part answer, by the order in which rows are drawn."""
    total: tuple[Answer, ...] | None = None
    for _, table, index in meant_rows(location, meant):
        found = table.take(pa.array(index))
        order = rows.key_hashes(found["key"].to_pylist(), meant.params.seed)
        of_rows = (order, found["key_hash"].to_numpy(), rows.key_lookup(found["key"]))
        answers = tuple(answered(question, *of_rows) for question in questions)
        total = answers if total is None else merged(total, answers)
    if total is None:
        raise InvariantError(f"{location} has no rows.")
    return total


def write_chosen(
    locations: Sequence[Location], meant: Meant, start: OrderKey | None, end: OrderKey | None, part: Part
) -> Summary:
    """Write the meant rows from `start` to `end` in the order in which rows are drawn."""
    pieces = [CHOSEN.empty_table()]
    for location in locations:
        wanted, fate = drawn(location, meant, start, end)
        if len(wanted):
            found = rows.chosen_rows(location, wanted, rows.CORESET.names)
            pieces.append(found.append_column(FATE, pa.array(FATES).take(pa.array(fate))))
    table = pa.concat_tables(pieces)
    keys = table["key"].to_pylist()
    order = rows.key_hashes(keys, meant.params.seed)
    index = rows_in_order(order, rows.key_hashes(keys), rows.key_lookup(table["key"]))
    chosen = rows.PartTable(part, CHOSEN)
    chosen.write(table.take(pa.array(index)))
    return chosen.close({"rows": chosen.rows})


def drawn(
    location: Location, meant: Meant, start: OrderKey | None, end: OrderKey | None
) -> tuple[Int64[np.ndarray, "r"], Int64[np.ndarray, "r"]]:
    """Which rows of one part are meant and have an order key from `start` to `end`, and the index of their fates."""
    found, kinds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for first, table, index in meant_rows(location, meant):
        few = table.take(pa.array(index))
        order = rows.key_hashes(few["key"].to_pylist(), meant.params.seed)
        inside = between(order, few["key_hash"].to_numpy(), rows.key_lookup(few["key"]), start or SMALLEST, end)
        found.append(first + index[inside])
        kinds.append(fates(table, meant.params, meant.cuts)[index[inside]].astype(np.int64))
    return np.concatenate(found), np.concatenate(kinds)
