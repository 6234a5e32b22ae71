"""Finding what a person means who does not have the key: by words of the caption, or by a key that is nearly right."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from coreset.results.fate import QUARANTINED, Judged, fated_tables
from coreset.results.lookup import quarantine_tables

HITS = 20
"""Rows that are listed whose captions hold some words."""
SUGGESTED = 5
"""Keys that are suggested for one that is not known."""
CANDIDATES = 64
"""Keys that are compared in full: those that begin and end most like the one that is looked for."""
LONGEST = 256
"""Characters of a key that count when it is compared."""


@dataclass(frozen=True)
class Hits:
    """Rows whose captions hold some words.

    Attributes:
        words: that were looked for
        rows: key, caption and fate of each, in the order of `dedup/`; `HITS` at most
        is_cut: whether there are more
        nearest: keys that are nearly the words, nearest first; only where no caption holds them
    """

    words: str
    rows: tuple[dict[str, Any], ...]
    is_cut: bool
    nearest: tuple[str, ...]


def searched(by: Judged, words: str) -> Hits:
    """The rows whose captions hold some words, in any case; where there are none, the keys that are nearly the words.

    One pass, which ends as soon as there are more than can be listed.
    """
    found: list[dict[str, Any]] = []
    nearest = Nearest(words)
    for table in searched_tables(by):
        hits = table.filter(pc.fill_null(pc.match_substring(table["caption"], words, ignore_case=True), False))
        found += hits.slice(0, HITS + 1 - len(found)).to_pylist()
        if len(found) > HITS:
            break
        if not found:
            nearest.offer(table["key"])
    return Hits(words, tuple(found[:HITS]), len(found) > HITS, () if found else nearest.best())


def searched_tables(by: Judged) -> Iterator[pa.Table]:
    """Key, caption and fate of everything that has a key: rows, excluded rows, quarantined samples."""
    yield from fated_tables(by, ("key", "caption"))
    for table in quarantine_tables(by.run):
        named = table.filter(pc.is_valid(table["key"]))
        fates = pa.array([QUARANTINED] * named.num_rows, pa.string())
        yield pa.table([named["key"], pa.nulls(named.num_rows, pa.string()), fates], names=["key", "caption", "fate"])


@dataclass
class Nearest:
    """The keys of a stream that are nearest to a word; holds a few of them, whatever their number.

    A slip (a character too many, missing or wrong, or two that changed places) leaves what stands before and behind it
    as it was. So the keys with the longest common beginning and end together are compared in full.

    Example:
        >>> near = Nearest("00000O123")
        >>> near.offer(pa.chunked_array([["000000999", "000000123", "somewhere/000000123"]]))
        >>> near.best()[:2]
        ('000000123', 'somewhere/000000123')
    """

    word: str
    _held: dict[str, int] = field(default_factory=dict)

    def offer(self, keys: pa.ChunkedArray) -> None:
        """Look at some keys."""
        score = alike_ends(keys.to_pylist(), self.word)
        best = np.argsort(-score, kind="stable")[:CANDIDATES]
        self._held |= {
            key: int(score[row]) for row, key in zip(best, keys.take(pa.array(best)).to_pylist(), strict=True)
        }
        ranked = sorted(self._held, key=lambda key: (-self._held[key], key))
        self._held = {key: self._held[key] for key in ranked[:CANDIDATES]}

    def best(self) -> tuple[str, ...]:
        """The nearest ones, nearest first; before them those that are the word behind the name of a source."""
        word = self.word[:LONGEST].lower()
        near = {key: difflib.SequenceMatcher(None, word, key[:LONGEST].lower()).ratio() for key in self._held}
        ranked = sorted(near, key=lambda key: (not key.endswith(f"/{self.word}"), -near[key], -self._held[key], key))
        return tuple(ranked[:SUGGESTED])


def alike_ends(keys: Sequence[str], word: str) -> Int64[np.ndarray, "n"]:
    """How many bytes each key has in common with a word, from the beginning and from the end together.

    Example:
        >>> alike_ends(["abXde", "abde", "xyz", "abcde"], "abcde").tolist()
        [4, 4, 0, 5]
    """
    wanted = word[:LONGEST].lower().encode(errors="replace")
    lowered = [key.lower().encode() for key in keys]
    starts = _alike_begin(lowered, wanted)
    ends = _alike_begin([key[: -len(wanted) - 1 : -1] for key in lowered], wanted[::-1])
    shorter = np.minimum([len(key) for key in lowered], len(wanted)).astype(np.int64)
    found: Int64[np.ndarray, "n"] = np.minimum(starts + ends, shorter)
    return found


def _alike_begin(keys: Sequence[bytes], word: bytes) -> Int64[np.ndarray, "n"]:
    """How many bytes each key and a word begin with alike."""
    width = max(len(word), 1)
    padded = b"".join(key[:width].ljust(width, b"\0") for key in keys)
    table = np.frombuffer(padded, np.uint8).reshape(len(keys), width)
    same = table == np.frombuffer(word.ljust(width, b"\0"), np.uint8)
    begun: Int64[np.ndarray, "n"] = np.minimum.accumulate(same, axis=1).sum(1, dtype=np.int64)
    return begun
