"""The folder of an export: new, empty, or an export that coreset made; anything else is left alone."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import Any

from coreset.engine import disk, files
from coreset.engine.errors import InputError, MismatchError
from coreset.engine.files import Location, join
from coreset.engine.stage import Stage, brief, changed_fields
from coreset.results.export.format import HIDDEN, Format

OURS = (".lock", "chosen", "export")
"""What may lie in the hidden folder."""


def stage_folder(out: Location) -> Location:
    """Where the parts of an export are committed."""
    return join(out, HIDDEN, "export")


def recorded_plan(out: Location) -> dict[str, Any] | None:
    """The `plan.json` of an export; None if there is none."""
    plan: dict[str, Any] | None = files.read_json(join(stage_folder(out), "plan.json"))
    return plan


def check_target(out: Location, stage: Stage, overwrite: bool) -> bool:
    """Look at the folder before anything is written; returns whether what is there must go first.

    Raises:
        InputError: It is no folder, may not be written to, or holds what coreset did not export.
        MismatchError: It holds another export, and may not be overwritten.
    """
    check_place(out)
    found = recorded_plan(out)
    if found is None:
        check_empty(out)
        return False
    changes = changed_fields(found, stage.plan)
    if not changes:
        return False
    if overwrite:
        return True
    name, old, new = changes[0]
    was, now = (found["stage"], stage.plan["stage"]) if name == "stage" else (brief(old), brief(new))
    what = "another selection, or another run" if name == "source" else f"{name} = {was}, and {now} is asked for"
    raise MismatchError(f"{out} holds an export with {what}; give another folder, or --overwrite to make it anew.")


def check_place(out: Location) -> None:
    """Refuse a place that cannot become a folder of ours."""
    if files.is_remote(out):
        if files.is_file(out):
            raise InputError(f"{out} is an object; give a folder that is new or empty.")
        return
    path = files.local_path(out)
    if path.exists() and not path.is_dir():
        raise InputError(f"{out} is a file; give a folder that is new or empty.")
    above = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{out} cannot be written: {above} may not be written to; give another folder.")


def check_empty(out: Location) -> None:
    """Refuse a folder without a plan that holds anything but what a killed export leaves."""
    inside = [name for name in files.names_in(out) if name != HIDDEN and not disk.is_temporary(name)]
    hidden = files.names_in(join(out, HIDDEN))
    inside += [join(HIDDEN, name) for name in hidden if name not in OURS and not disk.is_temporary(name)]
    if inside:
        raise InputError(f"{out} holds {inside[0]} and is no export of coreset; give a folder that is new or empty.")


def clear(out: Location, formats: dict[str, Format[Any]]) -> None:
    """Remove an export from its folder: that parts are there, what its format leaves there, the plan."""
    plan = recorded_plan(out) or {"stage": ""}
    for name in files.names_in(stage_folder(out)):
        if name != "plan.json":
            files.remove(join(stage_folder(out), name))
    owns = next((found.owns for found in formats.values() if found.params.stage == plan["stage"]), ())
    for name in files.names_in(out):
        if any(fnmatchcase(name, pattern) for pattern in owns):
            files.remove(join(out, name))
    for name in ("export", "chosen"):
        files.remove(join(out, HIDDEN, name))
