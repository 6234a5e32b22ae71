"""The memory that training takes against what is asked for it: ``python benchmarks/training_memory.py``.

``--cases 50000x2000x768 ...`` are rows of the sample x centroids x dimensions; ``--spherical`` normalises.

Each case runs in a process of its own. Its peak of anonymous memory, beyond what it held once all was imported, is
sampled in the three phases of the task that fills ``centroids/``: the sample is gathered from the parts of ``rows/``,
centroids are trained on it, and they are rounded while the sample is still held. The bound is `training_bytes`.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import numpy as np
from end_to_end import MadeParams, made_rows
from memory import TreeSampler

from coreset.numeric.kmeans import training_bytes

PHASES = ("imports", "ready", "gather", "train", "round")
CASES = ["25600x100x768", "50000x50x768", "50000x2000x768", "50000x2000x64", "50000x20000x768"]


def trained(parts: Sequence[str], clusters: int, spherical: bool, phase: "Synchronized[int]") -> None:
    """What the task does, in a process that says which phase it is in."""
    from coreset.cluster import training_sample
    from coreset.numeric.kmeans import train_centroids
    from coreset.numeric.nearest import rounded_centroids

    train_centroids(np.eye(64, dtype=np.float32), 2, iterations=1)
    enter("ready", phase)
    time.sleep(0.2)
    enter("gather", phase)
    sample = training_sample(parts, 0, None)
    enter("train", phase)
    centroids = train_centroids(sample, clusters, iterations=2, spherical=spherical)
    enter("round", phase)
    rounded_centroids(centroids)


def enter(name: str, phase: "Synchronized[int]") -> None:
    """Tell the process that samples."""
    phase.value = PHASES.index(name)


def peaks(parts: Sequence[str], clusters: int, spherical: bool) -> dict[str, int]:
    """Bytes beyond the imports by phase, of a new process."""
    context = multiprocessing.get_context("spawn")
    phase = context.Value("i", 0)
    process = context.Process(target=trained, args=(parts, clusters, spherical, phase))
    process.start()
    with TreeSampler(process.pid or 0, lambda: PHASES[phase.value], interval=0.002) as sampler:
        process.join()
    if process.exitcode:
        raise RuntimeError(f"the case ended with {process.exitcode}")
    return {name: sampler.peaks.get(name, 0) - sampler.peaks["ready"] for name in PHASES[2:]}


def line(case: str, spherical: bool, folder: Path) -> None:
    """Prints one line: the bound, the peak of each phase, and the largest of them as a share of the bound."""
    m, k, d = map(int, case.split("x"))
    run = made_rows(folder, MadeParams(m, dimension=d))
    found = peaks([str(file) for file in sorted((run / "rows").glob("*.parquet"))], k, spherical)
    bound = training_bytes(m, k, d)
    share = max(found.values()) / bound
    print(f"{case + (' spherical' if spherical else ''):28s}{bound / 2**20:10,.0f}", end="")
    print("".join(f"{found[name] / 2**20:10,.0f}" for name in PHASES[2:]), end="")
    print(f"{m * d * 4 / 2**20:10,.0f}{share:8.2f}{'  ABOVE' if share > 1 else ''}", flush=True)


def main() -> None:
    """Prints a line for each case of the command line."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--cases", nargs="+", default=CASES, metavar="MxKxD")
    flags.add_argument("--spherical", action="store_true")
    given = flags.parse_args()
    names = ("bound", *PHASES[2:], "sample")
    print(f"{'MiB, beyond the imports':28s}" + "".join(f"{name:>10s}" for name in names) + f"{'share':>8s}")
    with tempfile.TemporaryDirectory() as folder:
        for case in given.cases:
            line(case, given.spherical, Path(folder))


if __name__ == "__main__":
    main()
