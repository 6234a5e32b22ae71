"""What `coreset status` shows: the run directory as `ls` would, with what is known of each folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from coreset.cli.funnel import LONGEST, coreset_files, run_flag
from coreset.cli.show import duration, one_line, out, print_json, size
from coreset.cli.table import Column, show_table
from coreset.engine.errors import InputError
from coreset.engine.files import read_json

if TYPE_CHECKING:
    from coreset.engine.lock import Owner
    from coreset.results.states import FolderState, StageState

ALWAYS = ("rows", "centroids", "clusters", "dedup", "coreset")
"""Stages that are shown before they are begun, too."""
COLUMNS = (
    Column("stage"),
    Column("state"),
    Column("parts", is_number=True, worth=5),
    Column("rows", is_number=True, worth=6),
    Column("size", is_number=True, worth=3),
    Column("time", is_number=True, worth=4),
    Column("made", worth=1),
    Column("", worth=2),
)


def status_result(run: str, as_json: bool) -> None:
    """Show the folders of a run as they stand on disk; works while another process writes.

    Raises:
        InputError: There is no run, or a stage of it is damaged.
    """
    from coreset.account import BEFORE
    from coreset.engine.lock import writer_of
    from coreset.results.states import folder_states, stage_states

    writer = writer_of(run)
    states = [state for state in stage_states(run, BEFORE) if state.is_planned or state.parts or state.name in ALWAYS]
    if not any(state.parts or state.is_planned for state in states):
        raise InputError(f"{run} holds no run; make one with `coreset run` or `coreset demo`, or name it with --run.")
    folders, following = folder_states(run), next_command(run, states, writer)
    if as_json:
        noted = (read_json(f"{run}/run.json") or {}).get("stages", {})
        print_json(
            {
                "run": run,
                "writer": None if writer is None else dataclasses.asdict(writer),
                "stages": [dataclasses.asdict(state) for state in states],
                "folders": [dataclasses.asdict(folder) for folder in folders],
                "costs": noted,
                "next": following,
            }
        )
    else:
        show_table(COLUMNS, [*map(stage_cells, states), *map(folder_cells, folders)])
        for name in coreset_files(run)[:1]:
            out(f"the coreset: {name}")
        out(f"{run} is being written by {one_line(str(writer), LONGEST)}" if writer else f"next: {following}")
    for state in states:
        if state.state == "damaged":
            raise InputError(state.note)


def stage_cells(state: StageState) -> list[str]:
    """A stage as cells of the table."""
    parts = "" if state.state == "-" else f"{state.parts:,}"
    parts += f"/{state.planned:,}" if state.planned is not None else ""
    return [
        f"{state.name}/",
        state.state,
        parts,
        "" if state.rows is None else f"{state.rows:,}",
        size(state.bytes) if state.bytes else "",
        "" if state.seconds is None else duration(state.seconds),
        "" if state.ended is None else local_time(state.ended),
        "" if state.state == "damaged" else state.note,
    ]


def folder_cells(folder: FolderState) -> list[str]:
    """A folder that is no stage as cells of the table."""
    return [f"{folder.name}/", "", f"{folder.files:,}", "", size(folder.bytes), "", "", ""]


def local_time(moment: str) -> str:
    """A moment in the time of this machine, to the minute."""
    return datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S%z").astimezone().strftime("%Y-%m-%d %H:%M")


def next_command(run: str, states: Sequence[StageState], writer: Owner | None) -> str | None:
    """What to type next; None while somebody writes."""
    if writer is not None:
        return None
    flag = run_flag(run)
    open_ = next((state.name for state in states if state.name in ALWAYS and state.state != "complete"), None)
    if open_ is None:
        return f"coreset verify{flag}"
    if open_ == "rows":
        return f"coreset run{flag}" if Path("coreset.toml").is_file() else f"coreset embed{flag} SHARDS..."
    return f"coreset sample{flag} -n N" if open_ == "coreset" else f"coreset dedup{flag}"
