"""Clusters that break an edge list, each within a memory budget: ``python benchmarks/dense_clusters.py``.

Each case runs in a process of its own; what is printed is its time and by how much its peak of resident memory
grew while the components were computed (the vectors themselves are counted apart).
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
from generate import one_cluster
from jaxtyping import Float16

from coreset.numeric.components import connected_components

CASES = ("identical", "near-identical", "chain", "one cluster")


def rows_of(case: str, n: int, d: int = 768) -> Float16[np.ndarray, "n d"]:
    """The rows of a case."""
    if case == "one cluster":
        return one_cluster(n, d, "power-law")
    rng = torch.Generator().manual_seed(0)
    base = torch.nn.functional.normalize(torch.randn(d, generator=rng), dim=0)
    if case == "chain":
        return _chain(n, d)
    x = np.empty((n, d), np.float16)
    for start in range(0, n, 8192):
        noise = torch.randn(min(8192, n - start), d, generator=rng) / d**0.5
        spread = 0.35 if case == "near-identical" else 0.0  # the cosine of two rows is 1 / (1 + 0.35^2) = 0.89
        x[start : start + 8192] = torch.nn.functional.normalize(base + spread * noise, dim=1).half().numpy()
    return x


def _chain(n: int, d: int) -> Float16[np.ndarray, "n d"]:
    """A walk on the sphere: each step turns by 25 degrees (cosine 0.906) in a new random direction."""
    rng = np.random.default_rng(0)
    turn = np.deg2rad(25)
    x = np.empty((n, d), np.float16)
    at = np.zeros(d)
    at[0] = 1
    for row in range(n):
        x[row] = at
        step = rng.normal(size=d)
        step -= (step @ at) * at
        at = np.cos(turn) * at + np.sin(turn) * step / np.linalg.norm(step)
        at /= np.linalg.norm(at)
    return x


def peak_kib(*, forget: bool = False) -> int:
    """The peak of this process's resident memory (Linux); ``forget`` starts it anew from what is held now."""
    if forget:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def run(case: str, n: int, memory: int, threads: int) -> None:
    """Prints one line."""
    rows = rows_of(case, n)
    connected_components(rows[:2000], 0.86, threads=threads)  # libraries loaded, engine chosen
    before = peak_kib(forget=True)
    start = time.perf_counter()
    labels = connected_components(rows, 0.86, memory=memory, threads=threads)
    seconds = time.perf_counter() - start
    grown = (peak_kib() - before) / 1024
    count = len(np.unique(labels))
    size = f"{n:,} x 768 ({rows.nbytes >> 20:,} MiB)"
    print(f"{case:15s} {size:28s} {seconds:8.1f} s  peak grew by {grown:6.0f} MiB  {count:,} components", flush=True)


def main() -> None:
    """Runs the cases that the command line asks for."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES[:3]))
    flags.add_argument("--rows", type=int, default=200_000)
    flags.add_argument("--memory", type=int, default=2 << 30)
    flags.add_argument("--threads", type=int, default=2)
    given = flags.parse_args()
    context = multiprocessing.get_context("spawn")
    for case in given.cases:
        worker = context.Process(target=run, args=(case, given.rows, given.memory, given.threads))
        worker.start()
        worker.join()


if __name__ == "__main__":
    main()
