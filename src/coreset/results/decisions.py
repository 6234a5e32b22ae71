"""Every sample that came in, with what became of it, as one Parquet file; streamed, whatever their number."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from coreset import rows
from coreset.account import funnel, quarantine_tables
from coreset.engine.errors import InputError, InvariantError, UsageError
from coreset.engine.files import Location
from coreset.engine.outgoing import outgoing
from coreset.engine.progress import Progress, quiet, ticker
from coreset.results.fate import QUARANTINED, Decided, decided, fated_tables

ROW_COLUMNS = (
    *("key", "source", "source_row", "text_cosine", "cluster", "centroid_distance", "centroid_cosine"),
    *("component_size", "kept_key", "kept_cosine"),
)
"""Columns of `dedup/` that stand in the decisions."""
DECISION_COLUMNS = (
    rows.Column("fate", pa.string(), "what became of it: a fate, `excluded` or `quarantined`"),
    rows.Column("reason", pa.string(), "of the quarantined: a code, such as no_caption; else null"),
    rows.Column("detail", pa.string(), "of the quarantined: what was found; else null"),
    rows.Column("rows", pa.int64(), "how many samples this stands for: 1, or what a shard that was cut short has lost"),
)
DECISIONS = pa.schema([*(rows.DEDUP.field(name) for name in ROW_COLUMNS), *rows.schema(DECISION_COLUMNS)])


def write_decisions(run: Location, location: Location, progress: Progress = quiet) -> dict[str, int]:
    """Write every sample of a run with its fate to a Parquet file, which appears whole or not at all.

    Args:
        run: the run directory
        location: the file, replaced if it is there
        progress: told what is done

    Returns:
        How many samples have each fate; their sum is the first line of the funnel.

    Raises:
        InputError: The run is not selected to its end.
        UsageError: The file is not named `.parquet`.
        InvariantError: The samples are not as many as came in.
    """
    if not location.endswith(".parquet"):
        raise UsageError(f"{location} must end in .parquet.")
    by, counts = decided(run), dict[str, int]()
    progress.start("decisions", 1, 0, rows=next(step.rows for step in funnel(run)))
    file = outgoing(location)
    try:
        writer = rows.TableWriter(file, DECISIONS)
        for table in decision_tables(by):
            writer.write(table)
            ticker.add(table.num_rows)
            for count in table.group_by("fate").aggregate([("rows", "sum")]).to_pylist():
                counts[count["fate"]] = counts.get(count["fate"], 0) + count["rows_sum"]
        writer.close({})
        check_counts(run, counts)
        file.commit()
        progress.finish({"rows": sum(counts.values())})
    finally:
        file.discard()
    return counts


def decision_tables(by: Decided) -> Iterator[pa.Table]:
    """The decisions in pieces: rows in the order of `dedup/`, the excluded, then the quarantined."""
    for table in fated_tables(by, ROW_COLUMNS):
        texts = pa.nulls(table.num_rows, pa.string())
        ones = pa.repeat(pa.scalar(1, pa.int64()), table.num_rows)
        whole = table.append_column("reason", texts).append_column("detail", texts).append_column("rows", ones)
        yield whole.select(DECISIONS.names)
    for table in quarantine_tables(by.run):
        yield _quarantined(table.filter(pc.greater(table["rows"], 0)))


def _quarantined(table: pa.Table) -> pa.Table:
    """Quarantined entries as decisions; those that stand for no sample are remarks, and left out."""
    columns = [
        table[field.name]
        if field.name in rows.QUARANTINE.names
        else pa.repeat(pa.scalar(QUARANTINED), table.num_rows)
        if field.name == "fate"
        else pa.nulls(table.num_rows, field.type)
        for field in DECISIONS
    ]
    return pa.table(columns, schema=DECISIONS)


def check_counts(run: Location, counts: dict[str, int]) -> None:
    """Compare the fates with the funnel.

    Raises:
        InputError: A stage is gone, or was made anew, since the run was selected: there is no funnel.
        InvariantError: They are not as many samples as came in, or others than the coreset has were kept.
    """
    steps = {step.name: step.rows for step in funnel(run)}
    if "coreset" not in steps:
        raise InputError(
            f"A stage of {run} is gone, or was made anew, since dedup/ was made from it (`coreset status` says which); "
            f"run `coreset dedup` and `coreset sample` first."
        )
    total = sum(counts.values())
    if total != steps["samples"] or counts.get("kept", 0) != steps["coreset"]:
        raise InvariantError(
            f"{total:,} decisions, {counts.get('kept', 0):,} of them kept, but the funnel has {steps['samples']:,} and "
            f"{steps['coreset']:,}; please report this with {run}/coreset/stage.json."
        )
