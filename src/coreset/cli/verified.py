"""What `coreset verify` shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from coreset.cli.show import duration, out, print_json
from coreset.cli.table import Column, show_table

if TYPE_CHECKING:
    from coreset.results.verify.verdict import StageVerified, Verified

COLUMNS = (
    Column("stage"),
    Column("state"),
    Column("parts", is_number=True, worth=3),
    Column("rows", is_number=True, worth=4),
    Column("compared", is_number=True, worth=2),
    Column("", worth=1),
)
UNCHECKED = {
    "incomplete": "not complete yet; the files beside committed parts were checked",
    "out of date": "made from something that changed since; its files were checked, and it was not compared",
    "not compared": "its files are those that were written; a stage before it is wrong",
}
"""What is said of stages that were not checked to the end."""


def verified_result(found: Verified, as_json: bool) -> None:
    """Show what was found of each stage, then what is wrong.

    Raises:
        InputError: A file is not what was written.
        InvariantError: What was written is wrong.
    """
    error = found.error
    if as_json:
        print_json({**dataclasses.asdict(found), "ok": found.ok})
    else:
        show_stages(found)
        for note in found.notes:
            out(f"note: {note}")
        rate = found.bytes / 2**20 / max(found.hashing, 1e-9)
        read = f"{found.bytes:,} bytes of {found.files:,} files were read and hashed at {rate:,.0f} MiB/s"
        out(f"{read}; all checks took {duration(found.seconds)}")
    if error is not None:
        raise error


def show_stages(found: Verified) -> None:
    """A line for each stage, and what is wrong with it below."""
    rows = []
    for stage in found.stages:
        if stage.state != "-":
            numbers = (f"{number:,}" if number else "" for number in (stage.parts, stage.rows, stage.compared))
            rows.append([f"{stage.name}/", stage.state, *numbers, UNCHECKED.get(stage.state, "")])
    show_table(COLUMNS, rows)
    for stage in found.stages:
        show_wrong(stage)


def show_wrong(stage: StageVerified) -> None:
    """The first few wrong things of a stage, with their places."""
    for entry in stage.wrong:
        out(f"{stage.name}: {entry.place} {entry.what}")
    if stage.count > len(stage.wrong):
        out(f"{stage.name}: {stage.count - len(stage.wrong):,} more")
