"""The books of a stage, `plan.json` and `stage.json`: JSON with a line for each input and each part.

There may be a million parts. So a part is held as the line that it gets, books are written and hashed line by line,
and what is read back is made small while it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.engine.files import JSON, Location
from coreset.engine.outgoing import outgoing
from coreset.engine.summaries import Summaries

Entries = Iterable[tuple[str, bytes]]
"""The parts of a stage in order: name, and what `stage.json` says of it as `line_of` gives it."""

PARTS = "parts"


def line_of(value: JSON) -> bytes:
    """A value as one line: what a hash is taken of, too.

    Example:
        >>> line_of({"b": 1, "a": [2]})
        b'{"a":[2],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def book_lines(said: Mapping[str, JSON], parts: Entries | None = None) -> Iterator[bytes]:
    """The lines of a book: a line for each entry of what it says, sorted by name; parts in the order given.

    Args:
        said: what the book says
        parts: what it says of each part besides, if it lists parts

    Example:
        >>> print(b"".join(book_lines({"hash": "1f", "counts": {"rows": 2}}, [("00000", b"{}")])).decode(), end="")
        {
         "counts": {
          "rows": 2
         },
         "hash": "1f",
         "parts": {
          "00000": {}
         }
        }
    """
    keys = sorted([*said, PARTS] if parts is not None else said)
    yield b"{"
    for number, key in enumerate(keys):
        yield (b"," if number else b"") + b"\n " + _name(key) + b": "
        if key == PARTS and parts is not None:
            yield from _entry_lines(parts)
        elif isinstance(said[key], dict):
            yield from _entry_lines((name, line_of(value)) for name, value in sorted(said[key].items()))
        else:
            yield line_of(said[key])
    yield b"\n}\n"


def _entry_lines(entries: Entries) -> Iterator[bytes]:
    number = -1
    yield b"{"
    for number, (name, line) in enumerate(entries):
        yield (b"," if number else b"") + b"\n  " + _name(name) + b": " + line
    yield b"}" if number < 0 else b"\n }"


def _name(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False).encode()


def book_bytes(said: Mapping[str, JSON]) -> bytes:
    """A whole book as it is written, from what it says; a book that lists parts keeps their order."""
    parts = said.get(PARTS)
    if not isinstance(parts, dict):
        return b"".join(book_lines(said))
    rest = {key: value for key, value in said.items() if key != PARTS}
    return b"".join(book_lines(rest, ((name, line_of(part)) for name, part in parts.items())))


def write_book(location: Location, said: Mapping[str, JSON], parts: Entries | None = None) -> None:
    """Write a book that appears whole or not at all; an object, only if no other writer put another one meanwhile."""
    file = outgoing(location, new=True)
    try:
        waiting: list[bytes] = []
        for line in book_lines(said, parts):
            waiting.append(line)
            if len(waiting) == 1000:
                file.write(b"".join(waiting))
                waiting.clear()
        file.write(b"".join(waiting))
        file.commit()
    finally:
        file.discard()


def book_hash(said: Mapping[str, JSON], parts: Entries) -> str:
    """What `files.fingerprint` gives for a book with these parts, sorted by name.

    Example:
        >>> book_hash({"a": 1}, [("00000", b'{"b":2}')]) == files.fingerprint({"a": 1, "parts": {"00000": {"b": 2}}})
        True
    """
    digest = hashlib.blake2b(digest_size=16)
    for number, key in enumerate(sorted([*said, PARTS])):
        digest.update((b"," if number else b"{") + line_of(key) + b":")
        if key != PARTS:
            digest.update(line_of(said[key]))
            continue
        count = -1
        digest.update(b"{")
        for count, (name, line) in enumerate(parts):
            digest.update((b"," if count else b"") + line_of(name) + b":" + line)
        digest.update(b"}")
    digest.update(b"}")
    return digest.hexdigest()


class Reader:
    """Makes the parts of a `stage.json` small while it is parsed: what is left of each is the sizes of its files."""

    def __init__(self) -> None:
        self.summaries = Summaries()

    def __call__(self, value: dict[str, JSON]) -> JSON:
        """What stands for an object; parts are met in their order."""
        if value.keys() != {"files", "summary"}:
            return value
        self.summaries.append(value["summary"])
        return tuple((suffix, seal["size"]) for suffix, seal in value["files"].items())


@dataclass(frozen=True)
class Stated:
    """A `stage.json`.

    Attributes:
        said: all but the parts
        sizes: of each part's files by suffix
        summaries: of each part
    """

    said: dict[str, JSON]
    sizes: dict[str, tuple[tuple[str, int], ...]]
    summaries: Summaries


def read_stage(location: Location) -> Stated | None:
    """What a `stage.json` says; None where there is none.

    Raises:
        InputError: It is damaged.
    """
    reader = Reader()
    try:
        said = files.read_json(location, reader)
        if said is None:
            return None
        sizes = said.pop(PARTS)
        return Stated(said, sizes, reader.summaries.named(list(sizes.keys())))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{location} is damaged ({error}); remove it and run the same command again.") from error
