"""What a stage is, before anything is done: its parameters, its tasks, and what identifies it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

from coreset.engine import files
from coreset.engine.books import book_bytes
from coreset.engine.files import JSON, Location
from coreset.engine.summaries import Summary

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


@dataclass(frozen=True, slots=True)
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
        tasks: planned lazily, and more than once: called only if something is missing, gives the same tasks in the same
            order each time, and keeps what they cost to find out
        source: hash of the stage that is read; None for the first
        needs: of each task
        receipt: reads the receipt from a part's Parquet, as JSON text; None if there is none
        inputs: identities of foreign files by name, as JSON reads them back; new ones may be added later, none may
            change
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
    inputs: Callable[[], Mapping[str, JSON]] = dict
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
        """What `plan.json` says, as it reads when it is read back; made anew each time, for it may be long."""
        return {**self._identity, "inputs": self.inputs()}

    @cached_property
    def plan_hash(self) -> str:
        """Identifies parameters, rule and source; what a part read itself stands in its receipt."""
        return plan_hash(self._identity)

    @property
    def _identity(self) -> dict[str, JSON]:
        identity = {"stage": self.params.stage, "rule": self.params.rule, "params": params_json(self.params)}
        return dict(as_read({**identity, "source": self.source}))

    def is_laid(self) -> bool:
        """Whether the folder's `plan.json` is this plan; one that is as we write it need not be parsed."""
        location, plan = files.join(self.folder, "plan.json"), self.plan
        try:
            content = files.read_bytes(location)
        except FileNotFoundError:
            return False
        return content == book_bytes(plan) or files.read_json(location) == plan


def changed_fields(old: dict[str, JSON], new: dict[str, JSON]) -> list[tuple[str, JSON, JSON]]:
    """Name, old and new value of everything that differs between two plans; added inputs do not count."""
    pairs = [(name, old.get(name), new.get(name)) for name in ("stage", "rule", "source")]
    names = sorted(old["params"].keys() | new["params"].keys())
    pairs += [(name, old["params"].get(name), new["params"].get(name)) for name in names]
    pairs += [(f"input {name}", value, new["inputs"].get(name)) for name, value in old["inputs"].items()]
    return [(name, before, after) for name, before, after in pairs if before != after]


def in_order(folder: Location, names: Iterable[str]) -> list[str]:
    """The names of inputs by the number of their part: in the order in which they were first planned, new ones last.

    `plan.json` is sorted by name, so the order stands in the `part` that each input has there.

    Example:
        >>> in_order("/nowhere", ["b.tar", "a.tar"])
        ['b.tar', 'a.tar']
    """
    names = list(names)
    before = (files.read_json(files.join(folder, "plan.json")) or {"inputs": {}})["inputs"]
    if not before:
        return names
    known = set(names)
    order = sorted((name for name in before if name in known), key=lambda name: int(before[name]["part"]))
    return order + [name for name in names if name not in before]


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
