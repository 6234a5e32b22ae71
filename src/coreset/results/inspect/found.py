"""What checks of a run find: small values that merge in any order, and what decides whether rows are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from jaxtyping import UInt64

from coreset import rows
from coreset.engine.files import Location
from coreset.numeric.lengths import TOLERANCE, lengths

SHOWN = 5
"""So many wrong things are kept with their places; the others are counted."""
BLOCK_BYTES = 8 << 20
ROW_NUMBERS = ("source_row", "vector_row", "image_offset", "image_bytes", "image_hash")
ROW_TEXTS = ("url", "caption", "source")
CLUSTER_NUMBERS = ("cluster", "centroid_distance", "centroid_cosine")

_ODD = np.uint64(0x9E3779B97F4A7C15)
_WORD = (1 << 64) - 1


@dataclass(frozen=True, order=True)
class Wrong:
    """Something that is not as it must be.

    Attributes:
        place: a file, and the row if there is one
        what: is wrong with it
        is_damage: whether bytes changed after they were written; if not, they were written wrong
        remedy: what to do; empty for what was written wrong
    """

    place: str
    what: str
    is_damage: bool = False
    remedy: str = ""


@dataclass(frozen=True)
class Found:
    """What some checks found; the sum of two is what both found.

    Attributes:
        wrong: the first few, by place
        count: of everything that is wrong
        bytes: that were read to be hashed
        rows: that were looked at
        compared: rows whose values were computed anew
        digest: of the columns of `rows/`, the same for any order of the rows
        clustered: the same with the columns of `clusters/`
        vectors: the same of keys and vectors
    """

    wrong: tuple[Wrong, ...] = ()
    count: int = 0
    bytes: int = 0
    rows: int = 0
    compared: int = 0
    digest: int = 0
    clustered: int = 0
    vectors: int = 0

    def __add__(self, other: Found) -> Found:
        return Found(
            tuple(sorted({*self.wrong, *other.wrong}))[:SHOWN],
            self.count + other.count,
            self.bytes + other.bytes,
            self.rows + other.rows,
            self.compared + other.compared,
            (self.digest + other.digest) & _WORD,
            (self.clustered + other.clustered) & _WORD,
            (self.vectors + other.vectors) & _WORD,
        )


def wrong(place: str, what: str) -> Found:
    """One thing that was written wrong."""
    return Found((Wrong(place, what),), 1)


def damaged(place: str, what: str, remedy: str) -> Found:
    """One thing that changed after it was written."""
    return Found((Wrong(place, what, True, remedy),), 1)


def total(found: Iterable[Found]) -> Found:
    """The sum.

    Example:
        >>> total([Found(bytes=1), wrong("a", "is odd")]).count
        1
    """
    return sum(found, Found())


def first_wrong(place: str, first: int, bad: Any, what: str) -> Found:  # noqa: ANN401  any array of booleans
    """Rows that are wrong in one way: the first with its place, the others counted.

    Args:
        place: the file
        first: number of the first row looked at
        bad: which rows are wrong
        what: is wrong with them
    """
    index = np.flatnonzero(bad)
    if not len(index):
        return Found()
    others = f" (and {len(index) - 1:,} more)" if len(index) > 1 else ""
    return Found((Wrong(f"{place} row {first + int(index[0]):,}", what + others),), len(index))


def mixed(words: UInt64[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    """Numbers in which every bit of the given ones counts; different for different ones."""
    spread: UInt64[np.ndarray, "n"] = (words ^ (words >> np.uint64(31))) * _ODD
    spread ^= spread >> np.uint64(29)
    return spread


def row_words(table: pa.Table) -> UInt64[np.ndarray, "n"]:
    """A number for each row that depends on its key, texts, numbers and cosine."""
    words = mixed(table["key_hash"].to_numpy())
    for name in ROW_TEXTS:
        texts = table[name].cast(pa.binary()).to_pylist()
        hashes = (0 if text is None else xxhash.xxh3_64_intdigest(text, 1) for text in texts)
        words = mixed(words ^ np.fromiter(hashes, np.uint64, len(texts)))
    for name in ROW_NUMBERS:
        words = mixed(words ^ table[name].cast(pa.int64(), safe=False).fill_null(-1).to_numpy().view(np.uint64))
    return with_floats(words, table, ("text_cosine",))


def with_floats(words: UInt64[np.ndarray, "n"], table: pa.Table, names: Sequence[str]) -> UInt64[np.ndarray, "n"]:
    """Numbers that depend on 32-bit columns, too."""
    for name in names:
        values = table[name].to_numpy().view(np.int32)
        words = mixed(words ^ np.where(table[name].is_null().to_numpy(), -1, values).astype(np.int64).view(np.uint64))
    return words


def summed(words: UInt64[np.ndarray, "n"]) -> int:
    """The sum modulo 2^64: the same in any order.

    Example:
        >>> summed(np.array([2**64 - 1, 3], np.uint64))
        2
    """
    return int(words.sum(dtype=np.uint64))


def digests(table: pa.Table) -> Found:
    """Number and digests of some rows, with those of the cluster's columns if they are there."""
    words = row_words(table)
    clustered = 0
    if "cluster" in table.column_names:
        clustered = summed(with_floats(words, table, CLUSTER_NUMBERS))
    return Found(rows=len(words), digest=summed(words), clustered=clustered)


def key_hash_wrong(place: str, first: int, table: pa.Table) -> Found:
    """Rows whose `key_hash` is not the hash of their key."""
    hashes = rows.key_hashes(table["key"].to_pylist())
    return first_wrong(place, first, hashes != table["key_hash"].to_numpy(), "key_hash is not the hash of the key")


class Order:
    """Checks that rows stand by (cluster, key_hash, key), a batch after the other."""

    def __init__(self) -> None:
        self._last: tuple[int, int, bytes] | None = None

    def wrong(self, place: str, first: int, table: pa.Table) -> Found:
        """The rows of the next batch that do not come after the row before them."""
        if not table.num_rows:
            return Found()
        cluster, key_hash = table["cluster"].to_numpy().astype(np.int64), table["key_hash"].to_numpy()
        bad = np.zeros(len(cluster), np.bool_)
        same = cluster[1:] == cluster[:-1]
        bad[1:] = (cluster[1:] < cluster[:-1]) | (same & (key_hash[1:] < key_hash[:-1]))
        lookup = rows.key_lookup(table["key"])
        tied = np.flatnonzero(same & (key_hash[1:] == key_hash[:-1])) + 1
        bad[tied] |= np.array([a >= b for a, b in zip(lookup(tied - 1), lookup(tied), strict=True)], np.bool_)
        ends = [(int(cluster[i]), int(key_hash[i]), lookup(np.array([i]))[0]) for i in (0, len(cluster) - 1)]
        bad[0] = self._last is not None and ends[0] <= self._last
        self._last = ends[1]
        return first_wrong(place, first, bad, "does not come after the row before it by (cluster, key_hash, key)")


def vectors_found(place: str, vectors: Any, key_hash: UInt64[np.ndarray, "n"], dimension: int) -> Found:  # noqa: ANN401
    """Whether the vectors of some rows are float16, finite and of length 1; their digest.

    Args:
        place: the file, for messages
        vectors: one for each row, read by slices
        key_hash: of each row
        dimension: that they must have
    """
    if vectors.shape != (len(key_hash), dimension):
        return wrong(place, f"has shape {tuple(vectors.shape)}; it must be ({len(key_hash)}, {dimension})")
    found = []
    for start, block in blocks_of(vectors):
        if block.dtype != np.float16:
            return wrong(place, f"is of {block.dtype}; it must be float16")
        bad = ~(np.abs(lengths(block) - 1) <= TOLERANCE)
        found.append(first_wrong(place, start, bad, f"its vector is not finite and of length 1 within {TOLERANCE}"))
        hashes = np.fromiter(map(xxhash.xxh3_64_intdigest, block.view(np.uint8)), np.uint64, len(block))
        words = mixed(mixed(key_hash[start : start + len(block)]) ^ hashes)
        found.append(Found(vectors=summed(words)))
    return total(found)


def blocks_of(vectors: Any) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:  # noqa: ANN401  rows by slices
    """First row and rows of each of the blocks that cover some vectors, in memory."""
    step = max(1, BLOCK_BYTES // max(1, 2 * vectors.shape[1]))
    for start in range(0, vectors.shape[0], step):
        yield start, np.ascontiguousarray(vectors[start : start + step])


def batches(location: Location, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """First row and rows of each batch of a table."""
    first = 0
    for table in rows.table_batches(location, columns, rows.BATCH_ROWS):
        yield first, table
        first += table.num_rows
