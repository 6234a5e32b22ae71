"""What became of each row of a run, and the picture behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from coreset import rows
from coreset.engine.disk import TEMPORARY
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join, names_in, read_json
from coreset.engine.stage import Parts, open_parts
from coreset.numeric.ranks import OrderKey, score_of
from coreset.sample import FATES, ORDER_COLUMNS, Cut, Cuts, SampleParams, fates
from coreset.sources.readers import picture_at

EXCLUDED = "excluded"
"""The fate of a row that a list excludes."""
QUARANTINED = "quarantined"
"""The fate of what never became a row."""
NOT_DECIDED = "not decided yet"
"""The fate of a survivor while there is no `coreset/`."""
BATCH_ROWS = 1 << 16
"""Rows that are held at a time, unless ranks are counted within clusters."""


@dataclass(frozen=True)
class Judged:
    """What the fates of a run's rows follow from, as far as it has come.

    Attributes:
        run: the run directory
        dedup: stage 3
        params: of stage 4; the defaults while there is none
        cuts: of stage 4; none while there is none
    """

    run: Location
    dedup: Parts
    params: SampleParams
    cuts: Cuts


@dataclass(frozen=True)
class Decided(Judged):
    """What the fate of every row of a selected run follows from.

    Attributes:
        coreset: stage 4
    """

    coreset: Parts


def judged(run: Location) -> Judged:
    """As `decided` where that is possible; else survivors have the fate `not decided yet`.

    Raises:
        InputError: The run has no complete `dedup/`.
    """
    dedup, coreset = _stages(run)
    return Judged(run, dedup, SampleParams(), Cuts()) if coreset is None else decided(run)


def decided(run: Location) -> Decided:
    """What decides the fates of a run's rows, from `coreset/`.

    Raises:
        InputError: The run has no complete `dedup/` and `coreset/`.
    """
    dedup, coreset = _stages(run)
    if coreset is None:
        raise InputError(f"{run} is not selected to its end; run `coreset sample` first.")
    plan = (read_json(join(run, "coreset", "plan.json")) or {})["params"]
    windows = {name: tuple(plan[name]) for name in ("text_rank", "centroid_rank")}
    return Decided(run, dedup, SampleParams(**{**plan, **windows}), read_cuts(coreset.facts["cuts"]), coreset)


def _stages(run: Location) -> tuple[Parts, Parts | None]:
    """`dedup/`, and the `coreset/` that was made from it, if there is one."""
    dedup, coreset = open_parts(join(run, "dedup")), open_parts(join(run, "coreset"))
    if dedup is None:
        raise InputError(f"{run} has no complete dedup/; run `coreset dedup` first, or name a run with --run.")
    return dedup, coreset if coreset is not None and coreset.source == dedup.hash else None


def rows_with_fate(run: Location) -> pa.Table:
    """Every row with its fate, one of `coreset.sample.FATES` or `excluded`, in a column `fate`.

    All rows are held at once: for many, see `fated_tables`.

    Raises:
        InputError: The run has no complete `dedup/` and `coreset/`.
    """
    tables = fated_tables(decided(run), rows.DEDUP.names)
    empty = rows.DEDUP.append(pa.field("fate", pa.string())).empty_table()
    return pa.concat_tables([empty, *tables], promote_options="default")


def fated_tables(by: Judged, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of a run in pieces, in the order of `dedup/`, then those that a list excludes.

    Args:
        by: what decides the fates
        columns: of `dedup/`, in this order; excluded rows have null in those that `rows/` does not have

    Yields:
        Tables of these columns and `fate`.
    """
    for location in by.dedup.locations():
        yield from fated_part(by, location, columns)
    schema = pa.schema([*(rows.DEDUP.field(name) for name in columns), pa.field("fate", pa.string())])
    own = [name for name in columns if name in rows.ROWS.names]
    for location in excluded_files(by.run):
        for table in rows.table_batches(location, own or ["key"], BATCH_ROWS):
            absent = pa.nulls(table.num_rows)
            found = [table[name] if name in own else absent for name in columns]
            fate = pa.array([EXCLUDED] * table.num_rows, pa.string())
            whole = pa.table([*found, fate], names=schema.names)
            yield whole.cast(schema)


def fated_part(by: Judged, location: Location, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of one part of `dedup/` in pieces, with some columns and `fate`."""
    wanted = list(dict.fromkeys([*columns, *ORDER_COLUMNS]))
    for table in _pieces(location, wanted, by.params):
        yield with_fate(by, table).select([*columns, "fate"])


def with_fate(by: Judged, table: pa.Table) -> pa.Table:
    """Rows of `dedup/` with one more column, `fate`; whole clusters where ranks are counted in them.

    Args:
        by: what decides the fates
        table: at least the columns that order the rows
    """
    fate = fates(table, by.params, by.cuts)
    names = pa.array([*FATES, NOT_DECIDED])
    return table.append_column("fate", names.take(pa.array(np.where(fate < 0, len(FATES), fate))))


def _pieces(location: Location, columns: Sequence[str], params: SampleParams) -> Iterator[pa.Table]:
    """A part's rows in pieces; whole clusters where ranks are counted in them."""
    if params.rank_scope == "cluster":
        yield rows.read_table(location, columns)
    else:
        yield from rows.table_batches(location, columns, BATCH_ROWS)


def excluded_files(run: Location) -> list[Location]:
    """The files of rows that a list excludes."""
    folder = join(run, "excluded")
    return [join(folder, name) for name in names_in(folder) if name.endswith(".parquet") and TEMPORARY not in name]


def read_cuts(said: dict[str, dict[str, dict[str, object] | None] | None]) -> Cuts:
    """The cuts as `stage.json` says them."""

    def key(value: object) -> OrderKey | None:
        if not isinstance(value, dict):
            return None
        return OrderKey(int(value["order"]), int(value["key_hash"]), str(value["key"]).encode())

    def cut(value: dict[str, dict[str, object] | None] | None) -> Cut | None:
        return None if value is None else (key(value["first"]), key(value["end"]))

    return Cuts(cut(said["text"]), cut(said["centroid"]), key(said["sample_end"]), is_sampled=True)


@dataclass(frozen=True)
class ScoreWindow:
    """A rank window on the axis of scores.

    Ranks decide, not scores: of rows whose score is exactly an end, some may stand inside and some outside.

    Attributes:
        name: as fates call it: `text rank` or `centroid rank`
        column: what is ranked
        percent: the window, best first
        high: the largest score inside; None if no row is
        low: the largest score below the window; None if no row is below
    """

    name: str
    column: str
    percent: tuple[float, float]
    high: float | None
    low: float | None


def score_windows(by: Decided) -> list[ScoreWindow]:
    """The two rank windows on the axis of scores; none where ranks were counted within clusters."""
    found = []
    for name, cut, percent in (
        ("text rank", by.cuts.text, by.params.text_rank),
        ("centroid rank", by.cuts.centroid, by.params.centroid_rank),
    ):
        if cut is not None:
            high, low = (None if key is None else score_of(key.order) for key in cut)
            found.append(ScoreWindow(name, name.replace("rank", "cosine").replace(" ", "_"), percent, high, low))
    return found


def picture_bytes(run: Location, source: str, image_offset: int | None, image_bytes: int | None) -> bytes:
    """The bytes of a row's picture, straight from its tar or Parquet.

    Args:
        run: The run directory.
        source: The row's `source`.
        image_offset: The row's: a byte of a tar, a row of a Parquet.
        image_bytes: The row's.

    Raises:
        InputError: The source is compressed, is gone, or is not what it was.
    """
    if image_offset is None or image_bytes is None:
        raise InputError(f"{source} is compressed or holds no pictures: they cannot be read by their place.")
    root = (read_json(join(run, "run.json")) or {}).get("root", ".")
    location = join(root, source)
    try:
        content = picture_at(location, image_offset, image_bytes)
    except OSError as error:
        raise InputError(f"{location} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a name that no disk can have
        raise InputError(f"{location!r} cannot be read: {error}.") from error
    if len(content) != image_bytes:
        raise InputError(f"{location} is shorter than when it was embedded, or another file.")
    return content
