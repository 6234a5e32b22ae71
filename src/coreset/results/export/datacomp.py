"""`datacomp`: the chosen rows' uids, as DataComp's own tools exchange subsets.

Read by DataComp's `resharder.py -s OUT/coreset.npy`: a sorted `.npy` of dtype `u8,u8`, the two halves of each uid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import UInt64

from coreset import rows
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join
from coreset.engine.outgoing import outgoing
from coreset.engine.stage import Part, Summary
from coreset.results.export.contents import Entry
from coreset.results.export.format import ChosenRows, Finished, Format
from coreset.results.export.indexed import IndexParams, close_index

SUBSET = "coreset.npy"
HALVES = pa.schema([pa.field("high", pa.uint64()), pa.field("low", pa.uint64())])
PAIR = np.dtype("u8,u8")
_UID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class DatacompParams(IndexParams):
    """Parameters of `datacomp`."""

    stage: ClassVar[str] = "export-datacomp"


def check_uids(keys: list[str]) -> None:
    """Refuse keys that are no uids.

    Raises:
        InputError: One is not 32 hexadecimal digits in lower case.
    """
    for key in keys:
        if not _UID.fullmatch(key):
            raise InputError(
                f"key {key} is no uid of DataComp (32 hexadecimal digits, in lower case), so this subset has no such "
                f"form; `coreset export keys OUT` lists keys of any kind."
            )


def check(run: Location, params: DatacompParams) -> None:  # noqa: ARG001  the shape of a check
    """Look at a few keys before anything is written; `write_part` looks at all.

    Raises:
        InputError: They are no uids.
    """
    from coreset.results.fate import decided

    for location in decided(run).coreset.locations()[:1]:
        check_uids(rows.read_table(location, ["key"], 0, 100)["key"].to_pylist())


def halves(keys: list[str]) -> UInt64[np.ndarray, "n 2"]:
    """The two halves of each uid.

    Example:
        >>> halves(["0000000000000001000000000000000f"])
        array([[ 1, 15]], dtype=uint64)
    """
    return np.array([(int(key[:16], 16), int(key[16:], 16)) for key in keys], np.uint64).reshape(-1, 2)


def write_part(chosen: ChosenRows, params: DatacompParams, part: Part) -> Summary:  # noqa: ARG001  see `Format.write`
    """Write the uids of one part."""
    table = chosen.table()
    keys = table["key"].to_pylist()
    check_uids(keys)
    found = halves(keys)
    entries = [Entry(key, caption=caption) for key, caption in zip(keys, table["caption"].to_pylist(), strict=True)]
    return close_index(part, entries, HALVES, {"high": found[:, 0], "low": found[:, 1]})


def finish(done: Finished[DatacompParams]) -> list[str]:
    """Write the subset: 32 bytes of memory for each row."""
    tables = [rows.read_table(location, HALVES.names) for location in done.parts]
    high, low = (np.concatenate([table[name].to_numpy() for table in tables]) for name in HALVES.names)
    order = np.lexsort((low, high))
    pairs: np.ndarray[Any, Any] = np.empty(len(order), PAIR)
    pairs["f0"], pairs["f1"] = high[order], low[order]
    file = outgoing(join(done.out, SUBSET))
    try:
        rows.write_array(file, pairs)
        file.commit()
    finally:
        file.discard()
    return [SUBSET]


FORMAT = Format(
    "datacomp",
    "sorted uids as a .npy of u8,u8: DataComp's resharder.py",
    DatacompParams,
    write_part,
    (SUBSET,),
    finish,
    has_pictures=False,
    check=check,
)
