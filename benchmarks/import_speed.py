"""``coreset import`` against reading the same bytes, in one program: ``python benchmarks/import_speed.py``.

Makes a folder as clip-retrieval writes it, then measures, each from a cold and from a warm page cache: reading all
files in blocks, hashing the files of vectors while they are read, and the import. Cold means that the kernel was asked
to drop the files' pages (``posix_fadvise``), which it does for pages that are on the disk.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from coreset.engine.local import in_process, on_processes
from coreset.import_ import ImportParams
from coreset.pipeline import Run, imported
from coreset.recipe import Recipe

BLOCK = 8 << 20


def main() -> None:
    """Prints the best time of each, bytes a second, and the ratio to reading."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rows", type=int, default=1_000_000)
    flags.add_argument("--parts", type=int, default=4)
    flags.add_argument("--dimension", type=int, default=768)
    flags.add_argument("--repeats", type=int, default=3)
    flags.add_argument("--workers", type=int, default=1)
    flags.add_argument("--folder", default=None, help="where to write; default: a temporary folder")
    given = flags.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        source = Path(place) / "in"
        write_folder(source, given.rows // given.parts, given.parts, given.dimension)
        paths = sorted(path for path in source.rglob("*") if path.is_file() and path.parent.name != "text_emb")
        size = sum(path.stat().st_size for path in paths)
        print(f"{given.rows:,} rows of {given.dimension} float16 numbers with metadata, {size / 1e9:.2f} GB")
        for state in ("cold", "warm"):
            calls: dict[str, Callable[[], None]] = {
                "read": lambda: read(paths, hashed=False),
                "read and hash": lambda: read(paths, hashed=True),
                f"import, {given.workers} worker(s)": lambda: run_import(source, Path(place), given.workers),
            }
            least = 0.0
            for name, call in calls.items():
                took = min(measured(call, paths, state == "cold") for _ in range(given.repeats))
                least = least or took
                print(f"  {state} {name:22s} {took:7.2f} s  {size / took / 1e9:6.2f} GB/s  {took / least:5.2f} x")


def write_folder(folder: Path, rows: int, parts: int, dimension: int) -> None:
    """img_emb/ and metadata/ with keys, captions, urls, hashes and similarities of realistic lengths."""
    draw = np.random.default_rng(0)
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    for part in range(parts):
        with (folder / "img_emb" / f"img_emb_{part}.npy").open("wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": (rows, dimension)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, rows, 65_536):
                x = draw.standard_normal((min(65_536, rows - start), dimension), np.float32)
                file.write((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16).data)
        keys = [f"{part * rows + row:010d}" for row in range(rows)]
        words = [
            "red",
            "lamp",
            "view",
            "of",
            "the",
            "harbour",
            "vintage",
            "wedding",
            "print",
            "2019",
            "women's",
            "shoes",
        ]
        captions = [" ".join(words[i] for i in draw.integers(0, 12, 9)) for _ in keys]
        columns = {
            "image_path": keys,
            "caption": captions,
            "url": [
                f"https://images.example.org/{hash(caption) % 2**48:012x}/{key}.jpg"
                for key, caption in zip(keys, captions, strict=True)
            ],
            "similarity": draw.random(rows, np.float32),
            "width": draw.integers(64, 4096, rows),
            "height": draw.integers(64, 4096, rows),
            "md5": [draw.bytes(16).hex() for _ in keys],
        }
        pq.write_table(pa.table(columns), folder / "metadata" / f"metadata_{part}.parquet")


def measured(call: Callable[[], None], paths: list[Path], cold: bool) -> float:
    """Seconds that a call takes, with the files in the page cache or out of it."""
    for path in paths:
        number = os.open(path, os.O_RDONLY)
        os.fsync(number)
        if cold:
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(number)
    if not cold:
        read(paths, hashed=False)
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def read(paths: list[Path], hashed: bool) -> None:
    """Read all files in blocks; hash those of vectors if asked to."""
    buffer = bytearray(BLOCK)
    for path in paths:
        digest = xxhash.xxh3_128() if hashed and path.suffix == ".npy" else None
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                if digest is not None:
                    digest.update(memoryview(buffer)[:count])


def run_import(source: Path, place: Path, workers: int) -> None:
    """A fresh run of the folder."""
    with tempfile.TemporaryDirectory(dir=place) as run:
        processes = on_processes(workers)
        execute = in_process if workers == 1 else processes
        imported(Run(f"{run}/run", workers, execute), Recipe(input=(str(source),), import_=ImportParams()))
        processes.close()


if __name__ == "__main__":
    main()
