"""An explanation as lines of a name and a value, the same in a terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from coreset.results.explain.explain import Explained
from coreset.results.explain.standing import DRAW, Rank

T = TypeVar("T")
LINKS = 12
"""Rows of a chain that are shown: the first half of them and the last."""


def told_lines(found: Explained) -> Iterator[tuple[str, str]]:
    """Names and values of what is known of a sample; text from the input as it is, not shortened."""
    row = found.row
    for name in ("caption", "url"):
        if row.get(name) is not None:
            yield name, row[name]
    sample = "" if row.get("source_row") is None else f", sample {row['source_row']:,}"
    yield "source", f"{row['source']}{sample}"
    if row.get("text_cosine") is not None:
        yield "text cosine", f"{row['text_cosine']:.4f}"
    if found.cluster_size is not None:
        yield "centroid cosine", f"{row['centroid_cosine']:.4f}"
        yield "cluster", f"{row['cluster']:,}, {counted(found.cluster_size, 'row')}"
        yield "component", counted(row["component_size"], "row")
    for rank in found.ranks:
        yield rank.window, told_rank(rank)
    if found.kept is not None:
        yield "kept row", f"{found.kept['key']}, at cosine {row['kept_cosine']:.4f}"
    if found.chain is not None:
        yield "chain", f"{counted(len(found.chain.cosines), 'link')}, the weakest {found.chain.weakest:.4f}"


def told_rank(rank: Rank) -> str:
    """A rank, its window, and what came of it.

    Example:
        >>> told_rank(Rank("text rank", 149, 815, (40, 60), 326, 489, 0.62, 0.59, 0.57, None))
        '149 of 815 = 18.3 %; the window 40-60 % is from 326 (0.5900) to before 489 (0.5700): too high'
    """
    where = "" if rank.cluster is None else f" in cluster {rank.cluster:,}"
    if rank.window == DRAW:
        return f"{rank.rank:,} of {rank.of:,} by the seeded hash of the key; the first {rank.end:,} are drawn"
    share = f"{rank.rank:,} of {rank.of:,}{where} = {100 * rank.rank / rank.of:.1f} %"
    low, high = rank.percent or (0, 100)
    if rank.first >= rank.end:
        return f"{share}; the window {low:g}-{high:g} % has no rank"
    first, end = ("" if score is None else f" ({score:.4f})" for score in (rank.first_score, rank.end_score))
    verdict = "inside" if rank.is_inside else "too high" if rank.rank < rank.first else "too low"
    return (
        f"{share}; the window {low:g}-{high:g} % is from {rank.first:,}{first} to before {rank.end:,}{end}: {verdict}"
    )


def counted(count: int, word: str) -> str:
    """A count with its word.

    Example:
        >>> counted(1, "row"), counted(2000, "row")
        ('1 row', '2,000 rows')
    """
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def ends_of(values: Sequence[T], most: int = LINKS) -> tuple[Sequence[T], Sequence[T]]:
    """The first values and the last ones, `most` in all; all of them and none where that is enough.

    Example:
        >>> ends_of(range(9), 4), ends_of([1, 2], 4)
        ((range(0, 2), range(7, 9)), ([1, 2], []))
    """
    half = most // 2
    return (values, values[:0]) if len(values) <= most else (values[:half], values[-half:])


def linked_rows(found: Explained) -> list[tuple[dict[str, Any], float | None]]:
    """The rows to show of an explanation, each with its cosine to the one before: the chain, or what there is of it."""
    if found.chain is not None:
        return list(zip(found.chain.rows, (None, *found.chain.cosines), strict=True))
    own: list[tuple[dict[str, Any], float | None]] = [(found.row, None)] if "image_offset" in found.row else []
    return own if found.kept is None else [*own, (found.kept, found.row["kept_cosine"])]
