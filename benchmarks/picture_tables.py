"""Memory that reading a Parquet of pictures takes, by how it is laid out: ``python benchmarks/picture_tables.py``.

Writes one file for each layout, of pictures that are random bytes, and reads its pairs in a process of its own.
Decoding and the model are not in it.
"""

import argparse
import multiprocessing
import os
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from memory import TreeSampler

from coreset.sources.image_parquet import PAGES_HELD, reading_bytes
from coreset.sources.readers import read_pairs
from coreset.sources.tars import Pair, find_shards

PICTURES, SIZE = 2_048, 200_000
LAYOUTS = {
    "one row group, pages of 8 rows": {"row_group_size": PICTURES, "write_batch_size": 8, "data_page_size": 1},
    "row groups of 100 rows": {"row_group_size": 100},
    "one row group, pages of 256 rows": {"row_group_size": PICTURES, "write_batch_size": 256, "data_page_size": 1},
    "one row group, pages of 1,024 rows": {"row_group_size": PICTURES, "write_batch_size": 1024, "data_page_size": 1},
    "one row group, one page": {"row_group_size": PICTURES, "write_batch_size": 1024, "data_page_size": 1 << 30},
}


def main() -> None:
    """Prints, for each layout, the peak above what the process held before it read, and what Arrow had of it."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    context = multiprocessing.get_context("spawn")
    print(f"{PICTURES:,} pictures of {SIZE / 1e3:.0f} kB, {PICTURES * SIZE / 2**20:,.0f} MiB")
    print(
        "\n| layout | compression | peak | peak of Arrow | largest page | Arrow, in pages |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as place:
        for (name, layout), compression in product(LAYOUTS.items(), ("none", "zstd")):
            path = Path(place) / "0.parquet"
            write(path, {**layout, "compression": compression})
            page = reading_bytes(find_shards([str(path)])[0], 0) / PAGES_HELD
            told, telling = context.Pipe(duplex=False)
            process = context.Process(target=read, args=(str(path), telling))
            process.start()
            peak, pool = told.recv()
            sizes = " | ".join(f"{size / 2**20:,.1f} MiB" for size in (peak, pool, page))
            print(f"| {name} | {compression} | {sizes} | {pool / page:.1f} |")
            process.join()


def write(path: Path, layout: dict[str, Any]) -> None:
    """A file as img2dataset names its columns."""
    draw = np.random.default_rng(0)
    pictures = pa.array([draw.bytes(SIZE) for _ in range(PICTURES)], pa.binary())
    texts = pa.array([f"{number:09d}" for number in range(PICTURES)])
    table = pa.table({"jpg": pictures, "caption": texts, "key": texts})
    pq.write_table(table, path, use_dictionary=False, **layout)


def read(path: str, telling: "multiprocessing.connection.Connection") -> None:
    """Read all pairs; tell the peak above the start."""
    with TreeSampler(os.getpid(), interval=0.005) as sampler:
        sampler.sample()
        begun = sampler.peak
        count = sum(isinstance(found, Pair) for found in read_pairs(find_shards([path])[0]))
    if count != PICTURES:
        raise RuntimeError(f"{count:,} of {PICTURES:,} pictures were read")
    telling.send((sampler.peak - begun, pa.default_memory_pool().max_memory()))


if __name__ == "__main__":
    main()
