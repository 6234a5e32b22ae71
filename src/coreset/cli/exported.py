"""What `coreset export` shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from coreset.cli.show import out, print_json

if TYPE_CHECKING:
    from coreset.engine.stage import Parts
    from coreset.results.export.verifying import VerifiedExport

REASONS = {"no_caption": "without a caption"}
"""Why a chosen row is not written, as a person says it."""
KINDS = ("jpg", "png", "webp", "gif", "bmp")


def exported_result(folder: str, found: Parts, as_json: bool) -> None:
    """Show where an export lies, what was written, and what was not, with reasons."""
    if as_json:
        print_json({"export": folder, "counts": dict(found.counts), "files": found.facts["files"]})
        return
    out(f"{folder}: {found.counts['written']:,} of {found.counts['chosen']:,} chosen rows")
    for line in remarks(found):
        out(f"  {line}")
    for name, seal in found.facts["files"].items():
        out(f"  {folder}/{name}: {seal['size']:,} bytes")


def verified_export(found: VerifiedExport, as_json: bool) -> None:
    """Show what was found of an export.

    Raises:
        InputError: A file is not what was written.
        InvariantError: What was written is wrong.
    """
    error = found.error
    if as_json:
        print_json({**dataclasses.asdict(found), "ok": found.ok})
    else:
        state = "ok" if found.ok else f"{found.count:,} wrong"
        out(f"{found.out}: {found.format}, {found.rows:,} chosen rows, {found.pictures:,} pictures decoded: {state}")
        for entry in found.wrong:
            out(f"  {entry.place} {entry.what}")
        for note in found.notes:
            out(f"note: {note}")
    if error is not None:
        raise error


def remarks(found: Parts) -> list[str]:
    """Counts worth saying, one a line."""
    counts = found.counts
    said = [
        f"{count:,} left out: {REASONS.get(name.removeprefix('excluded_'), name.removeprefix('excluded_'))}"
        for name, count in sorted(counts.items())
        if name.startswith("excluded_")
    ]
    kinds = [f"{counts[kind]:,} {kind}" for kind in KINDS if counts.get(kind)]
    if kinds:
        transcoded = f", {counts['transcoded']:,} of them transcoded" if counts.get("transcoded") else ""
        said.append(f"pictures: {', '.join(kinds)}{transcoded}; {counts['bytes']:,} bytes")
    if counts.get("neutralised"):
        said.append(f"{counts['neutralised']:,} captions held a model's marker, such as <image>: spaced out")
    return said
