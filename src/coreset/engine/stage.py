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

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol, TypeVar

from coreset.engine import files
from coreset.engine.errors import InvariantError
from coreset.engine.files import Seal
from coreset.engine.folder import check_kept, check_plan, check_stays, lay_plan, remove_strangers
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
    Summary,
    Task,
    as_read,
    brief,
    changed_fields,
    params_json,
    part_numbers,
    plan_hash,
)
from coreset.engine.progress import Progress, quiet
from coreset.engine.space import check_space

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
    "open_parts",
    "params_json",
    "part_numbers",
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
    tasks = list(stage.tasks())  # before anything is touched: what cannot be planned leaves the folder as it was
    check_space(stage.folder, stage.size())
    lay_plan(stage)
    done, missing = present_parts(stage, tasks)
    stage.begun(len(tasks))
    found_counts = summed(part.summary for part in done.values())
    progress.start(stage.name, len(tasks), len(done), found_counts, stage.rows() if missing else None)
    calls = (partial(write_part, task, stage.plan_hash) for task in missing)
    try:
        for part in execute(calls, stage.needs):
            done[part.name] = part
            check_stays(stage, tasks)
            progress.advance(part.summary)
        check_kept(stage, done.values())
        parts = seal_stage(stage, [done[part_name(task)] for task in tasks])
    finally:  # an error in a folder that vanished comes from that
        check_stays(stage, tasks)
    progress.finish(parts.counts)
    return parts


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
    """The stage as it stands, if it is complete and was made by this plan with these inputs."""
    if files.read_json(files.join(stage.folder, "plan.json")) != stage.plan:
        return None
    said = files.read_json(files.join(stage.folder, "stage.json"))
    return parts_of(stage.folder, said) if said is not None and said["plan"] == stage.plan_hash else None


def present_parts(stage: Stage, tasks: list[Task]) -> tuple[dict[str, Finished], list[Task]]:
    """The parts that are committed under this plan, by name, and the tasks whose parts are not."""
    done: dict[str, Finished] = {}
    missing = []
    for task in tasks:
        found = committed(stage, task)
        if found is None:
            missing.append(task)
        else:
            done[found.name] = found
    return done, missing


def committed(stage: Stage, task: Task) -> Finished | None:
    """A part from disk if it belongs to this plan and these inputs.

    Raises:
        InputError: It does, but one of its files is damaged.
    """
    location = task.part + PARQUET
    if files.size_of(location) is None:
        return None
    text = stage.receipt(location)
    receipt = json.loads(text) if text else {}
    if receipt.get("plan") != stage.plan_hash or receipt["inputs"] != as_read(task.inputs):
        return None
    seals = {suffix: Seal(**seal) for suffix, seal in receipt["files"].items()}
    for suffix, seal in seals.items():
        check_size(file_of(stage.folder, part_name(task), suffix), seal.size)
    return Finished(part_name(task), receipt["summary"], {**seals, PARQUET: files.sealed(location)})


def seal_stage(stage: Stage, parts: list[Finished]) -> Parts:
    """Remove what belongs to no part, add up the counts, write `stage.json`."""
    stage.check()
    facts = stage.facts()
    counts = summed(part.summary for part in parts)
    listed = {
        part.name: {
            "summary": part.summary,
            "files": {suffix: dataclasses.asdict(seal) for suffix, seal in sorted(part.seals.items())},
        }
        for part in parts
    }
    remove_strangers(stage, listed)
    identity = {"stage": stage.params.stage, "plan": stage.plan_hash, "source": stage.source}
    said = {**identity, "counts": counts, "facts": facts, "parts": listed}
    files.write_json(files.join(stage.folder, "stage.json"), {**said, "hash": files.fingerprint(said)})
    found = open_parts(stage.folder)
    if found is None:
        raise InvariantError(f"{stage.folder} vanished while it was written.")
    return found
