"""The parts of a stage: one while its task writes it, one that is committed, and all of a complete stage."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from coreset.engine import files
from coreset.engine.books import Stated, line_of, read_stage
from coreset.engine.bundle import Bundle
from coreset.engine.errors import InputError, InvariantError, MissingFileError
from coreset.engine.files import JSON, Location
from coreset.engine.names import Numbered
from coreset.engine.outgoing import Outgoing, Seal, outgoing
from coreset.engine.plan import Task
from coreset.engine.summaries import Summary

PARQUET = ".parquet"


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
    names: Sequence[str]
    counts: Mapping[str, int]
    hash: str
    source: str | None
    facts: Mapping[str, JSON]
    summaries: Mapping[str, Summary]

    def locations(self, suffix: str = PARQUET) -> Sequence[Location]:
        """The parts' files of one suffix, in order."""
        if isinstance(self.names, Numbered):
            return self.names.between(files.join(self.folder, ""), suffix)
        return [files.join(self.folder, name + suffix) for name in self.names]

    def size(self, suffix: str = PARQUET) -> int:
        """Bytes of those files."""
        with files.one_look(self.folder):
            return sum(files.size_of(location) or 0 for location in self.locations(suffix))


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
        self._sides[suffix] = outgoing(file_of(folder, name, suffix), new=suffix == PARQUET)
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


@dataclass(frozen=True, slots=True)
class Finished:
    """A committed part: its name, its summary, the seals of its files by suffix."""

    name: str
    summary: Summary
    seals: Mapping[str, Seal]

    @property
    def line(self) -> bytes:
        """What `stage.json` says of it."""
        seals = {suffix: {"size": seal.size, "hash": seal.hash} for suffix, seal in self.seals.items()}
        return line_of({"summary": self.summary, "files": seals})


def write_part(task: Task, plan: str) -> Finished:
    """Run one task and commit its part; nothing of it stays if it fails."""
    part = Part(task.part, plan, task.inputs)
    try:
        summary = task.write(*task.args, part)
        return Finished(part.name, summary, part.commit())
    finally:
        part.discard()


def open_parts(folder: Location) -> Parts | None:
    """A complete stage from disk, sizes checked; None while it is not complete.

    Raises:
        InputError: A file is missing or has another size than `stage.json` says.
    """
    stated = read_stage(files.join(folder, "stage.json"))
    return None if stated is None else parts_of(folder, stated)


def parts_of(folder: Location, stated: Stated) -> Parts:
    """A complete stage as its `stage.json` says, sizes checked.

    Raises:
        InputError: A file is missing or has another size than is said.
    """
    with files.one_look(folder):
        for name, sizes in stated.sizes.items():
            for suffix, size in sizes:
                check_size(file_of(folder, name, suffix), size)
    said, summaries = stated.said, stated.summaries
    return Parts(folder, summaries.names, said["counts"], said["hash"], said["source"], said["facts"], summaries)


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


def check_size(location: Location, size: int) -> None:
    """Make sure that a committed file has the size it was committed with.

    Raises:
        MissingFileError: It is not there.
        InputError: It has another size.
    """
    found = files.size_of(location)
    if found is None:
        raise MissingFileError(
            f"{location} is missing: it was removed after it was written; run the command that made it again, with the "
            f"same options: it makes what is missing."
        )
    if found != size:
        raise InputError(
            f"{location} has {found:,} bytes instead of {size:,}: it was damaged after it was written; "
            f"remove the part's .parquet and the folder's stage.json, and run the same command again."
        )


def part_name(task: Task) -> str:
    """The name of a task's part, without folder and suffix."""
    return task.part.rpartition("/")[2]


def file_of(folder: Location, name: str, suffix: str) -> Location:
    """Where a part's file lies; a suffix with a slash is a path of its own, relative to the stage's folder."""
    if "/" not in suffix:
        return files.join(folder, name + suffix)
    return files.normal(files.join(folder, suffix))


def seal_of(side: Outgoing) -> Seal:
    """The seal of a file that was closed."""
    if side.seal is None:
        raise InvariantError(f"{side.location} was not closed before its part was committed.")
    return side.seal
