"""What a bad input is in this corpus: how it is made, which command takes it, and what is to come of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from shards import picture
from strategies_tars import END, sample

Told = tuple[str, ...]
MIB = 1 << 20


@dataclass(frozen=True)
class ShardCase:
    """A tar, or a Parquet of pictures, that `coreset embed` takes together with all the others of its kind.

    Attributes:
        name: Of the case; its file has the same name, and all keys in it begin with it.
        given: The input in words, for the index.
        content: Makes the file from what its keys begin with. Its samples have the letters a, b, ... z, of which a
            and z are whole ones: they must come through with the vectors and captions that they always have.
        keeps: The letters of the samples that become rows.
        refuses: `letter reason` of those in quarantine, in order.
        shard: `reason rows` of what is told of the file itself.
        effect: What else is true, in words; for cases that are accepted.
        beside: Files beside it: ending and content.
        like: Letters of two samples whose vectors must be equal ...
        unlike: ... and of two whose vectors must not be.
        check: Looks at the rows and the folder.
        ending: Of the file's name.
    """

    name: str
    given: str
    content: Callable[[str], bytes]
    keeps: str = "az"
    refuses: Told = ()
    shard: Told = ()
    effect: str = ""
    beside: tuple[tuple[str, bytes], ...] = ()
    like: str = ""
    unlike: str = ""
    check: Callable[[dict[str, dict[str, Any]], Path], None] | None = None
    ending: str = ".tar"

    @property
    def file(self) -> str:
        """The name of its file without the ending."""
        return slug(self.name)

    @property
    def source(self) -> str:
        """The name of its file."""
        return self.file + self.ending

    @property
    def samples(self) -> int:
        """How many samples the books must show."""
        return len(self.keeps) + len(self.refuses) + sum(int(told.split()[1]) for told in self.shard)

    def write(self, folder: Path) -> None:
        """Put the file, and what belongs beside it, into a folder."""
        (folder / self.source).write_bytes(self.content(self.file + "/"))
        for ending, content in self.beside:
            (folder / f"{self.file}{ending}").write_bytes(content)


@dataclass(frozen=True)
class CommandCase:
    """A command that is refused with one sentence, or that succeeds although something is odd.

    Attributes:
        name: Of the case.
        given: The input in words, for the index.
        build: Puts the input into an empty folder.
        command: What is typed there.
        code: The exit code.
        words: What the sentence says, or for code 0 and 4 what stands somewhere in the output.
        effect: What comes of it, in words; for cases that are accepted.
        writes: Whether stages before may have been written; else no file of a run may be there.
        check: Looks at the folder afterwards.
        alone: Whether it needs a process of its own, whose memory is bounded and which can be killed.
    """

    name: str
    given: str
    build: Callable[[Path], object]
    command: tuple[str, ...]
    code: int
    words: Told = ()
    effect: str = ""
    writes: bool = False
    check: Callable[[Path], object] | None = None
    alone: bool = False


@dataclass(frozen=True)
class VectorsCase:
    """A folder of vectors that `coreset import` takes.

    Attributes:
        name: Of the case.
        given: The input in words, for the index.
        harm: Changes a good folder of 150 rows in three parts, as clip-retrieval writes it.
        refuses: `row reason` of those in quarantine, rows counted over the whole folder; all others must come
            through with the vectors, keys and captions that they have without the harm.
        flags: Behind `coreset import in`.
        effect: What else is true, in words.
        words: What stands somewhere in the output.
        new: Whether rows differ from those of the good folder on purpose; then only their number is compared.
        check: Looks at the table of all rows.
    """

    name: str
    given: str
    harm: Callable[[Path], object]
    refuses: Told = ()
    flags: Told = ()
    effect: str = ""
    words: Told = ()
    new: bool = False
    check: Callable[[pa.Table], None] | None = None


Case = ShardCase | CommandCase | VectorsCase


def slug(name: str) -> str:
    """A name for files.

    Example:
        >>> slug("8 GB, it says")
        '8-gb-it-says'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@cache
def png(letter: str) -> bytes:
    """The picture of a whole sample."""
    return picture(ord(letter))


def caption(letter: str) -> str:
    """The caption of a whole sample."""
    return f"a picture of the letter {letter}"


def good(key: str) -> bytes:
    """The members of a whole sample; its last letter decides what is in it."""
    fields = json.dumps({"url": f"http://example.org/{key}"}).encode()
    return sample(key, png=png(key[-1]), txt=caption(key[-1]).encode(), json=fields)


def between(bad: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """A tar of the whole samples a and z, with something else between them that is made from the key of b."""
    return lambda prefix: good(prefix + "a") + bad(prefix + "b") + good(prefix + "z") + END


def behind(bad: Callable[[str], bytes], end: bytes = b"") -> Callable[[str], bytes]:
    """A tar of the whole samples a and z, with something else behind them: whole as it stands, or cut there."""
    return lambda prefix: good(prefix + "a") + good(prefix + "z") + bad(prefix + "b") + end


def table_bytes(**columns: Any) -> bytes:
    """A Parquet in memory."""
    file = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), file)
    return bytes(file.getvalue())


def npy_header(shape: str, descr: str = "'<f2'", order: str = "False") -> bytes:
    """The first bytes of a `.npy` that claims what we like."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
