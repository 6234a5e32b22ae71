"""How the stages grow with the rows at the paper's ratio of clusters, and what that says of LAION-2B.

``python benchmarks/growth.py [--rows 100000 300000 1000000 3000000] [--memory 8GiB] [--plot growth.svg]``

Runs what `end_to_end.py` runs, with one budget and k = rows / 20,533. Times of a busy machine move more than the CPU
time does, so the projection counts core-seconds. At these sizes k is small and the products with the centroids are
few; their price is measured apart, in this program, at ``--centroids`` of them.
"""

import argparse
import dataclasses
import json
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from end_to_end import STAGES, MadeParams, Measured, linked, made_rows, measured, sampled_rows

from coreset import cluster
from coreset.numeric.kmeans import train_centroids
from coreset.numeric.nearest import nearest_centroids, rounded_centroids

LAION_ROWS, LAION_CLUSTERS = 2_053_332_591, 100_000
ITERATIONS = cluster.ClusterParams().iterations
ASSUMPTIONS = """Assumptions:
- Vectors of {dimension} numbers as measured; rows/ is there already (embedding and download are not counted).
- centroids: {sample} rows a centroid x k^2 x {iterations} passes at the measured price of a float32 product with a
  centroid, plus what is left at the largest size measured, which grows with the rows (hashes of keys).
- clusters: rows x k at the measured price of a screened product, plus what is left at the largest size measured, which
  grows with the rows (reading, sorting, writing).
- dedup: grows with rows x the size of a cluster. That size, weighted by rows, was {size:,.0f} at the largest size
  measured and is taken to be the same: the ratio of clusters to rows is. So is the share of near-duplicates.
- coreset: grows with the rows; one file of the result, as here. Every further 500,000 rows read dedup/ once more.
- A core is a core of this machine; nothing is lost or won by more of them, and disks keep up."""


@dataclass(frozen=True)
class Point:
    """One size: its costs, and the rows of the cluster that a row is in, on average over rows."""

    rows: int
    clusters: int
    cluster_size: float
    costs: Measured


@dataclass(frozen=True)
class Prices:
    """Core-seconds of one row and one centroid: a float32 product while training, a screened product."""

    trained: float
    assigned: float


def measured_point(folder: Path, count: int, memory: str, workers: int, keep: bool) -> Point:
    """Make rows, run the stages on them, and remove both unless the rows are to be kept."""
    params = MadeParams(count)
    source = made_rows(folder, params)
    run = linked(source, source / "run-growth", ("rows",))
    costs = measured(run, memory, sampled_rows(count), workers)
    sizes = sum(np.diff(np.load(file)) for file in sorted((run / "clusters").glob("*.offsets.npy")))
    shutil.rmtree(run if keep else source)
    return Point(count, params.clusters, float(np.square(sizes).sum() / count), costs)


def measured_prices(folder: Path, rows: int, centroids: int) -> Prices:
    """Train two passes on some rows and assign others, with a number of centroids that matters."""
    source = made_rows(folder, MadeParams(rows + 2 * centroids))
    vectors = np.concatenate([np.load(file) for file in sorted((source / "rows").glob("*.npy"))])
    shutil.rmtree(source)
    sample = vectors[rows:].astype(np.float32)
    begun = time.process_time()
    trained = rounded_centroids(train_centroids(sample, centroids, iterations=2))
    between = time.process_time()
    nearest_centroids(vectors[:rows], trained)
    end = time.process_time()
    return Prices((between - begun) / (2 * len(sample) * centroids), (end - between) / (rows * centroids))


def projected(point: Point, prices: Prices, rows: int, clusters: int) -> dict[str, float]:
    """Core-seconds of each stage at another size, as `ASSUMPTIONS` says."""

    def products(k: int, n: int) -> dict[str, float]:
        passes = cluster.SAMPLE_PER_CLUSTER * k * ITERATIONS
        return {"centroids": prices.trained * passes * k, "clusters": prices.assigned * n * k}

    here, there = products(point.clusters, point.rows), products(clusters, rows)
    left = {stage: max(0.0, point.costs.stages[stage].cpu - here.get(stage, 0.0)) for stage in STAGES}
    return {stage: there.get(stage, 0.0) + left[stage] * rows / point.rows for stage in STAGES}


def print_points(points: Sequence[Point]) -> None:
    """Seconds and core-seconds per million rows of each stage, and how fast both grow."""
    print(f"{'rows':>10s}{'k':>6s}{'of a row':>10s}" + "".join(f"{stage:>12s}" for stage in STAGES), end="")
    print(f"{'peak MiB':>10s}   wall seconds (core-seconds per million rows below)")
    for point in points:
        stages = [point.costs.stages[stage] for stage in STAGES]
        print(f"{point.rows:10,}{point.clusters:6,}{point.cluster_size:10,.0f}", end="")
        print("".join(f"{cost.seconds:12.2f}" for cost in stages), end="")
        print(f"{max(cost.peak for cost in stages) / 2**20:10,.0f}")
        print(f"{'':26s}" + "".join(f"{1e6 * cost.cpu / point.rows:12.1f}" for cost in stages))
    for small, large in pairwise(points):
        growth = [exponent(small, large, stage) for stage in STAGES]
        print(f"{f'{small.rows:,} to {large.rows:,}':26s}" + "".join(f"    rows^{power:3.2f}" for power in growth))


def exponent(small: Point, large: Point, stage: str) -> float:
    """The power of the rows by which a stage's CPU time grew."""
    ratio = large.costs.stages[stage].cpu / small.costs.stages[stage].cpu
    return math.log(ratio) / math.log(large.rows / small.rows)


def print_projection(point: Point, prices: Prices, centroids: int) -> None:
    """Core-hours of each stage for LAION-2B, and what they rest on."""
    print(f"\nAt {centroids:,} centroids a product of row and centroid takes, in core-nanoseconds:", end=" ")
    print(f"{1e9 * prices.trained:.1f} in training, {1e9 * prices.assigned:.1f} in assignment")
    print(f"LAION-2B, {LAION_ROWS:,} rows, {LAION_CLUSTERS:,} clusters, from {point.rows:,} rows, in core-hours:")
    found = projected(point, prices, LAION_ROWS, LAION_CLUSTERS)
    for stage, seconds in {**found, "all": sum(found.values())}.items():
        print(f"  {stage:10s}{seconds / 3600:12,.0f}")
    sample = cluster.SAMPLE_PER_CLUSTER
    dimension = MadeParams(1).dimension
    print(ASSUMPTIONS.format(dimension=dimension, sample=sample, iterations=ITERATIONS, size=point.cluster_size))


def plot(points: Sequence[Point], file: Path, memory: str) -> None:
    """Seconds against rows by stage, both logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    sizes = [point.rows for point in points]
    for stage in STAGES:
        axes.loglog(sizes, [point.costs.stages[stage].seconds for point in points], marker="o", label=f"{stage}/")
    guide = [points[0].costs.stages["dedup"].seconds * size / sizes[0] for size in sizes]
    axes.loglog(sizes, guide, linestyle=":", color="grey", label="in proportion to rows")
    axes.set(
        xlabel="rows of 768 numbers", ylabel="seconds", title=f"Time by stage, --memory {memory}, k = rows / 20,533"
    )
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=150)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_000_000, 3_000_000])
    flags.add_argument("--memory", default="8GiB")
    flags.add_argument("--workers", type=int, default=1)
    flags.add_argument("--centroids", type=int, default=10_000, help="at which the price of a product is measured")
    flags.add_argument("--assigned", type=int, default=20_000, help="rows that are assigned to them")
    flags.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "coreset-end-to-end")
    flags.add_argument("--keep-rows", action="store_true", help="leave the rows for a later call")
    flags.add_argument("--plot", type=Path, help="a .png or .svg file")
    flags.add_argument("--json", type=Path, help="write the figures there, too")
    return flags


def main() -> None:
    """Prints the tables, and draws the plot, that the command line asks for."""
    given = arguments().parse_args()
    folder = given.folder.resolve()
    prices = measured_prices(folder, given.assigned, given.centroids)
    sizes = sorted(given.rows)
    points = [measured_point(folder, count, given.memory, given.workers, given.keep_rows) for count in sizes]
    print_points(points)
    print_projection(points[-1], prices, given.centroids)
    if given.plot:
        plot(points, given.plot, given.memory)
    if given.json:
        every = {"prices": dataclasses.asdict(prices), "points": [dataclasses.asdict(point) for point in points]}
        given.json.write_text(json.dumps(every, indent=1) + "\n")


if __name__ == "__main__":
    main()
