"""`clip-retrieval`: the chosen rows' vectors with their metadata, as clip-retrieval lays them out.

Read by embedding-reader (`parquet_npy`), autofaiss, clip-retrieval's back end, and `coreset import`, which gives the
same keys and vectors again. `text_emb/` is there if the run keeps the vectors of captions
(`coreset embed --keep-text-vectors`); the column `similarity` has their cosine always.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from jaxtyping import Float16, Int64

from coreset import rows
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join, read_json
from coreset.engine.stage import PARQUET, Part, Summary
from coreset.results.export.contents import Entry
from coreset.results.export.format import ChosenRows, Format, beside
from coreset.results.export.indexed import NOTHING, IndexParams, close_index
from coreset.vectors import vectors_file

VECTORS, TEXTS, METADATA = "img_emb", "text_emb", "metadata"
RENAMED = {"image_path": "key", "similarity": "text_cosine"}
"""Columns that clip-retrieval calls otherwise; `key` stands there under its own name, too."""
AS_THEY_ARE = ("caption", "url", "key", "width", "height", "sha256", "md5", "cluster", "centroid_cosine", "fate")


@dataclass(frozen=True, kw_only=True)
class ClipRetrievalParams(IndexParams):
    """Parameters of `clip-retrieval`."""

    stage: ClassVar[str] = "export-clip-retrieval"


def write_part(chosen: ChosenRows, params: ClipRetrievalParams, part: Part) -> Summary:  # noqa: ARG001  see `Format.write`
    """Write the vectors of one part, and its metadata; numbers are padded, so that their order is that of the names."""
    table = chosen.table()
    number = str(chosen.number).zfill(len(str(chosen.parts - 1)))
    write_vectors(part, VECTORS, number, vectors_of(chosen.run, table, vectors_file))
    has_texts = keeps_texts(chosen.run)
    if has_texts:
        write_vectors(part, TEXTS, number, vectors_of(chosen.run, table, texts_file))
    said = {name: table[column] for name, column in RENAMED.items()} | {name: table[name] for name in AS_THEY_ARE}
    with part.file(beside(f"{METADATA}/{METADATA}_{number}.parquet")) as file:
        rows.write_table(file, pa.table({name: column for name, column in said.items() if known(column)}))
    entries = [Entry(row["key"], caption=row["caption"]) for row in table.select(["key", "caption"]).to_pylist()]
    return close_index(part, entries, NOTHING, {}, {"text_vectors": len(entries) if has_texts else 0})


def write_vectors(part: Part, folder: str, number: str, vectors: Float16[np.ndarray, "m d"]) -> None:
    """Write the vectors of one part into their folder."""
    with part.file(beside(f"{folder}/{folder}_{number}.npy")) as file:
        writer = rows.VectorsWriter(file, len(vectors), vectors.shape[1])
        writer.write(vectors)
        writer.close()


def keeps_texts(run: Location) -> bool:
    """Whether a run has the vectors of its captions."""
    plan = read_json(join(run, "rows", "plan.json")) or {"params": {}}
    return bool(plan["params"].get("keep_text_vectors", False))


def texts_file(location: Location) -> rows.Rows:
    """The vectors of the captions of a part of `rows/`; `vector_row` counts its rows, too."""
    return rows.open_array(location.removesuffix(PARQUET) + rows.TEXTS)


def known(column: Any) -> bool:  # noqa: ANN401  pyarrow has no types
    """Whether a column says anything: readers of numbers stumble over one of nulls."""
    return bool(column.null_count < len(column))


def vectors_of(run: Location, table: pa.Table, opened: Callable[[Location], rows.Rows]) -> Float16[np.ndarray, "m d"]:
    """The stored vectors of some rows, in their order; each part of `rows/` is opened once.

    Args:
        run: the run directory
        table: with `key`, `source` and `source_row`
        opened: gives the vectors of a part of `rows/`: `vectors_file`, or `texts_file`
    """
    places = part_of_source(run)
    names = np.array(table["source"].to_pylist(), object)
    wanted = table["source_row"].to_numpy()
    found: Float16[np.ndarray, "m d"] | None = None
    for source in sorted(set(names.tolist())):
        own = np.flatnonzero(names == source)
        location = places[source]
        vectors = opened(location)[vector_rows(location, wanted[own])]
        if found is None:
            found = np.empty((len(names), vectors.shape[1]), np.float16)
        found[own] = vectors
    if found is None:
        raise InputError(f"{run} has no such rows.")
    return found


def part_of_source(run: Location) -> dict[str, Location]:
    """The part of `rows/` that holds each source."""
    plan = read_json(join(run, "rows", "plan.json")) or {"inputs": {}}
    return {name: join(run, "rows", entry["part"] + PARQUET) for name, entry in plan["inputs"].items()}


def vector_rows(location: Location, source_rows: Int64[np.ndarray, "m"]) -> Int64[np.ndarray, "m"]:
    """Where in its file of vectors each row of a part lies, by the row's place in its source."""
    table = rows.read_table(location, ["source_row", "vector_row"])
    there = table["source_row"].to_numpy()
    by_place = np.argsort(there, kind="stable")
    index = by_place[np.searchsorted(there, source_rows, sorter=by_place)]
    found: Int64[np.ndarray, "m"] = table["vector_row"].to_numpy()[index]
    return found


FORMAT = Format(
    "clip-retrieval",
    "vectors as .npy, metadata as Parquet: embedding-reader, autofaiss, clip-retrieval, coreset import",
    ClipRetrievalParams,
    write_part,
    (VECTORS, TEXTS, METADATA),
    has_pictures=False,
)
