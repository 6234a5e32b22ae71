"""FAISS's training as coreset calls it against scikit-learn's, on the same sample, in one program.

``python benchmarks/kmeans_vs_sklearn.py [--clusters 50 1000] [--per-cluster 256] [--threads 1 2]``

All start from random rows and pass over the sample at most 20 times. The objective is the exact sum of squared
distances to the nearest centroid, in float64: the smaller, the better the centroids. scikit-learn must be installed.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from generate import KINDS, windows
from jaxtyping import Float32

from coreset.numeric.kmeans import train_centroids

PASSES = 20
Sample = Float32[np.ndarray, "m d"]
Centroids = Float32[np.ndarray, "k d"]


def by_coreset(sample: Sample, clusters: int, threads: int) -> tuple[Centroids, int]:
    """FAISS: every pass is made."""
    return train_centroids(sample, clusters, iterations=PASSES, threads=threads), PASSES


def by_lloyd(sample: Sample, clusters: int, threads: int) -> tuple[Centroids, int]:
    """scikit-learn's exact algorithm; with no tolerance it stops early only where nothing changes any more."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, import-not-found, unused-ignore]

    model = KMeans(clusters, algorithm="lloyd", init="random", n_init=1, max_iter=PASSES, tol=0, random_state=0)
    with threadpool_limits(threads):
        model.fit(sample)
    return model.cluster_centers_, int(model.n_iter_)


def by_mini_batch(sample: Sample, clusters: int, threads: int) -> tuple[Centroids, int]:
    """scikit-learn's stochastic algorithm, which stops when ten batches in turn bring nothing: another trade."""
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, import-not-found, unused-ignore]

    model = MiniBatchKMeans(clusters, init="random", n_init=1, max_iter=PASSES, random_state=0)
    with threadpool_limits(threads):
        model.fit(sample)
    return model.cluster_centers_, int(model.n_iter_)


METHODS: dict[str, Callable[[Sample, int, int], tuple[Centroids, int]]] = {
    "coreset (FAISS)": by_coreset,
    "KMeans, lloyd": by_lloyd,
    "MiniBatchKMeans": by_mini_batch,
}


def objective(sample: Sample, centroids: Centroids, rows: int = 4096) -> float:
    """The sum of squared distances of all rows to their nearest centroids.

    Example:
        >>> objective(np.array([[0, 0], [0, 1], [0, 3]], np.float32), np.array([[0, 0], [0, 2]], np.float32))
        2.0
    """
    exact = centroids.astype(np.float64)
    norms, total = np.square(exact).sum(axis=1), 0.0
    for start in range(0, len(sample), rows):
        x = sample[start : start + rows].astype(np.float64)
        nearest = (norms - 2 * x @ exact.T).argmin(axis=1)
        total += float(np.square(x - exact[nearest]).sum())
    return total


def table(sample: Sample, clusters: int, threads: int, repeats: int) -> Centroids:
    """Prints one line for each method, the best of its times; returns coreset's centroids."""
    found: dict[str, tuple[float, float, int, Centroids]] = {}
    for _ in range(repeats):
        for name, method in METHODS.items():
            wall, cpu = time.perf_counter(), time.process_time()
            centroids, passes = method(sample, clusters, threads)
            one = (time.perf_counter() - wall, time.process_time() - cpu, passes, centroids)
            found[name] = min(found.get(name, one), one, key=lambda run: run[0])
    print(f"\n{len(sample):,} rows x {sample.shape[1]}, {clusters:,} clusters, {threads} thread(s)")
    ours = found["coreset (FAISS)"]
    least = objective(sample, ours[3])
    for name, (wall, cpu, passes, centroids) in found.items():
        value = objective(sample, centroids)
        print(f"  {name:16s}{wall:9.2f} s{wall / ours[0]:7.1f} x{cpu:9.2f} s of CPU{passes:5d} passes", end="")
        print(f"   objective {value:12,.1f} ({100 * (value / least - 1):+.2f} %)", flush=True)
    return ours[3]


def sampled(rows: int) -> Sample:
    """Rows like a training sample, in as many clusters as the paper's ratio gives of the rows they stand for."""
    made = windows(rows, 768, KINDS["power-law"], clusters=max(1, rows // 256))
    return np.concatenate([window.vectors.astype(np.float32) for window in made])


def main() -> None:
    """Prints the tables that the command line asks for."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--clusters", type=int, nargs="+", default=[50, 1000])
    flags.add_argument("--per-cluster", type=int, default=256)
    flags.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    flags.add_argument("--repeats", type=int, default=1)
    given = flags.parse_args()
    for method in METHODS.values():
        method(np.eye(64, dtype=np.float32), 2, 1)  # imported before anything is timed
    for clusters in given.clusters:
        sample = sampled(clusters * given.per_cluster)
        trained = [table(sample, clusters, threads, given.repeats) for threads in given.threads]
        for threads, other in zip(given.threads[1:], trained[1:], strict=True):
            apart = np.abs(other - trained[0])
            print(f"  coreset with {given.threads[0]} and {threads} threads: ", end="")
            print(f"components differ by at most {apart.max():.3g}; {(apart > 0).mean():.1%} differ", flush=True)


if __name__ == "__main__":
    main()
