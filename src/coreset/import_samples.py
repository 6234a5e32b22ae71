"""A few rows of every part, looked at before the rest: lengths, and whether the files are in one order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from coreset.engine.errors import InputError
from coreset.import_rows import check_lengths
from coreset.numeric.lengths import correlation, inner_products, lengths, unit_rows
from coreset.sources.embeddings import Block, EmbeddingPart, Reading, read_sample

WINDOWS, WIDTH = 4, 256
"""Rows of a part that are looked at: so many windows of so many rows, from the first row to the last."""
PARTS = 8
"""Parts that are looked at before any work; the others are when their turn comes."""
SAME = 1e-3
"""Half of the similarities at most this far from <image, text>: they are the same thing."""
LEAST = 0.3
"""Correlation of a similarity with <image, text> below which the files count as shuffled. That of another CLIP is
above; and it says so for LAION, whose similarities are of a smaller model than its vectors."""
ENOUGH = 100
"""Rows that a window needs to be judged by itself."""


@dataclass(frozen=True)
class Scores:
    """What the input says of some rows, and what its vectors say."""

    said: Float32[np.ndarray, "n"]
    computed: Float32[np.ndarray, "n"]

    @property
    def agreement(self) -> float:
        """The correlation of the two; 1 where they are the same up to rounding."""
        if len(self.said) and float(np.median(np.abs(self.said - self.computed))) <= SAME:
            return 1.0
        return float(correlation(self.said, self.computed))

    @property
    def needed(self) -> float:
        """The least correlation that can be no accident: 3 standard errors of none, and at least `LEAST`.

        Example:
            >>> [Scores(np.zeros(n, np.float32), np.zeros(n, np.float32)).needed for n in (5, 25, 1000)]
            [0.9, 0.6, 0.3]
        """
        return min(0.9, max(LEAST, 3 / math.sqrt(max(1, len(self.said)))))


def check_samples(parts: Sequence[EmbeddingPart], reading: Reading, compare: bool, normalize: bool) -> None:
    """Look at a few rows of a few parts before any work.

    Args:
        parts: Those that have rows.
        reading: How they are read.
        compare: Whether there are both similarities and text vectors.
        normalize: Whether vectors of other lengths than 1 are welcome.

    Raises:
        InputError: Vectors are not of length 1, or the files do not seem to be in one order; with the figures.
    """
    chosen = sorted({(len(parts) - 1) * number // max(1, PARTS - 1) for number in range(PARTS)})
    found = [scores for number in chosen for scores in check_sample(parts[number], reading, compare, normalize)]
    if compare and found:
        together = Scores(np.concatenate([s.said for s in found]), np.concatenate([s.computed for s in found]))
        _check_order(
            together, f"the vectors and the metadata of {parts[0].name}" + (" and others" if len(parts) > 1 else "")
        )


def check_sample(part: EmbeddingPart, reading: Reading, compare: bool, normalize: bool) -> list[Scores]:
    """Look at a few rows of one part; returns what is too little to be judged by itself, if scores are compared.

    Raises:
        InputError: As `check_samples`.
    """
    small = []
    for block in read_sample(part, reading, compare, WINDOWS, WIDTH):
        if not normalize:
            check_lengths(lengths(block.vectors), lambda row, at=block.start: f"{part.name} row {at + row:,}")  # type: ignore[misc]
        if compare:
            scores = scores_of(block)
            if len(scores.said) < ENOUGH:
                small.append(scores)
                continue
            stop = block.start + len(block.vectors)
            _check_order(scores, f"rows {block.start:,} to {stop:,} of {part.name} and of its metadata")
            small.append(scores)
    return small


def scores_of(block: Block) -> Scores:
    """The similarities of some rows, and <image, text> of their vectors divided by their lengths; usable rows only."""
    none = np.empty((0, block.vectors.shape[1]))
    texts = none if block.texts is None else block.texts
    said = block.table["text_cosine"].to_numpy().astype(np.float32)
    norms = lengths(block.vectors) * lengths(texts)
    good = np.isfinite(norms) & (norms > 0) & np.isfinite(said)
    return Scores(said[good], inner_products(unit_rows(block.vectors[good]), unit_rows(texts[good])))


def _check_order(scores: Scores, what: str) -> None:
    if len(scores.said) > 2 and scores.agreement < scores.needed:
        raise InputError(
            f"{what} look shuffled: over {len(scores.said):,} rows the similarity and <image, text> have a correlation "
            f"of {scores.agreement:.2f}, and {scores.needed:.2f} is the least; bring both into one order, or rename "
            f"the column if it says something else."
        )
