"""What `coreset verify` shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rich.table import Table

from coreset.cli.show import console, duration, out, print_json

if TYPE_CHECKING:
    from coreset.results.verify import StageVerified, Verified

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
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for name, justify in (
        ("stage", "left"),
        ("", "left"),
        ("parts", "right"),
        ("rows", "right"),
        ("compared", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("", style="dim")
    for stage in found.stages:
        if stage.state != "-":
            numbers = (f"{number:,}" if number else "" for number in (stage.parts, stage.rows, stage.compared))
            table.add_row(f"{stage.name}/", stage.state, *numbers, UNCHECKED.get(stage.state, ""))
    console().print(table)
    for stage in found.stages:
        show_wrong(stage)


def show_wrong(stage: StageVerified) -> None:
    """The first few wrong things of a stage, with their places."""
    for entry in stage.wrong:
        out(f"{stage.name}: {entry.place} {entry.what}")
    if stage.count > len(stage.wrong):
        out(f"{stage.name}: {stage.count - len(stage.wrong):,} more")
