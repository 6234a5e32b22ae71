"""Stage 4: dedup -> coreset/. Two rank windows in sequence with exact counts, then n rows at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Int8, Int64, UInt64

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import InputError, InvariantError, UsageError
from coreset.engine.files import JSON, Location
from coreset.engine.progress import ticker
from coreset.engine.stage import Execute, Needs, Part, Parts, Stage, Summary, Task, fold
from coreset.numeric.ranks import (
    Answer,
    KeyBytes,
    OrderKey,
    Question,
    answered,
    between,
    descending,
    group_windows,
    keys_at_ranks,
    merged,
    rows_in_order,
    window_counts,
)

FILE_ROWS = 500_000
"""Rows of one file of `coreset/`."""
BATCH_ROWS = 1 << 18
"""Rows of `dedup/` that are looked at together, unless ranks are counted within clusters."""
SCOPES = ("global", "cluster")
ORDER_COLUMNS = ("key", "key_hash", "text_cosine", "cluster", "centroid_cosine", "kept")
FATES = (
    "kept",
    "duplicate",
    "text rank too high",
    "text rank too low",
    "centroid rank too high",
    "centroid rank too low",
    "not sampled",
    "no caption",
)
"""What can become of a row of `dedup/`; `fates` gives indices into it."""
KEPT, DUPLICATE, TEXT_HIGH, TEXT_LOW, CENTROID_HIGH, CENTROID_LOW, NOT_SAMPLED, NO_CAPTION = range(len(FATES))
UNDECIDED = -1


@dataclass(frozen=True)
class SampleParams:
    """Parameters of `sample`; the defaults are the paper's."""

    stage: ClassVar[str] = "sample"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset(
        {"rule", "source", "n", "text_rank", "centroid_rank", "rank_scope", "seed", "allow_fewer"}
    )

    n: int = field(default=2_000_000, metadata={"help": "rows of the coreset"})
    text_rank: tuple[float, float] = field(
        default=(40, 60), metadata={"help": "window of ranks by text cosine that stays, percent, best first"}
    )
    centroid_rank: tuple[float, float] = field(
        default=(15, 35), metadata={"help": "then the window by cosine to the centroid, percent, nearest first"}
    )
    rank_scope: str = field(default="global", metadata={"help": "where ranks are counted: " + " or ".join(SCOPES)})
    seed: int = field(default=0, metadata={"help": "of the random choice of n rows"})
    allow_fewer: bool = field(default=False, metadata={"help": "take all that are left where n is more than that"})

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        for name in ("text_rank", "centroid_rank"):
            low, high = (float(bound) for bound in getattr(self, name))
            object.__setattr__(self, name, (low, high))  # 40 and 40.0 are one window: one plan, the same bytes
            if not 0 <= low < high <= 100:
                raise UsageError(
                    f"--{name.replace('_', '-')} {low:g} {high:g} must be two percentages, 0 <= low < high <= 100."
                )
        if self.n < 1:
            raise UsageError(f"-n {self.n} must be at least 1.")
        if self.rank_scope not in SCOPES:
            raise UsageError(f"rank_scope {self.rank_scope} is not known; use {' or '.join(SCOPES)}.")
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"--seed {self.seed} must be at least 0 and below 2^64.")


Cut = tuple[OrderKey | None, OrderKey | None]
"""First order key inside a window and first one behind it; (None, …) for an empty window, None for no end."""


@dataclass(frozen=True)
class Cuts:
    """What decides a row's fate, besides `kept`; None for what is not decided yet."""

    text: Cut | None = None
    centroid: Cut | None = None
    sample: OrderKey | None = None
    is_sampled: bool = False


@dataclass(frozen=True)
class Selection:
    """The cuts, and how many rows each leaves.

    Attributes:
        cuts: what decides every row's fate
        survivors: rows after dedup
        without_caption: of those, rows that have no caption and so no text rank
        in_text: rows in the text window
        in_both: of those, rows in the centroid window
        sampled: rows of the coreset
        file_ends: order keys that end the files of `coreset/`, None for the last one if nothing follows
    """

    cuts: Cuts
    survivors: int
    without_caption: int
    in_text: int
    in_both: int
    sampled: int
    file_ends: tuple[OrderKey | None, ...]


def sample_stage(folder: Location, dedup: Parts, params: SampleParams, execute: Execute, memory: int) -> Stage:
    """Plan `coreset/`; the passes that find the cuts run only if something is missing."""

    @cache
    def selection() -> Selection:
        return found_selection(dedup, params, execute)

    def tasks() -> Iterator[Task]:
        ends = selection().file_ends
        for number, (start, end) in enumerate(zip((None, *ends[:-1]), ends, strict=True)):
            part = files.join(folder, f"coreset-{number:05d}-of-{len(ends):05d}")
            yield Task(part, write_coreset, (dedup.locations(), params, selection().cuts, start, end))

    def size() -> int:
        return dedup.size() * selection().sampled // max(1, dedup.counts["rows"])

    return Stage(
        folder,
        params,
        tasks,
        dedup.hash,
        rows.receipt_of,
        Needs(memory),
        facts=lambda: selection_facts(selection()),
        size=size,
        rows=lambda: selection().sampled,
    )


def found_selection(dedup: Parts, params: SampleParams, execute: Execute) -> Selection:
    """Find the cuts by passes over the survivors of dedup.

    Raises:
        InputError: Fewer rows are left than asked for.
    """
    survivors = dedup.counts["kept"]
    calls = (partial(part_without_caption, where) for where in dedup.locations())
    without_caption = fold(calls, lambda a, b: a + b, execute) or 0
    cuts = Cuts()
    if params.rank_scope == "global":
        text, in_text = window(dedup, params, cuts, params.text_rank, survivors - without_caption, execute)
        centroid, in_both = window(dedup, params, Cuts(text=text), params.centroid_rank, in_text, execute)
        cuts = Cuts(text, centroid)
    else:
        in_text, in_both = window_sizes(dedup, params, execute)
    sampled = checked_n(params, survivors, in_text, in_both)
    ends = [min(sampled, end) for end in range(FILE_ROWS, sampled + FILE_ROWS, FILE_ROWS)] or [0]
    keys = keys_at_ranks(ends, in_both, 64, lookup_pass(dedup, params, cuts, execute))
    cuts = Cuts(cuts.text, cuts.centroid, keys[-1], is_sampled=True)
    return Selection(cuts, survivors, without_caption, in_text, in_both, sampled, tuple(keys))


def part_without_caption(location: Location) -> int:
    """How many survivors of one part have no caption."""
    return sum(
        int(np.count_nonzero(table["kept"].to_numpy() & table["text_cosine"].is_null().to_numpy()))
        for table in rows.table_batches(location, ("kept", "text_cosine"), BATCH_ROWS)
    )


def checked_n(params: SampleParams, survivors: int, in_text: int, in_both: int) -> int:
    """How many rows the coreset gets.

    Raises:
        InputError: Fewer are left than asked for.
    """
    if params.n > in_both and not params.allow_fewer:
        remedy = f"choose -n {in_both} or less, or --allow-fewer to take them all" if in_both else "widen the windows"
        raise InputError(
            f"-n {params.n:,} is more than the {in_both:,} rows left ({survivors:,} after dedup, {in_text:,} in the "
            f"text window); {remedy}."
        )
    return min(params.n, in_both)


def window(
    dedup: Parts,
    params: SampleParams,
    cuts: Cuts,
    percent: tuple[float, float],
    count: int,
    execute: Execute,
) -> tuple[Cut, int]:
    """The cut of a rank window over the `count` rows that are still undecided, and how many it keeps."""
    low, high = window_counts(percent, count)
    first, end = keys_at_ranks([low, high], count, 32, lookup_pass(dedup, params, cuts, execute))
    return ((first, end) if low < high else (None, end)), high - low


def lookup_pass(
    dedup: Parts, params: SampleParams, cuts: Cuts, execute: Execute
) -> Callable[[tuple[Question, ...]], tuple[Answer, ...]]:
    """Makes one pass over the undecided rows of all parts and merges what they answer."""

    def look(questions: tuple[Question, ...]) -> tuple[Answer, ...]:
        calls = (partial(part_answers, where, params, cuts, questions) for where in dedup.locations())
        answers = fold(calls, merged, execute)
        if answers is None:
            raise InvariantError(f"{dedup.folder} has no parts.")
        return answers

    return look


def part_answers(
    location: Location, params: SampleParams, cuts: Cuts, questions: tuple[Question, ...]
) -> tuple[Answer, ...]:
    """What the undecided rows of one part answer, ordered by what is to be decided next."""
    total: tuple[Answer, ...] | None = None
    for piece in order_tables(location, params):
        ticker.add(piece.num_rows)
        table = piece.filter(fates(piece, params, cuts) == UNDECIDED)
        order = next_order(table, params, cuts)
        rank_rows = (order, table["key_hash"].to_numpy(), rows.key_lookup(table["key"]))
        answers = tuple(answered(question, *rank_rows) for question in questions)
        total = answers if total is None else merged(total, answers)
    if total is None:
        raise InvariantError(f"{location} has no rows.")
    return total


def window_sizes(dedup: Parts, params: SampleParams, execute: Execute) -> tuple[int, int]:
    """Rows in the text window and in both windows, when ranks are counted within clusters."""
    calls = (partial(part_window_sizes, where, params) for where in dedup.locations())
    return fold(calls, lambda a, b: (a[0] + b[0], a[1] + b[1]), execute) or (0, 0)


def part_window_sizes(location: Location, params: SampleParams) -> tuple[int, int]:
    """What one part contributes to `window_sizes`."""
    in_text = in_both = 0
    for table in order_tables(location, params):
        fate = fates(table, params, Cuts())
        in_both += int(np.count_nonzero(fate == UNDECIDED))
        in_text += int(np.isin(fate, (UNDECIDED, CENTROID_HIGH, CENTROID_LOW)).sum())
    return in_text, in_both


def order_tables(location: Location, params: SampleParams) -> Iterator[pa.Table]:
    """What decides the fates of a part's rows, in pieces; whole clusters where ranks are counted in them."""
    if params.rank_scope == "cluster":
        yield rows.read_table(location, ORDER_COLUMNS)
    else:
        yield from rows.table_batches(location, ORDER_COLUMNS, BATCH_ROWS)


def next_order(table: pa.Table, params: SampleParams, cuts: Cuts) -> UInt64[np.ndarray, "n"]:
    """The orders of the undecided rows for the cut that is to be found next."""
    if params.rank_scope == "global" and cuts.text is None:
        return descending(table["text_cosine"].to_numpy())
    if params.rank_scope == "global" and cuts.centroid is None:
        return descending(table["centroid_cosine"].to_numpy())
    return rows.key_hashes(table["key"].to_pylist(), params.seed)


def fates(table: pa.Table, params: SampleParams, cuts: Cuts) -> Int8[np.ndarray, "n"]:
    """The fate of each row of `dedup/`, as an index into `FATES`; `UNDECIDED` where a cut is not known yet.

    Args:
        table: at least `ORDER_COLUMNS`; whole clusters where ranks are counted within clusters
        params: of the stage
        cuts: known so far
    """
    fate = np.full(table.num_rows, UNDECIDED, dtype=np.int8)
    fate[table["text_cosine"].is_null().to_numpy()] = NO_CAPTION
    fate[~table["kept"].to_numpy()] = DUPLICATE
    by_text = ("text_cosine", cuts.text, params.text_rank, TEXT_HIGH, TEXT_LOW)
    by_centroid = ("centroid_cosine", cuts.centroid, params.centroid_rank, CENTROID_HIGH, CENTROID_LOW)
    for column, cut, percent, high, low in (by_text, by_centroid):
        index = np.flatnonzero(fate == UNDECIDED)
        side = window_sides(table.take(pa.array(index)), column, cut, percent, params.rank_scope)
        if side is None:
            return fate
        fate[index[side < 0]] = high
        fate[index[side > 0]] = low
    if cuts.is_sampled:
        index = np.flatnonzero(fate == UNDECIDED)
        left = table.take(pa.array(index))
        order = rows.key_hashes(left["key"].to_pylist(), params.seed)
        inside = between(order, *_ties(left), SMALLEST, cuts.sample)
        fate[index] = np.where(inside, KEPT, NOT_SAMPLED)
    return fate


SMALLEST = OrderKey(0, 0, b"")


def window_sides(
    table: pa.Table, column: str, cut: Cut | None, percent: tuple[float, float], scope: str
) -> Int8[np.ndarray, "n"] | None:
    """-1, 0 or 1 for rows whose rank is below, in or above a window; None if its cut is not known yet."""
    order = descending(table[column].to_numpy())
    key_hash, lookup = _ties(table)
    if scope == "cluster":
        groups = table["cluster"].to_numpy().astype(np.int64)
        return group_windows(groups, order, key_hash, lookup, percent).astype(np.int8)
    if cut is None:
        return None
    first, end = cut
    before_end = between(order, key_hash, lookup, SMALLEST, end)
    inside = between(order, key_hash, lookup, first, end)
    return np.where(inside, 0, np.where(before_end, -1, 1)).astype(np.int8)


def _ties(table: pa.Table) -> tuple[UInt64[np.ndarray, "n"], KeyBytes]:
    """What decides between equal orders."""
    return table["key_hash"].to_numpy(), rows.key_lookup(table["key"])


def write_coreset(
    locations: Sequence[Location],
    params: SampleParams,
    cuts: Cuts,
    start: OrderKey | None,
    end: OrderKey | None,
    part: Part,
) -> Summary:
    """Write the sampled rows from `start` to `end` in the order of xxh3_64(key, seed)."""
    coreset = rows.PartTable(part, rows.CORESET)
    coreset.write(coreset_rows(locations, params, cuts, start, end))
    return coreset.close({"rows": coreset.rows})


def coreset_rows(
    locations: Sequence[Location], params: SampleParams, cuts: Cuts, start: OrderKey | None, end: OrderKey | None
) -> pa.Table:
    """The sampled rows from `start` to `end` in the order of xxh3_64(key, seed), with the columns of `coreset/`."""
    pieces = []
    for location in locations:
        wanted = drawn_rows(location, params, cuts, start, end)
        if len(wanted):
            pieces.append(rows.chosen_rows(location, wanted, rows.CORESET.names))
        ticker.add(len(wanted))
    table = pa.concat_tables(pieces) if pieces else rows.CORESET.empty_table()
    keys = table["key"].to_pylist()
    order = rows.key_hashes(keys, params.seed)
    index = rows_in_order(order, rows.key_hashes(keys), rows.key_lookup(table["key"]))
    return table.take(pa.array(index))


def drawn_rows(
    location: Location, params: SampleParams, cuts: Cuts, start: OrderKey | None, end: OrderKey | None
) -> Int64[np.ndarray, "r"]:
    """Which rows of one part are sampled and have an order key from `start` to `end`."""
    found, first = [np.empty(0, np.int64)], 0
    for table in order_tables(location, params):
        index = np.flatnonzero(fates(table, params, cuts) == KEPT)
        kept = table.take(pa.array(index))
        order = rows.key_hashes(kept["key"].to_pylist(), params.seed)
        found.append(first + index[between(order, *_ties(kept), start or SMALLEST, end)])
        first += table.num_rows
    return np.concatenate(found)


def selection_facts(selection: Selection) -> dict[str, JSON]:
    """Counts and cuts for `stage.json`."""
    cuts = selection.cuts
    return {
        "survivors": selection.survivors,
        "without_caption": selection.without_caption,
        "in_text_window": selection.in_text,
        "in_both_windows": selection.in_both,
        "sampled": selection.sampled,
        "cuts": {
            "text": cut_json(cuts.text),
            "centroid": cut_json(cuts.centroid),
            "sample_end": key_json(cuts.sample),
        },
    }


def cut_json(cut: Cut | None) -> JSON:
    """A cut as JSON; null where ranks are counted within clusters."""
    return None if cut is None else {"first": key_json(cut[0]), "end": key_json(cut[1])}


def key_json(key: OrderKey | None) -> JSON:
    """An order key as JSON."""
    return None if key is None else {"order": key.order, "key_hash": key.key_hash, "key": key.key.decode()}
