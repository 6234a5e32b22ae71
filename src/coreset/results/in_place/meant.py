"""The rows of a run that are meant by some fates, as trainers need them: in memory, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from coreset import rows
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join
from coreset.engine.stage import open_parts
from coreset.keys import PREFIXED
from coreset.results.export.where import fates_of
from coreset.results.fate import decided, fated_tables

Where = str | Sequence[str]
"""Fates, or steps of the funnel: one, several with commas between, or a sequence of them."""


def meant_rows(run: Location, where: Where, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The rows whose fates are meant, in pieces: the coreset in its own order, others as `dedup/` has them.

    Args:
        run: the run directory
        where: which rows
        columns: some of those of `coreset/`

    Raises:
        UsageError: A word of `where` is no fate and no step.
        InputError: The run is not selected to its end, or there are no such rows.
    """
    fates, by = fates_of([where] if isinstance(where, str) else where), decided(run)
    if fates == ("kept",):
        found = (rows.read_table(location, columns) for location in by.coreset.locations())
    else:
        wanted = pa.array(fates)
        tables = fated_tables(by, columns)
        found = (table.filter(pc.is_in(table["fate"], wanted)).select(columns) for table in tables)
    count = 0
    for table in found:
        count += table.num_rows
        if table.num_rows:
            yield table
    if not count:
        raise InputError(f"{run} has no row whose fate is {' or '.join(fates)}; `coreset decisions` lists all fates.")


def has_prefixed_keys(run: Location) -> bool:
    """Whether the keys of a run are `SOURCE/KEY`."""
    parts = open_parts(join(run, "rows"))
    return parts is not None and any(
        rows.metadata_of(location).get("keys") == PREFIXED for location in parts.locations()[:1]
    )
