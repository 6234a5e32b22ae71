"""Which records make a mixture, and in which order: exact numbers, decided by seeded hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from jaxtyping import Bool, Int64, UInt64

from coreset.engine.errors import InputError
from coreset.mixture.recipe import Mixture, Source
from coreset.mixture.survey import Survey


@dataclass(frozen=True)
class Places:
    """The records of all sources, counted through in the recipe's order.

    Attributes:
        source: the source of each
        is_first: whether its id counts, which is not so where it came before and only the first is kept
        order: those of the mixture, in its order
    """

    source: Int64[np.ndarray, "r"]
    is_first: Bool[np.ndarray, "r"]
    order: Int64[np.ndarray, "m"]


def chosen(mixture: Mixture, surveys: Sequence[Survey]) -> Places:
    """Which records make the mixture, and in which order.

    Raises:
        InputError: A source has fewer than `n`, an id stands twice where that is refused, or nothing is left.
    """
    source = np.repeat(np.arange(len(surveys)), [len(survey.numbers) for survey in surveys])
    ids = np.concatenate([survey.ids for survey in surveys])
    repeated = occurrences(*ids.T) > 0
    if mixture.duplicates == "refuse" and repeated.any():
        raise repeated_error(surveys, source, int(np.flatnonzero(repeated)[0]), int(repeated.sum()))
    is_first = ~repeated if mixture.duplicates == "first" else np.ones(len(source), np.bool_)
    nth = occurrences(source.astype(np.uint64), *ids.T)
    taken = [drawn(part, at, source, is_first, ids, nth) for at, part in enumerate(mixture.source)]
    order = np.concatenate(taken)
    if not len(order):
        raise InputError("nothing is left of the sources; loosen ids, images or exclude in the recipe.")
    if mixture.order == "shuffled":
        names = [part.name for part in mixture.source]
        keys = [order_key("order", names[source[place]], ids[place], nth[place], mixture.seed) for place in order]
        order = order[np.argsort(np.array(keys, np.uint64), kind="stable")]
    return Places(source, is_first, order)


def drawn(
    part: Source,
    at: int,
    source: Int64[np.ndarray, "r"],
    is_first: Bool[np.ndarray, "r"],
    ids: UInt64[np.ndarray, "r 2"],
    nth: Int64[np.ndarray, "r"],
) -> Int64[np.ndarray, "t"]:
    """The places of the records that are taken of one source, ascending."""
    there = np.flatnonzero((source == at) & is_first)
    if not part.n or part.n == len(there):
        return there
    if part.n > len(there):
        raise InputError(
            f"source.{part.name}: n = {part.n:,}, but only {len(there):,} records are left; lower n, or take more."
        )
    keys = np.array([order_key("draw", part.name, ids[place], nth[place], part.seed) for place in there], np.uint64)
    return np.sort(there[np.argsort(keys, kind="stable")[: part.n]])


def order_key(use: str, name: str, ids: UInt64[np.ndarray, "2"], nth: np.int64, seed: int) -> int:
    """What decides a draw or an order: a seeded hash of source, id, and how often the id came before in the source.

    The use is hashed too: else those that are drawn would come first in the order.
    """
    place = ids.astype("<u8").tobytes() + int(nth).to_bytes(8, "little")
    return xxhash.xxh3_64_intdigest(f"{use}\0{name}\0".encode() + place, seed)


def occurrences(*columns: UInt64[np.ndarray, "r"]) -> Int64[np.ndarray, "r"]:
    """How many equal rows come before each row.

    Example:
        >>> occurrences(np.array([7, 5, 7, 7], np.uint64)).tolist()
        [0, 0, 1, 2]
    """
    count = len(columns[0])
    by_value = np.lexsort(columns)
    ordered = [column[by_value] for column in columns]
    begins = np.ones(count, np.bool_)
    if count:
        begins[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in ordered])
    starts = np.maximum.accumulate(np.where(begins, np.arange(count), 0))
    found = np.empty(count, np.int64)
    found[by_value] = np.arange(count) - starts
    return found


def repeated_error(surveys: Sequence[Survey], source: Int64[np.ndarray, "r"], place: int, count: int) -> InputError:
    """The error for an id that stands twice."""
    survey = surveys[source[place]]
    number = survey.numbers[place - int(np.searchsorted(source, source[place]))]
    return InputError(
        f"source.{survey.source.name}: the id of record {number:,} came before, and so did {count - 1:,} others; "
        f'say duplicates = "keep" or "first" in the recipe.'
    )


def ids_of(surveys: Sequence[Survey], order: Int64[np.ndarray, "m"]) -> UInt64[np.ndarray, "m 2"]:
    """The hashed ids of the mixture's records."""
    ids = np.concatenate([survey.ids for survey in surveys])
    found: UInt64[np.ndarray, "m 2"] = ids[order]
    return found
