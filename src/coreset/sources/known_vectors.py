"""Image vectors that another embedding left, by their keys: a run's own, or `.npy` files beside tables of keys."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from jaxtyping import Float32

from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join
from coreset.sources.embedding_columns import KEY, as_text
from coreset.sources.embeddings import find_embeddings, look_at
from coreset.sources.npy import read_npy_header

UNIT = 1e-3
"""How far from 1 the length of a vector may be that is taken as it stands; another is divided by its length."""


@dataclass(frozen=True)
class KnownPart:
    """A file of vectors and the table that names its rows.

    Attributes:
        vectors: a `.npy` of shape (n, d)
        table: a Parquet
        key: the column of keys
        row: the column that says which row of the vectors it is; None where both are in one order
    """

    vectors: str
    table: str
    key: str
    row: str | None


class VectorFile:
    """A `.npy` file of vectors that is opened when the first of them is needed; of an object, a copy.

    Raises:
        InputError: It cannot be read as one.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        try:
            with files.opened(location) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                self.header = read_npy_header(file, location, size)
        except OSError as error:
            raise InputError(f"{location} is not a .npy file of vectors that can be read: {error}.") from error

    @cached_property
    def rows(self) -> np.ndarray[Any, Any]:
        """All vectors, of shape (n, d), mapped."""
        header, shape = self.header, (self.header.rows, self.header.dimension)
        if not header.rows:
            return np.empty(shape, header.dtype)
        with files.opened_here(self._location) as file:
            return np.memmap(file, header.dtype, "r", header.offset, shape, "F" if header.fortran else "C")


class KnownVectors:
    """Vectors by key. In memory are 24 bytes a row; the vectors stay on the disk.

    Attributes:
        folder: where they come from
        dimension: numbers of a vector
    """

    def __init__(self, folder: str, parts: list[KnownPart]) -> None:
        self.folder = folder
        self._files = [VectorFile(part.vectors) for part in parts]
        self.dimension = self._files[0].header.dimension
        self._starts = np.cumsum([0, *(file.header.rows for file in self._files)])
        hashes, places = [], []
        for part, start in zip(parts, self._starts[:-1], strict=True):
            for keys, rows in _keys(part):
                hashes += [xxhash.xxh3_128_digest(key) for key in keys]
                places.append(rows + start)
        found = np.array(hashes, "V16").view("S16") if hashes else np.empty(0, "S16")
        order = np.argsort(found, kind="stable")
        self._hashes, self._places = found[order], np.concatenate([np.empty(0, np.int64), *places])[order]
        twice = np.zeros(len(found), np.bool_)
        twice[1:] = self._hashes[1:] == self._hashes[:-1]
        twice[:-1] |= twice[1:]
        self._hashes, self._places = self._hashes[~twice], self._places[~twice]  # nobody knows which was meant

    def __len__(self) -> int:
        return len(self._hashes)

    def stored(self, *keys: str) -> np.ndarray[Any, Any] | None:
        """The vector of the first of some keys that is known, as it is stored."""
        for key in keys:
            wanted = np.array([xxhash.xxh3_128_digest(key.encode())], "V16").view("S16")[0]
            place = int(np.searchsorted(self._hashes, wanted))
            if place < len(self) and self._hashes[place] == wanted:
                row = int(self._places[place])
                file = int(np.searchsorted(self._starts, row, side="right")) - 1
                return np.array(self._files[file].rows[row - self._starts[file]])
        return None

    def unit(self, *keys: str) -> Float32[np.ndarray, "d"] | None:
        """The same as float32 of length 1; None for a vector that has none, or whose numbers are not finite."""
        vector = self.stored(*keys)
        if vector is None:
            return None
        found: Float32[np.ndarray, "d"] = vector.astype(np.float32)
        length = float(np.linalg.norm(found))
        if not np.isfinite(length) or length < UNIT:
            return None
        return found if abs(length - 1) < UNIT else found / np.float32(length)


def known_parts(folder: str) -> list[KnownPart]:
    """The files of a run's `rows/`, or of a folder of `.npy` files with tables of keys.

    Raises:
        InputError: It is neither, or its files do not fit together.
    """
    for place in (join(folder, "rows"), folder):
        tables = [join(place, name) for name in fnmatch.filter(files.names_in(place), "[0-9]*.parquet")]
        if tables and files.is_file(join(place, "plan.json")):
            return [KnownPart(f"{table.removesuffix('.parquet')}.npy", table, KEY, "vector_row") for table in tables]
    found = find_embeddings(folder)
    headers = look_at(found, "l14", None, None)
    parts = []
    for part, header in zip(found.parts, headers, strict=True):
        column = dict(header.reading.columns).get(KEY)
        if part.metadata is None or column is None or not part.images.location.endswith(".npy"):
            raise InputError(f"{folder} has no keys beside .npy files of vectors: none can be found by its key.")
        parts.append(KnownPart(part.images.location, part.metadata.location, column, None))
    return parts


def fingerprint_of(folder: str) -> str:
    """Identifies what a folder holds, by the names and sizes of its files.

    Raises:
        InputError: As `known_parts`.
    """
    places = [place for part in known_parts(folder) for place in (part.vectors, part.table)]
    sizes = files.many(files.size_of, places)
    missing = next((place for place, size in zip(places, sizes, strict=True) if size is None), None)
    if missing is not None:
        raise InputError(f"{missing} is missing, and {folder} needs it.")
    said = [(os.path.relpath(place, folder), size) for place, size in zip(places, sizes, strict=True)]
    return f"xxh3_128:{xxhash.xxh3_128_hexdigest(repr(said).encode())}"


@lru_cache(maxsize=1)
def known_vectors(folder: str) -> KnownVectors:
    """The vectors of a folder; its keys are read once in a process.

    Raises:
        InputError: It has none that can be found by a key.
    """
    return KnownVectors(folder, known_parts(folder))


def _keys(part: KnownPart) -> Iterator[tuple[list[bytes], np.ndarray[Any, Any]]]:
    """Keys as UTF-8, a batch at a time, with the rows that they name; rows without a key are left out."""
    columns = [part.key, *([part.row] if part.row else [])]
    start = 0
    try:
        with pq.ParquetFile(files.readable(part.table)) as file:
            for batch in file.iter_batches(columns=columns, use_threads=False):
                rows = batch[part.row].to_numpy() if part.row else np.arange(start, start + batch.num_rows)
                start += batch.num_rows
                keys = as_text(pa.chunked_array([batch[part.key]])).to_pylist()
                chosen = [place for place, key in enumerate(keys) if key is not None]
                yield [_encoded(keys[place]) for place in chosen], rows[chosen]
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{part.table} cannot be read: {error}.") from error


def _encoded(key: str | bytes) -> bytes:
    return key if isinstance(key, bytes) else key.encode()
