"""A folder of precomputed vectors -> blocks of rows. Everything that headers can tell is checked before the first row.

`find_embeddings` lists the parts, `look_at` reads their headers and refuses what does not fit together, `read_blocks`
streams one part, `read_sample` reads a few rows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from coreset.engine.errors import InputError
from coreset.sources.embedding_columns import (
    COSINE,
    IMAGES,
    TEXTS,
    VECTOR_ALIASES,
    Columns,
    found_columns,
    found_vectors,
    standard_table,
)
from coreset.sources.embedding_files import AUTO, FORMATS, EmbeddingFolder, EmbeddingPart, SourceFile, find_embeddings
from coreset.sources.npy import Rows
from coreset.sources.vector_files import (
    array_names,
    listed_dimension,
    listed_vectors,
    opened_rows,
    opened_table,
    table_batches,
)

__all__ = [
    "AUTO",
    "FORMATS",
    "Block",
    "EmbeddingFolder",
    "EmbeddingPart",
    "Header",
    "Reading",
    "SourceFile",
    "find_embeddings",
    "look_at",
    "read_blocks",
    "read_sample",
]

BLOCK_ROWS = 8192
BLOCK_BYTES = 16 << 20
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """How every part of a folder is read.

    Attributes:
        format: One of `FORMATS`.
        columns: What is read of the table.
        images: The array or column of the image vectors; None where they are a file.
        texts: The same of the text vectors; None where they are a file, or not there.
        dimension: Numbers of each vector.
        dtype: Of the image vectors, such as `float16`.
    """

    format: str
    columns: Columns
    images: str | None
    texts: str | None
    dimension: int
    dtype: str

    @property
    def has_cosine(self) -> bool:
        """Whether the table says how well captions fit."""
        return any(meaning == COSINE for meaning, _ in self.columns)

    @property
    def block_rows(self) -> int:
        """Rows that are read at a time: a matter of memory, fixed by the input."""
        return max(1, min(BLOCK_ROWS, BLOCK_BYTES // (self.dimension * np.dtype(self.dtype).itemsize)))


@dataclass(frozen=True, slots=True)
class Header:
    """What the headers of a part's files say.

    Attributes:
        rows: Of the image vectors.
        reading: How this part would be read.
        as_stored: Whether the file of image vectors can be used as it stands.
        has_texts: Whether there are text vectors.
        first_key: The first row's key; None if there is none.
        note: Something odd that harms nothing; may be empty.
    """

    rows: int
    reading: Reading
    as_stored: bool
    has_texts: bool
    first_key: str | None
    note: str


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a part.

    Attributes:
        start: The first row's index in the part.
        vectors: Image vectors, (b, d), as they were found.
        present: Which rows have a vector; the others are zeros. None if all have.
        texts: Text vectors, or None.
        table: Columns of `ALIASES` that the input has.
    """

    start: int
    vectors: np.ndarray[Any, Any]
    present: np.ndarray[Any, np.dtype[np.bool_]] | None
    texts: np.ndarray[Any, Any] | None
    table: pa.Table


def look_at(folder: EmbeddingFolder, features: str, column: str | None, text_column: str | None) -> list[Header]:
    """The headers of all parts, which fit together.

    Args:
        folder: One of `find_embeddings`.
        features: Of DataComp's two models the one that is meant: `l14` or `b32`.
        column: The column of the image vectors, for `parquet`; None for one with a usual name.
        text_column: The same of the text vectors.

    Raises:
        InputError: A file is not what its name says, counts differ between the files of a part, or dimensions, types
            or columns between parts; or there is no row at all.
    """
    headers: list[Header] = []
    unequal: list[str] = []
    for part in folder.parts:
        header, counts = _header(folder.format, part, features, column, text_column)
        headers.append(header)
        if len(set(counts.values())) > 1:
            unequal.append(" but ".join(f"{name} has {count:,} rows" for name, count in counts.items()))
    if unequal:
        more = f"; so with {len(unequal) - _SHOWN} more" if len(unequal) > _SHOWN else ""
        raise InputError(f"{'; '.join(unequal[:_SHOWN])}{more}: fetch again what is not whole")
    _check_alike(folder.parts, headers)
    if not sum(header.rows for header in headers):
        raise InputError(f"{folder.root} holds no vectors: its {len(headers):,} file(s) have 0 rows")
    return headers


def _check_alike(parts: Sequence[EmbeddingPart], headers: Sequence[Header]) -> None:
    """Raise unless all parts that have rows have the same dimension, type, columns and text vectors."""
    traits: dict[str, Callable[[Header], object]] = {
        "numbers a vector": lambda header: header.reading.dimension,
        "as the type of its vectors": lambda header: header.reading.dtype,
        "as its columns": lambda header: ", ".join(name for _, name in header.reading.columns) or "none",
        "text vectors": lambda header: "" if header.has_texts else "no",
    }
    filled = [(part, header) for part, header in zip(parts, headers, strict=True) if header.rows]
    for what, trait in traits.items():
        for part, header in filled:
            if (found := trait(header)) != (first := trait(filled[0][1])):
                raise InputError(
                    f"{filled[0][0].name} has {first} {what} and {part.name} {found}: import them as two runs, or save "
                    f"one of them again"
                )


def _header(
    kind: str, part: EmbeddingPart, features: str, column: str | None, text_column: str | None
) -> tuple[Header, dict[str, int]]:
    """A part's header, and the rows of each of its files by name."""
    columns: Columns = ()
    counts: dict[str, int] = {}
    first_key = None
    if part.metadata is not None:
        with opened_table(part.metadata) as table:
            schema, rows = table.schema_arrow, int(table.metadata.num_rows)
            columns = found_columns(schema, features, part.metadata.name)
            if kind == "parquet":
                return _parquet_header(part, table, columns, (features, column, text_column)), {part.name: rows}
        counts[part.metadata.name] = rows
        first_key = _first_key(part.metadata, columns)
    images, texts = _array_names(part.images, features) if kind == "datacomp" else (None, None)
    has_texts = part.texts is not None and (kind != "datacomp" or texts is not None)
    with opened_rows(part.images, images) as found:
        header = found.header
    counts = {part.name: header.rows, **counts}
    if has_texts and part.texts is not None:
        with opened_rows(part.texts, texts) as found:
            counts[f"{texts} in {part.name}" if texts else part.texts.name] = found.header.rows
            if found.header.dimension != header.dimension:
                raise InputError(
                    f"{part.texts.name} has vectors of {found.header.dimension} numbers and {part.name} of "
                    f"{header.dimension}: they are not of one model"
                )
    note = f"{part.name} has {header.trailing:,} bytes behind its last vector" if header.trailing else ""
    dtype = f"float{8 * np.dtype(header.dtype).itemsize}"
    reading = Reading(kind, columns, images, texts, header.dimension, dtype)
    return Header(header.rows, reading, header.as_stored and images is None, has_texts, first_key, note), counts


def _array_names(file: SourceFile, features: str) -> tuple[str, str | None]:
    names = array_names(file)
    found = {
        meaning: next(
            (alias.format(features=features) for alias in aliases if alias.format(features=features) in names), None
        )
        for meaning, aliases in VECTOR_ALIASES.items()
    }
    images = found[IMAGES]
    if images is None:
        raise InputError(
            f"{file.name} has no array {features}_img, only {', '.join(names[:8])}: choose other --features"
        )
    return images, found[TEXTS]


def _parquet_header(
    part: EmbeddingPart,
    table: Any,  # noqa: ANN401  pyarrow has no types
    columns: Columns,
    asked: tuple[str, str | None, str | None],
) -> Header:
    features, column, text_column = asked
    schema = table.schema_arrow
    images = found_vectors(schema, IMAGES, column, features)
    texts = found_vectors(schema, TEXTS, text_column, features)
    if images is None or (text_column and texts is None):
        wanted = (text_column if images else column) or VECTOR_ALIASES[IMAGES][0]
        raise InputError(
            f"{part.name} has no column {wanted} with lists of numbers: name the right one with --embedding-column, "
            f"or --text-column"
        )
    dimension = listed_dimension(table, images)
    dtype = str(schema.field(images).type.value_type.to_pandas_dtype().__name__)
    reading = Reading("parquet", columns, images, texts, dimension, dtype)
    rows = int(table.metadata.num_rows)
    if rows and not dimension:
        raise InputError(f"{part.name} has no vector in its column {images}: leave it out")
    if rows and texts is not None and listed_dimension(table, texts) != dimension:
        raise InputError(f"{part.name} has {images} and {texts} of different lengths: they are not of one model")
    return Header(rows, reading, False, texts is not None, _first_key(part.images, columns), "")


def _first_key(file: SourceFile, columns: Columns) -> str | None:
    wanted = tuple(column for column in columns if column[0] == "key")
    for batch in table_batches(file, [name for _, name in wanted], 1):
        key = standard_table(batch, wanted)["key"][0].as_py() if wanted else None
        return key if isinstance(key, str) else None
    return None


def read_blocks(
    part: EmbeddingPart, reading: Reading, with_texts: bool, digest: xxhash.xxh3_128 | None = None
) -> Iterator[Block]:
    """The rows of a part in order.

    Args:
        part: One of the folder's.
        reading: How.
        with_texts: Whether text vectors are read.
        digest: Fed with every byte of the file of image vectors, if that is a `.npy` in C order.

    Raises:
        InputError: A file is damaged, or changed since it was listed.
    """
    if reading.format == "parquet":
        yield from _listed_blocks(part, reading, with_texts)
        return
    with ExitStack() as stack:
        images = stack.enter_context(opened_rows(part.images, reading.images, digest))
        texts = _texts(part, reading, stack) if with_texts else None
        start = 0
        for table in _tables(part, reading, images.header.rows):
            count = table.num_rows
            if start + count > images.header.rows:
                break
            yield Block(start, images.take(count), None, texts.take(count) if texts else None, table)
            start += count
        if start != images.header.rows:
            raise InputError(f"{part.name} has other than the {images.header.rows:,} rows it had: start again")


def _texts(part: EmbeddingPart, reading: Reading, stack: ExitStack) -> Rows | None:
    return stack.enter_context(opened_rows(part.texts, reading.texts)) if part.texts is not None else None


def _tables(part: EmbeddingPart, reading: Reading, rows: int) -> Iterator[pa.Table]:
    if part.metadata is None:
        for start in range(0, rows, reading.block_rows):
            yield pa.table({"": pa.nulls(min(reading.block_rows, rows - start))})
        return
    for batch in table_batches(part.metadata, [name for _, name in reading.columns], reading.block_rows):
        yield standard_table(batch, reading.columns)


def _listed_blocks(part: EmbeddingPart, reading: Reading, with_texts: bool) -> Iterator[Block]:
    vectors = [name for name in (reading.images, reading.texts if with_texts else None) if name is not None]
    names = list(dict.fromkeys([*vectors, *(name for _, name in reading.columns)]))
    start = 0
    for batch in table_batches(part.images, names, reading.block_rows):
        images, present = listed_vectors(batch[vectors[0]], reading.dimension)
        texts = None
        if len(vectors) > 1:
            texts, texts_present = listed_vectors(batch[vectors[1]], reading.dimension)
            if not texts_present.all():
                texts[~texts_present] = np.nan
        yield Block(start, images, None if present.all() else present, texts, standard_table(batch, reading.columns))
        start += batch.num_rows


def read_sample(part: EmbeddingPart, reading: Reading, with_texts: bool, windows: int, width: int) -> Iterator[Block]:
    """A few windows of consecutive rows, spread over a part; of the table only `text_cosine`.

    For `parquet` that is its first rows: there the vectors stand in the table.
    """
    columns = tuple(column for column in reading.columns if column[0] == COSINE)
    few = Reading(reading.format, columns, reading.images, reading.texts, reading.dimension, reading.dtype)
    if reading.format == "parquet":
        yield from _first(_listed_blocks(part, few, with_texts))
        return
    with ExitStack() as stack:
        images = stack.enter_context(opened_rows(part.images, reading.images))
        texts = _texts(part, reading, stack) if with_texts else None
        cosines = pa.concat_tables([*_tables(part, few, images.header.rows)] or [pa.table({"": pa.nulls(0)})])
        at = 0
        for start, stop in spread_windows(images.header.rows, windows, width):
            images.skip(start - at)
            if texts is not None:
                texts.skip(start - at)
            at = stop
            found = texts.take(stop - start) if texts is not None else None
            yield Block(start, images.take(stop - start), None, found, cosines.slice(start, stop - start))


def _first(blocks: Iterator[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        return


def spread_windows(rows: int, windows: int, width: int) -> list[tuple[int, int]]:
    """Windows of `width` rows at equal distances from the first row to the last; everything, where that is no more.

    Example:
        >>> spread_windows(10, 2, 3), spread_windows(5, 2, 3), spread_windows(0, 2, 3)
        ([(0, 3), (7, 10)], [(0, 5)], [])
    """
    if rows <= windows * width:
        return [(0, rows)] if rows else []
    starts = [(rows - width) * number // (windows - 1) for number in range(windows)]
    return [(start, start + width) for start in starts]
