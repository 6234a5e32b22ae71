"""Every column and vector file of a run: its name, type and meaning; how it is read and written.

Vectors are `.npy` files of float16, C order, shape (n, d). Everything else is Parquet, zstd, in row groups of
`GROUP_ROWS`, so that equal rows give equal bytes however they came.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from jaxtyping import Float16, Int64, UInt64

from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.engine.files import Location
from coreset.engine.outgoing import Outgoing
from coreset.engine.stage import PARQUET, Part, Summary

if TYPE_CHECKING:
    from coreset.remote_rows import RemoteArray

GROUP_ROWS = 8192
"""Rows of one Parquet row group: the least that a range read fetches."""

REPEATED = ("source", "reason", "kept_key")
"""Columns written with a dictionary of their values: for the others, which hardly repeat, that takes time and space."""
BATCH_ROWS = 1 << 16
"""Rows of a table that are read at a time where only some of them are needed."""

VECTORS, TEXTS = ".npy", ".text.npy"
OFFSETS = ".offsets.npy"


Rows: TypeAlias = "np.ndarray[Any, Any] | RemoteArray"
"""An array of rows, or what fetches those that are asked for: `shape`, `len`, slices and arrays of indices."""


@dataclass(frozen=True)
class Column:
    """A column of a run's Parquet files."""

    name: str
    type: pa.DataType
    meaning: str


ROW_COLUMNS = (
    Column("key", pa.string(), "names the row; unique in a run"),
    Column("url", pa.string(), "where the picture came from; null if the input does not say"),
    Column("caption", pa.string(), "the text of the pair; null if there is none"),
    Column(
        "text_cosine",
        pa.float32(),
        "<x, t> of picture and caption, before rounding to float16; or what the imported folder says",
    ),
    Column("key_hash", pa.uint64(), "xxh3_64 of the key's UTF-8 bytes, seed 0: decides every tie"),
    Column(
        "source",
        pa.string(),
        "the input file (a tar, a Parquet, or a file of vectors), relative to the inputs' common root",
    ),
    Column("source_row", pa.int64(), "index of the sample in its source, counted over good and bad ones"),
    Column(
        "vector_row",
        pa.int64(),
        "row of the part's vectors file in rows/, or of the user's; in clusters/ vectors stand as the rows do",
    ),
    Column(
        "image_offset",
        pa.int64(),
        "byte in the source where the picture begins, or row of a Parquet; null if a tar is compressed, or of vectors",
    ),
    Column("image_bytes", pa.int64(), "length of the picture in bytes; null likewise"),
    Column("image_hash", pa.uint64(), "xxh3_64 of the picture's bytes as they stand in the source; null if imported"),
    Column("width", pa.int32(), "of the stored picture in pixels, as the input says; null if it does not"),
    Column("height", pa.int32(), "of the stored picture in pixels, as the input says; null if it does not"),
    Column("sha256", pa.string(), "hash of the original picture, as the input says; null if it does not"),
    Column("md5", pa.string(), "hash of the original picture, as the input says; null if it does not"),
)
CLUSTER_COLUMNS = (
    Column("cluster", pa.int32(), "index of the nearest centroid"),
    Column("centroid_distance", pa.float32(), "Euclidean distance to that centroid"),
    Column("centroid_cosine", pa.float32(), "cosine to that centroid; 0 for a centroid of zeros"),
)
DEDUP_COLUMNS = (
    Column("component_size", pa.int32(), "rows in the row's connected component"),
    Column("kept", pa.bool_(), "whether the row represents its component"),
    Column("kept_key", pa.string(), "key of the row that represents the component"),
    Column("kept_cosine", pa.float32(), "<x, y> of the row and the one that represents it"),
)
FOREST_COLUMNS = (
    Column("cluster", pa.int32(), "index of the nearest centroid"),
    Column("u", pa.int32(), "place of the edge's one end among the rows of the cluster, sorted by (key_hash, key)"),
    Column("v", pa.int32(), "place of its other end; larger than u"),
    Column("cosine", pa.float64(), "exact <x, y> of the two rows; the edges of a cluster stand heaviest first"),
)
QUARANTINE_COLUMNS = (
    Column("source", pa.string(), "the input file"),
    Column("key", pa.string(), "the sample's key; null if it has none"),
    Column("source_row", pa.int64(), "index of the sample in its source; null if that is not known"),
    Column("reason", pa.string(), "a code, such as no_caption"),
    Column("detail", pa.string(), "what was found"),
    Column("rows", pa.int64(), "how many samples this stands for"),
)
CORESET_NAMES = (
    *("key", "url", "caption", "text_cosine", "cluster", "centroid_cosine", "component_size"),
    *("source", "source_row", "image_offset", "image_bytes", "image_hash", "width", "height", "sha256", "md5"),
)


def schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of some columns.

    Example:
        >>> schema(QUARANTINE_COLUMNS).names
        ['source', 'key', 'source_row', 'reason', 'detail', 'rows']
    """
    return pa.schema([pa.field(column.name, column.type) for column in columns])


ROWS = schema(ROW_COLUMNS)
CLUSTERS = schema((*ROW_COLUMNS, *CLUSTER_COLUMNS))
DEDUP = schema((*ROW_COLUMNS, *CLUSTER_COLUMNS, *DEDUP_COLUMNS))
CORESET = pa.schema([DEDUP.field(name) for name in CORESET_NAMES])
FOREST = schema(FOREST_COLUMNS)
QUARANTINE = schema(QUARANTINE_COLUMNS)


def key_hashes(keys: Sequence[str], seed: int = 0) -> UInt64[np.ndarray, "n"]:
    """xxh3_64 of the UTF-8 bytes of some keys.

    Example:
        >>> key_hashes(["000000000", "000000001"])
        array([10675367157758850574, 10411788593972577648], dtype=uint64)
    """
    encoded = [key.encode() for key in keys]
    return np.fromiter(map(xxhash.xxh3_64_intdigest, encoded, repeat(seed)), np.uint64, len(keys))


class TableWriter:
    """A Parquet file written in row groups of exactly `GROUP_ROWS`, whatever the size of the pieces."""

    def __init__(self, file: Outgoing, columns: pa.Schema) -> None:
        self._schema = columns
        repeated = [name for name in REPEATED if name in columns.names]
        self._writer = pq.ParquetWriter(
            pa.PythonFile(file, mode="w"), columns, compression="zstd", write_page_index=True, use_dictionary=repeated
        )
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Append rows; columns are put in the schema's order."""
        self._waiting.append(table.select(self._schema.names).cast(self._schema))
        self.rows += table.num_rows
        if sum(piece.num_rows for piece in self._waiting) >= GROUP_ROWS:
            self._flush(whole=False)

    def close(self, metadata: dict[str, str]) -> None:
        """Write what waits and the footer."""
        self._flush(whole=True)
        self._writer.add_key_value_metadata(metadata)
        self._writer.close()

    def _flush(self, whole: bool) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        end = table.num_rows if whole else table.num_rows - table.num_rows % GROUP_ROWS
        for start in range(0, end, GROUP_ROWS):
            group = table.slice(start, min(GROUP_ROWS, end - start)).combine_chunks()
            self._writer.write_table(group, row_group_size=GROUP_ROWS)
        self._waiting = [table.slice(end)]


class PartTable:
    """The Parquet of a part, whose metadata carries the part's receipt."""

    def __init__(self, part: Part, columns: pa.Schema) -> None:
        self._part = part
        self._file = part.file(PARQUET)
        self._writer = TableWriter(self._file, columns)

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return self._writer.rows

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        self._writer.write(table)

    def close(self, summary: Summary, **metadata: str) -> Summary:
        """Close the file with the part's receipt; all side files must be closed. Returns the summary."""
        self._writer.close({"coreset": self._part.receipt(summary), **metadata})
        self._file.close()
        return summary


def write_table(file: Outgoing, table: pa.Table) -> None:
    """Write and close a Parquet file that is a side file of a part."""
    writer = TableWriter(file, table.schema)
    writer.write(table)
    writer.close({})
    file.close()


@contextmanager
def opened_parquet(location: Location) -> Iterator[Any]:
    """A Parquet file, opened; of an object in a store, only what is asked for is fetched."""
    if files.is_remote(location):
        from coreset.remote_rows import parquet_object

        with parquet_object(location) as file:
            yield file
    else:
        with pq.ParquetFile(files.local_path(location)) as file:
            yield file


def metadata_of(location: Location) -> dict[str, str]:
    """The key-value metadata of a Parquet file.

    Raises:
        InputError: The file is not Parquet, or cut.
    """
    try:
        with opened_parquet(location) as file:
            found = file.metadata.metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(location, error) from error
    return {key.decode(): value.decode() for key, value in found.items() if key != b"ARROW:schema"}


def damaged(location: Location, error: Exception) -> InputError:
    """The error for a Parquet file that cannot be read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(
        f"{location} is damaged ({reason}); remove it and the folder's stage.json, and run the same command again."
    )


def receipt_of(location: Location) -> str | None:
    """The receipt in a part's Parquet; None if it has none."""
    return metadata_of(location).get("coreset")


def read_table(
    location: Location, columns: Sequence[str] | None = None, start: int = 0, stop: int | None = None
) -> pa.Table:
    """Rows `start` to `stop` of a Parquet file; only the row groups that hold some of them are read.

    Raises:
        InputError: The file is damaged.
    """
    try:
        with opened_parquet(location) as file:
            starts = group_starts(file.metadata)
            stop = starts[-1] if stop is None else stop
            groups = [g for g in range(len(starts) - 1) if starts[g] < stop and starts[g + 1] > start]
            if not groups:
                return file.schema_arrow.empty_table().select(columns or file.schema_arrow.names)
            table = file.read_row_groups(groups, columns=list(columns) if columns else None, use_threads=False)
            return table.slice(start - starts[groups[0]], stop - start)
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(location, error) from error


def read_tables(asked: Sequence[tuple[Location, Sequence[str], int, int]]) -> list[pa.Table]:
    """Rows `start` to `stop` of some columns of several Parquet files; of objects several are fetched at a time.

    Raises:
        InputError: A file is damaged.
    """
    if asked and files.is_remote(asked[0][0]):
        return files.many(lambda one: read_table(*one), asked)
    return [read_table(*one) for one in asked]


def chosen_rows(location: Location, wanted: Int64[np.ndarray, "r"], columns: Sequence[str]) -> pa.Table:
    """Some rows of a Parquet file, by ascending indices; no more of the file is held than a batch."""
    pieces, start = [], 0
    for batch in table_batches(location, columns, BATCH_ROWS):
        stop = start + batch.num_rows
        low, high = np.searchsorted(wanted, [start, stop])
        if high - low == batch.num_rows:
            pieces.append(batch)
        elif high > low:
            pieces.append(batch.take(pa.array(wanted[low:high] - start)))
        start = stop
    return pa.concat_tables(pieces)


def count_rows(location: Location) -> int:
    """Rows of a Parquet file, from its footer."""
    try:
        with opened_parquet(location) as file:
            return int(file.metadata.num_rows)
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(location, error) from error


def group_starts(metadata: Any) -> list[int]:  # noqa: ANN401  pyarrow has no types
    """First row of each row group, and the number of rows."""
    starts = [0]
    for group in range(metadata.num_row_groups):
        starts.append(starts[-1] + metadata.row_group(group).num_rows)
    return starts


def columns_of(location: Location) -> list[str]:
    """The names of a Parquet file's columns, from its footer."""
    try:
        with opened_parquet(location) as file:
            return list(file.schema_arrow.names)
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(location, error) from error


def table_batches(location: Location, columns: Sequence[str], rows: int = 1 << 20) -> Iterator[pa.Table]:
    """The rows of a Parquet file in order, at most `rows` at a time.

    Raises:
        InputError: The file is damaged.
    """
    try:
        with opened_parquet(location) as file:
            for batch in file.iter_batches(batch_size=rows, columns=list(columns), use_threads=False):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(location, error) from error


class VectorsWriter:
    """A `.npy` file of float16 rows whose number is not known before the end."""

    def __init__(self, file: Outgoing, rows: int | None, dimension: int) -> None:
        self._file, self._dimension, self._said = file, dimension, rows
        self.rows = 0
        file.write(npy_header(rows or 0, dimension))

    def write(self, vectors: Float16[np.ndarray, "b d"]) -> None:
        """Append rows."""
        self._file.write(np.ascontiguousarray(vectors, dtype="<f2").data)
        self.rows += len(vectors)

    def close(self) -> None:
        """Put the number of rows into the header and close the file."""
        if self.rows != (self._said or 0):
            self._file.seek(0)
            self._file.write(npy_header(self.rows, self._dimension))
        self._file.close()


def vectors_size(rows: int, dimension: int) -> int:
    """Bytes of so many vectors in float16, without the headers of their files.

    Example:
        >>> vectors_size(1000, 768)
        1536000
    """
    return 2 * rows * dimension


def npy_header(rows: int, dimension: int) -> bytes:
    """The first 128 bytes of a `.npy` file of float16, the same length for every number of rows."""
    text = f"{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117).encode() + b"\n"


def write_array(file: Outgoing, array: np.ndarray[Any, Any]) -> None:
    """Write and close a `.npy` file that is a side file of a part."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    file.write(buffer.getbuffer())
    file.close()


def open_array(location: Location) -> Rows:
    """A `.npy` file as a read-only memory map, or an object whose rows are fetched as they are asked for.

    Raises:
        InputError: It is not a `.npy` file of numbers, or shorter than its header says.
    """
    try:
        if files.is_remote(location):
            from coreset.remote_rows import RemoteArray

            return RemoteArray(location)
        array: np.ndarray[Any, Any] = np.load(files.local_path(location), mmap_mode="r", allow_pickle=False)
        return array
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{location} is not a .npy file of numbers that can be read: {error}.") from error


class VectorSlices:
    """Row ranges of several vector files, one after the other, as one array of rows; nothing is copied ahead."""

    def __init__(self, slices: Sequence[tuple[Rows, int, int]], dimension: int) -> None:
        self._slices = [entry for entry in slices if entry[2] > entry[1]]
        self._starts = np.cumsum([0, *(stop - start for _, start, stop in self._slices)])
        self.shape = (int(self._starts[-1]), dimension)

    def __getitem__(self, rows: slice) -> Float16[np.ndarray, "b d"]:
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError("Rows are read in ascending order, step 1.")
        pieces = []
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        for index in range(first, len(self._slices)):
            begin = int(self._starts[index])
            if begin >= stop:
                break
            vectors, low, high = self._slices[index]
            pieces.append(vectors[max(low, low + start - begin) : min(high, low + stop - begin)])
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty((0, self.shape[1]), np.float16)

    def chosen(self, wanted: Int64[np.ndarray, "r"]) -> Float16[np.ndarray, "r d"]:
        """The rows at some indices, ascending.

        Example:
            >>> x = np.arange(6, dtype=np.float16)[:, None]
            >>> VectorSlices([(x, 1, 3), (x, 4, 6)], 1).chosen(np.array([0, 3])).ravel().tolist()
            [1.0, 5.0]
        """
        found = np.empty((len(wanted), self.shape[1]), np.float16)
        bounds = np.searchsorted(wanted, self._starts)
        for (vectors, low, _), begin, first, end in zip(self._slices, self._starts, bounds, bounds[1:], strict=False):
            found[first:end] = vectors[wanted[first:end] - begin + low]
        return found


def open_vectors(location: Location) -> Rows:
    """The vectors of a part, named by its Parquet, as `open_array` gives them: (n, d) of float16."""
    return open_array(location.removesuffix(PARQUET) + VECTORS)


def held(vectors: Any) -> Any:  # noqa: ANN401  an array, or what stands for one
    """Vectors for going through several times: those of an object are fetched once, into a file that is mapped."""
    return vectors if isinstance(vectors, np.ndarray) else vectors.spooled(0, len(vectors))


def held_ranges(ranges: Sequence[tuple[Location, int, int]]) -> list[tuple[np.ndarray[Any, Any], int]]:
    """Rows of vectors files, by the Parquets beside them, for going through several times.

    Returns:
        For each an array, and the row that its first one is: 0 for a file, which is mapped; objects are fetched as far
        as they are asked for, several at a time.
    """

    def fetched(asked: tuple[Location, int, int]) -> tuple[np.ndarray[Any, Any], int]:
        location, start, stop = asked
        vectors = open_vectors(location)
        return (vectors, 0) if isinstance(vectors, np.ndarray) else (vectors.spooled(start, stop), start)

    if ranges and files.is_remote(ranges[0][0]):
        return files.many(fetched, ranges)
    return [fetched(asked) for asked in ranges]


def key_lookup(keys: pa.ChunkedArray) -> Callable[[Int64[np.ndarray, "m"]], list[bytes]]:
    """Gives the bytes of a few keys by their indices."""

    def bytes_of(index: Int64[np.ndarray, "m"]) -> list[bytes]:
        return [key.encode() for key in keys.take(pa.array(index)).to_pylist()] if len(index) else []

    return bytes_of
