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
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Protocol, TypeVar

from coreset.engine import files
from coreset.engine.bundle import Bundle
from coreset.engine.errors import InputError, InvariantError, MismatchError, ResourceError
from coreset.engine.files import JSON, Location, Outgoing, Seal
from coreset.engine.progress import Progress, quiet
from coreset.engine.space import check_space

T = TypeVar("T")
Summary = dict[str, int]
"""Small counts of one part, such as `{"rows": 10, "quarantined": 1}`; a stage's counts are their sums."""

PARQUET = ".parquet"
LATER = "later"
"""In the metadata of a parameter that came after others: a plan does not name it while it has its default, so that
what was made before it came is still what the same parameters make."""


class Params(Protocol):
    """Parameters of a stage: a frozen dataclass whose fields are all JSON values."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]
    stage: ClassVar[str]
    """The name in `plan.json` and in messages."""
    rule: ClassVar[int]
    """Rises when the same parameters give other bytes."""
    redo: ClassVar[frozenset[str]]
    """Fields whose change recomputes the stage without being asked twice."""


@dataclass(frozen=True)
class Needs:
    """What one task needs; an engine declares it or ignores it.

    Attributes:
        memory: bytes of working memory one task may use
        gpus: devices one task uses
        threads: threads one task uses
        concurrency: most tasks at a time; None for as many as there are workers
    """

    memory: int = 1 << 30
    gpus: float = 0.0
    threads: int = 1
    concurrency: int | None = None


@dataclass(frozen=True)
class Task:
    """One call that leaves one complete part.

    Attributes:
        part: folder and name without suffix, such as `run/rows/00000`
        write: a top-level function, called as `write(*args, part)`; returns the part's summary
        args: locations and small values, never arrays
        inputs: JSON that identifies what this part alone was made from
    """

    part: Location
    write: Callable[..., Summary]
    args: tuple[object, ...]
    inputs: JSON = None


@dataclass(frozen=True)
class Stage:
    """A folder, what identifies its contents, and the tasks that fill it.

    Attributes:
        folder: where the parts go
        params: part of the stage's identity
        tasks: planned lazily: called only if something is missing
        source: hash of the stage that is read; None for the first
        needs: of each task
        receipt: reads the receipt from a part's Parquet, as JSON text; None if there is none
        inputs: identities of foreign files by name; new ones may be added later, none may change
        check: raises if the parts may not stand together; called once all are there, before it is said
        facts: what `stage.json` says besides counts; called last
        aside: how the paths of its files in other folders begin, relative to its own: `../quarantine/embed-`; those
            of other stages that fill the same folder too, so that none of theirs outlives them
        size: bytes that its files will have, as far as the source tells; asked only if something is missing
        rows: that the stage will have seen when it is complete, for eyes only; None if nobody knows
        begun: told how many parts there will be, before the first is made
    """

    folder: Location
    params: Params
    tasks: Callable[[], Iterable[Task]]
    source: str | None
    receipt: Callable[[Location], str | None]
    needs: Needs = Needs()
    inputs: Mapping[str, JSON] = field(default_factory=dict)
    check: Callable[[], None] = lambda: None
    facts: Callable[[], dict[str, JSON]] = dict
    aside: tuple[str, ...] = ()
    size: Callable[[], int] = lambda: 0
    rows: Callable[[], int | None] = lambda: None
    begun: Callable[[int], None] = lambda _: None

    @property
    def name(self) -> str:
        """The folder's own name, such as `rows`."""
        return self.folder.rpartition("/")[2]

    @property
    def plan(self) -> dict[str, JSON]:
        """What `plan.json` says, as it reads when it is read back."""
        identity = {"stage": self.params.stage, "rule": self.params.rule, "params": params_json(self.params)}
        plan: dict[str, JSON] = as_read({**identity, "source": self.source, "inputs": dict(self.inputs)})
        return plan

    @property
    def plan_hash(self) -> str:
        """Identifies parameters, rule and source; what a part read itself stands in its receipt."""
        return plan_hash(self.plan)


@dataclass(frozen=True)
class Parts:
    """A complete stage as the next one sees it.

    Attributes:
        folder: where the parts are
        names: of the parts, without suffix, in order
        counts: sums of the summaries
        hash: identifies every byte of the stage
        source: hash of the stage that it was made from
        facts: what `stage.json` says besides
        summaries: of each part, by name
    """

    folder: Location
    names: tuple[str, ...]
    counts: Mapping[str, int]
    hash: str
    source: str | None
    facts: Mapping[str, JSON]
    summaries: Mapping[str, Summary]

    def locations(self, suffix: str = PARQUET) -> list[Location]:
        """The parts' files of one suffix, in order."""
        return [files.join(self.folder, name + suffix) for name in self.names]

    def size(self, suffix: str = PARQUET) -> int:
        """Bytes of those files."""
        with files.one_look(self.folder):
            return sum(files.size_of(location) or 0 for location in self.locations(suffix))


class Execute(Protocol):
    """An engine: makes the calls, in any order, on any machine, and yields what they return."""

    def __call__(self, calls: Iterable[Callable[[], T]], needs: Needs) -> Iterator[T]:
        """Yield each call's result as it comes."""
        ...


class Part:
    """A part while its task writes it: opens side files, hands out the receipt for the Parquet."""

    def __init__(self, location: Location, plan: str, inputs: JSON) -> None:
        self.location, self.plan, self.inputs = location, plan, inputs
        self._sides: dict[str, Outgoing] = {}
        self._absent: list[Location] = []
        self._bundle: Bundle | None = None

    @property
    def name(self) -> str:
        """The part's name without folder and suffix."""
        return self.location.rpartition("/")[2]

    def file(self, suffix: str) -> Outgoing:
        """A binary file that stands beside the part once the part is committed.

        A suffix with a slash names a file elsewhere, relative to the stage's folder.
        """
        folder, _, name = self.location.rpartition("/")
        self._sides[suffix] = files.outgoing(file_of(folder, name, suffix), new=suffix == PARQUET)
        return self._sides[suffix]

    def bundle(self) -> Bundle:
        """Many small files elsewhere, of which the receipt says nothing: the part's Parquet must list them."""
        self._bundle = self._bundle or Bundle(self.location)
        return self._bundle

    def without(self, suffix: str) -> None:
        """Say that a side file of an earlier attempt must not be there once the part is committed."""
        folder, _, name = self.location.rpartition("/")
        self._absent.append(file_of(folder, name, suffix))

    def receipt(self, summary: Summary) -> str:
        """JSON text for the Parquet's metadata: plan, inputs, summary, seals of the closed side files."""
        seals = {key: dataclasses.asdict(seal_of(side)) for key, side in self._sides.items() if key != PARQUET}
        return json.dumps(
            {"plan": self.plan, "inputs": self.inputs, "summary": summary, "files": seals}, sort_keys=True
        )

    def commit(self) -> dict[str, Seal]:
        """Give all files their names, the Parquet last; returns their seals."""
        for location in self._absent:
            files.remove(location)
        if self._bundle is not None:
            self._bundle.commit()
        for suffix in sorted(self._sides, key=lambda suffix: suffix == PARQUET):
            self._sides[suffix].commit()
        return {suffix: seal_of(side) for suffix, side in self._sides.items()}

    def discard(self) -> None:
        """Remove everything that was not committed."""
        for side in self._sides.values():
            side.discard()
        if self._bundle is not None:
            self._bundle.discard()


@dataclass(frozen=True)
class Finished:
    """A committed part: its name, its summary, the seals of its files by suffix."""

    name: str
    summary: Summary
    seals: Mapping[str, Seal]


def write_part(task: Task, plan: str) -> Finished:
    """Run one task and commit its part; nothing of it stays if it fails."""
    part = Part(task.part, plan, task.inputs)
    try:
        summary = task.write(*task.args, part)
        return Finished(part.name, summary, part.commit())
    finally:
        part.discard()


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


def open_parts(folder: Location) -> Parts | None:
    """A complete stage from disk, sizes checked; None while it is not complete.

    Raises:
        InputError: A file is missing or has another size than `stage.json` says.
    """
    said = files.read_json(files.join(folder, "stage.json"))
    return None if said is None else parts_of(folder, said)


def parts_of(folder: Location, said: JSON) -> Parts:
    """A complete stage as its `stage.json` says, sizes checked.

    Raises:
        InputError: A file is missing or has another size than is said.
    """
    with files.one_look(folder):
        for name, part in said["parts"].items():
            for suffix, seal in part["files"].items():
                check_size(file_of(folder, name, suffix), seal["size"])
    summaries = {name: part["summary"] for name, part in said["parts"].items()}
    return Parts(folder, tuple(said["parts"]), said["counts"], said["hash"], said["source"], said["facts"], summaries)


def check_plan(stage: Stage, overwrite: bool = False) -> list[str]:
    """Compare a stage with what its folder was made by; returns the changed fields that lead to recomputing it.

    Raises:
        MismatchError: A field changed that must not be replaced silently; names the first with both values.
    """
    found = files.read_json(files.join(stage.folder, "plan.json"))
    if found is None:
        return []
    if overwrite and found != stage.plan:
        next(iter(stage.tasks()), None)  # what cannot be planned leaves the folder as it was
        remove_strangers(stage, {})
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


def changed_fields(old: dict[str, JSON], new: dict[str, JSON]) -> list[tuple[str, JSON, JSON]]:
    """Name, old and new value of everything that differs between two plans; added inputs do not count."""
    pairs = [(name, old.get(name), new.get(name)) for name in ("stage", "rule", "source")]
    names = sorted(old["params"].keys() | new["params"].keys())
    pairs += [(name, old["params"].get(name), new["params"].get(name)) for name in names]
    pairs += [(f"input {name}", value, new["inputs"].get(name)) for name, value in old["inputs"].items()]
    return [(name, before, after) for name, before, after in pairs if before != after]


def part_numbers(folder: Location, names: Iterable[str]) -> dict[str, str]:
    """The part of each input by its name: numbered in the order in which they were first planned, new ones last.

    `plan.json` is sorted by name, so the order stands in the `part` that each input has there.

    Example:
        >>> part_numbers("/nowhere", ["b.tar", "a.tar"])
        {'b.tar': '00000', 'a.tar': '00001'}
    """
    names = list(names)
    before = (files.read_json(files.join(folder, "plan.json")) or {"inputs": {}})["inputs"]
    known = set(names)
    order = sorted((name for name in before if name in known), key=lambda name: int(before[name]["part"]))
    order += [name for name in names if name not in before]
    return {name: f"{number:05d}" for number, name in enumerate(order)}


def lay_plan(stage: Stage) -> None:
    """Write `plan.json`, after taking away the word that an earlier plan was complete.

    Raises:
        InputError: The folder holds files without a plan: they are somebody else's.
    """
    files.make_folder(stage.folder)
    files.sweep(stage.folder)
    for aside in stage.aside:
        files.sweep(os.path.dirname(file_of(stage.folder, "", aside)))
    location = files.join(stage.folder, "plan.json")
    found = files.read_json(location)
    if found is None and (names := files.names_in(stage.folder)):
        raise InputError(f"{stage.folder} holds {names[0]} and no plan.json: it is not ours; use another --run.")
    if found != stage.plan:
        files.remove(files.join(stage.folder, "stage.json"))
        files.commit_json(location, stage.plan, instead_of=found)


def check_stays(stage: Stage, tasks: list[Task]) -> None:
    """Notice that somebody removed the folder while it was written.

    What was written since then is taken away: without a plan, nobody could tell whose it is.

    Raises:
        ResourceError: The folder is gone, or was made anew without its plan.
    """
    if files.size_of(files.join(stage.folder, "plan.json")) is not None:
        return
    names = {part_name(task) for task in tasks} | {"stage"}
    for name in files.names_in(stage.folder):
        if name.partition(".")[0] in names:
            files.remove(files.join(stage.folder, name))
    raise ResourceError(
        f"{stage.folder} was removed while it was written; run the same command again, it makes the folder anew."
    )


def check_kept(stage: Stage, done: Iterable[Finished]) -> None:
    """Notice that files of finished parts were taken away while others were written: `quarantine/`, say.

    The commits of those parts are taken away too, so that the same command makes them again.

    Raises:
        ResourceError: Some are gone; names the first, or its folder if that is gone.
    """
    with files.one_look(stage.folder):
        gone = [
            (part, location)
            for part in done
            for location in (file_of(stage.folder, part.name, suffix) for suffix in part.seals)
            if files.size_of(location) is None
        ]
    for part, _ in gone:
        files.remove(files.join(stage.folder, part.name + PARQUET))
    if gone:
        folder, _, name = gone[0][1].rpartition("/")
        place = files.join(folder, name) if files.names_in(folder) else folder
        raise ResourceError(
            f"{place} was removed while {stage.folder} was written; run the same command again, it continues."
        )


def present_parts(stage: Stage, tasks: list[Task]) -> tuple[dict[str, Finished], list[Task]]:
    """The parts that are committed under this plan, by name, and the tasks whose parts are not."""
    done: dict[str, Finished] = {}
    missing = []
    with files.one_look(stage.folder):
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
    files.commit_json(files.join(stage.folder, "stage.json"), {**said, "hash": files.fingerprint(said)})
    found = open_parts(stage.folder)
    if found is None:
        raise InvariantError(f"{stage.folder} vanished while it was written.")
    return found


def summed(summaries: Iterable[Mapping[str, int]]) -> Summary:
    """What several parts come to.

    Example:
        >>> summed([{"rows": 1}, {"rows": 2, "kept": 1}])
        {'rows': 3, 'kept': 1}
    """
    counts: Summary = {}
    for summary in summaries:
        for name, count in summary.items():
            counts[name] = counts.get(name, 0) + count
    return counts


def remove_strangers(stage: Stage, listed: Mapping[str, JSON]) -> None:
    """Remove the stage's files that no listed part names: leftovers of another plan."""
    known = {file_of(stage.folder, name, suffix) for name, part in listed.items() for suffix in part["files"]}
    own = [file_of(stage.folder, name, "") for name in files.names_in(stage.folder) if name != "plan.json"]
    for location in own + asides(stage):
        if location not in known:
            files.remove(location)


def asides(stage: Stage) -> list[Location]:
    """The stage's files in other folders."""
    found = []
    for aside in stage.aside:
        folder, _, prefix = file_of(stage.folder, "", aside).rpartition("/")
        found += [files.join(folder, name) for name in files.names_in(folder) if name.startswith(prefix)]
    return found


def check_size(location: Location, size: int) -> None:
    """Raise unless a committed file has the size it was committed with."""
    found = files.size_of(location)
    if found != size:
        state = "is missing" if found is None else f"has {found:,} bytes instead of {size:,}"
        raise InputError(
            f"{location} {state}: it was damaged after it was written; "
            f"remove the part's .parquet and the folder's stage.json, and run the same command again."
        )


def part_name(task: Task) -> str:
    """The name of a task's part, without folder and suffix."""
    return task.part.rpartition("/")[2]


def file_of(folder: Location, name: str, suffix: str) -> Location:
    """Where a part's file lies; a suffix with a slash is a path of its own, relative to the stage's folder."""
    return files.normal(files.join(folder, suffix if "/" in suffix else name + suffix))


def seal_of(side: Outgoing) -> Seal:
    """The seal of a file that was closed."""
    if side.seal is None:
        raise InvariantError(f"{side.location} was not closed before its part was committed.")
    return side.seal


def plan_hash(plan: Mapping[str, JSON]) -> str:
    """Identifies parameters, rule and source of a plan; what a part read itself stands in its receipt."""
    return files.fingerprint({key: value for key, value in plan.items() if key != "inputs"})


def params_json(params: Params) -> dict[str, JSON]:
    """The fields of a params dataclass as JSON values; those that came `LATER` only if they are set."""
    every = {field: getattr(params, field.name) for field in dataclasses.fields(params)}
    return {
        field.name: value
        for field, value in every.items()
        if not (field.metadata.get(LATER) and value == field.default)
    }


def as_read(value: JSON) -> JSON:
    """A JSON value as it reads when it is written and read back: tuples become lists.

    Example:
        >>> as_read({"window": (40, 60)})
        {'window': [40, 60]}
    """
    return json.loads(json.dumps(value))


def brief(value: JSON, width: int = 120) -> str:
    """A value for a message, cut to a readable length."""
    text = "nothing" if value is None else str(value)
    return text if len(text) <= width else text[: width - 1] + "…"
