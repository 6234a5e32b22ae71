"""The rows of some embedded pairs, as `rows/` stores them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from coreset import rows
from coreset.keys import plain_key, prefixed_key
from coreset.sources.pairs import Pair


def row_table(
    pairs: Sequence[Pair], cosines: Float32[np.ndarray, "b"], source: str, first_row: int, prefix: bool
) -> pa.Table:
    """The rows of some embedded pairs; `first_row` is the first one's row in the vectors file."""
    name = partial(prefixed_key, source) if prefix else plain_key
    keys = [name(pair.key) for pair in pairs]
    columns = {
        "key": keys,
        "url": [pair.url for pair in pairs],
        "caption": [pair.caption for pair in pairs],
        "text_cosine": pa.array(cosines, pa.float32(), mask=np.isnan(cosines)),
        "key_hash": rows.key_hashes(keys),
        "source": [source] * len(pairs),
        "source_row": [pair.row for pair in pairs],
        "vector_row": np.arange(first_row, first_row + len(pairs)),
        "image_offset": [pair.image_offset for pair in pairs],
        "image_bytes": [None if pair.image_offset is None else pair.image_size for pair in pairs],
        "image_hash": pa.array([pair.image_hash for pair in pairs], pa.uint64()),
        "width": [pair.width for pair in pairs],
        "height": [pair.height for pair in pairs],
        "sha256": [pair.hashes.get("sha256") for pair in pairs],
        "md5": [pair.hashes.get("md5") for pair in pairs],
    }
    return pa.table(columns, schema=rows.ROWS)
