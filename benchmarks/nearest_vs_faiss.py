"""Exact nearest centroids against FAISS's flat search, in one program: ``python benchmarks/nearest_vs_faiss.py``."""

import argparse
import time

import faiss
import numpy as np
from generate import KINDS, windows

from coreset.numeric.kmeans import train_centroids
from coreset.numeric.nearest import nearest_centroids, rounded_centroids


def main() -> None:
    """Prints the best time of each and the ratio."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rows", type=int, default=20_000)
    flags.add_argument("--centroids", type=int, default=10_000)
    flags.add_argument("--threads", type=int, default=2)
    flags.add_argument("--repeats", type=int, default=3)
    given = flags.parse_args()
    kind = KINDS["power-law"]
    made = windows(given.rows + 2 * given.centroids, 768, kind, clusters=200)
    every = np.concatenate([rows.vectors for rows in made])
    rows, sample = every[: given.rows], every[given.rows :].astype(np.float32)
    trained = train_centroids(sample, given.centroids, iterations=2, threads=given.threads)
    centroids = rounded_centroids(trained)
    faiss.omp_set_num_threads(given.threads)
    index = faiss.IndexFlatL2(768)
    index.add(centroids)
    exact = rows.astype(np.float32)
    ours, theirs, differ = [], [], 0
    for _ in range(given.repeats):
        start = time.perf_counter()
        assigned, _ = nearest_centroids(rows, centroids, threads=given.threads, memory=2 << 30)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        _, found = index.search(exact, 1)
        theirs.append(time.perf_counter() - start)
        differ = int((found[:, 0] != assigned).sum())
    print(f"{given.rows:,} rows, {given.centroids:,} centroids, {given.threads} threads")
    print(f"  coreset (exact)   {min(ours):8.3f} s")
    print(f"  FAISS IndexFlatL2 {min(theirs):8.3f} s  {min(theirs) / min(ours):.1f} x  {differ} rows differ")


if __name__ == "__main__":
    main()
