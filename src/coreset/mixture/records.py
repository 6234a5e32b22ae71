"""The records of a JSON list, or of JSON lines, one after the other with their places; the file is never held whole."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from coreset.engine.errors import InputError
from coreset.engine.files import Location, opened_here

BLOCK = 1 << 20
"""Bytes that are read at a time."""
MOST = 64 << 20
"""Characters of one record above which a file is refused: it bounds the memory, and no conversation comes near it."""
NEAR = 16
"""An error so near to the end of what was read may come of the cut: the longest literal or escape is shorter."""
IN_NUMBERS = "0123456789+-.eE"

_BLANKS = re.compile(r"[ \t\n\r]*")
_MARK = codecs.BOM_UTF8


class Number(str):
    """A number as the file writes it: no record needs its value, and none may be taken for text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One value of a list.

    Attributes:
        number: its index in the file
        offset: the byte at which it begins
        content: its bytes
        value: what they mean; numbers are `Number`s
    """

    number: int
    offset: int
    content: bytes
    value: object


def read_records(location: Location) -> Iterator[Record]:
    """The values of a JSON list, or of a file with a JSON object on each line, in order.

    Raises:
        InputError: The file is neither, is not UTF-8, or is cut; says at which byte.
    """
    try:
        with opened_here(location) as file:
            window = Window(file, location)
            first = window.next_letter()
            if first not in {"[", "{"}:
                shown = f"begins with {first!r}" if first else "is empty"
                raise InputError(f"{location} {shown}; a mixture is made of JSON lists and JSON lines.")
            yield from listed(window) if first == "[" else lines(window)
    except IsADirectoryError as error:
        raise InputError(f"{location} is a folder; name the JSON file in it.") from error
    except FileNotFoundError as error:
        raise InputError(f"{location} does not exist; paths start from the recipe's folder.") from error


def listed(window: Window) -> Iterator[Record]:
    """The values between `[` and `]`."""
    window.pass_letter()
    number = 0
    if window.next_letter() == "]":
        window.pass_letter()
    else:
        while True:
            yield window.record(number)
            number += 1
            letter = window.next_letter()
            if letter not in {",", "]"}:
                raise window.wrong("a , or ] is missing" if letter else "the list is not closed: the file is cut")
            window.pass_letter()
            if letter == "]":
                break
    if window.next_letter():
        raise window.wrong("something follows the list")


def lines(window: Window) -> Iterator[Record]:
    """The values of a file that has one on each line."""
    number = 0
    while window.next_letter():
        yield window.record(number)
        number += 1


class Window:
    """The part of a file's text that is being looked at, with the byte at which it stands."""

    def __init__(self, file: IO[bytes], location: Location) -> None:
        self._file, self._location = file, location
        self._text, self._at, self._is_whole = "", 0, False
        self._bytes_read = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=refuse_constant)
        is_marked = file.read(len(_MARK)) == _MARK
        self.offset = len(_MARK) if is_marked else 0
        file.seek(self.offset)

    def next_letter(self) -> str:
        """The next letter that is no blank, which is not passed; empty at the end of the file."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            assert blanks  # noqa: S101  the pattern matches nothing, too
            self._pass_to(blanks.end(), blanks.end() - self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if self._is_whole:
                return ""
            self._read()

    def pass_letter(self) -> None:
        """Go past one letter of JSON's own."""
        self._pass_to(self._at + 1, 1)

    def record(self, number: int) -> Record:
        """The value that begins here, which is passed.

        Raises:
            InputError: It is not JSON.
        """
        self.next_letter()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._is_whole or not self._may_be_cut(error):
                    raise self.wrong(f"{error.msg} ({error.pos - self._at:,} letters further on)", number) from error
            except (RecursionError, ValueError) as error:
                raise self.wrong(str(error), number) from error
            else:
                if self._is_whole or not self._may_go_on(end):
                    break
            if len(self._text) - self._at > MOST:
                raise self.wrong(f"a record of more than {MOST >> 20} MiB", number)
            self._read()
        content = self._text[self._at : end].encode()
        found = Record(number, self.offset, content, value)
        self._pass_to(end, len(content))
        return found

    def wrong(self, what: str, number: int | None = None) -> InputError:
        """The error for what stands here."""
        record = "" if number is None else f" in record {number:,}"
        return InputError(f"{self._location} is not JSON at byte {self.offset:,}{record}: {what}; fetch it again.")

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.pos >= len(self._text) - NEAR or error.msg.startswith("Unterminated string")

    def _may_go_on(self, end: int) -> bool:
        """Whether what was read up to here may go on as a number: `1`, of which `.5` or `e+9` is not read."""
        follows = self._text[end : end + len("e+9")]
        return len(follows) < len("e+9") and not follows.strip(IN_NUMBERS)

    def _pass_to(self, place: int, size: int) -> None:
        self._at = place
        self.offset += size

    def _read(self) -> None:
        """Read on: at least as much as is there, so that a long record costs no more than twice its length."""
        rest = self._text[self._at :]
        block = self._file.read(max(BLOCK, len(rest)))
        self._is_whole = not block
        try:
            self._text, self._at = rest + self._utf8.decode(block, final=not block), 0
        except UnicodeDecodeError as error:
            before = self._bytes_read + error.start
            raise InputError(f"{self._location} is not UTF-8 about byte {before:,}; convert it.") from error
        self._bytes_read += len(block)


def refuse_constant(name: str) -> object:
    """Raise for what Python reads and JSON does not have: NaN and the infinities."""
    raise ValueError(f"{name} is no JSON")
