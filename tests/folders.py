"""Folders of vectors, written as the tools write them that people have them from."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Vectors:
    """Rows that somebody else has embedded; a text vector lies near its image vector."""

    images: np.ndarray
    texts: np.ndarray

    @property
    def cosines(self) -> np.ndarray:
        """<image, text> of what is stored, exact, as float32."""
        return np.vecdot(self.images.astype(np.float64), self.texts.astype(np.float64)).astype(np.float32)

    def split(self, parts: int) -> list[Vectors]:
        """The rows in consecutive parts of unequal sizes."""
        ends = np.cumsum(np.arange(1, parts + 1)) * len(self.images) // (parts * (parts + 1) // 2)
        return [
            Vectors(x, t) for x, t in zip(*(np.split(v, ends[:-1]) for v in (self.images, self.texts)), strict=True)
        ]


def unit(x: np.ndarray, dtype: Any = np.float16) -> np.ndarray:
    """Rows of length 1, rounded to a type."""
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(dtype)


def random_vectors(count: int, dimension: int = 16, seed: int = 0, dtype: Any = np.float16) -> Vectors:
    """Vectors of which every third is a near-copy of the one before."""
    draw = np.random.default_rng(seed)
    base = draw.normal(size=(count, dimension))
    base[2::3] = base[1::3][: len(base[2::3])] + 0.05 * draw.normal(size=base[2::3].shape)
    return Vectors(unit(base, dtype), unit(base + draw.normal(size=base.shape) * draw.random((count, 1)) * 3, dtype))


def keys_of(count: int, first: int = 0) -> list[str]:
    """Keys as img2dataset writes them."""
    return [f"{number:09d}" for number in range(first, first + count)]


def columns_of(vectors: Vectors, first: int = 0) -> dict[str, Any]:
    """What clip-retrieval's metadata has, with `enable_metadata`."""
    count = len(vectors.images)
    keys = keys_of(count, first)
    return {
        "image_path": keys,
        "caption": [f"caption of {key}" for key in keys],
        "NSFW": ["UNLIKELY"] * count,
        "similarity": vectors.cosines,
        "LICENSE": ["?"] * count,
        "url": [f"http://example.org/{key}.jpg" for key in keys],
        "key": keys,
        "status": ["success"] * count,
        "width": [256] * count,
        "height": [192] * count,
        "exif": ["{}"] * count,
        "md5": [f"{number:032x}" for number in range(first, first + count)],
    }


def write_npy(path: Path, array: np.ndarray) -> Path:
    """A `.npy` as clip-retrieval writes it: through memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getvalue())
    return path


def write_parquet(path: Path, columns: dict[str, Any], rows: int = 40) -> Path:
    """A Parquet of several row groups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def write_clip_retrieval(
    folder: Path, vectors: Vectors, parts: int = 3, padding: int = 1, texts: bool = True, **changes: Any
) -> Path:
    """`img_emb/`, `text_emb/` and `metadata/`; a change of None takes a column away, a function makes it anew."""
    first = 0
    for number, part in enumerate(vectors.split(parts)):
        name = str(number).zfill(padding)
        write_npy(folder / "img_emb" / f"img_emb_{name}.npy", part.images)
        if texts:
            write_npy(folder / "text_emb" / f"text_emb_{name}.npy", part.texts)
        columns = changed(columns_of(part, first), **changes)
        write_parquet(folder / "metadata" / f"metadata_{name}.parquet", columns)
        first += len(part.images)
    return folder


def write_npy_only(folder: Path, vectors: Vectors, parts: int = 3) -> Path:
    """embedding-reader's `npy`, with the text vectors in a folder beside it."""
    for number, part in enumerate(vectors.split(parts)):
        write_npy(folder / "vectors" / f"{number}.npy", part.images)
        write_npy(folder / "texts" / f"{number:04d}.npy", part.texts)
    return folder


def write_parquet_npy(folder: Path, vectors: Vectors, parts: int = 3) -> Path:
    """embedding-reader's `parquet_npy`: two folders whose files are sorted alike."""
    first = 0
    for number, part in enumerate(vectors.split(parts)):
        write_npy(folder / "embeddings" / f"part-{number:05d}.npy", part.images)
        write_parquet(folder / "metadata" / f"part-{number:05d}-c000.snappy.parquet", columns_of(part, first))
        first += len(part.images)
    return folder


def write_lists(folder: Path, vectors: Vectors, parts: int = 3, fixed: bool = False, **changes: Any) -> Path:
    """embedding-reader's `parquet`: vectors in a list column beside the rest."""
    first = 0
    for number, part in enumerate(vectors.split(parts)):
        columns = changed(columns_of(part, first), **changes)
        for name, array in (("embedding", part.images), ("text_embedding", part.texts)):
            columns[name] = lists(array, fixed)
        write_parquet(folder / f"{number:03d}.parquet", columns)
        first += len(part.images)
    return folder


def lists(array: np.ndarray, fixed: bool = False) -> pa.Array:
    """Rows as a list column."""
    if fixed:
        return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])
    offsets = np.arange(0, array.size + 1, array.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(array.ravel()))


def write_datacomp(folder: Path, vectors: Vectors, parts: int = 3, compressed: bool = False) -> Path:
    """DataComp's metadata: a Parquet and an `.npz` of one name, which says nothing of an order."""
    folder.mkdir(parents=True, exist_ok=True)
    save = np.savez_compressed if compressed else np.savez
    first = 0
    for number, part in enumerate(vectors.split(parts)):
        name = f"{(number * 0x9E3779B97F4A7C15) % 2**64:016x}"
        small = unit(part.images[:, :4].astype(np.float64))
        save(folder / f"{name}.npz", b32_img=small, b32_txt=small, l14_img=part.images, l14_txt=part.texts)
        columns = columns_of(part, first)
        table = {
            "uid": [f"{number:032x}" for number in range(first, first + len(part.images))],
            "url": columns["url"],
            "text": columns["caption"],
            "original_width": columns["width"],
            "original_height": columns["height"],
            "clip_b32_similarity_score": np.ones(len(part.images), np.float32),
            "clip_l14_similarity_score": columns["similarity"],
            "sha256": [f"{number:064x}" for number in range(first, first + len(part.images))],
        }
        write_parquet(folder / f"{name}.parquet", table)
        first += len(part.images)
    return folder


def changed(columns: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Columns of which some are taken away, made anew from the old one, or replaced."""
    made = dict(columns)
    for name, change in changes.items():
        if change is None:
            made.pop(name)
        else:
            made[name] = change(made) if callable(change) else change
    return made


WRITERS: dict[str, Callable[[Path, Vectors], Path]] = {
    "clip-retrieval": write_clip_retrieval,
    "npy": write_npy_only,
    "parquet": write_lists,
    "parquet_npy": write_parquet_npy,
    "datacomp": write_datacomp,
}
