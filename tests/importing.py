"""Imported runs, what they hold, and how to harm the folders that they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from command import Said, done
from folders import (
    columns_of,
    lists,
    random_vectors,
    write_npy,
    write_parquet,
)

from coreset.vectors import row_vectors, vectors_file

BAD = ("--max-bad", "100")
FLAGS = {"npy": ("in/vectors", "--text-embeddings", "in/texts")}
COUNT = 150


def imported(folder: Path, kind: str = "", *flags: str) -> Said:
    return done("import", *FLAGS.get(kind, ("in",)), *flags, cwd=folder)


def rows_of(folder: Path) -> pa.Table:
    """All rows with their vectors, in the parts' order."""
    tables = []
    for path in sorted((folder / "run/rows").glob("*.parquet")):
        table = pq.read_table(path)
        with_vectors = np.asarray(row_vectors(str(path))[0 : table.num_rows])
        assert np.array_equal(with_vectors, vectors_file(str(path))[table["vector_row"].to_numpy()])
        tables.append(table.append_column("vector", lists(with_vectors)))
    return pa.concat_tables(tables)


def vectors_in(table: pa.Table) -> np.ndarray:
    return np.array(table["vector"].to_pylist(), np.float16)


def refused(folder: Path) -> list[tuple[str, int, str]]:
    found = [pq.read_table(path).to_pylist() for path in sorted((folder / "run/quarantine").glob("import-*.parquet"))]
    return [(entry["key"], entry["source_row"], entry["reason"]) for entries in found for entry in entries]


def harmed(folder: Path) -> Path:
    """A folder in which every kind of bad row stands once."""
    vectors = random_vectors(60)
    images = vectors.images.copy()
    images[3], images[4, 2], images[5, 0] = 0, np.nan, -np.inf
    columns = columns_of(vectors)
    keys, captions, cosines = list(columns["key"]), list(columns["caption"]), columns["similarity"].astype(object)
    keys[10], keys[11], keys[12], keys[13], keys[14] = None, "", "k" * 256, "a\nb", keys[2]
    captions[20], captions[21], captions[22] = None, " \u2003", "c" * (64 * 1024 + 1)
    cosines[30], cosines[31] = None, float("nan")
    write_npy(folder / "img_emb/img_emb_0.npy", images)
    table = {
        **columns,
        "key": keys,
        "caption": captions,
        "similarity": pa.array(cosines, pa.float32(), from_pandas=False),
    }
    write_parquet(folder / "metadata/metadata_0.parquet", table)
    return folder


def rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / old).rename(folder / new)


def remove(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink() for name in names]


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    return lambda folder: write_npy(folder / name, change(np.load(folder / name)))


def table(name: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], object]:
    return lambda folder: pq.write_table(change(pq.read_table(folder / name)), folder / name)


def raw(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


IMAGE, TEXT, META = "img_emb/img_emb_1.npy", "text_emb/text_emb_1.npy", "metadata/metadata_1.parquet"
