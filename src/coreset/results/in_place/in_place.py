"""Chosen rows for a trainer that reads the original tars: a stage for webdataset that lets them pass, and no others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from jaxtyping import Int32, Int64, UInt64

from coreset import rows
from coreset.engine.disk import TEMPORARY
from coreset.engine.files import Location, join, names_in, read_json
from coreset.results.fate import BATCH_ROWS
from coreset.results.in_place.meant import Where, has_prefixed_keys, meant_rows
from coreset.sources.metadata import BadSampleError, read_metadata
from coreset.sources.samples import original_key

LATER = ("duplicate_key", "split_sample")
"""Reasons for quarantine by which a sample has the key of another one of its shard."""

_log = logging.getLogger("coreset")


def filter(run: Location, where: Where = "kept") -> Filter:  # noqa: A001  read as coreset.filter
    """A stage for webdataset that passes on the samples of a run's chosen rows: nothing is copied.

    ```python
    samples = webdataset.WebDataset(urls, shardshuffle=False).compose(coreset.filter("run"))
    ```

    It belongs right behind the reading, before anything is shuffled or decoded. It travels to the workers of a
    DataLoader as the name of the run.

    Args:
        run: the run directory
        where: which rows: fates or steps of the funnel, as for `coreset export --where`

    Raises:
        UsageError: A word of `where` is no fate and no step.
        InputError: The run is not selected to its end, or has no such rows.
    """
    return Filter(run.rstrip("/"), where)


class Filter:
    """Passes on the samples of chosen rows, by their keys and the names of their shards.

    Attributes:
        run: the run directory
        where: which rows
        seen: samples that came in since this object was made; in a DataLoader every worker counts its own
        passed: those of them that were passed on
    """

    def __init__(self, run: Location, where: Where) -> None:
        self.run, self.where = run, where
        self.seen = self.passed = 0
        self._chosen = ChosenKeys(run, where)

    def __len__(self) -> int:
        """How many rows are meant."""
        return len(self._chosen)

    def __call__(self, samples: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """The samples that are meant, in the order in which they come."""
        seen = passed = 0
        runs: Counter[tuple[str, str]] = Counter()
        for sample in samples:
            seen, self.seen = seen + 1, self.seen + 1
            if self._chosen.has(key_of_sample(sample), sample.get("__url__", ""), runs):
                passed, self.passed = passed + 1, self.passed + 1
                yield sample
        _log.info("coreset.filter: %s of %s samples passed, %s rows are meant", passed, seen, len(self))
        if seen and not passed:
            _log.warning("coreset.filter: no sample passed; are these the shards of %s?", self.run)

    def __reduce__(self) -> tuple[type[Filter], tuple[Location, Where]]:
        return Filter, (self.run, self.where)


def key_of_sample(sample: Mapping[str, Any]) -> str:
    """The key of a sample: as `embed` takes it, which reads the keys of an export back from their escaped names.

    Example:
        >>> key_of_sample({"__key__": "cats~2F7", "json": b'{"key": "cats/7"}'}), key_of_sample({"__key__": "7"})
        ('cats/7', '7')
    """
    name = str(sample["__key__"])
    content = sample.get("json") if "~" in name else None
    if not isinstance(content, bytes):
        return name
    try:
        return original_key(name, read_metadata(content).key)
    except BadSampleError:
        return name


class ChosenKeys:
    """The keys of chosen rows, sorted by hash, with the shard of each; a key that is found is compared whole."""

    def __init__(self, run: Location, where: Where) -> None:
        found, hashed = [], []
        for piece in meant_rows(run, where, ["key", "source"]):
            found.append(_as_bytes(piece))
            hashed.append(np.fromiter(map(key_hash, found[-1]["key"].to_pylist()), np.uint64, piece.num_rows))
        table, hashes = pa.concat_tables(found).unify_dictionaries(), np.concatenate(hashed)
        by_hash = np.argsort(hashes, kind="stable")
        ordered = table.take(pa.array(by_hash))
        keys, sources = ordered["key"].combine_chunks(), ordered["source"].combine_chunks()
        self._hashes: UInt64[np.ndarray, "m"] = hashes[by_hash]
        self._starts: Int64[np.ndarray, "m+1"] = np.frombuffer(keys.buffers()[1], np.int64)[: len(keys) + 1]
        self._letters = memoryview(keys.buffers()[2] or b"")
        self._shards = Shards(source_names(run))
        numbers = np.array([self._shards.index[name] for name in sources.dictionary.to_pylist()], np.int32)
        self._source: Int32[np.ndarray, "m"] = numbers[sources.indices.to_numpy()]
        self._is_prefixed = has_prefixed_keys(run)
        self._later = self._later_runs(run)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._hashes)

    def has(self, key: str, url: str, runs: Counter[tuple[str, str]]) -> bool:
        """Whether a sample is that of a chosen row.

        Args:
            key: its key
            url: its `__url__`; where that names no shard of the run, the key alone decides
            runs: how often the keys that stand twice in a shard came by in this pass; changed
        """
        source = self._shards.named(url)
        if self._is_prefixed and source is None:
            return False
        place = self.place(f"{self._shards.names[source or 0]}/{key}" if self._is_prefixed else key)
        if place is None or (source is not None and source != self._source[place]):
            return False
        return not self._later or self._is_first_run(key, self._shards.names[self._source[place]], runs)

    def place(self, key: str) -> int | None:
        """Where a key stands; None if it is not one of these."""
        letters = key.encode("utf-8", "surrogateescape")
        digest = key_hash(letters)
        at = int(np.searchsorted(self._hashes, np.uint64(digest)))
        while at < len(self._hashes) and self._hashes[at] == digest:
            if self._letters[self._starts[at] : self._starts[at + 1]] == letters:
                return at
            at += 1
        return None

    def _is_first_run(self, key: str, source: str, runs: Counter[tuple[str, str]]) -> bool:
        """Of the samples of a shard that have one key the first is the row, however often the shard is read."""
        later = self._later.get((source, key), 0)
        if later:
            runs[source, key] += 1
        return not later or runs[source, key] % (1 + later) == 1

    def _later_runs(self, run: Location) -> Counter[tuple[str, str]]:
        """For chosen keys that stand again in their shard: how often."""
        found: Counter[tuple[str, str]] = Counter()
        for source, key in later_runs(run):
            place = self.place(f"{source}/{key}" if self._is_prefixed else key)
            if place is not None and self._shards.names[self._source[place]] == source:
                found[source, key] += 1
        return found


def key_hash(letters: bytes) -> int:
    """The hash by which keys are sorted."""
    return xxhash.xxh3_64_intdigest(letters)


def _as_bytes(table: pa.Table) -> pa.Table:
    """Keys as bytes with 64-bit places, sources as numbers of names."""
    keys, sources = table["key"].cast(pa.large_binary()), table["source"].dictionary_encode()
    return pa.table({"key": keys, "source": sources})


def later_runs(run: Location) -> Iterator[tuple[str, str]]:
    """Source and key of every sample that was refused because its key came before in its shard."""
    folder = join(run, "quarantine")
    for name in names_in(folder):
        if name.endswith(".parquet") and TEMPORARY not in name:
            for table in rows.table_batches(join(folder, name), ["source", "key", "reason"], BATCH_ROWS):
                few = table.filter(pc.is_in(table["reason"], pa.array(LATER)))
                yield from zip(few["source"].to_pylist(), few["key"].to_pylist(), strict=True)


def source_names(run: Location) -> list[str]:
    """The names of all sources of a run."""
    plan = read_json(join(run, "rows", "plan.json")) or {"inputs": {}}
    return list(plan["inputs"])


class Shards:
    """The shards of a run, to be found by what webdataset says of where a sample came from.

    Attributes:
        names: relative to the root of the run's input
        index: where each stands among them
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.index = {name: index for index, name in enumerate(names)}
        self._of_base: dict[str, list[int]] = {}
        for index in sorted(range(len(names)), key=lambda index: -len(names[index])):
            self._of_base.setdefault(names[index].rpartition("/")[2], []).append(index)
        self._url, self._found = "", self._looked_up("")

    def named(self, url: str) -> int | None:
        """The index of the shard that a URL, a path or a command names by its end; of several the longest name.

        Example:
            >>> shards = Shards(["0.tar", "a/0.tar"])
            >>> shards.named("s3://bucket/a/0.tar"), shards.named("pipe:cat b/0.tar -"), shards.named("1.tar")
            (1, 0, None)
        """
        if url != self._url:
            self._url, self._found = url, self._looked_up(url)
        return self._found

    def _looked_up(self, url: str) -> int | None:
        paths = [url, *url.split()]
        for path in (path.partition("?")[0] for path in paths):
            for index in self._of_base.get(path.rpartition("/")[2], []):
                if f"/{path}".endswith(f"/{self.names[index]}"):
                    return index
        return None
