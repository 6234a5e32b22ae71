"""What became of a sample, as a person reads it in a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from coreset.cli.inline import Protocol, protocol_of, show_picture
from coreset.cli.show import one_line, out, print_json
from coreset.engine.errors import UsageError
from coreset.results.explain.explain import Explained
from coreset.results.explain.search import Hits
from coreset.results.explain.told import ends_of, linked_rows, told_lines
from coreset.results.thumbnails import Thumbnails, strip

SIDE = 96
"""Pixels of a picture in a terminal."""
WIDTH = 16
"""Characters of a name."""
LONGEST = 300
"""Characters of a text that are shown."""
CAPTION = 60
"""Characters of a caption in a list."""


def wanted_protocol(pictures: bool | None) -> Protocol | None:
    """How pictures are to be shown; None for not at all.

    Args:
        pictures: as asked for; None for: where the terminal can

    Raises:
        UsageError: They are asked for and the terminal is not known to show any.
    """
    protocol = protocol_of(os.environ)
    if pictures and protocol is None:
        raise UsageError(
            "--pictures: this terminal is not known to show pictures (Kitty's or iTerm2's way); use --html."
        )
    return protocol if pictures or (pictures is None and sys.stdout.isatty()) else None


def explained_result(run: str, found: Sequence[Explained | Hits], as_json: bool, protocol: Protocol | None) -> None:
    """Show what became of some samples, and lists to choose from."""
    if as_json:
        print_json([_hits_json(entry) if isinstance(entry, Hits) else entry.as_json() for entry in found])
        return
    pictures = Thumbnails(run, SIDE)
    for number, entry in enumerate(found):
        if number:
            out("")
        if isinstance(entry, Hits):
            show_hits(entry)
        else:
            show_explained(entry, pictures, protocol)
    show_absent(pictures.absent)


def show_absent(absent: dict[str, int]) -> None:
    """Say why pictures are not shown: each reason once."""
    for reason, count in absent.items():
        out(f"{count:,} picture(s) cannot be shown: {one_line(reason, LONGEST)}")


def show_explained(found: Explained, pictures: Thumbnails, protocol: Protocol | None) -> None:
    """Show what became of one sample."""
    out(one_line(found.key, LONGEST))
    out(f"  {one_line(found.sentence, LONGEST)}")
    if protocol is not None:
        show_strip(found, pictures, protocol)
    for name, value in told_lines(found):
        out(f"  {name:{WIDTH}}{one_line(value, LONGEST)}")
    if found.chain is not None:
        show_chain(found)
    for note in found.notes:
        out(f"  {one_line(note, LONGEST)}")


def show_strip(found: Explained, pictures: Thumbnails, protocol: Protocol) -> None:
    """Show the pictures of a chain side by side, or the sample's own."""
    first, last = ends_of(linked_rows(found))
    images = [image for row, _ in (*first, *last) if (image := pictures.of(row)) is not None]
    if images:
        show_picture(strip(images, SIDE), protocol)


def show_chain(found: Explained) -> None:
    """The rows of a chain, each with its cosine to the one before."""
    first, last = ends_of(linked_rows(found))
    for row, cosine in first:
        show_link(row, cosine)
    if last:
        out(f"  {'':{WIDTH}}… {len(linked_rows(found)) - len(first) - len(last):,} more …")
    for row, cosine in last:
        show_link(row, cosine)


def show_link(row: dict[str, Any], cosine: float | None) -> None:
    """One row of a chain."""
    said = "" if cosine is None else f"{cosine:.4f}"
    caption = one_line(row["caption"] or "", CAPTION)
    out(f"  {said:>{WIDTH - 2}}  {one_line(row['key'], LONGEST)}{'  (kept)' if row['kept'] else ''}  {caption}")


def show_hits(hits: Hits) -> None:
    """Rows to choose from."""
    more = "; the first of them:" if hits.is_cut else ":"
    out(f"{one_line(hits.words, CAPTION)} is no key, but in these captions{more}")
    for row in hits.rows:
        out(f"  {one_line(row['key'], LONGEST)}  {row['fate']}  {one_line(row['caption'], CAPTION)}")
    out("  name one of these keys" + (", or more words" if hits.is_cut else ""))


def _hits_json(hits: Hits) -> dict[str, Any]:
    return {"words": hits.words, "rows": list(hits.rows), "is_cut": hits.is_cut}
