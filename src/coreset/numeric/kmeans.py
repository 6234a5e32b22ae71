"""Training of centroids with FAISS: the only module that imports it."""

import faiss
import numpy as np
from jaxtyping import Float32

_CHUNK_BYTES = 128 << 20  # FAISS assigns a chunk of rows at a time; blocks that the sample is gathered by
_ROW_BYTES = 120  # of the sample: key, hashes, order, place, FAISS's assignment


def train_centroids(
    sample: Float32[np.ndarray, "m d"],
    clusters: int,
    *,
    iterations: int = 20,
    seed: int = 0,
    threads: int = 1,
    spherical: bool = False,
) -> Float32[np.ndarray, "k d"]:
    """Centroids of an L2 k-means on the whole sample, raw: neither normalised nor rounded.

    The answer depends on the seed, on the order of the sample and on the number of threads; it repeats on one
    machine only.

    Args:
        sample: m rows, at least as many as clusters. FAISS does not subsample them.
        clusters: k, at least 1.
        iterations: passes over the sample.
        seed: of the initial choice of rows.
        threads: OpenMP threads of FAISS, restored on return.
        spherical: normalise the centroids after each pass.

    Raises:
        ValueError: if there are fewer rows than clusters, or no cluster.

    Source:
        BAAI-DCAI/Dataset-Pruning, LAION: ``faiss.Kmeans``, L2, 20 iterations.

    Example:
        >>> train_centroids(np.array([[0.0, 0.0], [0.0, 1.0]], np.float32), 1)
        array([[0. , 0.5]], dtype=float32)
    """
    m, d = sample.shape
    if not 1 <= clusters <= m:
        raise ValueError(f"cannot train {clusters} centroids on {m} rows")
    kmeans = faiss.Kmeans(
        d,
        clusters,
        niter=iterations,
        seed=seed,
        spherical=spherical,
        min_points_per_centroid=1,  # no warning on stderr
        max_points_per_centroid=m // clusters + 1,  # no subsampling
    )
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        kmeans.train(np.ascontiguousarray(sample, np.float32))
    finally:
        faiss.omp_set_num_threads(before)
    return np.array(kmeans.centroids, np.float32).reshape(clusters, d)


def training_bytes(m: int, k: int, d: int) -> int:
    """Bytes that training on an (m, d) float32 sample needs: the sample, its order, centroids while they are rounded.

    `benchmarks/training_memory.py` compares it with what is used.

    Example:
        >>> training_bytes(1_000_000, 1000, 768) > 1_000_000 * 768 * 4
        True
    """
    return m * (4 * d + _ROW_BYTES) + 24 * k * d + _CHUNK_BYTES
