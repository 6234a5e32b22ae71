"""The plan for LAION-2B, from its shape alone: ``python benchmarks/laion_shape.py [--clusters 100002 50000]``.

Every stage is planned by the functions that plan it in a run, from counts: 2,053,332,591 rows in 232,320 tars. No pair
is there, no vector is read. Printed are the parts, the time and memory that planning took, what the largest task needs,
and what each stage moves; requests are computed from the reading pattern, as for object storage. Constants are measured
by the program that stands beside them, or say that they are assumed.
"""

import argparse
import math
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from coreset import keys, sample, slices
from coreset.cluster import SAMPLE_PER_CLUSTER, ClusterParams, clusters_stage, default_clusters
from coreset.dedup import HELD_BYTES
from coreset.embed import EmbedParams, embed_stage
from coreset.encoder.choice import Choice
from coreset.engine.local import in_process
from coreset.engine.names import Numbered
from coreset.engine.stage import Parts
from coreset.engine.summaries import Summaries
from coreset.numeric.kmeans import training_bytes
from coreset.numeric.ranks import Answer, OrderKey, Prefix, Question, keys_at_ranks, window_counts
from coreset.rows import GROUP_ROWS, vectors_size
from coreset.sources.shards import Shard

ROWS, TARS, DIMENSION = 2_053_332_591, 232_320, 768
TASK_MEMORY = 4 << 30
BITS = 96
"""Of an order key by a score: 32 of the score, 64 of the hash of the key."""

AT = 100_000
CORE_HOURS = {"centroids": 264.0, "products": 547.0, "clusters": 13.0, "dedup": 61.0, "coreset": 1.0}
"""Measured and extrapolated by growth.py for `AT` clusters, on a core of its machine."""
SKEW = math.sqrt(math.log(29_000 / 20_533))
"""Of the sizes of clusters, taken as log-normal; growth.py measured 29,000 rows in the cluster of an average row."""
HEAVY_SKEW = 1.5
"""Assumed: sizes far more uneven than those measured, to see what a task then needs."""
TAR_BYTES = 30_000
"""Assumed: of a pair in its tar, with a picture of 256 pixels."""
TABLE_BYTES = 120
"""Assumed: of a row in the Parquet files, packed; most of it url and caption."""
KEY_BYTES = 16
"""Of a key of nine to twelve characters in memory, with its offset."""
ORDER_BYTES = 30
"""Assumed: of the columns of a row that the ranks are found from, packed."""
PAIRS_A_SECOND = 1_000
"""Assumed: that one GPU embeds with ViT-L/14; nobody has measured it here."""
KEPT = 0.5
"""Assumed: share of the rows that dedup keeps."""
BLOCK = 8 << 20
"""Assumed: bytes of one range request for what is read from end to end."""
PRICES = {"core-hour": 0.05, "GPU-hour": 2.5, "million GET": 0.4, "million PUT": 5.0, "TB-month": 23.0}
"""Assumed, in dollars."""


@dataclass(frozen=True)
class Moved:
    """What a stage reads and writes, and by how many requests."""

    parts: int
    read: float
    written: float
    gets: float
    puts: float
    gpu_hours: float = 0.0


def rows_of(folder: str) -> Parts:
    """`rows/` as it would be: a part for each tar, all of about the same size."""
    summaries, (each, more) = Summaries(), divmod(ROWS, TARS)
    for number in range(TARS):
        summaries.append({"rows": each + (number < more)})
    summaries.named(Numbered(TARS))
    return Parts(folder, summaries.names, summaries.sums(), "", None, {}, summaries)


def cluster_sizes(clusters: int, skew: float) -> np.ndarray:
    """Rows of each cluster: log-normal, all rows together."""
    drawn = np.random.default_rng(0).lognormal(0, skew, clusters)
    ends = np.rint(np.cumsum(drawn) / drawn.sum() * ROWS).astype(np.int64)
    return np.diff(ends, prepend=0)


def range_bytes(rows: int) -> int:
    """What a task of dedup holds of its rows, besides tiles of vectors."""
    return rows * (HELD_BYTES + KEY_BYTES)


class EvenRows:
    """Any number of rows whose order keys lie evenly: the i-th is i 2^96 / count. Answers passes over them exactly."""

    def __init__(self, count: int) -> None:
        self.count, self.passes = count, 0

    def key(self, rank: int) -> OrderKey:
        """The order key at a rank."""
        value = (rank << BITS) // self.count
        return OrderKey(value >> 64, value & (2**64 - 1), b"")

    def below(self, value: int) -> int:
        """How many rows have a smaller key."""
        return -(-(value * self.count) >> BITS)

    def look(self, questions: tuple[Question, ...]) -> tuple[Answer, ...]:
        """One pass."""
        self.passes += 1
        return tuple(self.answer(question.prefix, question.gather) for question in questions)

    def answer(self, prefix: Prefix, gather: bool) -> Answer:
        """What all rows that begin with a prefix answer."""
        left = BITS - prefix.bits
        if gather:
            ranks = range(self.below(prefix.known << left), self.below(prefix.known + 1 << left))
            return [self.key(rank) for rank in ranks]
        edges = ((prefix.known << 16) + digit << left - 16 for digit in range((1 << 16) + 1))
        return np.diff(np.fromiter(map(self.below, edges), np.int64, (1 << 16) + 1))


def found_ranks(ranks: list[int], count: int) -> int:
    """Find the keys at some ranks of evenly lying rows, check them, and say how many passes that took."""
    even = EvenRows(count)
    found = keys_at_ranks(ranks, count, 32, even.look)
    if found != [None if rank == count else even.key(rank) for rank in ranks]:
        raise AssertionError(f"ranks {ranks} of {count}")
    return even.passes


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print what a step took."""
    began, before = time.perf_counter(), peak()
    yield
    print(f"  {what}: {time.perf_counter() - began:.1f} s, peak memory {(peak() - before) / 2**20:+,.0f} MiB")


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def planned(clusters: int) -> dict[str, Moved]:
    """Plan every stage, print what planning took, and give what each stage moves."""
    print(f"{ROWS:,} rows in {TARS:,} tars, {clusters:,} clusters")
    with timed(f"rows/: {TARS:,} tasks"):
        shards = [Shard(f"{n:06d}.tar", f"/data/laion2b/{n:06d}.tar", TAR_BYTES * ROWS // TARS) for n in range(TARS)]
        choice = Choice("ViT-L-14", "openai", True, "cuda", "float16", 256, 8)
        stage = embed_stage("nowhere/rows", shards, EmbedParams(dimension=DIMENSION), choice, in_process)
        tars = sum(1 for _ in stage.tasks())
    ranges = -(-ROWS // keys.RANGE_ROWS)
    with timed("clusters/"):
        parts = rows_of("nowhere/rows")
        params = ClusterParams(clusters=clusters)
        centroids = Parts("nowhere/centroids", ("centroids",), {"dimension": DIMENSION}, "", None, {}, {})
        groups = sum(1 for _ in clusters_stage("nowhere/clusters", parts, centroids, params, TASK_MEMORY).tasks())
    print(f"    {groups:,} tasks of about {ROWS // groups:,} rows")
    with timed("dedup/"):
        found = list(slices.ranges_of(cluster_sizes(clusters, SKEW)))
    for skew in (SKEW, HEAVY_SKEW):
        sizes = cluster_sizes(clusters, skew)
        if int(sizes.sum()) != ROWS:
            raise AssertionError("rows are lost")
        ends = np.cumsum(sizes, dtype=np.int64)
        largest = max(int(ends[b - 1] - (ends[a - 1] if a else 0)) for a, b in slices.ranges_of(sizes))
        print(
            f"    skew {skew:.2f}: largest cluster {int(sizes.max()):,} rows, largest task {largest:,} rows, which "
            f"holds {range_bytes(largest) / 2**20:,.0f} MiB besides its tiles"
        )
    with timed("coreset/"):
        survivors = int(ROWS * KEPT)
        low, high = window_counts((40, 60), survivors)
        passes = 1 + found_ranks([low, high], survivors)
        in_text = high - low
        low, high = window_counts((15, 35), in_text)
        passes += found_ranks([low, high], in_text)
        wanted = sample.SampleParams().n
        ends_ = list(range(sample.FILE_ROWS, wanted + 1, sample.FILE_ROWS))
        passes += found_ranks(ends_, high - low)
        searches = found_ranks([SAMPLE_PER_CLUSTER * clusters], ROWS)
    print(f"    {passes} passes over dedup/, {len(ends_)} files; {searches} passes over rows/ for the training sample")
    print(f"  centroids: {training_bytes(SAMPLE_PER_CLUSTER * clusters, clusters, DIMENSION) / 2**30:.1f} GiB to train")
    return moved(tars, ranges, groups, len(found), clusters, passes, len(ends_), searches)


def moved(
    tars: int, ranges: int, groups: int, tasks: int, clusters: int, passes: int, files: int, searches: int
) -> dict[str, Moved]:
    """What each stage reads and writes; a table is a footer and its columns, two requests."""
    vectors, tables = vectors_size(ROWS, DIMENSION), TABLE_BYTES * ROWS
    sample_bytes = vectors_size(SAMPLE_PER_CLUSTER * clusters, DIMENSION)
    slice_groups = 1 + (slices.TASK_ROWS / groups - 1) / GROUP_ROWS
    sliced = tasks * groups * slice_groups * GROUP_ROWS
    return {
        "rows": Moved(
            tars,
            TAR_BYTES * ROWS,
            vectors + tables,
            tars * (2 + TAR_BYTES * ROWS / TARS / BLOCK),
            3 * tars,
            ROWS / PAIRS_A_SECOND / 3600,
        ),
        "  keys": Moved(ranges, ranges * 8 * ROWS, 0, 2 * ranges * tars, 0),
        "centroids": Moved(
            1, (searches + 1) * 24 * ROWS + sample_bytes, 4 * clusters * DIMENSION, tars * (2 * searches + 3), 2
        ),
        "clusters": Moved(
            groups,
            3 * vectors + 2 * tables,
            vectors + tables,
            tars * (3 * -(-vectors // TARS // BLOCK) + 4),
            4 * groups,
        ),
        "dedup": Moved(tasks, vectors + (TABLE_BYTES + 20) * sliced, 1.2 * tables, 7 * tasks * groups, tasks),
        "coreset": Moved(
            files,
            passes * ORDER_BYTES * ROWS + files * (ORDER_BYTES + TABLE_BYTES) * ROWS,
            400e6,
            2 * tasks * (passes + 2 * files),
            files,
        ),
    }


def core_hours(stage: str, clusters: int) -> float:
    """Of a stage, for a number of clusters: training grows with its square, assigning with it, comparing falls."""
    share = clusters / AT
    if stage == "clusters":
        return CORE_HOURS["clusters"] + CORE_HOURS["products"] * share
    return CORE_HOURS.get(stage, 0.0) * {"centroids": share**2, "dedup": 1 / share}.get(stage, 1.0)


def print_moved(found: dict[str, Moved], clusters: int) -> None:
    """A line for each stage, and what it costs at the assumed prices."""
    print(
        f"{'stage':11s}{'parts':>9s}{'read TB':>9s}{'written TB':>12s}{'million GET':>13s}{'million PUT':>13s}", end=""
    )
    print(f"{'core-hours':>12s}{'GPU-hours':>11s}{'dollars':>9s}")
    total = 0.0
    for name, stage in found.items():
        cores = core_hours(name, clusters)
        dollars = (
            cores * PRICES["core-hour"]
            + stage.gpu_hours * PRICES["GPU-hour"]
            + stage.gets / 1e6 * PRICES["million GET"]
            + stage.puts / 1e6 * PRICES["million PUT"]
        )
        total += dollars
        print(f"{name:11s}{stage.parts:9,}{stage.read / 1e12:9.1f}{stage.written / 1e12:12.2f}", end="")
        print(f"{stage.gets / 1e6:13.2f}{stage.puts / 1e6:13.3f}{cores:12,.0f}{stage.gpu_hours:11,.0f}{dollars:9,.0f}")
    kept = sum(stage.written for stage in found.values()) / 1e12
    keeping = kept * PRICES["TB-month"]
    print(f"all: {total:,.0f} dollars, and {keeping:,.0f} a month to keep the {kept:.1f} TB that were written")


def main() -> None:
    """Plan for each number of clusters, and print."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--clusters", type=int, nargs="+", default=[default_clusters(ROWS), 50_000])
    for clusters in flags.parse_args().clusters:
        print_moved(planned(clusters), clusters)


if __name__ == "__main__":
    main()
