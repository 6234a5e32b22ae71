"""What a run will cost, by figures that were measured; all of them stand here, with their source.

They hold for 2 cores of one machine, 768 numbers a row and one worker, and are scaled by rows and numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from coreset.numeric.kmeans import training_bytes

BASIS = "estimate, on 2 cores"
"""What is said with every estimate."""
DIMENSION = 768
"""Numbers a row in all measurements, and in the vectors of ViT-L/14, the default of `embed`."""
LARGEST = 10_000_000
"""Rows of the largest run measured: docs/benchmarks.md, "How it grows"."""
START_SECONDS = 3.0
"""Start of the program: docs/benchmarks.md, "A forest for every threshold"."""
IMPORT_BYTES_A_SECOND = 1.62e9 / 6.0
"""Files on the disk, the slower of two runs: docs/scaling.md, "Measured"."""
SELECT_SECONDS_A_ROW = (87 + 298 + 589 + 22) / 10_000_000
"""Centroids, clusters, dedup and sample of ten million rows: docs/benchmarks.md, "How it grows"."""
ASSIGN_SECONDS = 9.6e-9 / 2
"""Of one product of a row with a centroid on two cores: docs/scaling.md, "LAION-2B"."""
TRAIN_SECONDS = 18.5e-9 / 2
"""The same while centroids are trained: docs/benchmarks.md, "Training centroids"."""
TRAIN_PASSES = 20
TRAIN_ROWS = 256
"""Rows of the training sample for each centroid: docs/scaling.md, "What follows from the code"."""
ROWS_A_CLUSTER = 20_533
"""The default of `cluster.clusters`."""
PEAK_BYTES = 1096 << 20
"""Most memory of one worker in any run with 2 GiB or more: docs/benchmarks.md, "A million rows, end to end"."""
NUMBER_BYTES = 2
"""Of a number in `rows/` and in `clusters/`: docs/scaling.md, "What follows from the code"."""


@dataclass(frozen=True)
class Estimate:
    """What a run with the default parameters costs on two cores.

    Attributes:
        basis: what the figures hold for
        import_seconds: stage 1 for vectors; None for tars, since embedding depends on model and device
        select_seconds: all later stages
        memory: bytes at the peak
        disk: bytes of the vectors in the run directory; tables come on top
        extrapolated: whether the input is larger than any that was measured
    """

    basis: str
    import_seconds: float | None
    select_seconds: float
    memory: int
    disk: int
    extrapolated: bool


def estimated(rows: int, dimension: int, read_bytes: int | None, copied: int) -> Estimate:
    """What a run will cost.

    Args:
        rows: of the input
        dimension: numbers of a vector
        read_bytes: what `import` reads; None for tars
        copied: rows whose vectors are written to `rows/`, because the user's file cannot be used as it lies

    Example:
        >>> found = estimated(1_000_000, 768, 1_620_000_000, 0)
        >>> round(found.import_seconds), round(found.select_seconds), found.disk
        (9, 103, 1536000000)
    """
    clusters = max(1, rows // ROWS_A_CLUSTER)
    sample = min(rows, TRAIN_ROWS * clusters)
    beyond = max(0, clusters - LARGEST // ROWS_A_CLUSTER)  # what the price of a row has not in it already
    products = rows * beyond * ASSIGN_SECONDS + sample * beyond * TRAIN_PASSES * TRAIN_SECONDS
    seconds = (rows * SELECT_SECONDS_A_ROW + products) * dimension / DIMENSION
    return Estimate(
        BASIS,
        None if read_bytes is None else START_SECONDS + read_bytes / IMPORT_BYTES_A_SECOND,
        START_SECONDS + seconds,
        max(PEAK_BYTES, training_bytes(sample, clusters, dimension)),
        (rows + copied) * dimension * NUMBER_BYTES,
        rows > LARGEST,
    )
