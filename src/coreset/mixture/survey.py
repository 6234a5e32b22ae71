"""The first look at a source: where the records that are wanted lie, and why others are not."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from jaxtyping import Bool, Int64, UInt64

from coreset.engine.progress import ticker
from coreset.mixture.checks import conversation, id_of, wrong_with
from coreset.mixture.recipe import Source
from coreset.mixture.records import Record, read_records

EXAMPLES = 5
"""Refused records of each reason that are kept for a message."""


@dataclass(frozen=True)
class Rejected:
    """A record that cannot be used.

    Attributes:
        source: its source's name
        record: its index there
        offset: the byte at which it begins
        id: its id, if it has one
        reason: one of `checks.REASONS`
        detail: what was found
    """

    source: str
    record: int
    offset: int
    id: str | None
    reason: str
    detail: str

    def line(self) -> bytes:
        """The record as one line of JSON."""
        return (json.dumps(self.__dict__) + "\n").encode()


@dataclass
class Survey:
    """What a first reading of a source found; 50 bytes for each record that is wanted.

    Attributes:
        source: the source
        read: records that were read
        left_out: those that the recipe does not want
        rejected: those that it wants and that cannot be used
    """

    source: Source
    read: int = 0
    left_out: int = 0
    rejected: int = 0
    _numbers: array[int] = field(default_factory=lambda: array("q"))
    _offsets: array[int] = field(default_factory=lambda: array("q"))
    _sizes: array[int] = field(default_factory=lambda: array("q"))
    _ids: array[int] = field(default_factory=lambda: array("Q"))
    _contents: array[int] = field(default_factory=lambda: array("Q"))
    _images: array[int] = field(default_factory=lambda: array("b"))

    def add(self, record: Record, name: str, has_image: bool) -> None:
        """Note a record that is wanted."""
        digest = xxhash.xxh3_128_intdigest(name.encode("utf-8", "surrogatepass"))
        self._numbers.append(record.number)
        self._offsets.append(record.offset)
        self._sizes.append(len(record.content))
        self._ids.extend((digest >> 64, digest & 0xFFFF_FFFF_FFFF_FFFF))
        self._contents.append(xxhash.xxh3_64_intdigest(record.content))
        self._images.append(has_image)

    @property
    def numbers(self) -> Int64[np.ndarray, "r"]:
        """The index of each wanted record in its source."""
        return np.frombuffer(self._numbers, np.int64)

    @property
    def offsets(self) -> Int64[np.ndarray, "r"]:
        """The byte at which each begins."""
        return np.frombuffer(self._offsets, np.int64)

    @property
    def sizes(self) -> Int64[np.ndarray, "r"]:
        """The length of each in bytes."""
        return np.frombuffer(self._sizes, np.int64)

    @property
    def ids(self) -> UInt64[np.ndarray, "r 2"]:
        """xxh3_128 of each id's UTF-8 bytes, in two halves: equal for equal ids."""
        return np.frombuffer(self._ids, np.uint64).reshape(-1, 2)

    @property
    def contents(self) -> UInt64[np.ndarray, "r"]:
        """xxh3_64 of the bytes of each: whether they are the same when they are copied."""
        return np.frombuffer(self._contents, np.uint64)

    @property
    def has_image(self) -> Bool[np.ndarray, "r"]:
        """Whether each has an image."""
        return np.frombuffer(self._images, np.bool_)


def surveyed(source: Source, refuse: Callable[[Rejected], None]) -> Survey:
    """Read a source once.

    Args:
        source: what to read, and what is wanted of it
        refuse: is told of each record that is wanted and cannot be used

    Raises:
        InputError: It is no JSON list and no JSON lines.
    """
    survey = Survey(source)
    for record in read_records(source.path):
        survey.read += 1
        ticker.add(1)
        value = meant(record, source)
        name = value if isinstance(value, tuple) else id_of(value)
        if isinstance(name, tuple):
            survey.rejected += 1
            refuse(Rejected(source.name, record.number, record.offset, None, *name))
            continue
        has_image = "image" in value
        if not source.takes(name, has_image):
            survey.left_out += 1
        elif wrong := wrong_with(value):
            survey.rejected += 1
            refuse(Rejected(source.name, record.number, record.offset, name, *wrong))
        else:
            survey.add(record, name, has_image)
    return survey


def meant(record: Record, source: Source) -> Any:  # noqa: ANN401  any JSON value, or what is wrong with it
    """A record in the form that loaders read, or as a tuple why it has none."""
    if source.form == "llava":
        return record.value
    return conversation(record.value, f"{source.name}_{record.number:07d}")
