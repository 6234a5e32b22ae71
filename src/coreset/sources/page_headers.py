"""How large the pages of a Parquet's column are, by their headers alone: Arrow reads a page as a whole."""

from __future__ import annotations

import io
from dataclasses import dataclass

LONGEST = 16 << 20
"""Bytes that a header may have, as Arrow has it: statistics may stand in it."""
_FIRST = 64  # bytes of a header that are read first
_DEEPEST = 8  # structs in structs
_BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 3, 7, 8, 9, 10, 11, 12
_NUMBERS = (4, 5, 6)
_BOOLEANS = (1, 2)


class ShortHeaderError(ValueError):
    """The header goes on behind the bytes that are there. Never leaves `sources`."""


class BadHeaderError(ValueError):
    """The bytes are no header of a page. Never leaves `sources`."""


@dataclass(frozen=True)
class PageHeader:
    """The beginning of a page.

    Attributes:
        size: Of the header itself, in bytes.
        packed: Bytes of the page in the file, behind the header.
        unpacked: Bytes of it in memory.
    """

    size: int
    packed: int
    unpacked: int


def largest_page(file: io.RawIOBase, start: int, stop: int) -> int:
    """Bytes in memory of the largest page between two places of a file; of those before a header that is none.

    Args:
        file: A Parquet.
        start: Where the first page of a column chunk begins.
        stop: Where its last page ends.

    Raises:
        OSError: The disk cannot be read.
    """
    largest = 0
    while start < stop:
        try:
            found = _header_at(file, start, min(LONGEST, stop - start))
        except BadHeaderError:
            break
        largest = max(largest, found.unpacked)
        start += found.size + found.packed
    return largest


def _header_at(file: io.RawIOBase, place: int, most: int) -> PageHeader:
    """The header that begins there, of which so many bytes are read as it takes."""
    size = _FIRST
    while True:
        file.seek(place)
        content = file.read(min(size, most)) or b""
        try:
            return parsed_page_header(content)
        except ShortHeaderError as error:
            if size >= most or len(content) < size:
                raise BadHeaderError("it does not end") from error
            size *= 16


def parsed_page_header(content: bytes) -> PageHeader:
    r"""The header that some bytes begin with, in Thrift's compact protocol.

    Raises:
        ShortHeaderError: They end within it.
        BadHeaderError: They are none.

    Example:
        >>> parsed_page_header(b"\x15\x00\x15\x50\x15\x28\x2c\x15\x06\x15\x00\x15\x06\x15\x06\x00\x00")
        PageHeader(size=17, packed=20, unpacked=40)
    """
    reader = _Compact(content)
    sizes: dict[int, int] = {}
    field = 0
    while (kind := (step := reader.byte()) & 15) != 0:
        field = field + (step >> 4) if step >> 4 else reader.number()
        if kind in _NUMBERS:
            sizes[field] = reader.number()
        else:
            reader.skip(kind, _DEEPEST)
    if not {2, 3} <= sizes.keys() or min(sizes[2], sizes[3]) < 0:
        raise BadHeaderError("it says no sizes")
    return PageHeader(reader.at, sizes[3], sizes[2])


class _Compact:
    """Reads values one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def byte(self) -> int:
        """The next byte."""
        if self.at >= len(self._content):
            raise ShortHeaderError("it ends early")
        self.at += 1
        return self._content[self.at - 1]

    def length(self) -> int:
        """The next number without a sign, of at most 64 bits."""
        found = shift = 0
        while (step := self.byte()) & 128:
            found |= (step & 127) << shift
            shift += 7
            if shift > 63:
                raise BadHeaderError("a number has more than 64 bits")
        return found | step << shift

    def number(self) -> int:
        """The next number with a sign."""
        found = self.length()
        return found >> 1 ^ -(found & 1)

    def skip(self, kind: int, deepest: int) -> None:
        """Pass over a value."""
        if deepest == 0:
            raise BadHeaderError("it is nested too deep")
        if kind in _BOOLEANS:
            return
        if kind == _BYTE:
            self.byte()
        elif kind in _NUMBERS:
            self.length()
        elif kind in {_DOUBLE, _BINARY}:
            self._pass(8 if kind == _DOUBLE else self.length())
        elif kind in {_LIST, _SET, _MAP}:
            self._skip_many(kind, deepest - 1)
        elif kind == _STRUCT:
            self._skip_struct(deepest - 1)
        else:
            raise BadHeaderError(f"it has a value of the kind {kind}")

    def _pass(self, count: int) -> None:
        if count > LONGEST:
            raise BadHeaderError("a value is too long")
        self.at += count
        if self.at > len(self._content):
            raise ShortHeaderError("it ends early")

    def _skip_many(self, kind: int, deepest: int) -> None:
        if kind == _MAP:
            raise BadHeaderError("it has a map, and no header of a page has one")
        step = self.byte()
        count = step >> 4 if step >> 4 < 15 else self.length()
        for _ in range(count):
            self.byte() if step & 15 in _BOOLEANS else self.skip(step & 15, deepest)

    def _skip_struct(self, deepest: int) -> None:
        while (step := self.byte()) & 15:
            if step >> 4 == 0:
                self.number()
            self.skip(step & 15, deepest)
