"""Vectors and tables that are objects in a store, fetched in few, large, parallel ranges of what is needed.

What is read once goes straight into memory. What a kernel goes through several times, or in scattered order, is fetched
once into an unnamed file of this machine's and mapped: `spooled`.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from coreset.engine import remote
from coreset.engine.errors import InputError
from coreset.engine.files import Location
from coreset.engine.remote_file import RemoteFile
from coreset.engine.spool import new_spool, spool_errors

RANGE_BYTES = 8 << 20
"""Most bytes of one request."""
GAP_BYTES = 1 << 20
"""Rows that are nearer than this are fetched together: the bytes between cost less than another request."""
HEADER_BYTES = 64 << 10
FOOTERS_HELD = 64
WINDOW_ROWS = 1 << 17
"""Rows whose columns are fetched at a time where a table is gone through."""

_footers: OrderedDict[tuple[str, str], Any] = OrderedDict()


class RemoteArray:
    """A `.npy` object as an array of rows: what is asked for by slices and indices is fetched, nothing else.

    Raises:
        InputError: It is no `.npy` of numbers in C order, or shorter than its header says.
        FileNotFoundError: It is not there.
    """

    def __init__(self, location: Location) -> None:
        found = remote.stat(location)
        if found is None:
            raise FileNotFoundError(2, os.strerror(2), location)
        self._location, self._found = location, found
        head = remote.read(location, 0, min(HEADER_BYTES, found.size), found.etag)
        self.shape, self.dtype, self._offset = _header(location, head)
        self.ndim = len(self.shape)
        self._whole = head if len(head) == found.size else None
        rows = self.shape[0] if self.shape else 1
        self._row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        needed = self._offset + rows * self._row_bytes
        if found.size < needed:
            raise InputError(f"{location} has {found.size:,} bytes, and its header speaks of {needed:,}: it was cut.")

    def __len__(self) -> int:
        return int(self.shape[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:  # noqa: ANN401
        """All of it, in memory."""
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def __getitem__(self, wanted: slice | int | Int64[np.ndarray, "b"]) -> np.ndarray[Any, Any]:
        """Rows, in memory."""
        if isinstance(wanted, slice):
            start, stop, step = wanted.indices(len(self))
            if step != 1:
                raise ValueError("Rows are read in ascending order, step 1.")
            return self._filled(np.empty((max(0, stop - start), *self.shape[1:]), self.dtype), start)
        if isinstance(wanted, int | np.integer):
            row: np.ndarray[Any, Any] = self[int(wanted) : int(wanted) + 1][0]
            return row
        index = np.asarray(wanted)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        return self._chosen(index)

    def spooled(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        """Rows `start` to `stop`, fetched into a file of this machine's and mapped."""
        shape = (stop - start, *self.shape[1:])
        if stop <= start or self._whole is not None:
            return self[start:stop]
        with new_spool() as file:
            with spool_errors():
                os.posix_fallocate(file.fileno(), 0, (stop - start) * self._row_bytes)
            mapped: np.ndarray[Any, Any] = np.memmap(cast("Any", file), self.dtype, "r+", shape=shape)
        found = self._filled(mapped, start)
        found.flags.writeable = False
        return found

    def _filled(self, target: np.ndarray[Any, Any], start: int) -> np.ndarray[Any, Any]:
        """Fetch as many rows as the target has, from `start` on, into it."""
        step = max(1, RANGE_BYTES // max(1, self._row_bytes))

        def fetched(first: int) -> None:
            stop = min(len(target), first + step)
            target[first:stop] = self._read(start + first, start + stop)

        remote.many(fetched, range(0, len(target), step))
        return target

    def _chosen(self, index: Int64[np.ndarray, "b"]) -> np.ndarray[Any, Any]:
        """Rows by their indices, in any order."""
        found = np.empty((len(index), *self.shape[1:]), self.dtype)
        order = np.argsort(index, kind="stable")
        ranges = row_ranges(index[order], self._row_bytes)

        def fetched(bounds: tuple[int, int]) -> None:
            places = order[slice(*bounds)]
            first, last = int(index[places[0]]), int(index[places[-1]])
            found[places] = self._read(first, last + 1)[index[places] - first]

        remote.many(fetched, ranges)
        return found

    def _read(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        first, end = (self._offset + row * self._row_bytes for row in (start, stop))
        if self._whole is not None:
            content = self._whole[first:end]
        else:
            content = remote.read(self._location, first, end, self._found.etag)
        return np.frombuffer(content, self.dtype).reshape(stop - start, *self.shape[1:])


def row_ranges(index: Int64[np.ndarray, "m"], row_bytes: int) -> list[tuple[int, int]]:
    """Where ascending indices are cut into ranges that are fetched each with one request.

    Example:
        >>> row_ranges(np.array([0, 1, 2000, 9000]), 1024)
        [(0, 2), (2, 3), (3, 4)]
        >>> row_ranges(np.array([0, 1, 900, 1800]), 1024)
        [(0, 4)]
    """
    ranges: list[tuple[int, int]] = []
    begin = 0
    gaps = np.flatnonzero(np.diff(index) > max(1, GAP_BYTES // max(1, row_bytes))) + 1
    most = max(1, RANGE_BYTES // max(1, row_bytes))
    for end in [*gaps.tolist(), len(index)]:
        while begin < end:
            stop = begin + int(np.searchsorted(index[begin:end], index[begin] + most))
            ranges.append((begin, stop))
            begin = stop
    return ranges


def _header(location: Location, head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    file = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except ValueError as error:
        raise InputError(f"{location} is not a .npy file of numbers that can be read: {error}.") from error
    if fortran and len(shape) > 1:
        raise InputError(f"{location} is in Fortran's order, whose rows cannot be fetched; write it in C order.")
    if dtype.hasobject:
        raise InputError(f"{location} is not a .npy file of numbers that can be read: it holds Python objects.")
    return shape, dtype, file.tell()


class ObjectParquet:
    """A Parquet in a store, with the calls of `pq.ParquetFile` that are used here.

    Before row groups are decoded, what is wanted of them is fetched: column chunks that lie near each other together,
    several ranges at a time.
    """

    def __init__(self, file: RemoteFile, opened: pq.ParquetFile) -> None:
        self._file, self._opened = file, opened
        self.metadata, self.schema_arrow = opened.metadata, opened.schema_arrow

    def read_row_groups(
        self, groups: Sequence[int], columns: Sequence[str] | None = None, use_threads: bool = False
    ) -> pa.Table:
        """Some row groups."""
        self._file.hold(chunk_ranges(self.metadata, groups, columns))
        return self._opened.read_row_groups(groups, columns=columns, use_threads=use_threads)

    def iter_batches(
        self,
        batch_size: int = 1 << 16,
        row_groups: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        use_threads: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """The rows in order, at most `batch_size` at a time; so much is held as some row groups need."""
        left = list(range(self.metadata.num_row_groups) if row_groups is None else row_groups)
        while left:
            some, rows = [left.pop(0)], 0
            while left and rows < WINDOW_ROWS:
                rows += self.metadata.row_group(some[-1]).num_rows
                some.append(left.pop(0))
            self._file.hold(chunk_ranges(self.metadata, some, columns))
            yield from self._opened.iter_batches(batch_size, some, columns, use_threads=use_threads)


def chunk_ranges(
    metadata: Any,  # noqa: ANN401  pyarrow has no types
    groups: Sequence[int],
    columns: Sequence[str] | None,
) -> list[tuple[int, int]]:
    """Where the chunks of some columns lie; those that are near each other in one range."""
    wanted = None if columns is None else set(columns)
    ranges = []
    for group in groups:
        footer = metadata.row_group(group)
        for number in range(footer.num_columns):
            chunk = footer.column(number)
            if wanted is None or chunk.path_in_schema.split(".")[0] in wanted:
                start = chunk.data_page_offset
                if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                    start = min(start, chunk.dictionary_page_offset)
                ranges.append((start, start + chunk.total_compressed_size))
    return joined_ranges(sorted(ranges))


def joined_ranges(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending ranges, with those in one that have little between them.

    Example:
        >>> joined_ranges([(0, 10), (20, 30), (5 << 20, 6 << 20)])
        [(0, 30), (5242880, 6291456)]
    """
    joined: list[tuple[int, int]] = []
    for start, stop in ranges:
        if joined and start - joined[-1][1] <= GAP_BYTES and stop - joined[-1][0] <= RANGE_BYTES:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


@contextmanager
def parquet_object(location: Location, file: RemoteFile | None = None) -> Iterator[ObjectParquet]:
    """A Parquet in a store, opened; the footers that were read last are kept.

    Args:
        location: its URL
        file: itself, if it is open already
    """
    with file or RemoteFile(location) as found:
        key = (location, found.found.etag)
        metadata = _footers.get(key) if found.found.etag else None
        with pq.ParquetFile(found, metadata=metadata, pre_buffer=False) as opened:
            _footers[key] = opened.metadata
            while len(_footers) > FOOTERS_HELD:
                _footers.popitem(last=False)
            yield ObjectParquet(found, opened)
