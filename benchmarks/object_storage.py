"""What each stage asks of object storage: requests and bytes, counted between coreset and an S3 server on loopback.

``python benchmarks/object_storage.py --rows 120000 --dimension 128`` imports vectors from ``s3://`` into a run in
``s3://``, clusters, deduplicates and samples them. Parts and tasks are made smaller than coreset's own, so that there
are several of each. What is counted depends on the data and on nothing else: no second is measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from generate import KINDS, windows

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from proxy import Proxy, proxied  # type: ignore[import-not-found]
from stores import connect, new_bucket, s3_server, upload  # type: ignore[import-not-found]

import coreset.cluster
import coreset.slices
from coreset.cluster import ClusterParams
from coreset.engine.files import bytes_below, join
from coreset.engine.lock import sole_writer
from coreset.pipeline import Run, clustered, deduplicated, imported, sampled, standing
from coreset.recipe import Recipe
from coreset.results.decisions import write_decisions
from coreset.sample import SampleParams

FILES = 8


def write_vectors(folder: Path, rows: int, dimension: int) -> None:
    """A folder as clip-retrieval leaves it."""
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    made = np.concatenate([window.vectors for window in windows(rows, dimension, KINDS["power-law"], clusters=6)])
    for number, vectors in enumerate(np.array_split(made, FILES)):
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", vectors)
        np.save(folder / "text_emb" / f"text_emb_{number}.npy", np.roll(vectors, 1, axis=0))
        keys = [f"{number:02d}{row:07d}" for row in range(len(vectors))]
        table = pa.table({"image_path": keys, "caption": keys, "url": [f"http://example.org/{key}" for key in keys]})
        pq.write_table(table, folder / "metadata" / f"metadata_{number}.parquet")


def counted(proxy: Proxy, name: str, call: Callable[[], object], stored: Callable[[], int]) -> None:
    """Make a call and print what it asked for."""
    proxy.reset()
    before = stored()
    made_by_us, read_by_us = proxy.number, proxy.received
    call()
    requests = proxy.number - made_by_us
    gets = sum(path.startswith("GET") and "list-type" not in path for path in proxy.paths[made_by_us:])
    lists = sum("list-type" in path for path in proxy.paths[made_by_us:])
    heads = sum(path.startswith("HEAD") for path in proxy.paths[made_by_us:])
    puts = sum(path.startswith("PUT") for path in proxy.paths[made_by_us:])
    received, sent = proxy.received - read_by_us, proxy.sent
    print(
        f"| {name} | {requests:,} | {gets:,} | {heads:,} | {lists:,} | {puts:,} | {received / 2**20:.1f} | "
        f"{sent / 2**20:.1f} | {(stored() - before) / 2**20:.1f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=120_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--clusters", type=int, default=12)
    parser.add_argument("--paths", action="store_true", help="show every request")
    asked = parser.parse_args()
    coreset.cluster.PART_ROWS = asked.rows // 4
    coreset.slices.TASK_ROWS = asked.rows // 4
    with tempfile.TemporaryDirectory() as folder, s3_server() as server, proxied(server) as (proxy, address):
        connect(address)
        bucket = new_bucket()
        write_vectors(Path(folder) / "in", asked.rows, asked.dimension)
        upload(Path(folder) / "in", join(bucket, "in"))
        run = Run(join(bucket, "run"), memory=4 << 30)
        recipe = Recipe(
            input=(join(bucket, "in"),),
            cluster=ClusterParams(clusters=asked.clusters, threads=1),
            sample=SampleParams(n=asked.rows // 100),
        )

        def stored() -> int:
            return bytes_below(run.folder)

        print(f"{asked.rows:,} rows of {asked.dimension}: {bytes_below(join(bucket, 'in')) / 2**20:.1f} MiB in s3://")
        print("| stage | requests | GET | HEAD | LIST | PUT | MiB read | MiB written | MiB that it left |")
        print("|---|---|---|---|---|---|---|---|---|")
        with sole_writer(run.folder):
            steps: dict[str, Callable[[], object]] = {
                "import": lambda: imported(run, recipe),
                "cluster": lambda: clustered(run, recipe, standing(run, "rows")),
                "dedup": lambda: deduplicated(run, recipe, standing(run, "centroids"), standing(run, "clusters")),
                "sample": lambda: sampled(run, recipe, standing(run, "dedup")),
                "decisions": lambda: write_decisions(run.folder, join(bucket, "decisions.parquet")),
                "all again, complete": lambda: sampled(
                    run,
                    recipe,
                    deduplicated(run, recipe, *clustered(run, recipe, imported(run, recipe))),
                ),
            }
            for name, call in steps.items():
                counted(proxy, name, call, stored)
                if asked.paths:
                    print("\n".join(proxy.paths))


if __name__ == "__main__":
    main()
