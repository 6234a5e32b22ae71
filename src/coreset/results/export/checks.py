"""Checks of one part of an export, or of one file: read-only, in any order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from coreset import rows
from coreset.engine import files
from coreset.engine.files import Location, join
from coreset.engine.outgoing import Seal
from coreset.engine.stage import PARQUET
from coreset.results.export.captions import neutralised
from coreset.results.export.contents import Entry, picture_hash, written_entries
from coreset.results.export.target import stage_folder
from coreset.results.inspect.found import Found, damaged, total, wrong
from coreset.sources.decoding import decoded_apart
from coreset.sources.pairs import Limits, Pair
from coreset.sources.pictures import BadPictureError
from coreset.sources.readers import read_pairs
from coreset.sources.shards import Shard

ANY_PIXELS = 1 << 31
LONG = Limits(caption=1 << 30, metadata=1 << 30)
"""An export is checked whatever the limits were by which its run was embedded."""


def hash_of(text: str) -> int:
    """A number that stands for a text."""
    return int(rows.key_hashes([text])[0])


def remedy_of(out: Location, part: str | None) -> str:
    """What to do about a damaged file of a part, or of the whole."""
    folder = stage_folder(out)
    removed = f"{folder}/{part}{PARQUET} and {folder}/stage.json" if part else f"{folder}/stage.json"
    return f"remove {removed}, and run the same `coreset export` again"


def check_seal(location: Location, seal: Seal, remedy: str) -> Found:
    """Whether a file has the bytes that were written."""
    if files.size_of(location) is None:
        return damaged(location, "is missing", remedy)
    return Found(bytes=seal.size) if files.sealed(location) == seal else damaged(location, "has other bytes", remedy)


def check_chosen(place: Location, entries: Sequence[Entry], chosen: Sequence[dict[str, Any]]) -> Found:
    """Whether rows of an export are those that were chosen, with their captions."""
    found = [] if len(entries) == len(chosen) else [wrong(place, "has not the rows that were chosen")]
    for number, (entry, row) in enumerate(zip(entries, chosen, strict=False)):
        caption = neutralised(row["caption"] or "")[0] if entry.neutralised else row["caption"]
        if entry.key != row["key"] or (entry.excluded is None and entry.caption != caption):
            found.append(wrong(f"{place} row {number:,}", "has not the key and caption of the run"))
    return total(found)


def check_part(out: Location, location: Location) -> Found:
    """Whether the pictures of a part are all there, as they were written, and decode."""
    entries = list(written_entries([location]))
    part = os.path.basename(location).removesuffix(PARQUET)
    remedy = remedy_of(out, part)
    if entries and (entries[0].file or "").endswith((".tar", ".parquet")):
        return check_tar(join(out, entries[0].file or ""), entries, remedy)
    return total(check_file(out, entry, remedy) for entry in entries if entry.file)


def check_file(out: Location, entry: Entry, remedy: str) -> Found:
    """Whether a picture is there, as it was written, and decodes."""
    place = join(out, entry.file or "")
    try:
        content = files.read_bytes(place)
    except FileNotFoundError:
        return damaged(place, "is missing", remedy)
    return check_picture(place, content, entry, remedy)


def check_tar(place: Location, entries: Sequence[Entry], remedy: str) -> Found:
    """Whether the samples of a tar or a Parquet are those that are listed, as `coreset embed` reads them."""
    shard = Shard(os.path.basename(place), files.absolute(place), files.size_of(place) or 0)
    found = []
    for pair, entry in zip_longest(read_pairs(shard, LONG), entries):
        if entry is None or not isinstance(pair, Pair) or (pair.key, pair.caption) != (entry.key, entry.caption):
            said = pair.key if pair is not None else "none"
            found.append(damaged(place, f"has {said} where {entry.key if entry else 'nothing'} must be", remedy))
            break
        found.append(check_picture(f"{place} {entry.key}", pair.image, entry, remedy))
    return total(found)


def check_picture(place: str, content: bytes, entry: Entry, remedy: str) -> Found:
    """Whether a picture's bytes are those that were written, and decode."""
    if len(content) != entry.bytes or picture_hash(content) != entry.hash:
        return damaged(place, "has other bytes than were written", remedy)
    try:
        decoded_apart(content, ANY_PIXELS)
    except BadPictureError as error:
        return damaged(place, f"does not decode ({error})", remedy)
    return Found(compared=1, bytes=len(content))
