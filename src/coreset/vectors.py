"""Where the vectors of `rows/` lie: in a file beside their part, or in a file of the user's that is used as it stands.

A part that lends a user's file names it in its Parquet: the name from the root of the input, the size, and the
hash of all its bytes, which were read anyway when they were checked. Nothing of that differs between equal runs.
Where the root lies, and when each file was last written, stands in `run.json`. A later command compares size and time;
only where the time differs (the folder was copied, say) it reads the file again and compares the hash.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from coreset import rows
from coreset.engine import disk, files
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join
from coreset.engine.stage import PARQUET

KEY = "vectors"
"""Where a part's Parquet names a user's file."""


@dataclass(frozen=True)
class Lent:
    """A user's file of vectors that a part uses as it stands.

    Attributes:
        name: relative to the root of the input
        size: in bytes
        hash: xxh3_128 of all bytes, as hex
    """

    name: str
    size: int
    hash: str

    @property
    def metadata(self) -> dict[str, str]:
        """What the part's Parquet says of it."""
        return {KEY: json.dumps(dataclasses.asdict(self), sort_keys=True)}


class PickedRows:
    """Some rows of a file of vectors, in ascending order, as one array of rows; nothing is copied ahead."""

    def __init__(self, vectors: rows.Rows, index: Int64[np.ndarray, "m"]) -> None:
        self._vectors, self._index = vectors, index
        self.shape = (len(index), vectors.shape[1])

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, wanted: slice | Int64[np.ndarray, "b"]) -> np.ndarray[Any, Any]:
        picked = self._index[wanted]
        if isinstance(wanted, slice) and len(picked):  # neighbours but for a few: one reading, then the choice
            low = int(picked[0])
            found: np.ndarray[Any, Any] = self._vectors[low : int(picked[-1]) + 1][picked - low]
            return found
        return np.asarray(self._vectors[picked])


def lent_file(location: Location) -> Lent | None:
    """The user's file that a part of `rows/` uses, named by its Parquet; None if the part has a file of its own."""
    said = rows.metadata_of(location).get(KEY)
    return Lent(**json.loads(said)) if said else None


def vectors_file(location: Location) -> rows.Rows:
    """The file with the vectors of a part of `rows/`, as `rows.open_array` gives it; `vector_row` counts its rows.

    Raises:
        InputError: It is a user's, and gone or of another size.
    """
    lent = lent_file(location)
    if lent is None:
        return rows.open_vectors(location)
    run = location.rpartition("/")[0].rpartition("/")[0]
    place = lent_location(run, lent)
    _check_size(place, lent)
    return rows.open_array(place)


def row_vectors(location: Location) -> np.ndarray[Any, Any] | PickedRows:
    """The vectors of a part of `rows/`, one for each row of its Parquet, in its order; held, if they are an object."""
    vectors = rows.held(vectors_file(location))
    index = rows.read_table(location, ["vector_row"])["vector_row"].to_numpy()
    return vectors if len(index) == len(vectors) else PickedRows(vectors, index)


def lent_location(run: Location, lent: Lent) -> Location:
    """Where a user's file lies now.

    Raises:
        InputError: The run does not say where its input lies.
    """
    root = (files.read_json(join(run, "run.json")) or {}).get("root")
    if root is None:
        raise InputError(f"{run}/run.json does not say where {lent.name} lies; run `coreset import FOLDER` again.")
    return join(root, lent.name)


def check_lent(
    run: Location, locations: Sequence[Location], times: Mapping[str, int | str], root: str | None = None
) -> dict[str, int | str]:
    """Make sure that the user's files are those that were imported; returns when they were last written.

    Args:
        run: the run directory
        locations: Parquet files of `rows/`
        times: when each file was last written, or an object's etag, as it was noted; one that differs costs a reading
            of that file
        root: the folder that their names start from; None for the one that is noted

    Raises:
        InputError: A file is gone, or has other bytes.
    """
    found: dict[str, int | str] = {}
    for location in locations:
        lent = lent_file(location)
        if lent is None:
            continue
        place = lent_location(run, lent) if root is None else join(root, lent.name)
        _check_size(place, lent)
        found[lent.name] = files.mark_of(place)
        if times.get(lent.name) != found[lent.name] and files.sealed(place).hash != lent.hash:
            raise InputError(
                f"{place} has other bytes than when it was imported; put the old file back, or run "
                f"`coreset import FOLDER --overwrite` to import it anew."
            )
    return found


def lent_locations(folder: Location) -> list[Location]:
    """The committed parts of a folder `rows/`, complete or not."""
    names = files.names_in(folder)
    return [join(folder, name) for name in names if name.endswith(PARQUET) and disk.TEMPORARY not in name]


def _check_size(place: Location, lent: Lent) -> None:
    size = files.size_of(place)
    if size != lent.size:
        state = "is gone" if size is None else f"has {size:,} bytes, and {lent.size:,} were imported"
        raise InputError(
            f"{place} {state}: the run uses its vectors where they lie; put it back, name its new place with "
            f"`coreset import FOLDER`, or import anew with --overwrite."
        )
