"""What a format is: its parameters, how one part of it is written, and what is written when all parts are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import pyarrow as pa

from coreset.engine.errors import UsageError
from coreset.engine.files import Location, join
from coreset.engine.stage import Part, Summary
from coreset.results.export.chosen import listed_rows
from coreset.results.export.where import fates_of

MOST_ROWS = 100_000
"""Rows of one part at most: the rows, not their pictures, are held in memory."""
HIDDEN = ".coreset"
"""The folder in `OUT` that holds what an export says of itself."""


@dataclass(frozen=True, kw_only=True)
class ExportParams:
    """What every format has; each has a frozen dataclass of its own that adds its parameters."""

    stage: ClassVar[str] = "export"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset()

    where: tuple[str, ...] = field(
        default=("kept",), metadata={"help": "fates of the rows, or steps of the funnel; several times for several"}
    )

    def __post_init__(self) -> None:
        """Write `where` as fates, so that one meaning is one plan."""
        object.__setattr__(self, "where", fates_of(self.where))

    @property
    def part_rows(self) -> int:
        """Chosen rows of one part: fixed, so that parts do not depend on workers or memory."""
        return 10_000


def check_part_rows(flag: str, rows: int) -> None:
    """Refuse a number of rows that cannot be a part's.

    Raises:
        UsageError: It is below 1 or above `MOST_ROWS`.
    """
    if not 1 <= rows <= MOST_ROWS:
        raise UsageError(f"{flag} {rows:,} must be at least 1 and at most {MOST_ROWS:,}.")


@dataclass(frozen=True)
class ChosenRows:
    """The rows of one part: places and small values, which travel to a worker.

    Attributes:
        run: the run directory
        out: the export's folder
        number: of the part, from 0
        parts: how many parts there are
        pieces: files of chosen rows, and the first and last of their rows that are meant
        memory: bytes that the part may hold
    """

    run: Location
    out: Location
    number: int
    parts: int
    pieces: tuple[tuple[Location, int, int], ...]
    memory: int

    def table(self) -> pa.Table:
        """The rows with the columns of `chosen.CHOSEN`, in order."""
        return listed_rows(self.pieces)


P = TypeVar("P", bound=ExportParams)


@dataclass(frozen=True)
class Finished(Generic[P]):
    """An export whose parts are all there.

    Attributes:
        run: the run directory
        out: the export's folder
        params: of the format
        parts: the parts' Parquet files, in order
        counts: sums of the parts' summaries
    """

    run: Location
    out: Location
    params: P
    parts: tuple[Location, ...]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Read:
    """One pair as it is read back from an export, by the way that its loader takes.

    Attributes:
        key: of the row; None where the format does not say it
        file: that holds the picture, in the export's folder
        caption: as it is there; None if it is not where it must be
    """

    key: str | None
    file: str
    caption: str | None


@dataclass(frozen=True)
class Format(Generic[P]):
    """A form that some trainer reads.

    Attributes:
        name: as it is typed
        meaning: what it is and who reads it, in one line
        params: its parameters
        write: writes one part, as `write(rows, params, part)`
        owns: patterns of the names that it leaves in the folder itself, for `--overwrite`
        finish: writes what holds all parts, and says the names of those files
        read: reads the pairs back in order, where one file or folder holds those of all parts
        has_pictures: whether it copies pictures, so that their sources must be there
        check: refuses a run that has no such form, before anything is written
    """

    name: str
    meaning: str
    params: type[P]
    write: Callable[[ChosenRows, P, Part], Summary]
    owns: tuple[str, ...]
    finish: Callable[[Finished[P]], Sequence[str]] = lambda finished: ()  # noqa: ARG005  nothing to do
    read: Callable[[Finished[P]], Iterator[Read]] | None = None
    has_pictures: bool = True
    check: Callable[[Location, P], None] = lambda run, params: None  # noqa: ARG005  every run has this form


def beside(name: str) -> str:
    """The suffix by which `Part.file` opens a file in the export's folder.

    Example:
        >>> beside("00000.tar")
        '../../00000.tar'
    """
    return join("..", "..", name)
