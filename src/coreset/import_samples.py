"""A few rows of every part, looked at before the rest: lengths, and whether the files are in one order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

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
"""If half of the similarities are at most this far from <image, text>, they were computed from these vectors."""
NEAR, LEAST_SHARE = 0.01, 0.9
"""Then so many of any rows must be so near."""
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
    def is_same(self) -> bool:
        """Whether at least half of the rows say what is computed, up to rounding."""
        return bool(len(self.said)) and float(np.median(np.abs(self.said - self.computed))) <= SAME

    @property
    def share(self) -> float:
        """The share of rows of which the two are near each other."""
        return float(np.mean(np.abs(self.said - self.computed) <= NEAR))

    @property
    def needed(self) -> float:
        """The least correlation that can be no accident: 3 standard errors of none, and at least `LEAST`.

        Example:
            >>> [Scores(np.zeros(n, np.float32), np.zeros(n, np.float32)).needed for n in (5, 25, 1000)]
            [0.9, 0.6, 0.3]
        """
        return min(0.9, max(LEAST, 3 / math.sqrt(max(1, len(self.said)))))


@dataclass(frozen=True)
class Look:
    """What a few rows are looked at for.

    Attributes:
        compare: Whether there are both similarities and text vectors.
        normalize: Whether vectors of other lengths than 1 are welcome.
        allow_captionless: Whether rows without a caption are welcome: what is said of their fit does not count.
    """

    compare: bool
    normalize: bool
    allow_captionless: bool


def check_samples(parts: Sequence[EmbeddingPart], reading: Reading, look: Look) -> bool:
    """Look at a few rows of a few parts before any work.

    Args:
        parts: Those that have rows.
        reading: How they are read.
        look: What for.

    Returns:
        Whether the similarities are those of the vectors, up to rounding.

    Raises:
        InputError: Vectors are not of length 1, or the files do not seem to be in one order; with the figures.
    """
    chosen = sorted({(len(parts) - 1) * number // max(1, PARTS - 1) for number in range(PARTS)})
    samples = [sampled(parts[number], reading, look) for number in chosen]
    together = joined([scores for sample in samples for _, scores in sample])
    same = together.is_same
    for sample in samples:
        check_order(sample, same)
    if look.compare and not same:
        _check_correlation(together, f"the vectors of {parts[0].name} and the others, and their metadata,")
    return same


def sampled(part: EmbeddingPart, reading: Reading, look: Look) -> list[tuple[str, Scores]]:
    """A few windows of a part's rows: what they are called, and their scores if these are compared.

    Raises:
        InputError: A vector is not of length 1.
    """
    found = []
    with_captions = look.compare and look.allow_captionless
    for block in read_sample(part, reading, look.compare, with_captions, WINDOWS, WIDTH):
        if not look.normalize:
            check_lengths(lengths(block.vectors), partial(_place, part.name, block.start))
        if look.compare:
            stop = block.start + len(block.vectors)
            found.append((f"rows {block.start:,} to {stop:,} of {part.name} and of its metadata", scores_of(block)))
    return found


def check_order(sample: Sequence[tuple[str, Scores]], same: bool) -> None:
    """Raise if a window of rows seems to belong to other metadata.

    Args:
        sample: What `sampled` gave.
        same: Whether the input's similarities are those of its vectors: then nearly every row has to agree. If not,
            only windows are judged that are large enough for a correlation.

    Raises:
        InputError: With the figures.
    """
    for what, scores in sample:
        if not same and len(scores.said) >= ENOUGH:
            _check_correlation(scores, what)
        if same and len(scores.said) > 2 and scores.share < LEAST_SHARE:
            raise InputError(
                f"{what} look shuffled: the similarity is within {NEAR:g} of <image, text> in "
                f"{scores.share:.0%} of {len(scores.said):,} rows, where nearly all of other files agree; bring both "
                f"into one order."
            )


def joined(samples: Sequence[Scores]) -> Scores:
    """All scores together."""
    none = np.empty(0, np.float32)
    said, computed = ([getattr(scores, name) for scores in samples] for name in ("said", "computed"))
    return Scores(np.concatenate([none, *said]), np.concatenate([none, *computed]))


def _place(name: str, start: int, row: int) -> str:
    return f"{name} row {start + row:,}"


def scores_of(block: Block) -> Scores:
    """The similarities of some rows, and <image, text> of their vectors divided by their lengths; usable rows only."""
    none = np.empty((0, block.vectors.shape[1]))
    texts = none if block.texts is None else block.texts
    said = block.table["text_cosine"].to_numpy().astype(np.float32)
    norms = lengths(block.vectors) * lengths(texts)
    good = np.isfinite(norms) & (norms > 0) & np.isfinite(said)
    return Scores(said[good], inner_products(unit_rows(block.vectors[good]), unit_rows(texts[good])))


def _check_correlation(scores: Scores, what: str) -> None:
    found = correlation(scores.said, scores.computed)
    if len(scores.said) > 2 and found < scores.needed:
        raise InputError(
            f"{what} look shuffled: over {len(scores.said):,} rows the similarity and <image, text> have a correlation "
            f"of {found:.2f}, and {scores.needed:.2f} is the least; bring both into one order, or rename the column if "
            f"it says something else."
        )
