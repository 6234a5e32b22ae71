"""Which rows have a rank in [lo, hi) of a total order, without ever sorting all of them.

An order key is (order, key_hash, key): an unsigned number that carries the score, then what decides ties. The
key at a given rank is found by passes over the rows: each pass counts the next 16 bits below what is known, in
a histogram that merges by addition; as soon as few enough rows share what is known, they are gathered and
sorted. Memory is bounded by the histogram, not by the rows; the number of passes by the bits, at most nine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt64

KeyBytes = Callable[[Int64[np.ndarray, "m"]], list[bytes]]
"""Gives the key bytes of a few rows by their indices: asked only where score and hash are equal."""

Bound = Decimal | float | int
"""A percentage."""

DIGIT_BITS = 16
GATHER = 1 << 16
"""At most so many rows are gathered and sorted."""


class OrderKey(NamedTuple):
    """A row's place in a total order; compares like the tuple it is."""

    order: int
    key_hash: int
    key: bytes


@dataclass(frozen=True)
class Prefix:
    """The rows whose (order, key_hash), read as `order_bits` + 64 bits, begins with `known` in `bits` bits."""

    known: int
    bits: int
    order_bits: int

    def digits(self, count: int) -> tuple[int, ...]:
        """What is known, in digits of 16 bits."""
        return tuple((self.known >> (self.bits - DIGIT_BITS * (i + 1))) & 0xFFFF for i in range(count))


@dataclass(frozen=True)
class Question:
    """What one pass over the rows must answer: a histogram for each prefix, or its rows."""

    prefix: Prefix
    gather: bool


Histogram = Int64[np.ndarray, "bins"]
Answer = Histogram | list[OrderKey]


def descending(scores: Float32[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    """32-bit orders that rise as the scores fall; -0.0 and 0.0 are equal. NaN is a ValueError.

    Example:
        >>> order = descending(np.float32([0.5, -0.0, 0.0, -1.0]))
        >>> bool(order[0] < order[1] == order[2] < order[3])
        True
    """
    if np.isnan(scores).any():
        raise ValueError("NaN has no rank.")
    bits = (scores.astype(np.float32) + np.float32(0.0)).view(np.uint32)
    rising = np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31))
    return (~rising).astype(np.uint64)


def score_of(order: int) -> float:
    """The score that has an order, the other way round.

    Example:
        >>> [score_of(int(order)) for order in descending(np.float32([0.5, 0.0, -1.0]))]
        [0.5, 0.0, -1.0]
    """
    rising = ~order & 0xFFFFFFFF
    bits = rising ^ (1 << 31) if rising >> 31 else ~rising & 0xFFFFFFFF
    return float(np.array([bits], np.uint32).view(np.float32)[0])


def window_counts(percent: tuple[Bound, Bound], count: int) -> tuple[int, int]:
    """The ranks (lo, hi) of a window given in percent: floor of the exact product, never of a rounded one.

    Args:
        percent: 0 <= low <= high <= 100
        count: rows that are ranked

    Example:
        >>> window_counts((40, 60), 1000)
        (400, 600)
        >>> window_counts((15, 35), 9)
        (1, 3)
    """
    low, high = (Fraction(str(bound)) * count / 100 for bound in percent)
    return int(low), int(high)


def answered(
    question: Question,
    order: UInt64[np.ndarray, "n"],
    key_hash: UInt64[np.ndarray, "n"],
    keys: KeyBytes,
) -> Answer:
    """What some of the rows contribute to a pass."""
    prefix = question.prefix
    mask = np.ones(len(order), dtype=bool)
    depth = prefix.bits // DIGIT_BITS
    for place, digit in enumerate(prefix.digits(depth)):
        mask &= _digit(order, key_hash, place, prefix.order_bits) == digit
    if not question.gather:
        digits = _digit(order[mask], key_hash[mask], depth, prefix.order_bits)
        return np.bincount(digits.astype(np.int64), minlength=1 << DIGIT_BITS)
    index = np.flatnonzero(mask)
    return [OrderKey(int(o), int(h), k) for o, h, k in zip(order[index], key_hash[index], keys(index), strict=True)]


def merged(a: tuple[Answer, ...], b: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """The answers of two sets of rows together."""
    return tuple(
        x + y if isinstance(x, list) and isinstance(y, list) else np.add(x, y) for x, y in zip(a, b, strict=True)
    )


def keys_at_ranks(
    ranks: Sequence[int],
    count: int,
    order_bits: int,
    look: Callable[[tuple[Question, ...]], tuple[Answer, ...]],
    gather: int = GATHER,
) -> list[OrderKey | None]:
    """The order keys at some ranks.

    Args:
        ranks: counted from 0 for the smallest order key
        count: rows in all
        order_bits: 32 or 64: how many low bits of `order` carry the score
        look: makes one pass over all rows and answers questions; answers of parts are merged by `merged`
        gather: how many rows may be gathered

    Returns:
        For each rank its order key; None for a rank that equals `count`, the end.

    Raises:
        ValueError: A rank is below 0 or above `count`, or the answers do not add up to `count`.

    Example:
        >>> order = np.array([30, 10, 20, 10], dtype=np.uint64)
        >>> rows = (order, np.array([7, 9, 7, 8], dtype=np.uint64), lambda index: [b"k%d" % i for i in index])
        >>> keys_at_ranks([1, 4], 4, 32, lambda questions: tuple(answered(q, *rows) for q in questions))
        [OrderKey(order=10, key_hash=9, key=b'k1'), None]
    """
    if any(not 0 <= rank <= count for rank in ranks):
        raise ValueError(f"Ranks {list(ranks)} do not all lie in 0..{count}.")
    searches = {rank: _Search(Prefix(0, 0, order_bits), rank, count) for rank in ranks if rank < count}
    found: dict[int, OrderKey] = {}
    while len(found) < len(searches):
        open_ranks = [rank for rank in searches if rank not in found]
        questions = {searches[rank].question(gather): None for rank in open_ranks}
        answers = dict(zip(questions, look(tuple(questions)), strict=True))
        for rank in open_ranks:
            result = searches[rank].narrowed(answers[searches[rank].question(gather)])
            if isinstance(result, OrderKey):
                found[rank] = result
            else:
                searches[rank] = result
    return [found.get(rank) for rank in ranks]


@dataclass(frozen=True)
class _Search:
    """The key at rank `rank` among the `count` rows that begin with `prefix`."""

    prefix: Prefix
    rank: int
    count: int

    def question(self, gather: int) -> Question:
        exhausted = self.prefix.bits == self.prefix.order_bits + 64
        return Question(self.prefix, self.count <= gather or exhausted)

    def narrowed(self, answer: Answer) -> OrderKey | _Search:
        total = len(answer) if isinstance(answer, list) else int(answer.sum())
        if total != self.count:
            raise ValueError(f"A pass over the rows found {total} where {self.count} were counted before.")
        if isinstance(answer, list):
            return sorted(answer)[self.rank]
        ends = np.cumsum(answer)
        digit = int(np.searchsorted(ends, self.rank, side="right"))
        before = int(ends[digit - 1]) if digit else 0
        prefix = Prefix(self.prefix.known << DIGIT_BITS | digit, self.prefix.bits + DIGIT_BITS, self.prefix.order_bits)
        return _Search(prefix, self.rank - before, int(answer[digit]))


def between(
    order: UInt64[np.ndarray, "n"],
    key_hash: UInt64[np.ndarray, "n"],
    keys: KeyBytes,
    first: OrderKey | None,
    end: OrderKey | None,
) -> Bool[np.ndarray, "n"]:
    """Which rows lie in [first, end); `first` None means no row does, `end` None that there is no upper bound.

    Example:
        >>> order = np.array([1, 2, 3], dtype=np.uint64)
        >>> between(order, order, lambda index: [b""] * len(index), OrderKey(2, 2, b""), None)
        array([False,  True,  True])
    """
    if first is None:
        return np.zeros(len(order), dtype=bool)
    inside = ~_below(order, key_hash, keys, first)
    return inside if end is None else inside & _below(order, key_hash, keys, end)


def rows_in_order(
    order: UInt64[np.ndarray, "n"], key_hash: UInt64[np.ndarray, "n"], keys: KeyBytes
) -> Int64[np.ndarray, "n"]:
    """Indices that sort rows by (order, key_hash, key).

    Example:
        >>> one = np.ones(3, dtype=np.uint64)
        >>> rows_in_order(one, one, lambda index: [[b"c", b"a", b"b"][i] for i in index])
        array([1, 2, 0])
    """
    index = np.lexsort((key_hash, order))
    o, h = order[index], key_hash[index]
    equal = (o[1:] == o[:-1]) & (h[1:] == h[:-1])
    for start, stop in _runs(equal):
        tied = index[start:stop]
        by_key = sorted(zip(keys(tied), tied.tolist(), strict=True))
        index[start:stop] = [row for _, row in by_key]
    return index


def group_windows(
    groups: Int64[np.ndarray, "n"],
    order: UInt64[np.ndarray, "n"],
    key_hash: UInt64[np.ndarray, "n"],
    keys: KeyBytes,
    percent: tuple[Bound, Bound],
) -> Int64[np.ndarray, "n"]:
    """-1, 0 or 1 for a row whose rank within its group is below, in or above a window of percent of the group.

    Example:
        >>> order = np.arange(4, dtype=np.uint64)
        >>> group_windows(np.zeros(4, int), order, order, lambda index: [b""] * len(index), (25, 75))
        array([-1,  0,  0,  1])
    """
    index = rows_in_order(order, key_hash, keys)
    index = index[np.argsort(groups[index], kind="stable")]
    sorted_groups = groups[index]
    starts = np.searchsorted(sorted_groups, sorted_groups, side="left")
    sizes = np.searchsorted(sorted_groups, sorted_groups, side="right") - starts
    ranks = np.arange(len(index)) - starts
    unique, which = np.unique(sizes, return_inverse=True)
    bounds = np.array([window_counts(percent, size) for size in unique.tolist()], dtype=np.int64).reshape(-1, 2)
    side = np.empty(len(index), dtype=np.int64)
    side[index] = (ranks >= bounds[which, 1]).astype(np.int64) - (ranks < bounds[which, 0])
    return side


def _digit(
    order: UInt64[np.ndarray, "n"], key_hash: UInt64[np.ndarray, "n"], place: int, order_bits: int
) -> UInt64[np.ndarray, "n"]:
    """The digit of 16 bits at a place, counted from the top of (order, key_hash)."""
    shift = order_bits - DIGIT_BITS * (place + 1)
    word = order if shift >= 0 else key_hash
    return (word >> np.uint64(shift % 64 if shift >= 0 else shift + 64)) & np.uint64(0xFFFF)


def _below(
    order: UInt64[np.ndarray, "n"], key_hash: UInt64[np.ndarray, "n"], keys: KeyBytes, bound: OrderKey
) -> Bool[np.ndarray, "n"]:
    o, h = np.uint64(bound.order), np.uint64(bound.key_hash)
    below: Bool[np.ndarray, "n"] = (order < o) | ((order == o) & (key_hash < h))
    tied = np.flatnonzero((order == o) & (key_hash == h))
    below[tied] = [key < bound.key for key in keys(tied)]
    return below


def _runs(equal: Bool[np.ndarray, "m"]) -> list[tuple[int, int]]:
    """Start and stop of the runs of equal neighbours."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], equal, [False]]).astype(np.int8)))
    return [(int(start), int(stop) + 1) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
