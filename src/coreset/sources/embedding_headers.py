"""The headers of a folder of vectors: what every file claims to hold, and whether that fits together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coreset.engine.errors import InputError
from coreset.sources.embedding_columns import (
    CAPTION,
    COSINE,
    IMAGES,
    KEY,
    TEXTS,
    VECTOR_ALIASES,
    Columns,
    check_single,
    found_columns,
    found_vectors,
    standard_table,
)
from coreset.sources.embedding_files import EmbeddingFolder, EmbeddingPart, SourceFile
from coreset.sources.vector_files import (
    array_names,
    listed_dimension,
    opened_rows,
    opened_table,
    table_batches,
)

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
    headers, problems = headers_and_problems(folder, features, column, text_column)
    if problems:
        raise problems[0]
    return [header for header in headers if header is not None]


def headers_and_problems(
    folder: EmbeddingFolder, features: str, column: str | None, text_column: str | None
) -> tuple[list[Header | None], list[InputError]]:
    """What `look_at` returns or raises, without stopping at the first problem.

    Returns:
        Of each part its header, None if it cannot be read; and all problems, the one that `look_at` raises first.
    """
    headers: list[Header | None] = []
    problems: list[InputError] = []
    unequal: list[str] = []
    for part in folder.parts:
        try:
            header, counts = _header(folder.format, part, features, column, text_column)
        except InputError as error:
            headers.append(None)
            problems.append(error)
            continue
        headers.append(header)
        if len(set(counts.values())) > 1:
            unequal.append(" but ".join(f"{name} has {count:,} rows" for name, count in counts.items()))
    if unequal:
        more = f"; so with {len(unequal) - _SHOWN} more" if len(unequal) > _SHOWN else ""
        problems.append(InputError(f"{'; '.join(unequal[:_SHOWN])}{more}: fetch again what is not whole"))
    problems += _unlike(folder.parts, headers)
    if not problems and not any(header.rows for header in headers if header):
        problems.append(InputError(f"{folder.root} holds no vectors: its {len(headers):,} file(s) have 0 rows"))
    return headers, problems


def _unlike(parts: Sequence[EmbeddingPart], headers: Sequence[Header | None]) -> Iterator[InputError]:
    """Parts with rows that differ from the first in what counts: dimension, type, keys, captions, cosines."""
    traits: dict[str, Callable[[Header], object]] = {
        "numbers a vector": lambda header: header.reading.dimension,
        "as the type of its vectors": lambda header: header.reading.dtype,
        "as its columns": lambda header: ", ".join(_names(header.reading)) or "none",
        "text vectors": lambda header: "" if header.has_texts else "no",
    }
    filled = [(part, header) for part, header in zip(parts, headers, strict=True) if header and header.rows]
    for what, trait in traits.items():
        for part, header in filled:
            if (found := trait(header)) != (first := trait(filled[0][1])):
                yield InputError(
                    f"{filled[0][0].name} has {first} {what} and {part.name} {found}: import them as two runs, or save "
                    f"one of them again"
                )


def _names(reading: Reading) -> list[str]:
    return [name.lower() for meaning, name in reading.columns if meaning in {KEY, CAPTION, COSINE}]


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
    for name in filter(None, (images, texts)):
        check_single(schema, name, part.name)
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
