"""A stage is a folder, what identifies its contents, and the tasks that fill it.

`complete` fills what is missing and can be killed anywhere: the next call goes on where it stopped. `fold`
carries read-only passes. Both hand calls to an engine (`Execute`), which runs them in any order.

The life of a stage's folder:

```
plan.json                 first: parameters, rule, identity of the source; says what the parts belong to
00000.npy 00000.parquet   side files first, the Parquet last: it carries the receipt and is the commit
stage.json                last: counts, facts, sizes and hashes; says that the stage is complete
```
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from coreset.engine import files
from coreset.engine.books import book_hash, read_stage, write_book
from coreset.engine.errors import MissingFileError
from coreset.engine.folder import Watch, check_kept, check_plan, check_stays, lay_plan, remove_strangers
from coreset.engine.names import names_held
from coreset.engine.outgoing import Seal
from coreset.engine.parts import (
    PARQUET,
    Finished,
    Part,
    Parts,
    check_size,
    file_of,
    open_parts,
    part_name,
    parts_of,
    summed,
    write_part,
)
from coreset.engine.plan import (
    LATER,
    Needs,
    Params,
    Stage,
    Task,
    as_read,
    brief,
    changed_fields,
    in_order,
    params_json,
    plan_hash,
)
from coreset.engine.progress import Progress, quiet
from coreset.engine.space import check_space
from coreset.engine.summaries import Summaries, Summary

__all__ = [
    "LATER",
    "PARQUET",
    "Execute",
    "Finished",
    "Needs",
    "Params",
    "Part",
    "Parts",
    "Stage",
    "Summary",
    "Task",
    "brief",
    "changed_fields",
    "check_plan",
    "complete",
    "file_of",
    "finished",
    "fold",
    "in_order",
    "open_parts",
    "params_json",
    "plan_hash",
    "summed",
]

T = TypeVar("T")


class Execute(Protocol):
    """An engine: makes the calls, in any order, on any machine, and yields what they return."""

    def __call__(self, calls: Iterable[Callable[[], T]], needs: Needs) -> Iterator[T]:
        """Yield each call's result as it comes."""
        ...


def complete(stage: Stage, execute: Execute, progress: Progress = quiet) -> Parts:
    """Fill what is missing of a stage and say that it is complete.

    Args:
        stage: what is to be there
        execute: the engine
        progress: told what is done; for eyes only

    Returns:
        The complete stage. A second call finds everything there and computes nothing.

    Raises:
        MismatchError: The folder belongs to other parameters that must not be replaced silently.
        InputError: A committed part is damaged.
        ResourceError: The disk has not room for it; or the folder, or files of a part, were taken away meanwhile.
    """
    found = finished(stage)
    if found is not None:
        progress.reuse(stage.name, found.counts)
        return found
    progress.plan(stage.name)
    check_plan(stage)
    # The names are asked for before anything is touched: what cannot be planned leaves the folder as it was.
    names = names_held([part_name(task) for task in stage.tasks()])
    check_space(stage.folder, stage.size())
    lay_plan(stage)
    filled = present_parts(stage, names)
    missing = filled.lines.count(None)
    stage.begun(len(names))
    rows = stage.rows() if missing else None
    progress.start(stage.name, len(names), len(names) - missing, filled.summaries().sums(), rows)
    watch = Watch(stage)
    try:
        for part in execute(filled.calls(stage), stage.needs):
            filled.add(part)
            watch.look()
            progress.advance(part.summary)
        check_kept(stage, filled.files())
        parts = seal_stage(stage, filled)
    finally:  # an error in a folder that vanished comes from that
        check_stays(stage)
    progress.finish(parts.counts)
    return parts


@dataclass(frozen=True, slots=True)
class Filled:
    """The parts of a stage while it is filled.

    Attributes:
        names: of all parts, in order
        lines: what `stage.json` will say of each; None for a part that is not there yet
        under_way: the numbers of parts that are being made, by name
    """

    names: Sequence[str]
    lines: list[bytes | None]
    under_way: dict[str, int]

    def calls(self, stage: Stage) -> Iterator[Callable[[], Finished]]:
        """The calls that make what is missing, planned as they are taken."""
        for number, task in enumerate(stage.tasks()):
            if self.lines[number] is None:
                self.under_way[part_name(task)] = number
                yield partial(write_part, task, stage.plan_hash)

    def add(self, part: Finished) -> None:
        """Take note of a part that was made."""
        self.lines[self.under_way.pop(part.name)] = part.line

    def entries(self) -> Iterator[tuple[str, bytes]]:
        """Name and line of each part that is there, in order."""
        return ((name, line) for name, line in zip(self.names, self.lines, strict=True) if line is not None)

    def files(self) -> Iterator[tuple[str, str]]:
        """Part and suffix of every file."""
        return ((name, suffix) for name, line in self.entries() for suffix in json.loads(line)["files"])

    def summaries(self) -> Summaries:
        """The summaries of the parts that are there."""
        found, names = Summaries(), []
        for name, line in self.entries():
            found.append(json.loads(line)["summary"])
            names.append(name)
        return found.named(names)


def fold(
    calls: Iterable[Callable[[], T]], merge: Callable[[T, T], T], execute: Execute, needs: Needs | None = None
) -> T | None:
    """Merge the small values of read-only calls; the order must not matter. None for no calls.

    Example:
        >>> from coreset.engine.local import in_process
        >>> fold([lambda: 1, lambda: 2], lambda a, b: a + b, in_process)
        3
    """
    total: T | None = None
    for value in execute(calls, needs or Needs()):
        total = value if total is None else merge(total, value)
    return total


def finished(stage: Stage) -> Parts | None:
    """The stage as it stands, if it is complete, with all its files, and was made by this plan with these inputs.

    Raises:
        InputError: A file has another size than `stage.json` says.
    """
    if not stage.is_laid():
        return None
    stated = read_stage(files.join(stage.folder, "stage.json"))
    try:
        return parts_of(stage.folder, stated) if stated is not None and stated.said["plan"] == stage.plan_hash else None
    except MissingFileError:
        return None


def present_parts(stage: Stage, names: Sequence[str]) -> Filled:
    """The parts that are committed under this plan."""
    with files.one_look(stage.folder):
        found = (committed(stage, task) for task in stage.tasks())
        return Filled(names, [None if part is None else part.line for part in found], {})


def committed(stage: Stage, task: Task) -> Finished | None:
    """A part from disk if it belongs to this plan and these inputs, and all its files are there.

    Raises:
        InputError: It does, but one of its files has another size than it was committed with.
    """
    location = task.part + PARQUET
    if files.size_of(location) is None:
        return None
    text = stage.receipt(location)
    receipt = json.loads(text) if text else {}
    if receipt.get("plan") != stage.plan_hash or receipt["inputs"] != as_read(task.inputs):
        return None
    seals = {suffix: Seal(**seal) for suffix, seal in receipt["files"].items()}
    try:
        for suffix, seal in seals.items():
            check_size(file_of(stage.folder, part_name(task), suffix), seal.size)
    except MissingFileError:
        return None
    return Finished(part_name(task), receipt["summary"], {**seals, PARQUET: files.sealed(location)})


def seal_stage(stage: Stage, filled: Filled) -> Parts:
    """Remove what belongs to no part, add up the counts, write `stage.json`."""
    stage.check()
    facts = stage.facts()
    summaries = filled.summaries()
    remove_strangers(stage, filled.files())
    said = {
        "stage": stage.params.stage,
        "plan": stage.plan_hash,
        "source": stage.source,
        "counts": summaries.sums(),
        "facts": as_read(facts),
    }
    said["hash"] = book_hash(said, sorted(filled.entries()))
    write_book(files.join(stage.folder, "stage.json"), said, filled.entries())
    return Parts(stage.folder, summaries.names, said["counts"], said["hash"], said["source"], said["facts"], summaries)
