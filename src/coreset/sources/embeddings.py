"""A folder of precomputed vectors -> blocks of rows. Everything that headers can tell is checked before the first row.

`find_embeddings` lists the parts, `look_at` reads their headers and refuses what does not fit together, `read_blocks`
streams one part, `read_sample` reads a few rows of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from coreset.engine.errors import InputError
from coreset.sources.embedding_columns import CAPTION, COSINE, captionless_rows, standard_table
from coreset.sources.embedding_files import (
    AUTO,
    FORMATS,
    EmbeddingFolder,
    EmbeddingPart,
    SourceFile,
    find_embeddings,
    found_format,
)
from coreset.sources.embedding_headers import Header, Reading, headers_and_problems, look_at
from coreset.sources.npy import Rows
from coreset.sources.vector_files import listed_vectors, opened_rows, table_batches

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
    "found_format",
    "headers_and_problems",
    "look_at",
    "read_blocks",
    "read_sample",
]


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


def read_sample(
    part: EmbeddingPart, reading: Reading, with_texts: bool, with_captions: bool, windows: int, width: int
) -> Iterator[Block]:
    """A few windows of consecutive rows, spread over a part; of the table only `text_cosine`.

    For `parquet` that is its first rows: there the vectors stand in the table.

    Args:
        part: One that has rows.
        reading: How.
        with_texts: Whether text vectors are read.
        with_captions: Whether captions are looked at: `text_cosine` is null then where there is none.
        windows: How many.
        width: Rows of each.
    """
    wanted = {COSINE, CAPTION} if with_captions else {COSINE}
    columns = tuple(column for column in reading.columns if column[0] in wanted)
    few = Reading(reading.format, columns, reading.images, reading.texts, reading.dimension, reading.dtype)
    if reading.format == "parquet":
        for block in islice(_listed_blocks(part, few, with_texts), 1):
            yield replace(block, table=_scores(block.table))
        return
    with ExitStack() as stack:
        images = stack.enter_context(opened_rows(part.images, reading.images))
        texts = _texts(part, reading, stack) if with_texts else None
        scores = [_scores(table) for table in _tables(part, few, images.header.rows)]
        cosines = pa.concat_tables(scores or [pa.table({"": pa.nulls(0)})])
        at = 0
        for start, stop in spread_windows(images.header.rows, windows, width):
            images.skip(start - at)
            if texts is not None:
                texts.skip(start - at)
            at = stop
            found = texts.take(stop - start) if texts is not None else None
            yield Block(start, images.take(stop - start), None, found, cosines.slice(start, stop - start))


def _scores(table: pa.Table) -> pa.Table:
    """A table without its captions; where one of them is missing, so is the `text_cosine`."""
    if CAPTION not in table.column_names:
        return table
    scores = table.drop_columns(CAPTION)
    if COSINE not in scores.column_names:
        return scores
    cosines = pc.if_else(pa.array(captionless_rows(table)), None, scores[COSINE].combine_chunks())
    return scores.set_column(scores.column_names.index(COSINE), COSINE, cosines)


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
