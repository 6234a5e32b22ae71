"""What `coreset export` shows."""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING

from coreset.cli.show import out, print_json

if TYPE_CHECKING:
    from coreset.engine.stage import Parts
    from coreset.results.export.verifying import VerifiedExport

REASONS = {"no_caption": "without a caption", "no_url": "without a url"}
"""Why a chosen row is not written, as a person says it."""
COMMAND = "img2dataset.sh"
"""A script among the files of an export, which says what to do with it."""
SHOWN = 20
"""Files that are printed."""
KINDS = ("jpg", "png", "webp", "gif", "bmp")


def exported_result(folder: str, found: Parts, as_json: bool) -> None:
    """Show where an export lies, what was written, and what was not, with reasons."""
    if as_json:
        print_json({"export": folder, "counts": dict(found.counts), "files": found.facts["files"]})
        return
    out(f"{folder}: {found.counts['written']:,} of {found.counts['chosen']:,} chosen rows")
    for line in remarks(found):
        out(f"  {line}")
    if found.counts.get("text_vectors") == 0:
        out("  no text_emb/: this run keeps no vectors of captions; `coreset embed --keep-text-vectors` does")
    files = found.facts["files"]
    for name, seal in list(files.items())[:SHOWN]:
        out(f"  {folder}/{name}: {seal['size']:,} bytes")
    if len(files) > SHOWN:
        out(f"  {len(files) - SHOWN:,} more files; --json lists all")
    if COMMAND in files:
        out(f"next: sh {folder}/{COMMAND} FOLDER, which is")
        out(f"  {command_of(folder)}")


def command_of(folder: str) -> str:
    """The command in an export's script, with the folder's name in it."""
    from coreset.engine.files import join, read_bytes

    text = read_bytes(join(folder, COMMAND)).decode().splitlines()[-1]
    return text.replace('"$(dirname "$0")"', shlex.quote(folder)).replace(
        '"${1:?name the folder for the pictures}"', "FOLDER"
    )


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
