"""The folder of a stage: whose it is, what in it belongs to nobody, and whether it is still there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from coreset.engine import files
from coreset.engine.books import write_book
from coreset.engine.errors import InputError, MismatchError, ResourceError
from coreset.engine.files import Location
from coreset.engine.parts import PARQUET, file_of, part_name
from coreset.engine.plan import Stage, brief, changed_fields

SECONDS = 1.0
"""Between two looks whether a folder is still there, while it is filled."""


def check_plan(stage: Stage, overwrite: bool = False) -> list[str]:
    """Compare a stage with what its folder was made by; returns the changed fields that lead to recomputing it.

    Raises:
        MismatchError: A field changed that must not be replaced silently; names the first with both values.
    """
    if stage.is_laid():
        return []
    found = files.read_json(files.join(stage.folder, "plan.json"))
    if found is None:
        return []
    if overwrite:
        next(iter(stage.tasks()), None)  # what cannot be planned leaves the folder as it was
        remove_strangers(stage, ())
        files.remove(stage.folder)
        return []
    changes = changed_fields(found, stage.plan)
    fatal = [change for change in changes if change[0] not in stage.params.redo]
    if fatal:
        name, old, new = fatal[0]
        if name == "source":
            raise MismatchError(
                f"{stage.folder} was made from something that changed since (more shards, say); use another --run, or "
                f"--overwrite to make it anew."
            )
        raise MismatchError(
            f"{stage.folder} was made with {name} = {brief(old)}, and {brief(new)} is asked for; "
            f"use another --run, or --overwrite to make it anew."
        )
    return [name for name, _, _ in changes]


def lay_plan(stage: Stage) -> None:
    """Write `plan.json`, after taking away the word that the stage was complete.

    Raises:
        InputError: The folder holds files without a plan: they are somebody else's.
    """
    files.make_folder(stage.folder)
    files.sweep(stage.folder)
    for aside in stage.aside:
        files.sweep(os.path.dirname(file_of(stage.folder, "", aside)))
    location = files.join(stage.folder, "plan.json")
    if files.size_of(location) is None and (names := files.names_in(stage.folder)):
        raise InputError(f"{stage.folder} holds {names[0]} and no plan.json: it is not ours; use another --run.")
    files.remove(files.join(stage.folder, "stage.json"))
    if not stage.is_laid():
        write_book(location, stage.plan)


class Watch:
    """Notices now and then that somebody removed the folder of a stage while it is filled."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._looked = stage, time.monotonic()

    def look(self) -> None:
        """Look again, unless the last look was just now.

        Raises:
            ResourceError: The folder is gone, or was made anew without its plan.
        """
        if time.monotonic() - self._looked >= SECONDS:
            check_stays(self._stage)
            self._looked = time.monotonic()


def check_stays(stage: Stage) -> None:
    """Notice that somebody removed the folder while it was written.

    What was written since then is taken away: without a plan, nobody could tell whose it is.

    Raises:
        ResourceError: The folder is gone, or was made anew without its plan.
    """
    if files.size_of(files.join(stage.folder, "plan.json")) is not None:
        return
    names = {part_name(task) for task in stage.tasks()} | {"stage"}
    for name in files.names_in(stage.folder):
        if name.partition(".")[0] in names:
            files.remove(files.join(stage.folder, name))
    raise ResourceError(
        f"{stage.folder} was removed while it was written; run the same command again, it makes the folder anew."
    )


def check_kept(stage: Stage, known: Iterable[tuple[str, str]]) -> None:
    """Notice that files of finished parts were taken away while others were written: `quarantine/`, say.

    The commits of those parts are taken away too, so that the same command makes them again.

    Args:
        stage: that is filled
        known: part and suffix of every file

    Raises:
        ResourceError: Some are gone; names the first, or its folder if that is gone.
    """
    with files.one_look(stage.folder):
        gone = [
            (name, location)
            for name, location in ((name, file_of(stage.folder, name, suffix)) for name, suffix in known)
            if files.size_of(location) is None
        ]
    for name, _ in gone:
        files.remove(files.join(stage.folder, name + PARQUET))
    if gone:
        folder, _, name = gone[0][1].rpartition("/")
        place = files.join(folder, name) if files.names_in(folder) else folder
        raise ResourceError(
            f"{place} was removed while {stage.folder} was written; run the same command again, it continues."
        )


def remove_strangers(stage: Stage, known: Iterable[tuple[str, str]]) -> None:
    """Remove the stage's files that no part names: leftovers of another plan.

    Args:
        stage: whose folder it is
        known: part and suffix of every file that stays
    """
    own, others = set(files.names_in(stage.folder)) - {"plan.json"}, set(asides(stage))
    for name, suffix in known:
        if "/" in suffix:
            others.discard(file_of(stage.folder, name, suffix))
        else:
            own.discard(name + suffix)
    for location in sorted(others.union(files.join(stage.folder, name) for name in own)):
        files.remove(location)


def asides(stage: Stage) -> list[Location]:
    """The stage's files in other folders."""
    found = []
    for aside in stage.aside:
        folder, _, prefix = file_of(stage.folder, "", aside).rpartition("/")
        found += [files.join(folder, name) for name in files.names_in(folder) if name.startswith(prefix)]
    return found
