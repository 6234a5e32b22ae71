"""Keys: unique in a run, and how they are made so when two downloads reuse them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.engine.files import Location
from coreset.engine.stage import PARQUET, Execute, Part, Summary, file_of, fold

RANGE_ROWS = 1 << 24
"""The full check looks at ranges of key_hash that hold about so many rows each: 400 MB of hashes and sorting."""

PREFIXED, PLAIN = "prefixed", "plain"

Collision = tuple[str, str, str]
"""A key and the two sources that use it."""


def prefixed_key(source: str, key: str) -> str:
    """A key that no other source can have.

    Example:
        >>> prefixed_key("a/00000.tar", "000000001")
        'a/00000.tar/000000001'
    """
    return f"{source}/{key}"


def plain_key(key: str) -> str:
    """The key as the source says it."""
    return key


def check_keys(locations: Sequence[Location], execute: Execute) -> None:
    """Make sure that no key stands twice in the parts of `rows/`.

    Raises:
        InputError: One does; names it and its two sources.
    """
    found = fold(key_checks(locations), smallest, execute)
    if found:
        key, one, other = found[0]
        raise InputError(
            f"Key {key} is in {one} and again in {other}; run again with --prefix-keys to put the source in front of "
            f"every key (nothing is embedded again)."
        )


def smallest(a: list[Collision], b: list[Collision]) -> list[Collision]:
    """The smallest collision of two ranges; at most one, or none.

    Example:
        >>> smallest([], [("k", "a.tar", "b.tar")])
        [('k', 'a.tar', 'b.tar')]
    """
    return sorted(a + b)[:1]


def key_checks(locations: Sequence[Location]) -> Iterator[partial[list[Collision]]]:
    """One read-only call for each range of key_hash."""
    ranges = max(1, -(-sum(map(rows.count_rows, locations)) // RANGE_ROWS))
    bounds = [(1 << 64) * i // ranges for i in range(ranges + 1)]
    for low, high in pairwise(bounds):
        yield partial(first_collision, locations, low, high - 1)


def first_collision(locations: Sequence[Location], low: int, high: int) -> list[Collision]:
    """The smallest key with a hash in [low, high] that stands twice, with its sources; at most one, or none.

    Example:
        >>> first_collision([], 0, 10)
        []
    """
    hashes = [_hashes(location, low, high) for location in locations]
    together = np.sort(np.concatenate([np.empty(0, np.uint64), *hashes]))
    twice = np.unique(together[1:][together[1:] == together[:-1]])
    if not len(twice):
        return []
    sources: dict[str, str] = {}
    collisions: list[Collision] = []
    for location in locations:
        table = rows.read_table(location, ["key", "key_hash", "source"])
        table = table.filter(np.isin(table["key_hash"].to_numpy(), twice))
        for key, source in zip(table["key"].to_pylist(), table["source"].to_pylist(), strict=True):
            if key in sources:
                collisions.append((key, sources[key], source))
            sources.setdefault(key, source)
    return sorted(collisions)[:1]


def embedded_before(location: Location, identity: str) -> bool:
    """Whether a part is there, with all its files, and holds the same vectors, whatever its keys."""
    if files.size_of(location + PARQUET) is None or rows.metadata_of(location + PARQUET).get("embedding") != identity:
        return False
    return all(files.size_of(place) == size for place, size in side_files(location).values())


def side_files(location: Location) -> dict[str, tuple[Location, int]]:
    """Where the side files of a committed part lie, by suffix, and their sizes in bytes, as its receipt says."""
    folder, _, name = location.rpartition("/")
    said = json.loads(rows.receipt_of(location + PARQUET) or "{}").get("files", {})
    return {suffix: (file_of(folder, name, suffix), seal["size"]) for suffix, seal in said.items()}


def rewrite_keys(part: Part, prefix: bool, identity: str) -> Summary:
    """Write a part again with other keys and the same vectors."""
    before = part.location + PARQUET
    for suffix, (place, _) in side_files(part.location).items():
        with part.file(suffix) as file, files.opened(place) as found:
            shutil.copyfileobj(found, file, 8 << 20)
    was_prefixed = rows.metadata_of(before)["keys"] == PREFIXED
    table = rows.PartTable(part, rows.ROWS)
    for batch in rows.table_batches(before, rows.ROWS.names):
        sources, written = batch["source"].to_pylist(), batch["key"].to_pylist()
        plain = written
        if was_prefixed:
            plain = [key.removeprefix(f"{source}/") for source, key in zip(sources, written, strict=True)]
        keys = [prefixed_key(*pair) for pair in zip(sources, plain, strict=True)] if prefix else plain
        places = {name: batch.schema.get_field_index(name) for name in ("key", "key_hash")}
        renamed = batch.set_column(places["key"], "key", [keys])
        table.write(renamed.set_column(places["key_hash"], "key_hash", [rows.key_hashes(keys)]))
    return table.close(part_summary(before), **written_keys(prefix, identity))


def written_keys(prefix: bool, identity: str) -> dict[str, str]:
    """What a part's Parquet says of its keys and of the vectors they name."""
    return {"keys": PREFIXED if prefix else PLAIN, "embedding": identity}


def part_summary(location: Location) -> Summary:
    """The summary in a part's receipt."""
    text = rows.receipt_of(location)
    summary: Summary = json.loads(text)["summary"] if text else {}
    return summary


def _hashes(location: Location, low: int, high: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    hashes = rows.read_table(location, ["key_hash"])["key_hash"].to_numpy()
    inside: np.ndarray[tuple[int], np.dtype[np.uint64]] = hashes[(hashes >= low) & (hashes <= high)]
    return inside
