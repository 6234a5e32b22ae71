"""The bytes of chosen rows' pictures: from tars without decoding, from Parquet files by row.

Whatever order the rows are in, each source is opened once for a part and read forward. Of a gzipped tar nobody
knows where a picture lies: it is read from its beginning once for every part that has a row of it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
from xxhash import xxh3_64_intdigest

from coreset.engine import disk, files
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join
from coreset.engine.hints import will_read
from coreset.sources.bytestream import BLOCK
from coreset.sources.decoding import decoded_apart
from coreset.sources.image_parquet import pictures_at
from coreset.sources.pairs import Limits, Pair
from coreset.sources.pictures import MAX_PIXELS, BadPictureError
from coreset.sources.readers import read_pairs
from coreset.sources.shards import Shard, is_table, opened_shard
from coreset.sources.tar_members import is_member

FIRST_OF_JPEG = b"\xff\xd8\xff"
MAGIC = {b"\x89PNG\r\n\x1a\n": "png", b"GIF8": "gif", b"BM": "bmp"}
JPEG = "jpg"
KINDS = (JPEG, "png", "webp", "gif", "bmp")
"""The endings of pictures, by what their bytes are."""
QUALITY = 95
AHEAD = 64
"""Pictures that a disk is told of before they are read, at least; it fetches several at a time."""
SHOWN = 3


@dataclass(frozen=True)
class Sources:
    """Where a run's pictures are.

    Attributes:
        root: the folder that the names of the sources start from
        sizes: bytes of each source by its name, when it was embedded
        max_pixels: of a picture, as it was embedded
    """

    root: Location
    sizes: Mapping[str, int]
    max_pixels: int

    def shard(self, name: str) -> Shard:
        """A source by its name."""
        return Shard(name, join(self.root, name), self.sizes[name])


def sources_of(run: Location) -> Sources:
    """The sources of a run.

    Raises:
        InputError: The run was imported from vectors: nobody knows its pictures.
    """
    plan = files.read_json(join(run, "rows", "plan.json")) or {"stage": "", "params": {}, "inputs": {}}
    if plan["stage"] != "embed":
        raise InputError(
            f"{run} was made from vectors, and says of no picture where it is; export its keys or urls, or embed the "
            f"pictures themselves."
        )
    root = (files.read_json(join(run, "run.json")) or {}).get("root", ".")
    sizes = {name: int(entry["size"]) for name, entry in plan["inputs"].items()}
    return Sources(root, sizes, int(plan["params"].get("max_pixels", MAX_PIXELS)))


def check_sources(run: Location, sources: Sources, names: Iterable[str]) -> None:
    """Look at every source that is going to be read, before anything is written.

    Raises:
        InputError: One is gone, or has another size than when it was embedded.
    """
    wrong = []
    for name in sorted(names):
        size = files.size_of(join(sources.root, name))
        if size != sources.sizes[name]:
            state = "is missing" if size is None else f"has {size:,} bytes instead of {sources.sizes[name]:,}"
            wrong.append(f"{join(sources.root, name)} {state}")
    if wrong:
        others = f" (and {len(wrong) - SHOWN:,} more)" if len(wrong) > SHOWN else ""
        raise InputError(
            f"{', '.join(wrong[:SHOWN])}{others}: not what {run} was made from, so nothing was written; put it back, "
            f"or run `coreset embed` with the new place if the sources moved."
        )


Found = tuple[int, bytes]
"""Index of a row in its table, and its picture."""


def pictures_of(table: pa.Table, sources: Sources) -> Iterator[Found]:
    """The pictures of some rows in the order in which they are read: by source, each forward.

    Args:
        table: with key, source, source_row, image_offset, image_bytes and image_hash
        sources: of the run

    Raises:
        InputError: A source is not what was embedded; names it and the row.
        OSError: The disk cannot be read.
    """
    named = ("key", "source", "source_row", "image_offset", "image_bytes", "image_hash")
    places = list(zip(*(table[name].to_pylist() for name in named), strict=True))
    by_source: dict[str, list[int]] = {}
    for index, place in enumerate(places):
        by_source.setdefault(place[1], []).append(index)
    for source in sorted(by_source):
        shard = sources.shard(source)
        wanted = sorted(by_source[source], key=lambda index: places[index][2])
        for index, content in _reader(shard, [places[index] for index in wanted])(shard, wanted, places):
            state = "not where it was" if content is None else "another one"
            if content is None or xxh3_64_intdigest(content) != places[index][5]:
                raise InputError(
                    f"{shard.location} is not the file that was embedded: the picture of {places[index][0]} is "
                    f"{state}; put the file back, or embed it again."
                )
            yield index, content


Place = tuple[str, str, int, int | None, int | None, int | None]
"""Key, source, source_row, image_offset, image_bytes, image_hash."""
Reader = Callable[[Shard, Sequence[int], Sequence[Place]], Iterator[tuple[int, bytes | None]]]


def _reader(shard: Shard, wanted: Sequence[Place]) -> Reader:
    if is_table(shard.location):
        return _from_table
    return _from_tar if all(place[3] is not None for place in wanted) else _from_packed


def _from_table(shard: Shard, wanted: Sequence[int], places: Sequence[Place]) -> Iterator[tuple[int, bytes | None]]:
    rows = [places[index][2] for index in wanted]
    yield from zip(wanted, pictures_at(shard, rows), strict=True)


def _from_tar(shard: Shard, wanted: Sequence[int], places: Sequence[Place]) -> Iterator[tuple[int, bytes | None]]:
    """Pictures by their places, each with the header in front of it: a tar of the same size may hold others."""
    ranges = [((places[index][3] or 0) - BLOCK, BLOCK + (places[index][4] or 0)) for index in wanted]
    with opened_shard(shard) as file:
        told = ranges if files.is_remote(shard.location) else told_ahead(file.fileno(), ranges)
        for index, (offset, size) in zip(wanted, told, strict=True):
            file.seek(offset)
            found = file.read(size) or b""
            is_there = len(found) == size and is_member(found[:BLOCK], size - BLOCK)
            yield index, found[BLOCK:] if is_there else None


def told_ahead(descriptor: int, ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges of a file on a disk, offset and size in bytes, each of which the disk was told of some ranges before."""
    for begin in range(0, len(ranges), AHEAD):
        for offset, size in ranges[begin + AHEAD if begin else 0 : begin + 2 * AHEAD]:
            will_read(descriptor, offset, size)
        yield from ranges[begin : begin + AHEAD]


def _from_packed(shard: Shard, wanted: Sequence[int], places: Sequence[Place]) -> Iterator[tuple[int, bytes | None]]:
    """Pictures of a gzipped tar, which is read from its beginning."""
    left = {places[index][2]: index for index in wanted}
    for found in read_pairs(shard, Limits(allow_missing_caption=True)):
        if isinstance(found, Pair) and found.row in left:
            yield left.pop(found.row), found.image
            if not left:
                return
    for index in left.values():
        yield index, None


def kind_of(content: bytes) -> str | None:
    """What a picture's first bytes say that it is: the ending of its name; None for no picture that is known.

    Example:
        >>> kind_of(b"GIF89a..."), kind_of(b"hello")
        ('gif', None)
    """
    if content.startswith(FIRST_OF_JPEG):
        return JPEG
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return next((kind for magic, kind in MAGIC.items() if content.startswith(magic)), None)


def jpeg_of(content: bytes, max_pixels: int, key: str) -> bytes:
    """A picture as a JPEG: quality 95, no chroma subsampling; transparency on white, the first frame.

    The same bytes every time, with one version of Pillow.

    Raises:
        InputError: It does not decode any more.
    """
    try:
        image = decoded_apart(content, max_pixels)
    except BadPictureError as error:
        raise InputError(f"The picture of {key} does not decode ({error}); embed its source again.") from error
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()


def as_written(content: bytes, kept: Sequence[str], max_pixels: int, key: str) -> tuple[bytes, str, bool]:
    """A picture as an export writes it: its bytes, what they are, and whether it was transcoded.

    Args:
        content: the picture as it is in its source
        kept: kinds whose bytes stay; others become JPEGs
        max_pixels: of a picture that is decoded
        key: of the row, for messages
    """
    kind = kind_of(content) or ""
    if kind in kept:
        return content, kind, False
    return jpeg_of(content, max_pixels, key), JPEG, True


class InOrder:
    """Pictures that come in any order, to be had in the rows' order; what does not fit in memory lies on a disk.

    Args:
        folder: on a disk that may hold them, or in a store: then a disk of this machine does; the file there has no
            name, and goes with this
        memory: bytes of pictures that are held
    """

    def __init__(self, folder: Location, memory: int) -> None:
        self._folder, self._free = folder, memory
        self._held: dict[int, bytes] = {}
        self._places: dict[int, tuple[int, int]] = {}
        self._end = 0
        with disk.disk_errors(folder):
            self._file = files.unnamed(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # a full disk: what is buffered need not be kept
            self._file.close()

    def take(self, pictures: Iterable[Found]) -> None:
        """Keep pictures, each with the index of its row."""
        for index, content in pictures:
            if len(content) <= self._free:
                self._held[index] = content
                self._free -= len(content)
                continue
            with disk.disk_errors(self._folder):
                self._file.write(content)
            self._places[index] = (self._end, len(content))
            self._end += len(content)

    def pop(self, index: int) -> bytes:
        """The picture of a row, once."""
        if index in self._held:
            return self._held.pop(index)
        start, size = self._places.pop(index)
        with disk.disk_errors(self._folder):
            self._file.seek(start)
            return self._file.read(size)
