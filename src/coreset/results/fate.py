"""What became of each row of a run, and the picture behind it."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa

from coreset import rows
from coreset.engine.errors import InputError
from coreset.engine.files import TEMPORARY, Location, join, local_path, names_in, read_json
from coreset.engine.stage import open_parts
from coreset.numeric.ranks import OrderKey
from coreset.sample import FATES, Cut, Cuts, SampleParams, fates
from coreset.sources.readers import picture_at

EXCLUDED = "excluded"
"""The fate of a row that a list excludes."""


def rows_with_fate(run: Location) -> pa.Table:
    """Every row with its fate, one of `coreset.sample.FATES` or `excluded`, in a column `fate`.

    Follows from `dedup/`, the cuts that `coreset/stage.json` keeps, and `excluded/`, whose rows are in no cluster.

    Raises:
        InputError: The run has no complete `dedup/` and `coreset/`.
    """
    dedup, coreset = open_parts(join(run, "dedup")), open_parts(join(run, "coreset"))
    if dedup is None or coreset is None or coreset.source != dedup.hash:
        raise InputError(f"{run} is not selected to its end; run `coreset sample` first.")
    plan = (read_json(join(run, "coreset", "plan.json")) or {})["params"]
    windows = {name: tuple(plan[name]) for name in ("text_rank", "centroid_rank")}
    params = SampleParams(**{**plan, **windows})
    cuts = read_cuts(coreset.facts["cuts"])
    tables = []
    for location in dedup.locations():
        table = rows.read_table(location)
        names = np.array(FATES, dtype=object)[fates(table, params, cuts)]
        tables.append(table.append_column("fate", pa.array(names, pa.string())))
    folder = join(run, "excluded")
    for name in names_in(folder):
        if name.endswith(".parquet") and TEMPORARY not in name:
            table = rows.read_table(join(folder, name), rows.ROWS.names)
            tables.append(table.append_column("fate", pa.array([EXCLUDED] * table.num_rows, pa.string())))
    return pa.concat_tables(tables, promote_options="default")


def read_cuts(said: dict[str, dict[str, dict[str, object] | None] | None]) -> Cuts:
    """The cuts as `stage.json` says them."""

    def key(value: object) -> OrderKey | None:
        if not isinstance(value, dict):
            return None
        return OrderKey(int(value["order"]), int(value["key_hash"]), str(value["key"]).encode())

    def cut(value: dict[str, dict[str, object] | None] | None) -> Cut | None:
        return None if value is None else (key(value["first"]), key(value["end"]))

    return Cuts(cut(said["text"]), cut(said["centroid"]), key(said["sample_end"]), is_sampled=True)


def picture_bytes(run: Location, source: str, image_offset: int | None, image_bytes: int | None) -> bytes:
    """The bytes of a row's picture, straight from its tar or Parquet.

    Args:
        run: The run directory.
        source: The row's `source`.
        image_offset: The row's: a byte of a tar, a row of a Parquet.
        image_bytes: The row's.

    Raises:
        InputError: The source is compressed, is gone, or is not what it was.
    """
    if image_offset is None or image_bytes is None:
        raise InputError(f"{source} is compressed or holds no pictures: they cannot be read by their place.")
    root = (read_json(join(run, "run.json")) or {}).get("root", ".")
    location = os.path.join(root, source)
    try:
        content = picture_at(str(local_path(location)), image_offset, image_bytes)
    except OSError as error:
        raise InputError(f"{location} cannot be read: {error.strerror}.") from error
    if len(content) != image_bytes:
        raise InputError(f"{location} is shorter than when it was embedded, or another file.")
    return content
