"""What `coreset inspect` shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from coreset.cli.show import duration, out, print_json
from coreset.engine.errors import InputError

if TYPE_CHECKING:
    from coreset.results.inspect.estimate import Estimate
    from coreset.results.inspect.inspect import Inspected

SHOWN = 20
"""Problems and notes that are printed; `--json` has all."""
COMPLETE = {True: "yes, by names and headers", False: "no", None: "not known before the files are read"}
KINDS = {
    "run": "a run directory of coreset",
    "image_parquet": "Parquet files of pictures",
    "unknown": "nothing that coreset reads",
}


def inspected_result(found: Inspected, as_json: bool) -> None:
    """Show what an input is, what is wrong with it and what to type next.

    Raises:
        InputError: There are problems.
    """
    if as_json:
        print_json({**dataclasses.asdict(found), "ready": found.ready})
    else:
        show_facts(found)
        for word, entries in (("note", found.notes), ("problem", found.problems)):
            for entry in entries[:SHOWN]:
                out(f"{word}: {entry}")
            if len(entries) > SHOWN:
                out(f"{len(entries) - SHOWN:,} more {word}s; --json lists all")
        out(f"next: {found.next}" if found.ready else f"when that is mended: {found.next}")
    if not found.ready:
        count = len(found.problems)
        raise InputError(f"{count:,} problem(s) with {' '.join(found.paths)}, the first: {found.problems[0]}")


def show_facts(found: Inspected) -> None:
    """A line for each thing that is known."""
    out(f"format: {KINDS.get(found.format, found.format)}")
    if found.parts:
        out(f"files: {found.parts:,} {'tar(s)' if found.format == 'tars' else 'part(s)'}, {found.bytes:,} bytes in all")
        rows = "not known" if found.rows is None else f"{found.rows:,}"
        out(f"rows: {rows} ({found.rows_from})")
    if found.dimension is not None:
        out(f"vectors: {found.dimension} {found.dtype} numbers each")
    if found.parts:
        out(f"complete: {COMPLETE[found.complete]}")
    if found.estimate is not None:
        show_estimate(found.estimate, found.disk_free or 0)
        if found.trial:
            out(
                f"embedding depends on model and device: `{found.trial}` measures it, {found.parts:,} times that is all"
            )


def show_estimate(cost: Estimate, free: int) -> None:
    """Time, memory and disk of a run."""
    first = "embedding not known (768 numbers a row are assumed)"
    if cost.import_seconds is not None:
        first = f"import {duration(cost.import_seconds)}"
    memory, disk = cost.memory / 2**30, cost.disk / 2**30
    out(
        f"{cost.basis}: {first}, cluster to sample {duration(cost.select_seconds)}; {memory:.1f} GiB of memory; "
        f"{disk:.2f} GiB of disk for vectors, and the tables; {free / 2**30:.1f} GiB are free here"
    )
    if cost.extrapolated:
        out("note: no run as large as this was measured; the estimate is extrapolated")
