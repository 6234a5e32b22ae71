"""A mixture from its recipe: a first pass finds the records and draws, a second copies them. Memory is bounded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import xxhash
from jaxtyping import Int64

from coreset.engine.errors import InputError, InvariantError, UsageError
from coreset.engine.files import Location, opened_here, remove
from coreset.engine.outgoing import Outgoing, outgoing
from coreset.engine.progress import Progress, quiet
from coreset.mixture.draw import Places, chosen, ids_of, occurrences
from coreset.mixture.recipe import Mixture, Source
from coreset.mixture.records import Record
from coreset.mixture.survey import EXAMPLES, Rejected, Survey, meant, surveyed

ENDING = ".json"
REJECTED = ".rejected.jsonl"
"""Ends the name of the file that lists what was refused."""


@dataclass(frozen=True)
class SourceCounts:
    """What became of the records of a source; the first number is the sum of the next five.

    Attributes:
        name: the source
        read: records in the file
        left_out: those that the recipe does not want
        rejected: those that cannot be used
        repeated: those whose id came before, where only the first is kept
        not_drawn: those beyond `n`
        taken: those in the mixture
        text_only: those of them without an image
    """

    name: str
    read: int
    left_out: int
    rejected: int
    repeated: int
    not_drawn: int
    taken: int
    text_only: int


@dataclass(frozen=True)
class Mixed:
    """What a mixture came to.

    Attributes:
        file: the JSON list
        sources: counts of each source, in the recipe's order
        reasons: refused records by reason
        examples: the first refused records of each reason
        rejected_file: where all of them are listed; None if there are none
        shared_ids: records of the mixture whose id another one before them has
    """

    file: Location
    sources: tuple[SourceCounts, ...]
    reasons: dict[str, int]
    examples: tuple[Rejected, ...]
    rejected_file: Location | None
    shared_ids: int

    @property
    def records(self) -> int:
        """Records of the mixture."""
        return sum(source.taken for source in self.sources)

    @property
    def text_only(self) -> int:
        """Those without an image."""
        return sum(source.text_only for source in self.sources)

    @property
    def rejected(self) -> int:
        """Records that are wanted and cannot be used."""
        return sum(source.rejected for source in self.sources)

    @property
    def wanted(self) -> int:
        """Records that the recipe wants, good and bad ones."""
        return sum(source.read - source.left_out for source in self.sources)


def mix(mixture: Mixture, location: Location, progress: Progress = quiet) -> Mixed:
    """Write a mixture as one JSON list, which appears whole or not at all; each record byte for byte as it stands.

    Args:
        mixture: the recipe
        location: the file, replaced if it is there
        progress: is told of the passes

    Raises:
        UsageError: The file is not named `.json`, or is one of the sources.
        InputError: A source cannot be read, has fewer than `n` records, or changed meanwhile; an id stands twice where
            that is refused; or nothing is left.
    """
    check_place(mixture, location)
    listing = location.removesuffix(ENDING) + REJECTED
    rejects, file = outgoing(listing), outgoing(location)
    try:
        notes = Notes(rejects)
        surveys = list(read_all(mixture.source, notes, progress))
        places = chosen(mixture, surveys)
        copy_records(surveys, places.order, file, progress)
        if notes.reasons:
            rejects.commit()
        else:
            remove(listing)
        file.commit()
    finally:
        file.discard()
        rejects.discard()
    counts = tuple(counted(survey, places, at) for at, survey in enumerate(surveys))
    shared = int((occurrences(*ids_of(surveys, places.order).T) > 0).sum())
    return Mixed(location, counts, notes.reasons, tuple(notes.examples), listing if notes.reasons else None, shared)


def check_place(mixture: Mixture, location: Location) -> None:
    """Refuse a file that cannot be meant."""
    if not location.endswith(ENDING):
        raise UsageError(f"{location} must end in {ENDING}.")
    for source in mixture.source:
        is_there = os.path.exists(location) and os.path.exists(source.path)
        if location == source.path or (is_there and os.path.samefile(location, source.path)):
            raise UsageError(f"{location} is the file of source.{source.name}; give the mixture another name.")


class Notes:
    """What was refused: counted, a few kept, all written to a file."""

    def __init__(self, file: Outgoing) -> None:
        self.reasons: dict[str, int] = {}
        self.examples: list[Rejected] = []
        self._file = file

    def add(self, rejected: Rejected) -> None:
        """Note a record that cannot be used."""
        self.reasons[rejected.reason] = self.reasons.get(rejected.reason, 0) + 1
        if self.reasons[rejected.reason] <= EXAMPLES:
            self.examples.append(rejected)
        self._file.write(rejected.line())


def read_all(sources: Sequence[Source], notes: Notes, progress: Progress) -> Iterator[Survey]:
    """The first pass over every source."""
    progress.start("read", len(sources), 0)
    total = 0
    for source in sources:
        survey = surveyed(source, notes.add)
        if not survey.read:
            raise InputError(f"{source.path} has no records; name another file, or leave source.{source.name} out.")
        total += survey.read
        progress.advance({"samples": survey.read})
        yield survey
    progress.finish({"samples": total})


def copy_records(surveys: Sequence[Survey], order: Int64[np.ndarray, "m"], file: Outgoing, progress: Progress) -> None:
    """The second pass: write the chosen records as a JSON list."""
    starts = np.cumsum([0, *(len(survey.numbers) for survey in surveys)])
    source = np.searchsorted(starts, order, side="right") - 1
    progress.start("write", 1, 0)
    with ExitStack() as opened:
        files = [opened.enter_context(opened_here(survey.source.path)) for survey in surveys]
        readers = [reader(survey, file.fileno()) for survey, file in zip(surveys, files, strict=True)]
        separator = b"[\n"
        for at, place in zip(source.tolist(), order.tolist(), strict=True):
            file.write(separator + readers[at](place - int(starts[at])))
            separator = b",\n"
    file.write(b"\n]\n")
    progress.advance({"rows": len(order)})
    progress.finish({"rows": len(order)})


def reader(survey: Survey, number: int) -> Callable[[int], bytes]:
    """Gives the bytes that a source's records have in the mixture, from its open file."""
    offsets, sizes, contents, numbers = survey.offsets, survey.sizes, survey.contents, survey.numbers

    def read(place: int) -> bytes:
        content = os.pread(number, int(sizes[place]), int(offsets[place]))
        if xxhash.xxh3_64_intdigest(content) != contents[place]:
            raise InputError(f"{survey.source.path} changed while it was read; run the same command again.")
        if survey.source.form == "llava":
            return content
        record = Record(int(numbers[place]), int(offsets[place]), content, json.loads(content))
        return json.dumps(meant(record, survey.source), ensure_ascii=True).encode()

    return read


def counted(survey: Survey, places: Places, at: int) -> SourceCounts:
    """What became of a source's records.

    Raises:
        InvariantError: The numbers do not add up.
    """
    own = places.order[places.source[places.order] == at]
    first = int(np.searchsorted(places.source, at))
    of_source = places.is_first[places.source == at]
    repeated = int((~of_source).sum())
    text_only = int((~survey.has_image[own - first]).sum())
    not_drawn = len(of_source) - repeated - len(own)
    found = SourceCounts(
        survey.source.name, survey.read, survey.left_out, survey.rejected, repeated, not_drawn, len(own), text_only
    )
    total = found.left_out + found.rejected + repeated + not_drawn + found.taken
    if total != survey.read or not_drawn < 0:
        raise InvariantError(f"{survey.source.path} has {survey.read:,} records, but {total:,} are accounted for.")
    return found
