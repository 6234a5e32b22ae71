"""Components against the routes that others would take, on the same rows, one after the other in one program.

``python benchmarks/components_vs_peers.py [--rows 2000 20480 100000] [--kinds sparse power-law dense]``

Read the ratios: times on a busy machine move, so each method runs ``--repeats`` times in turn and the best counts.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import peers
import torch
from generate import KINDS, one_cluster

from coreset.numeric.components import connected_components

THRESHOLD = 0.86
LARGEST = {  # rows above which a peer takes minutes, or tens of GB for an n x n matrix
    "FAISS + networkx": 20_480,
    "FAISS + scipy": 20_480,
    "SemDeDup's method": 20_480,
    "semhash": 20_480,
}
Method = Callable[[np.ndarray, float, int], object]


def ours(rows: np.ndarray, threshold: float, threads: int) -> np.ndarray:
    """Labels by coreset."""
    return connected_components(rows, threshold, threads=threads, memory=2 << 30)


METHODS: dict[str, Method] = {
    "coreset": ours,
    "FAISS + scipy": peers.faiss_scipy,
    "FAISS + networkx": peers.faiss_networkx,
    "SemDeDup's method": peers.semdedup,
    "semhash": peers.semhash,
    "half product float32": peers.half_product(torch.float32),
    "half product bfloat16": peers.half_product(torch.bfloat16),
}


def differing(labels: np.ndarray, other: np.ndarray) -> int:
    """Rows whose component is not the same set of rows in both."""
    first = np.unique(other, return_index=True)[1]
    smallest = first[np.unique(other, return_inverse=True)[1]]
    return int((labels != smallest).sum())


def timed(name: str, rows: np.ndarray, threads: int) -> tuple[float, object]:
    """Seconds and answer of one method; a method that is not installed or too slow gives nan and why."""
    if len(rows) > LARGEST.get(name, len(rows)):
        return float("nan"), "skipped: minutes, or an n x n matrix"
    start = time.perf_counter()
    try:
        answer = METHODS[name](rows, THRESHOLD, threads)
    except ImportError as error:
        return float("nan"), f"skipped: {error}"
    return time.perf_counter() - start, answer


def table(kind: str, n: int, threads: int, repeats: int) -> None:
    """Prints one line for each method."""
    rows = one_cluster(n, 768, kind)
    best: dict[str, tuple[float, object]] = {}
    for _ in range(repeats):
        for name in METHODS:
            run = timed(name, rows, threads)
            best[name] = min(best.get(name, run), run, key=lambda pair: pair[0])
    seconds, labels = best["coreset"]
    kept = len(np.unique(np.asarray(labels)))
    print(f"\n{kind}, {n:,} x 768, {threads} threads: {kept:,} components", flush=True)
    for name, (time_taken, answer) in best.items():
        note = answer if isinstance(answer, str) else ""
        if isinstance(answer, int):
            note = f"keeps {answer:,}: another rule"
        if isinstance(answer, np.ndarray) and name != "coreset":
            note = f"{differing(np.asarray(labels), answer)} rows differ (float32 at the threshold)"
        print(f"  {name:22s} {time_taken:8.3f} s  {time_taken / seconds:6.1f} x  {note}", flush=True)


def main() -> None:
    """Prints the tables that the command line asks for."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rows", type=int, nargs="+", default=[2000, 20_480, 100_000])
    flags.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=["sparse", "power-law", "dense"])
    flags.add_argument("--threads", type=int, default=2)
    flags.add_argument("--repeats", type=int, default=3)
    given = flags.parse_args()
    for n in given.rows:
        for kind in given.kinds:
            table(kind, n, given.threads, 1 if n > 50_000 else given.repeats)


if __name__ == "__main__":
    main()
