"""What a spanning forest costs beside the components at one threshold: ``python benchmarks/forest_cost.py``.

Both on the same rows in turn, ``--repeats`` times; the best of each counts. The components that the forest gives at
0.86 must be those that were computed.
"""

import argparse
import time

import numpy as np
from generate import KINDS, one_cluster

from coreset.numeric.components import connected_components
from coreset.numeric.forest import components_above, spanning_forest

THRESHOLD, FLOOR = 0.86, 0.80


def compare(n: int, kind: str, threads: int, repeats: int) -> None:
    """Prints one line."""
    rows, order = one_cluster(n, 768, kind), np.arange(n)
    best = [np.inf, np.inf, np.inf]
    for _ in range(repeats):
        begun = time.perf_counter()
        labels = connected_components(rows, THRESHOLD, threads=threads)
        joined = time.perf_counter()
        forest = spanning_forest(rows, FLOOR, order, threads=threads)
        grown = time.perf_counter()
        again = components_above(n, forest, THRESHOLD)
        took = [joined - begun, grown - joined, time.perf_counter() - grown]
        best = [min(pair) for pair in zip(best, took, strict=True)]
    differ = int((again != labels).sum())
    print(
        f"{kind:10s} {n:9,} rows  components {best[0]:7.2f} s  forest {best[1]:7.2f} s  {best[1] / best[0]:5.2f} x  "
        f"another threshold {1000 * best[2]:6.1f} ms  {len(forest):,} edges, {differ} rows differ",
        flush=True,
    )


def main() -> None:
    """Prints a line for each size and kind."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rows", type=int, nargs="+", default=[20_480, 100_000])
    flags.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=["sparse", "power-law", "dense"])
    flags.add_argument("--threads", type=int, default=2)
    flags.add_argument("--repeats", type=int, default=2)
    given = flags.parse_args()
    for n in given.rows:
        for kind in given.kinds:
            compare(n, kind, given.threads, given.repeats if n <= 20_480 else 1)


if __name__ == "__main__":
    main()
