"""Rows that must not be used: takedown lists, honoured where `clusters/` is written."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from jaxtyping import Int8, Int64

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.engine.files import Location
from coreset.engine.stage import PARQUET, Part

COLUMNS = ("key", "url", "sha256", "md5")
"""The columns that an entry is compared with."""
HASHES = ("sha256", "md5")
ASIDE = "../excluded/clusters-"
"""How the names begin of the files with the excluded rows, relative to `clusters/`."""
EXCLUDED = pa.schema([*rows.ROWS, pa.field("matched", pa.string())])
NONE = -1

Lists = Mapping[str, pa.Array]
"""The entries to compare each column with."""


def read_lists(location: Location) -> Lists:
    """The entries of an exclusion list.

    A `.parquet` or `.csv` has columns named key, url, sha256 or md5, and each is compared with the rows' column of that
    name. Any other file is text with an entry a line, and each is compared with all four. Hashes may be of either case.

    Raises:
        InputError: There is no such file, it cannot be read, or it has no entry.
    """
    try:
        found = _read(location)
    except FileNotFoundError as error:
        raise InputError(f"--exclude {location} does not exist.") from error
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise InputError(f"--exclude {location} cannot be read: {str(error).splitlines()[0]}.") from error
    lists = {name: pc.utf8_lower(values) if name in HASHES else values for name, values in found.items()}
    if not any(len(values) for values in lists.values()):
        raise InputError(f"--exclude {location} has no entry; leave the flag out, or name another file.")
    return lists


def _read(location: Location) -> dict[str, pa.Array]:
    suffix = "." + location.rpartition(".")[2].lower()
    if suffix in {".parquet", ".csv"}:
        if suffix == ".csv":
            text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()))
            table = pyarrow.csv.read_csv(io.BytesIO(files.read_bytes(location)), convert_options=text)
        else:
            table = rows.read_table(location)
        names = [name for name in COLUMNS if name in table.column_names]
        if not names:
            raise InputError(f"--exclude {location} has none of the columns {', '.join(COLUMNS)}.")
        return {name: table[name].cast(pa.string()).drop_null().combine_chunks() for name in names}
    lines = (line.strip() for line in files.read_bytes(location).decode("utf-8").split("\n"))
    entries = pa.array([line for line in lines if line], pa.string())
    return dict.fromkeys(COLUMNS, entries)


def matches(table: pa.Table, lists: Lists) -> Int8[np.ndarray, "n"]:
    """For each row the index of the first of `COLUMNS` that is listed; -1 if none is.

    Example:
        >>> table = pa.table({"key": ["a", "b"], "url": ["u", None], "sha256": [None, "AB"], "md5": [None, None]})
        >>> matches(table, {"key": pa.array(["a"]), "sha256": pa.array(["ab"])}).tolist()
        [0, 2]
    """
    found = np.full(table.num_rows, NONE, np.int8)
    for number, name in reversed(list(enumerate(COLUMNS))):
        if name in lists and table.num_rows:
            column = table[name].cast(pa.string())
            column = pc.utf8_lower(column) if name in HASHES else column
            listed = pc.is_in(column, value_set=lists[name], skip_nulls=True).to_numpy()
            found[listed] = number
    return found


def excluded_rows(parts: Sequence[Location], lists: Lists) -> list[Int8[np.ndarray, "_"]]:
    """What `matches` says of the rows of each part."""
    found = []
    for part in parts:
        batches = [matches(batch, lists) for batch in rows.table_batches(part + PARQUET, COLUMNS, rows.BATCH_ROWS)]
        found.append(np.concatenate([np.empty(0, np.int8), *batches]))
    return found


def write_excluded(parts: Sequence[Location], found: Sequence[Int8[np.ndarray, "_"]], part: Part) -> int:
    """Write the excluded rows and which column was listed; no file if there is none. Returns how many there are."""
    suffix = f"{ASIDE}{part.name}.parquet"
    total = sum(int(np.count_nonzero(some != NONE)) for some in found)
    if not total:
        part.without(suffix)
        return 0
    file = part.file(suffix)
    writer = rows.TableWriter(file, EXCLUDED)
    for location, some in zip(parts, found, strict=True):
        wanted: Int64[np.ndarray, "_"] = np.flatnonzero(some != NONE)
        if len(wanted):
            matched = pa.array(np.array(COLUMNS, object)[some[wanted]], pa.string())
            table = rows.chosen_rows(location + PARQUET, wanted, rows.ROWS.names)
            writer.write(table.append_column("matched", matched))
    writer.close({})
    file.close()
    return total
