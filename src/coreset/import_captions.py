"""Captions of an imported block: which cannot be used, and what becomes of a row that has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from coreset.sources.embedding_columns import CAPTION, COSINE, blank_rows, text_of
from coreset.sources.embeddings import Block
from coreset.sources.pairs import DEFAULT_LIMITS

Array = Any
"""An Arrow array; pyarrow has no types."""


def caption_faults(captions: Array) -> Iterator[tuple[int, tuple[str, str]]]:
    """Captions that are missing, blank, too long or not UTF-8."""
    if captions.type != pa.string():
        decoded = [text_of(caption) for caption in captions.to_pylist()]
        for number, (raw, text) in enumerate(zip(captions.to_pylist(), decoded, strict=True)):
            if raw is not None and text is None:
                yield number, ("caption_not_utf8", f"the caption is not UTF-8: {raw[:16].hex(' ')}")
        captions = pa.array(decoded, pa.string())
    for row in np.flatnonzero(blank_rows(captions)):
        yield int(row), ("no_caption", "the caption is null or blank")
    size = pc.fill_null(pc.binary_length(captions), 0).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(size > DEFAULT_LIMITS.caption):
        yield int(row), ("caption_too_long", f"the caption has {size[row]} bytes, more than {DEFAULT_LIMITS.caption}")


def without_scores(block: Block, captionless: Bool[np.ndarray, "b"]) -> Block:
    """The block in which nothing says how well a missing caption fits, whatever the input said.

    Captions are null there, and similarities; a text vector, which is that of no caption, becomes the picture's own: it
    is as good as that one, and its cosine is not kept.
    """
    if not captionless.any():
        return block
    table, mask = block.table, pa.array(captionless)
    for name in {CAPTION, COSINE} & set(table.column_names):
        column = pc.if_else(mask, None, table[name].combine_chunks())
        table = table.set_column(table.column_names.index(name), name, column)
    texts = block.texts
    if texts is not None:
        texts = np.where(captionless[:, None], block.vectors, texts)
    return dataclasses.replace(block, table=table, texts=texts)
