"""What a bound on chaining costs beside the components: ``python benchmarks/bounded_cost.py``.

One cluster; the kept row is the median by distance to the mean. The components at 0.86 are found first, then bounded.
``--memory`` is that of one task.
"""

import argparse
import time

import numpy as np
from generate import KINDS, one_cluster

from coreset.numeric.bounded import bounded_members
from coreset.numeric.components import connected_components
from coreset.numeric.nearest import rounded_centroids, squared_distances

THRESHOLD = 0.86


def compare(n: int, kind: str, bounds: list[float], memory: int) -> None:
    """Prints a line for each bound."""
    rows, order = one_cluster(n, 768, kind), np.arange(n, dtype=np.uint64)
    centre = rounded_centroids(rows[::16].astype(np.float32).mean(axis=0, keepdims=True))[0]
    distances = squared_distances(rows, centre)
    begun = time.perf_counter()
    labels = connected_components(rows, THRESHOLD, memory=memory)
    joined = time.perf_counter() - begun
    components, largest = len(np.unique(labels)), int(np.bincount(labels).max())
    said = f"{kind:10s} {n:9,} rows  {components:9,} components, largest {largest:8,}  {joined:7.2f} s"
    for bound in bounds:
        begun = time.perf_counter()
        kept = bounded_members(rows, labels, THRESHOLD, bound, distances, order, memory=memory)
        took = time.perf_counter() - begun
        print(f"{said}  bound {bound:g}: {len(np.unique(kept)):9,} kept  {took:7.2f} s more", flush=True)


def main() -> None:
    """Prints a line for each size, kind and bound."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rows", type=int, nargs="+", default=[20_480])
    flags.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=["sparse", "power-law", "dense"])
    flags.add_argument("--bounds", type=float, nargs="+", default=[0.7, 0.8, 0.86])
    flags.add_argument("--memory", type=int, default=2 << 30)
    given = flags.parse_args()
    for n in given.rows:
        for kind in given.kinds:
            compare(n, kind, given.bounds, given.memory)


if __name__ == "__main__":
    main()
