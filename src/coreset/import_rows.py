"""Blocks of a foreign folder -> rows of `rows/`, with a reason for each that cannot be one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float16, Float64, Int64, UInt64

from coreset import rows
from coreset.engine.errors import InputError
from coreset.import_captions import caption_faults, without_scores
from coreset.keys import prefixed_key
from coreset.numeric.lengths import TOLERANCE, inner_products, lengths, unit_rows
from coreset.sources.embedding_columns import captionless_rows, text_of
from coreset.sources.embeddings import Block
from coreset.sources.pairs import DEFAULT_LIMITS, Reject

_CONTROL = "[\x00-\x1f\x7f]"

Fault = tuple[str, str]
"""Why a row cannot be used: a reason code, and what was found."""


class SeenKeys:
    """The keys of one part that came by, known by their 64-bit hashes: 8 bytes each.

    Example:
        >>> seen = SeenKeys()
        >>> seen.repeated(np.array([1, 2, 1], np.uint64)), seen.repeated(np.array([2, 3], np.uint64))
        (array([False, False,  True]), array([ True, False]))
    """

    def __init__(self) -> None:
        self._sorted: list[UInt64[np.ndarray, "n"]] = []

    def repeated(self, hashes: UInt64[np.ndarray, "b"]) -> Bool[np.ndarray, "b"]:
        """Which of some keys came before, in earlier calls or earlier in this one; remembers them all."""
        distinct = np.sort(hashes)
        repeated = np.zeros(len(hashes), np.bool_)
        if (distinct[1:] == distinct[:-1]).any():
            distinct, first = np.unique(hashes, return_index=True)
            repeated = np.ones(len(hashes), np.bool_)
            repeated[first] = False
        for known in self._sorted:
            if len(known):
                place = np.minimum(np.searchsorted(known, distinct), len(known) - 1)
                if (known[place] == distinct).any():
                    repeated |= np.isin(hashes, known)
        self._sorted.append(distinct)
        while len(self._sorted) > 1 and len(self._sorted[-1]) * 2 > len(self._sorted[-2]):  # a few runs, log n in all
            self._sorted[-2:] = [np.sort(np.concatenate(self._sorted[-2:]), kind="stable")]
        return repeated


@dataclass(frozen=True)
class Imported:
    """What a block came to.

    Attributes:
        table: Columns of `rows.ROWS` but `vector_row`, of the good rows.
        good: Their indices in the block.
        vectors: What is stored of them.
        rejects: The others.
    """

    table: dict[str, Any]
    good: Int64[np.ndarray, "m"]
    vectors: Float16[np.ndarray, "m d"]
    rejects: list[Reject]


def imported_rows(
    block: Block, source: str, normalize: bool, prefix: bool, allow_captionless: bool, seen: SeenKeys
) -> Imported:
    """The rows of a block.

    Args:
        block: Of one part, in the part's order.
        source: The part's name.
        normalize: Whether vectors are divided by their lengths; if not, these must be 1 within `TOLERANCE`.
        prefix: Whether the source is put in front of the keys.
        allow_captionless: Whether a row without a caption is one without a text cosine; if not, it is refused.
        seen: The part's keys so far.

    Raises:
        InputError: A vector is neither unusable nor of length 1, and shall not be normalised.
    """
    faults: dict[int, Fault] = {}
    hashes = plain_hashes(block)
    captionless = captionless_rows(block.table) if allow_captionless else np.zeros(len(block.vectors), np.bool_)
    block = without_scores(block, captionless)
    for index, fault in _faults(block, source, normalize, hashes, seen, captionless):
        faults.setdefault(index, fault)
    usable = np.ones(len(block.vectors), np.bool_)
    usable[list(faults)] = False
    good = np.flatnonzero(usable)
    vectors = stored_vectors(block.vectors, good, normalize)
    kept = block.table.take(pa.array(good)) if faults else block.table
    table = {name: kept[name] for name in kept.column_names if name}
    table["key"] = row_keys(kept, good + block.start, source, prefix)
    table["key_hash"] = hashes[good] if hashes is not None and not prefix else rows.key_hashes(table["key"].to_pylist())
    table["source"] = pa.repeat(pa.scalar(source), len(good))
    table["source_row"] = good + block.start
    if block.texts is not None:
        cosines = inner_products(vectors, stored_vectors(block.texts, good, normalize))
        table["text_cosine"] = pa.array(cosines, mask=captionless[good])
    return Imported(table, good, vectors, [_reject(block, index, faults[index]) for index in sorted(faults)])


def stored_vectors(
    vectors: np.ndarray[Any, Any], chosen: Int64[np.ndarray, "m"], normalize: bool
) -> Float16[np.ndarray, "m d"]:
    """The chosen vectors as a run stores them."""
    picked = vectors if len(chosen) == len(vectors) else vectors[chosen]
    return unit_rows(picked) if normalize else picked.astype("<f2", copy=False)


def row_keys(table: pa.Table, source_rows: Int64[np.ndarray, "m"], source: str, prefix: bool) -> Any:  # noqa: ANN401
    """The keys of some good rows; `SOURCE/ROW` where the input has none."""
    if "key" not in table.column_names:
        return pa.array([prefixed_key(source, str(row)) for row in source_rows], pa.string())
    keys = table["key"].cast(pa.string())
    return pc.binary_join_element_wise(source, keys, "/") if prefix else keys


def plain_hashes(block: Block) -> UInt64[np.ndarray, "b"] | None:
    """The hashes of a block's keys as the input says them, of nothing for one that is no text; None without keys."""
    if "key" not in block.table.column_names:
        return None
    keys = block.table["key"].to_pylist()
    return rows.key_hashes([key if isinstance(key, str) else text_of(key) or "" for key in keys])


def _faults(
    block: Block,
    source: str,
    normalize: bool,
    hashes: UInt64[np.ndarray, "b"] | None,
    seen: SeenKeys,
    captionless: Bool[np.ndarray, "b"],
) -> Iterator[tuple[int, Fault]]:
    """Everything that is wrong with the rows of a block, what weighs most first."""
    yield from vector_faults(block.vectors, block.present, f"{source} row ", block.start, normalize)
    if block.texts is not None:
        yield from vector_faults(block.texts, None, f"the text vectors of {source}, row ", block.start, normalize)
    if hashes is not None:
        yield from key_faults(block.table["key"].combine_chunks(), hashes, seen)
    if "caption" in block.table.column_names:
        found = caption_faults(block.table["caption"].combine_chunks())
        yield from ((row, fault) for row, fault in found if not captionless[row])
    if "text_cosine" in block.table.column_names and block.texts is None:
        cosines = block.table["text_cosine"].to_numpy()
        for row in np.flatnonzero(~np.isfinite(cosines) & ~captionless):
            yield int(row), ("no_text_cosine", f"the similarity is {cosines[row]}")


def vector_faults(
    vectors: np.ndarray[Any, Any], present: Bool[np.ndarray, "b"] | None, place: str, start: int, normalize: bool
) -> Iterator[tuple[int, Fault]]:
    """Rows without a vector that has a direction.

    Raises:
        InputError: One is of another length than 1, and shall not be normalised.
    """
    found = lengths(vectors)
    if present is not None:
        for row in np.flatnonzero(~present):
            yield int(row), ("no_vector", "no vector, or one of another length than the others")
        found = np.where(present, found, 0.0)
    for row in np.flatnonzero(~np.isfinite(found)):
        yield int(row), ("not_finite", "the vector holds NaN or infinity")
    for row in np.flatnonzero(found == 0):
        yield int(row), ("zero_norm", "the vector is all zeros")
    if not normalize:
        check_lengths(found, lambda row: f"{place}{start + row:,}")


def check_lengths(found: Float64[np.ndarray, "b"], place: Callable[[int], str]) -> None:
    """Raise unless every length is 1 within `TOLERANCE`, or belongs to a vector that is refused.

    Raises:
        InputError: Names the first place and the deviation.
    """
    far = np.flatnonzero(np.isfinite(found) & (found != 0) & ~(np.abs(found - 1) <= TOLERANCE))
    if len(far):
        length = float(found[far[0]])
        raise InputError(
            f"{place(int(far[0]))}: the vector has length {length:.6g}, off by {abs(length - 1):.3g} where at most "
            f"{TOLERANCE:g} is allowed; --normalize divides every vector by its length."
        )


def key_faults(keys: Any, hashes: UInt64[np.ndarray, "b"], seen: SeenKeys) -> Iterator[tuple[int, Fault]]:  # noqa: ANN401
    """Keys that are missing, malformed, or came before in the part."""
    if keys.type != pa.string():
        decoded = [text_of(key) for key in keys.to_pylist()]
        for number, (raw, text) in enumerate(zip(keys.to_pylist(), decoded, strict=True)):
            if raw is not None and text is None:
                yield number, ("bad_key", f"the key is not UTF-8: {raw[:16].hex(' ')}")
        keys = pa.array(decoded, pa.string())
    size = pc.fill_null(pc.binary_length(keys), 0).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(size == 0):
        yield int(row), ("no_key", "the key is null or empty")
    longest = DEFAULT_LIMITS.key
    for row in np.flatnonzero(size > longest):
        yield int(row), ("bad_key", f"the key has {size[row]} bytes, more than {longest}")
    control = pc.fill_null(pc.match_substring_regex(keys, _CONTROL), False)
    for row in np.flatnonzero(control.to_numpy(zero_copy_only=False)):
        yield int(row), ("bad_key", "a control character in the key")
    named = np.flatnonzero(size)
    for row in named[seen.repeated(hashes[named])]:
        yield int(row), ("duplicate_key", "a row with this key came before in this source")


def _reject(block: Block, index: int, fault: Fault) -> Reject:
    key = block.table["key"][index].as_py() if "key" in block.table.column_names else None
    if isinstance(key, bytes):
        key = key.decode("utf-8", "backslashreplace")
    return Reject(key, block.start + index, *fault, 1)
