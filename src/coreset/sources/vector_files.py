"""Files that hold vectors, opened: `.npy`, the arrays of an `.npz`, list columns of a Parquet."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.sources.broken_tables import BROKEN_TABLE, first_line, raise_the_machines
from coreset.sources.embedding_files import SourceFile
from coreset.sources.npy import ColumnMajorRows, Rows, StreamedRows, read_npy_header

_PAGE = 1 << 20  # bytes of a column that are read ahead
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError)


@contextmanager
def opened(file: SourceFile) -> Iterator[BinaryIO]:
    """A file of the input, which must be the one that was listed before and after it is read.

    Raises:
        InputError: It changed.
        OSError: The disk cannot be read; names the file.
    """
    if files.is_remote(file.location):
        with files.opened_as(
            file.location, file.size, str(file.changed), ahead=not file.name.endswith(".parquet")
        ) as there:
            yield cast("BinaryIO", io.BufferedReader(there))
        return
    try:
        with open(file.location, "rb") as found:
            _check_unchanged(file, found)
            yield found
            _check_unchanged(file, found)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror or error} while reading {file.name}", file.location) from error


def _check_unchanged(file: SourceFile, found: BinaryIO) -> None:
    now = os.fstat(found.fileno())
    if (now.st_size, now.st_mtime_ns) != (file.size, file.changed):
        raise InputError(f"{file.location} changed since it was listed: wait until it is complete, then start again")


@contextmanager
def opened_rows(file: SourceFile, array: str | None = None, digest: xxhash.xxh3_128 | None = None) -> Iterator[Rows]:
    """The vectors of a `.npy` file, or of one array of an `.npz`.

    Args:
        file: As it was listed.
        array: The array's name in the `.npz`; None for a `.npy`.
        digest: Fed with every byte of a `.npy` in C order while it is taken, and with the rest at the end.

    Raises:
        InputError: It holds no vectors, is damaged, or changed.
    """
    with opened(file) as found:
        if array is not None:
            with _opened_member(file, found, array) as rows:
                yield rows
            return
        header = read_npy_header(found, file.name, file.size)
        if header.fortran:
            yield ColumnMajorRows(file.location, header)
            return
        found.seek(0)
        streamed = StreamedRows(found, file.name, file.size, digest)
        yield streamed
        if digest is not None:
            streamed.rest()


@contextmanager
def _opened_member(file: SourceFile, found: BinaryIO, array: str) -> Iterator[Rows]:
    try:
        with zipfile.ZipFile(found) as archive, archive.open(f"{array}.npy") as member:
            name = f"{array} in {file.name}"
            rows = StreamedRows(member, name, archive.getinfo(f"{array}.npy").file_size)  # type: ignore[arg-type]
            if rows.header.fortran:
                raise InputError(f"{name} is in Fortran order, which cannot be read in a zip: save it in C order")
            yield rows
    except _BROKEN_ZIP as error:
        raise InputError(f"{file.name} is damaged ({error}): fetch it again") from error


def array_names(file: SourceFile) -> list[str]:
    """The names of the arrays in an `.npz`.

    Raises:
        InputError: It is no zip.
    """
    try:
        with opened(file) as found, zipfile.ZipFile(found) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except _BROKEN_ZIP as error:
        raise InputError(f"{file.name} is no .npz file, or damaged ({error}): fetch it again") from error


@contextmanager
def opened_table(file: SourceFile) -> Iterator[Any]:
    """A Parquet file of the input, read in pieces.

    Raises:
        InputError: It is no Parquet, is damaged, or changed.
    """
    if files.is_remote(file.location):
        with _opened_object(file) as there:
            yield there
        return
    with opened(file) as found:
        try:
            with pq.ParquetFile(found, buffer_size=_PAGE, pre_buffer=False) as table:
                yield table
        except BROKEN_TABLE as error:
            raise_the_machines(error)
            raise InputError(
                f"{file.name} is no Parquet file, or damaged ({first_line(error)}): fetch it again"
            ) from error


@contextmanager
def _opened_object(file: SourceFile) -> Iterator[Any]:
    from coreset.remote_rows import parquet_object

    try:
        there = files.opened_as(file.location, file.size, str(file.changed), ahead=False)
        with parquet_object(file.location, there) as table:
            yield table
    except BROKEN_TABLE as error:
        raise_the_machines(error)
        raise InputError(f"{file.name} is no Parquet file, or damaged ({first_line(error)}): fetch it again") from error


def table_batches(file: SourceFile, columns: list[str], rows: int) -> Iterator[pa.Table]:
    """Some columns of a Parquet file in order, at most `rows` at a time.

    Raises:
        InputError: As `opened_table`.
    """
    with opened_table(file) as table:
        if not columns:
            for start in range(0, table.metadata.num_rows, rows):
                yield pa.table({"": pa.nulls(min(rows, table.metadata.num_rows - start))})
            return
        for batch in table.iter_batches(batch_size=rows, columns=columns, use_threads=False):
            yield pa.Table.from_batches([batch])


def listed_vectors(column: Any, dimension: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, np.dtype[np.bool_]]]:  # noqa: ANN401
    """The vectors in a list column, (n, dimension), and which rows have one of that length; the others are zeros.

    Example:
        >>> listed_vectors(pa.chunked_array([pa.array([[1.0, 0.0], None, [1.0]])]), 2)[1]
        array([ True, False, False])
    """
    lists = column.combine_chunks()
    there = np.asarray(pc.fill_null(pc.equal(pc.list_value_length(lists), dimension), False))
    numbers = pc.list_flatten(lists if there.all() else lists.filter(pa.array(there))).to_numpy(zero_copy_only=False)
    if there.all():
        return numbers.reshape(len(lists), dimension), there
    vectors = np.zeros((len(lists), dimension), numbers.dtype)
    vectors[there] = numbers.reshape(-1, dimension)
    return vectors, there


def listed_dimension(table: Any, column: str) -> int:  # noqa: ANN401
    """The length of the vectors in a list column of an open Parquet: by its type, else of the first one; 0 for none."""
    kind = table.schema_arrow.field(column).type
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in table.iter_batches(batch_size=64, columns=[column], use_threads=False):
        for count in pc.list_value_length(batch.column(0)).drop_null().to_pylist():
            return int(count)
    return 0
