"""Rows of a Parquet file of pictures -> pairs and rejects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from coreset.engine.errors import InputError
from coreset.sources.embedding_columns import (
    CAPTION,
    COSINE,
    KEY,
    URL,
    Columns,
    check_single,
    found_columns,
    found_pictures,
    standard_table,
)
from coreset.sources.metadata import BadSampleError, Metadata, read_caption
from coreset.sources.pairs import Limits, Pair, Reject
from coreset.sources.samples import checked_key, key_text
from coreset.sources.shards import Shard


class Rows:
    """Judges the rows of one file.

    Attributes:
        pictures: The column of pictures.
        columns: The other columns that are read, by what they mean.
    """

    def __init__(self, shard: Shard, schema: pa.Schema, limits: Limits) -> None:
        pictures = found_pictures(schema)
        if pictures is None:
            raise InputError(
                f"{shard.location} has no column of pictures (image or jpg, of bytes): name the tars or Parquet "
                f"files that hold pictures, and `coreset import` for one of vectors"
            )
        check_single(schema, pictures, shard.name)
        self.pictures: str = pictures
        self.columns: Columns = tuple(
            pair for pair in found_columns(schema, "", shard.name, without=(COSINE,)) if pair[1] != pictures
        )
        self._source = shard.name
        self._limits = limits
        self._keys: set[int] = set()

    @property
    def names(self) -> list[str]:
        """The columns to read."""
        return [self.pictures, *dict.fromkeys(column for _, column in self.columns)]

    def judged(self, batch: pa.RecordBatch, start: int) -> Iterator[Pair | Reject]:
        """The rows of a batch, of which the first is the file's row `start`."""
        table = pa.Table.from_batches([batch])
        pictures = picture_bytes_of(batch.column(batch.schema.get_field_index(self.pictures)))
        sizes = pc.binary_length(pictures).to_pylist()
        rest = standard_table(table, self.columns).to_pylist() if self.columns else [{}] * batch.num_rows
        for index, (size, fields) in enumerate(zip(sizes, rest, strict=True)):
            row = start + index
            key = _as_bytes(fields.get(KEY)) if KEY in dict(self.columns) else f"{self._source}/{row}".encode()
            try:
                name = self._checked_key(key)
                self._check_size(size)
                caption = self._caption(_as_bytes(fields.get(CAPTION)))
            except BadSampleError as error:
                yield Reject(None if key is None else key_text(key), row, error.reason, error.detail, 1)
                continue
            content = pictures[index].as_py()
            hashes = {kind: fields[kind] for kind in ("sha256", "md5") if fields.get(kind)}
            sides = fields.get("width"), fields.get("height")
            hashed = xxh3_64_intdigest(content)
            yield Pair(name, row, content, row, size, hashed, caption, fields.get(URL), *sides, hashes)

    def _checked_key(self, key: bytes | None) -> str:
        if not key:
            raise BadSampleError("no_key", "the key is null or empty")
        known = len(self._keys)
        self._keys.add(xxh3_64_intdigest(key))
        if len(self._keys) == known:
            raise BadSampleError("duplicate_key", "a row with this key came before in this file")
        return checked_key(key, self._limits.key)

    def _check_size(self, size: int | None) -> None:
        if size is None:
            raise BadSampleError("no_image", f"no bytes in the column {self.pictures}")
        if size == 0:
            raise BadSampleError("empty_image", "the picture has no bytes")
        if size > self._limits.member:
            raise BadSampleError("member_too_large", f"the picture has {size} bytes, more than {self._limits.member}")

    def _caption(self, text: bytes | None) -> str | None:
        try:
            return read_caption(text, Metadata(), self._limits.caption)
        except BadSampleError as error:
            if error.reason == "no_caption" and self._limits.allow_missing_caption:
                return None
            raise


def picture_bytes_of(column: Any) -> Any:  # noqa: ANN401  pyarrow has no types
    """The bytes of the pictures in a column of either layout, however they are encoded."""
    content = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
    if pa.types.is_dictionary(content.type):
        content = content.dictionary_decode()
    return content.cast(pa.binary()) if pa.types.is_binary_view(content.type) else content


def _as_bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
