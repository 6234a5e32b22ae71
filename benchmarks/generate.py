"""Seeded sets of vectors that behave like CLIP embeddings, written as a stream.

``python benchmarks/generate.py OUT --rows 1000000 --clusters 49`` writes ``OUT/00000.npy`` (float16 unit rows) and
``OUT/00000.parquet`` (key, url, caption, text_cosine) and so on, at most 65,536 rows held at a time.

The model of a row: ``x = normalise(sqrt(s) * m + sqrt(1 - s) * z)``. m is the direction of the row's cluster (sizes
follow Zipf's law), s the mean cosine of two rows of a cluster, z a point of an anisotropic normal distribution
whose variances fall like ``1 / (i + 8)`` over a random orthonormal basis. Some rows are near-duplicates of a first
row: groups have power-law sizes, and members lie at cosines 0.88 to 0.999 to the first; some are exact copies.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float16, Int64

WINDOW = 65_536  # rows made at a time; the members of a duplicate group lie in one window


@dataclass(frozen=True)
class Kind:
    """How near the rows of a cluster are: ``cosine`` of two strangers, ``repeated`` share of rows in groups."""

    cosine: float = 0.60
    repeated: float = 0.5
    copied: float = 0.1  # share of the repeated rows that are exact copies
    exponent: float = 2.2  # of the power law of group sizes
    isotropic: bool = False


KINDS = {
    "isotropic": Kind(cosine=0.0, repeated=0.5, isotropic=True),  # the easiest case for every method
    "sparse": Kind(repeated=0.05),
    "power-law": Kind(),
    "dense": Kind(cosine=0.80, repeated=0.5),  # strangers are often edges: components run together
}


@dataclass(frozen=True)
class Rows:
    """One window: the vectors, the cluster of each, and the row that each repeats (itself if none)."""

    vectors: Float16[np.ndarray, "n d"]
    cluster: Int64[np.ndarray, "n"]
    first: Int64[np.ndarray, "n"]


def windows(n: int, d: int, kind: Kind, *, clusters: int = 1, seed: int = 0) -> Iterator[Rows]:
    """Windows of rows; the same for the same arguments, and the first windows the same for any larger n.

    Example:
        >>> [len(rows.vectors) for rows in windows(70_000, 4, KINDS["sparse"])]
        [65536, 4464]
    """
    torch_rng = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(d, d, generator=torch_rng))[0]
    spread = torch.ones(d) if kind.isotropic else 1 / (torch.arange(d) + 8.0)
    shape = basis * torch.sqrt(spread / spread.sum())
    means = torch.nn.functional.normalize(torch.randn(clusters, d, generator=torch_rng) @ shape.T, dim=1)
    for window, start in enumerate(range(0, n, WINDOW)):
        rows = _window(np.random.default_rng([seed, window]), means, shape, kind)
        stop = min(WINDOW, n - start)
        yield Rows(rows.vectors[:stop], rows.cluster[:stop], rows.first[:stop])


def one_cluster(n: int, d: int, kind: str, *, seed: int = 0) -> Float16[np.ndarray, "n d"]:
    """The rows of one cluster, in memory."""
    return np.concatenate([rows.vectors for rows in windows(n, d, KINDS[kind], seed=seed)])


def _window(rng: np.random.Generator, means: torch.Tensor, shape: torch.Tensor, kind: Kind) -> Rows:
    first = _first_of_group(rng, kind)
    n, d = len(first), len(shape)
    torch_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
    weight = 1 / np.arange(1, len(means) + 1)
    cluster = rng.choice(len(means), size=n, p=weight / weight.sum())[first]
    z = torch.randn(n, d, generator=torch_rng) @ shape.T
    x = np.sqrt(kind.cosine) * means[torch.from_numpy(cluster)] + np.sqrt(1 - kind.cosine) * z
    x = torch.nn.functional.normalize(x, dim=1)
    cosine = torch.from_numpy(1 - 0.12 * rng.random(n) ** 2).float()[:, None]
    noise = torch.nn.functional.normalize(torch.randn(n, d, generator=torch_rng) @ shape.T, dim=1)
    near = cosine * x[torch.from_numpy(first)] + torch.sqrt(1 - cosine**2) * noise
    later = torch.from_numpy(first != np.arange(n))[:, None]
    x = torch.nn.functional.normalize(torch.where(later, near, x), dim=1).half()
    copied = (first != np.arange(n)) & (rng.random(n) < kind.copied)
    x[torch.from_numpy(copied)] = x[torch.from_numpy(first[copied])]
    return Rows(x.numpy(), cluster, first)


def _first_of_group(rng: np.random.Generator, kind: Kind) -> Int64[np.ndarray, "n"]:
    """For each row of a window the row that it repeats; groups are scattered over the window."""
    sizes = np.minimum(rng.zipf(kind.exponent, WINDOW) + 1, 2000)
    grouped = np.cumsum(sizes) <= kind.repeated * WINDOW
    group = np.repeat(np.arange(grouped.sum()), sizes[grouped])
    place = rng.permutation(WINDOW)
    first = np.arange(WINDOW)
    members = place[: len(group)]
    starts = np.concatenate([[0], np.cumsum(sizes[grouped])[:-1]])
    first[members] = members[starts[group]]
    return first


def write_parts(out: Path, n: int, d: int, kind: Kind, *, clusters: int, seed: int) -> None:
    """Writes one part of vectors and one of captions and keys for each window."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    for part, rows in enumerate(windows(n, d, kind, clusters=clusters, seed=seed)):
        count = len(rows.vectors)
        np.save(out / f"{part:05d}.npy", rows.vectors)
        keys = [f"{part:05d}{row:05d}" for row in range(count)]
        cosine = np.random.default_rng([seed, part, 1]).normal(0.25, 0.05, count).astype(np.float32)
        table = {
            "key": keys,
            "url": [f"https://example.org/{key}.jpg" for key in keys],
            "caption": [f"subject {c}, picture {f}" for c, f in zip(rows.cluster, rows.first, strict=True)],
            "text_cosine": cosine,
        }
        pq.write_table(pa.table(table), out / f"{part:05d}.parquet")


def main() -> None:
    """Writes the set that the command line describes."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("out", type=Path)
    flags.add_argument("--rows", type=int, default=100_000)
    flags.add_argument("--dimensions", type=int, default=768)
    flags.add_argument("--clusters", type=int, default=5)
    flags.add_argument("--kind", choices=sorted(KINDS), default="power-law")
    flags.add_argument("--seed", type=int, default=0)
    given = flags.parse_args()
    kind = KINDS[given.kind]
    write_parts(given.out, given.rows, given.dimensions, kind, clusters=given.clusters, seed=given.seed)


if __name__ == "__main__":
    main()
