"""Parquet files that hold pictures -> pairs, as `tars` makes them: one file is one shard, one row one sample.

Two layouts are known: Hugging Face's (`image`, a struct of `bytes` and `path`) and img2dataset's
`output_format=parquet` (`jpg`, `png` or `webp`, of bytes). The other columns may be named as in
`embedding_columns`. Without a column of keys, the key of a row is `SOURCE/ROW`.

A few rows are taken at a time, so that memory is bounded by the pages they are in. **Where pages
are damaged**, the rows of the row group that were read before are kept, the rest of it is one `damaged_shard`
with that many rows, and reading goes on with the next row group: the footer says where it is.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.sources.broken_tables import BROKEN_TABLE, first_line, raise_the_machines
from coreset.sources.bytestream import BrokenShardError
from coreset.sources.embedding_columns import KEY, found_pictures, is_vectors, standard_table
from coreset.sources.image_rows import Rows, picture_bytes_of
from coreset.sources.page_headers import largest_page
from coreset.sources.pairs import DEFAULT_LIMITS, Limits, Pair, Reject
from coreset.sources.samples import key_text
from coreset.sources.shards import Shard, opened_shard
from coreset.sources.sidecars import read_sidecar

MAGIC = b"PAR1"
PAGES_HELD = 4
"""Pages of pictures that reading holds at its peak: docs/shards.md, "Parquet"."""
_ROWS = 8  # that are held at a time: 8 pictures
_AHEAD = 1 << 20  # bytes of a column chunk that are read at a time
_AHEAD_THERE = 4 << 20  # of one that is an object: each is a request
_SIZES = ("compressed", "uncompressed")


def read_pairs(shard: Shard, limits: Limits = DEFAULT_LIMITS) -> Iterator[Pair | Reject]:
    """The pairs of a Parquet file and what is wrong with the rest, in order; a few rows in memory at a time.

    `Pair.row` and `Pair.image_offset` are both the row's index in the file. Pairs and the rejects' rows add up
    to the rows that the footer counts. Rejects without a row are about the shard: `truncated_shard` and
    `damaged_shard` (no footer that can be read: rows as the `_stats.json` beside it counts them, 0 without),
    `damaged_shard` and `expansion_limit` (of a row group, with its rows) and `empty_shard`.

    Args:
        shard: One of `find_shards` for which `is_table` holds.
        limits: Above them, rows are rejected.

    Raises:
        InputError: It has no column of pictures, or is no longer the file that was listed.
        OSError: The disk cannot be read; names the shard.

    Example:
        >>> import pathlib, tempfile
        >>> from coreset.sources.shards import find_shards
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "0.parquet"
        >>> pq.write_table(pa.table({"jpg": [b"...", None], "caption": ["a cat", "a dog"], "key": ["a", "b"]}), path)
        >>> for found in read_pairs(*find_shards([str(path)])):
        ...     print(found.key, found.caption if isinstance(found, Pair) else found.reason)
        a a cat
        b no_image
    """
    with opened_shard(shard) as file:
        try:
            table = _opened_table(file, shard)
        except BrokenShardError as broken:
            sidecar = read_sidecar(shard)
            counted = None if sidecar is None else sidecar.samples
            said = "nobody knows how many rows it should have" if counted is None else f"it should have {counted} pairs"
            yield Reject(None, None, broken.reason, f"{broken.detail}; {said}", counted or 0)
            return
        reader = Rows(shard, table.schema_arrow, limits)
        start = 0
        for group in range(table.metadata.num_row_groups):
            yield from _group(table, group, start, reader, limits)
            start += _rows_in(table.metadata.row_group(group), reader.pictures)
        if (lost := table.metadata.num_rows - start) > 0:
            detail = f"the footer counts {start + lost} rows, and its row groups have {start}"
            yield Reject(None, None, "damaged_shard", detail, lost)
        elif start == 0:
            yield Reject(None, None, "empty_shard", "no row in the Parquet", 0)


def check_shard(shard: Shard) -> str | None:
    """The first key of a Parquet file, from its footer and first row, before any work.

    Returns:
        None if it has no column of keys, or is damaged: that is for `read_pairs`, which saves what it can.

    Raises:
        InputError: Not a Parquet, without a column of pictures, without rows, or changed since it was listed.
        OSError: The disk cannot be read; names the shard.
    """
    with opened_shard(shard) as file:
        start = file.read(len(MAGIC))
        if not start:
            raise InputError(f"{shard.location} has 0 bytes: fetch it again, or leave it out")
        if start != MAGIC:
            raise InputError(
                f"{shard.location} is not a Parquet, it begins with {start!r}: fetch it again or leave it out"
            )
        try:
            table = _opened_table(file, shard)
        except BrokenShardError:
            return None
        columns = dict(Rows(shard, table.schema_arrow, DEFAULT_LIMITS).columns)
        if table.metadata.num_rows == 0:
            raise InputError(f"{shard.location} has no rows: fetch it again, or leave it out")
        if KEY not in columns:
            return None
        try:
            first = next(table.iter_batches(batch_size=1, columns=[columns[KEY]], use_threads=False))
        except (*BROKEN_TABLE, StopIteration) as error:
            raise_the_machines(error)
            return None
        key = standard_table(pa.Table.from_batches([first]), ((KEY, columns[KEY]),))[KEY][0].as_py()
        return key_text(key) if isinstance(key, bytes) else key


def reading_bytes(shard: Shard, enough: int) -> int:
    """Memory that reading a Parquet of pictures takes at most, from its footer and the headers of its pages.

    Args:
        shard: One for which `is_table` holds.
        enough: Bytes that are there: pages are only looked at where the footer does not rule out that more is needed.

    Returns:
        0 for one whose footer cannot be read, or that has no column of pictures.

    Raises:
        InputError: It is no longer the file that was listed.
        OSError: The disk cannot be read; names the shard.
    """
    with opened_shard(shard) as file:
        try:
            table = _opened_table(file, shard)
        except BrokenShardError:
            return 0
        pictures = found_pictures(table.schema_arrow)
        if pictures is None:
            return 0
        groups = [table.metadata.row_group(number) for number in range(table.metadata.num_row_groups)]
        chunks = [chunk for group in groups for chunk in _flat(group, [pictures])]
        most = max((chunk.total_uncompressed_size for chunk in chunks), default=0)
        if most * PAGES_HELD > enough:
            places = [(chunk.dictionary_page_offset or chunk.data_page_offset, chunk) for chunk in chunks]
            most = max(largest_page(file, place, place + chunk.total_compressed_size) for place, chunk in places)
        return int(most) * PAGES_HELD


def holds_pictures(location: str) -> bool:
    """Whether a Parquet file has a column of pictures and none of vectors; false for what is none.

    Raises:
        OSError: The disk cannot be read.
    """
    try:
        schema = pq.read_schema(files.readable(location))
    except BROKEN_TABLE as error:
        raise_the_machines(error)
        return False
    return found_pictures(schema) is not None and not any(is_vectors(field.type) for field in schema)


def picture_at(location: str, row: int) -> bytes | None:
    """The bytes of the picture in a row of a Parquet file; None if it has no such row, or no picture there.

    Raises:
        InputError: It is damaged, or has no column of pictures.
        OSError: The disk cannot be read.
    """
    try:
        with pq.ParquetFile(files.readable(location), buffer_size=_ahead(location), pre_buffer=False) as table:
            column = found_pictures(table.schema_arrow)
            if column is None:
                return None
            groups = map(table.metadata.row_group, range(table.metadata.num_row_groups))
            group, inside = 0, row
            for footer in groups:
                if inside < _rows_in(footer, column):
                    break
                inside -= _rows_in(footer, column)
                group += 1
            else:
                return None
            for batch in table.iter_batches(_ROWS, row_groups=[group], columns=[column], use_threads=False):
                if inside < batch.num_rows:
                    content: bytes | None = picture_bytes_of(batch.column(0))[inside].as_py()
                    return content
                inside -= batch.num_rows
    except BROKEN_TABLE as error:
        raise_the_machines(error)
        raise InputError(f"{location} is damaged ({first_line(error)}): fetch it again.") from error
    return None


def pictures_at(shard: Shard, rows: Sequence[int]) -> Iterator[bytes | None]:
    """The bytes of the pictures in some rows of a Parquet file, by ascending rows; each row group is read once.

    Raises:
        InputError: It is damaged, has no column of pictures, or is no longer the file that was listed.
        OSError: The disk cannot be read; names the shard.
    """
    with opened_shard(shard) as file:
        try:
            table = pq.ParquetFile(file, buffer_size=_ahead(shard.location), pre_buffer=False)
            column = found_pictures(table.schema_arrow)
            left, start = list(reversed(rows)), 0
            for group in range(table.metadata.num_row_groups):
                stop = start + table.metadata.row_group(group).num_rows
                if column is None or not left or left[-1] >= stop:
                    start = stop
                    continue
                for batch in table.iter_batches(_ROWS, row_groups=[group], columns=[column], use_threads=False):
                    while left and left[-1] < start + batch.num_rows:
                        yield picture_bytes_of(batch.column(0))[left.pop() - start].as_py()
                    start += batch.num_rows
        except BROKEN_TABLE as error:
            raise_the_machines(error)
            raise InputError(f"{shard.location} is damaged ({first_line(error)}): fetch it again.") from error
    yield from (None for _ in left)


def _group(table: pq.ParquetFile, group: int, start: int, reader: Rows, limits: Limits) -> Iterator[Pair | Reject]:
    """The rows of a row group, and what of it cannot be read."""
    footer = table.metadata.row_group(group)
    read = _chunks(footer, reader.names)
    stop = start + _rows_in(footer, reader.pictures)
    if any(chunk.num_values != footer.num_rows for chunk in _flat(footer, reader.names)):
        detail = f"row group {group} says that it has {footer.num_rows} rows, and its columns say otherwise"
        yield Reject(None, None, "damaged_shard", f"{detail}: none is read", stop - start)
        return
    packed, unpacked = (sum(getattr(chunk, f"total_{what}_size") for chunk in read) for what in _SIZES)
    if unpacked > limits.gzip_allowance + limits.gzip_ratio * max(packed, 0):
        detail = f"row group {group} unpacks from {packed} to {unpacked} bytes"
        yield Reject(None, None, "expansion_limit", f"{detail}: its rows {start} to {stop} are left out", stop - start)
        return
    batches = table.iter_batches(_ROWS, row_groups=[group], columns=reader.names, use_threads=False)
    at, problem = start, "it ends early"
    while at < stop:
        try:
            batch = next(batches)
        except StopIteration:
            break
        except BROKEN_TABLE as error:
            raise_the_machines(error)
            problem = first_line(error)
            break
        yield from reader.judged(batch, at)
        at += batch.num_rows
    if at < stop:
        lost = f"rows {at} to {stop} in row group {group} cannot be read"
        yield Reject(None, None, "damaged_shard", f"{lost}: {problem}", stop - at)


def _chunks(footer: Any, names: Sequence[str]) -> list[Any]:  # noqa: ANN401  pyarrow has no types
    """The column chunks of a row group that are read for some columns."""
    chunks = [footer.column(number) for number in range(footer.num_columns)]
    return [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in names]


def _flat(footer: Any, names: Sequence[str]) -> list[Any]:  # noqa: ANN401
    """Those of them that have one value for each row, null or not: no lists."""
    paths = {*names, *(f"{name}.bytes" for name in names)}
    return [chunk for chunk in _chunks(footer, names) if chunk.path_in_schema in paths]


def _rows_in(footer: Any, pictures: str) -> int:  # noqa: ANN401
    """The rows of a row group: as many as its column of pictures says that it has values, null or not."""
    return max(0, *(int(chunk.num_values) for chunk in _flat(footer, [pictures])))


def _ahead(location: str) -> int:
    return _AHEAD_THERE if files.is_remote(location) else _AHEAD


def _opened_table(file: io.RawIOBase, shard: Shard) -> pq.ParquetFile:
    """Raises `BrokenShardError` if there is no footer that can be read."""
    file.seek(max(0, shard.size - len(MAGIC)))
    end = file.read(len(MAGIC))
    file.seek(0, os.SEEK_SET)
    if end != MAGIC:
        raise BrokenShardError("truncated_shard", "the Parquet ends without a footer")
    try:
        ahead = _ahead(shard.location)
        return pq.ParquetFile(file, buffer_size=ahead, pre_buffer=False, page_checksum_verification=True)
    except BROKEN_TABLE as error:
        raise_the_machines(error)
        raise BrokenShardError("damaged_shard", f"the Parquet's footer cannot be read: {first_line(error)}") from error
