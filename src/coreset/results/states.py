"""How far a run has come: its stages as they stand on disk, while another process may be writing them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from coreset import rows
from coreset.account import BEFORE, current
from coreset.engine import files
from coreset.engine.disk import TEMPORARY
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join
from coreset.engine.stage import PARQUET, Parts, open_parts, plan_hash

COMPLETE, INCOMPLETE, OUTDATED, DAMAGED, ABSENT = "complete", "incomplete", "out of date", "damaged", "-"
"""What a stage can be: out of date is one made from something that changed since."""
SAID = ("quarantined", "excluded", "clusters", "edges", "kept", "duplicates")
"""Counts of a stage that are worth saying."""
ASIDES = ("quarantine", "excluded", "report")
"""Folders that are no stages."""


@dataclass(frozen=True)
class StageState:
    """A stage as it stands on disk.

    Attributes:
        name: its folder
        state: `complete`, `incomplete`, `out of date` (made from something that changed since), `damaged` or `-`
        parts: committed ones
        planned: parts that it will have; None if that is not noted
        rows: of a complete stage
        bytes: of its files
        note: counts worth saying, or what is damaged
        seconds: that it took when it was made; None if that is not noted
        ended: when it was complete, in the time of the machine that made it; None likewise
        is_planned: whether it was begun
    """

    name: str
    state: str
    parts: int
    planned: int | None
    rows: int | None
    bytes: int
    note: str
    seconds: float | None
    ended: str | None
    is_planned: bool


@dataclass(frozen=True)
class FolderState:
    """A folder of a run that is no stage.

    Attributes:
        name: of the folder
        files: in it
        bytes: of them
    """

    name: str
    files: int
    bytes: int


def stage_states(run: Location, names: Iterable[str]) -> list[StageState]:
    """How some stages stand, without their lock: what another process is writing is `incomplete`.

    Raises:
        InputError: `run.json` is damaged.
    """
    noted = (files.read_json(join(run, "run.json")) or {}).get("stages", {})
    found: dict[str, Parts] = {}
    damage: dict[str, str] = {}
    for name in BEFORE:
        try:
            parts = opened(join(run, name))
        except InputError as error:
            damage[name] = str(error)
        else:
            found |= {name: parts} if parts is not None else {}
    good = current(found)
    return [_state(run, name, found.get(name), name in good, damage.get(name), noted.get(name, {})) for name in names]


def _state(
    run: Location, name: str, parts: Parts | None, is_current: bool, damage: str | None, noted: Mapping[str, Any]
) -> StageState:
    """One stage, from what was read of it."""
    sizes = file_sizes(join(run, name))
    size, is_planned = sum(sizes.values()), "plan.json" in sizes
    if parts is None:
        state = DAMAGED if damage else INCOMPLETE if is_planned else ABSENT
        done = committed(join(run, name), [entry for entry in sizes if entry.endswith(PARQUET)])
        return StageState(name, state, done, noted.get("parts"), None, size, damage or "", None, None, is_planned)
    said = ", ".join(f"{parts.counts[key]:,} {key}" for key in SAID if parts.counts.get(key))
    count, state = len(parts.names), COMPLETE if is_current else OUTDATED
    seconds = noted.get("seconds")
    ended = None if seconds is None else ended_at(noted["began"], seconds)
    return StageState(name, state, count, count, parts.counts.get("rows"), size, said, seconds, ended, True)


def opened(folder: Location) -> Parts | None:
    """A complete stage; looked at twice, because a writer that begins anew may take its files away meanwhile.

    Raises:
        InputError: A file is missing or has another size than `stage.json` says.
    """
    try:
        return open_parts(folder)
    except InputError:
        return open_parts(folder)


def committed(folder: Location, names: Iterable[str]) -> int:
    """How many of some parts belong to the folder's plan; those of an earlier one are garbage.

    Parts of `rows/` are not opened, there may be many: another plan of theirs begins with an empty folder.
    """
    names = list(names)
    plan = files.read_json(join(folder, "plan.json"))
    if plan is None or plan["inputs"]:
        return len(names)
    hashed = plan_hash(plan)
    return sum(said.get("plan") == hashed for said in map(receipt, (join(folder, name) for name in names)))


def receipt(location: Location) -> Mapping[str, Any]:
    """The receipt of a part; nothing if it has none, or was taken away."""
    try:
        said: Mapping[str, Any] = json.loads(rows.receipt_of(location) or "{}")
    except InputError:
        return {}
    return said


def ended_at(began: str, seconds: float) -> str:
    """When something ended that began then and took so long, in the same time zone.

    Example:
        >>> ended_at("2026-01-31T23:59:00+0100", 90.0)
        '2026-02-01T00:00:30+0100'
    """
    ended = datetime.strptime(began, "%Y-%m-%dT%H:%M:%S%z") + timedelta(seconds=seconds)
    return ended.strftime("%Y-%m-%dT%H:%M:%S%z")


def folder_states(run: Location) -> list[FolderState]:
    """The folders of a run that are no stages, as far as they are there."""
    found = {name: file_sizes(join(run, name)) for name in ASIDES}
    return [FolderState(name, len(sizes), sum(sizes.values())) for name, sizes in found.items() if sizes]


def file_sizes(folder: Location) -> dict[str, int]:
    """The committed files of a folder with their sizes; what vanishes meanwhile is left out.

    Example:
        >>> file_sizes("/nowhere")
        {}
    """
    if files.is_remote(folder):
        with files.one_look(folder):
            every = ((name, files.size_of(join(folder, name))) for name in files.names_in(folder))
            return {name: size for name, size in every if size is not None}
    sizes: dict[str, int] = {}
    try:
        with os.scandir(files.local_path(folder)) as entries:
            for entry in entries:
                size = files.size_of(entry.path)
                if size is not None and TEMPORARY not in entry.name:
                    sizes[entry.name] = size
    except (FileNotFoundError, NotADirectoryError):
        pass
    return sizes
