"""The reader of each kind of shard: `tars`, and `image_parquet` for Parquet files of pictures."""

from __future__ import annotations

from collections.abc import Iterator

from coreset.engine import files
from coreset.sources import image_parquet, tars
from coreset.sources.pairs import DEFAULT_LIMITS, Limits, Pair, Reject
from coreset.sources.shards import Shard, is_table


def read_pairs(shard: Shard, limits: Limits = DEFAULT_LIMITS) -> Iterator[Pair | Reject]:
    """The pairs of a shard and what is wrong with the rest, in order; see its reader's `read_pairs`."""
    return image_parquet.read_pairs(shard, limits) if shard.is_table else tars.read_pairs(shard, limits)


def check_shard(shard: Shard) -> str | None:
    """The first key of a shard, read before any work, None if it has none; see its reader's `check_shard`."""
    return image_parquet.check_shard(shard) if shard.is_table else tars.check_shard(shard)


def picture_at(location: str, place: int, size: int) -> bytes:
    """The bytes of a picture, straight from its shard.

    Args:
        location: The shard's path.
        place: `Pair.image_offset`: a byte of a tar, a row of a Parquet.
        size: `Pair.image_size`.

    Returns:
        Fewer bytes, or others, if the file is not the one that the place is of.

    Raises:
        InputError: A Parquet is damaged, or has no column of pictures.
        OSError: The disk cannot be read.
    """
    if is_table(location):
        return image_parquet.picture_at(location, place) or b""
    with files.opened(location) as file:
        file.seek(place)
        return file.read(size)
