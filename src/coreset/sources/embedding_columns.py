"""Which columns of a foreign table mean what, and their values in coreset's types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from coreset.engine.errors import InputError

KEY, URL, CAPTION, COSINE = "key", "url", "caption", "text_cosine"
IMAGES, TEXTS = "images", "texts"
"""What the columns of vectors are called here."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    KEY: ("key", "image_path", "uid", "sample_id"),
    URL: ("url",),
    CAPTION: ("caption", "text", "txt"),
    COSINE: ("similarity", "clip_score", "clip_{features}_similarity_score"),
    "width": ("width",),
    "height": ("height",),
    "sha256": ("sha256", "hash"),
    "md5": ("md5", "hash"),
}
"""The names that a column may have, whatever their case; the first that is there is taken."""
VECTOR_ALIASES: Mapping[str, tuple[str, ...]] = {
    IMAGES: ("embedding", "image_embedding", "img_embedding", "image_emb", "img_emb", "{features}_img"),
    TEXTS: ("text_embedding", "txt_embedding", "text_emb", "txt_emb", "{features}_txt"),
}
PICTURE_ALIASES = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes")
"""The names of a column of pictures: their bytes, or Hugging Face's struct of `bytes` and `path`."""
_HASHES = {"sha256": "^[0-9a-f]{64}$", "md5": "^[0-9a-f]{32}$"}
_LARGEST_SIDE = 2**31 - 1
_EXACT = 2.0**53  # whole floats up to here are one number each

Array = Any
"""An Arrow array; pyarrow has no types."""
Rows = Bool[np.ndarray, "b"]
"""Which rows something is true of."""
Columns = tuple[tuple[str, str], ...]
"""Pairs of what a column means and its name in the table."""


def found_columns(schema: pa.Schema, features: str, name: str, without: Sequence[str] = ()) -> Columns:
    """The columns of a table that coreset reads.

    Args:
        schema: Of the table.
        features: Of DataComp's two models the one that is imported: `l14` or `b32`.
        name: Of the file, for messages.
        without: Meanings that are not looked for.

    Raises:
        InputError: One of them is of a type that cannot be meant, or stands twice.

    Example:
        >>> found_columns(pa.schema([("TEXT", pa.string()), ("uid", pa.string()), ("NSFW", pa.string())]), "l14", "a")
        (('key', 'uid'), ('caption', 'TEXT'))
    """
    found = []
    for meaning, aliases in ALIASES.items():
        column = _named(schema.names, aliases, features)
        if column is None or meaning in without:
            continue
        check_single(schema, column, name)
        fits = _is_text if meaning not in {COSINE, "width", "height"} else _is_number
        kind = schema.field(column).type
        if meaning == KEY and _is_number(kind):
            fits = _is_number
        if not (fits(kind) or pa.types.is_null(kind)):
            raise InputError(
                f"{name} has {kind} in its column {column}, which cannot be a {meaning}: rename the column"
            )
        found.append((meaning, column))
    return tuple(found)


def check_single(schema: pa.Schema, column: str, name: str) -> None:
    """Raise if a column stands twice: nobody knows which is meant, and a table cannot be asked for it by name.

    Raises:
        InputError: It does.
    """
    if schema.names.count(column) > 1:
        raise InputError(f"{name} has {schema.names.count(column)} columns named {column}: rename all but one")


def found_vectors(schema: pa.Schema, meaning: str, asked: str | None, features: str) -> str | None:
    """The column of a table that holds vectors: the one that is asked for, else one with a usual name.

    Example:
        >>> found_vectors(pa.schema([("img_emb", pa.list_(pa.float32()))]), IMAGES, None, "l14")
        'img_emb'
    """
    lists = [field.name for field in schema if is_vectors(field.type)]
    if asked is not None:
        return asked if asked in lists else None
    return _named(lists, VECTOR_ALIASES[meaning], features)


def found_pictures(schema: pa.Schema) -> str | None:
    """The column of a table that holds pictures, None if there is none.

    Example:
        >>> found_pictures(pa.schema([("image", pa.string()), ("jpg", pa.binary())]))
        'jpg'
    """
    return _named([field.name for field in schema if _is_pictures(field.type)], PICTURE_ALIASES, "")


def _is_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_bytes(kind.field(place).type)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    kind = _plain(kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values, however they are encoded."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_vectors(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold vectors."""
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and pa.types.is_floating(kind.value_type))


def standard_table(batch: pa.Table, columns: Columns) -> pa.Table:
    """The columns under coreset's names and in its types; what cannot be read of a value is null.

    Text that is not UTF-8 stays as binary, for the caller to refuse.
    """
    made = {}
    for meaning, column in columns:
        values = batch[column].combine_chunks() if batch.num_rows else batch[column]
        made[meaning] = _CONVERTERS.get(meaning, as_text)(values)
        if meaning in _HASHES:
            made[meaning] = _hashes(made[meaning], _HASHES[meaning])
        elif meaning == URL:
            made[meaning] = _valid(made[meaning])
    return pa.table(made) if made else pa.table({"": pa.nulls(batch.num_rows)})


def as_text(values: Array) -> Array:
    r"""Values as text: whole numbers in decimal, other numbers as null, bytes as UTF-8, or as bytes if one is not.

    Example:
        >>> as_text(pa.array([7.0, None, 0.5])).to_pylist(), as_text(pa.array([b"a", b"\xff"])).type
        (['7', None, None], DataType(binary))
    """
    kind = values.type
    if pa.types.is_floating(kind):
        values = values.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(values), values), pc.less_equal(pc.abs(values), _EXACT))
        values = pc.if_else(pc.fill_null(whole, False), values, None).cast(pa.int64())
    if pa.types.is_null(kind) or _is_number(kind):
        return values.cast(pa.string())
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
    as_bytes = values.cast(pa.binary())
    try:
        return as_bytes.cast(pa.string())
    except pa.ArrowInvalid:
        return as_bytes


def _as_cosine(values: Array) -> Array:
    return values.cast(pa.float32(), safe=False)


def _as_side(values: Array) -> Array:
    numbers = values.cast(pa.float64(), safe=False)
    good = pc.and_kleene(pc.greater(numbers, 0), pc.less_equal(numbers, _LARGEST_SIDE))
    return pc.if_else(pc.fill_null(good, False), numbers, None).cast(pa.int32(), safe=False)


_CONVERTERS = {COSINE: _as_cosine, "width": _as_side, "height": _as_side}


def _hashes(values: Array, pattern: str) -> Array:
    lowered = pc.ascii_lower(_valid(values))
    return pc.if_else(pc.fill_null(pc.match_substring_regex(lowered, pattern), False), lowered, None)


def _valid(values: Array) -> Array:
    """Text in which what is not UTF-8 is null."""
    if values.type == pa.string():
        return values
    return pa.array([text_of(value) for value in values.to_pylist()], pa.string())


def text_of(value: bytes | None) -> str | None:
    """Bytes as text; None if they are not UTF-8."""
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def captionless_rows(table: pa.Table) -> Rows:
    r"""Which rows have no caption: null or blank in a table with such a column; none where there is no column.

    Example:
        >>> captionless_rows(pa.table({"caption": ["a cat", None, " \n"]}))
        array([False,  True,  True])
        >>> captionless_rows(pa.table({"key": ["1"]}))
        array([False])
    """
    if CAPTION not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    captions = table[CAPTION].combine_chunks()
    if captions.type == pa.string():
        return blank_rows(captions)
    texts = ("?" if raw is not None and text_of(raw) is None else text_of(raw) for raw in captions.to_pylist())
    return blank_rows(pa.array(texts, pa.string()))


def blank_rows(texts: Array) -> Rows:
    """Which of some texts are null, or nothing but white space."""
    blank = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(texts)), 0)
    found: Rows = pc.fill_null(blank, True).to_numpy(zero_copy_only=False)
    return found


def _named(names: Sequence[str], aliases: Sequence[str], features: str) -> str | None:
    """The first alias that is among the names, as it is written there; of several cases the first column."""
    for alias in aliases:
        for name in names:
            if name.lower() == alias.format(features=features):
                return name
    return None


def _is_text(kind: pa.DataType) -> bool:
    kind = _plain(kind)
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return _is_bytes(kind) or any(check(kind) for check in checks)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind)) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
