"""Runs that begin with rows/ made of given vectors: small, full of ties, copies, chains and singletons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from coreset import rows
from coreset.cluster import ClusterParams, centroids_stage, clusters_stage, resolved
from coreset.dedup import DedupParams, dedup_stage
from coreset.engine.local import in_process
from coreset.engine.stage import Execute, Parts, Stage, Task, complete
from coreset.quarantine import ASIDES, write_quarantine
from coreset.sample import SampleParams, sample_stage
from coreset.sources.pairs import Reject

MEMORY = 1 << 28


@dataclass(frozen=True)
class GivenParams:
    """Identifies given rows."""

    stage: ClassVar[str] = "embed"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Given:
    """Rows as an encoder could have left them; a text cosine of NaN is that of a row without a caption.

    `texts` are values by column and key, such as captions and urls; `rejects` go into quarantine with the first part.
    """

    keys: list[str]
    vectors: np.ndarray
    text_cosine: np.ndarray
    centroids: np.ndarray
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)


def write_given(given: Given, chosen: Sequence[int], name: str, part) -> dict[str, int]:
    vectors = rows.VectorsWriter(part.file(rows.VECTORS), len(chosen), given.vectors.shape[1])
    vectors.write(given.vectors[chosen])
    vectors.close()
    keys = [given.keys[i] for i in chosen]
    columns = {
        "key": keys,
        "url": [None] * len(keys),
        "caption": [f"caption of {key}" for key in keys],
        "text_cosine": pa.array(given.text_cosine[chosen], mask=np.isnan(given.text_cosine[chosen])),
        "key_hash": rows.key_hashes(keys),
        "source": [name] * len(keys),
        "source_row": np.arange(len(keys)),
        "vector_row": np.arange(len(keys)),
    }
    columns |= {name: [None] * len(keys) for name in rows.ROWS.names if name not in columns}
    columns |= {name: [texts.get(key) for key in keys] for name, texts in given.texts.items()}
    rejects = given.rejects if part.name == "00000" else []
    write_quarantine("embed", rejects, name, part)
    table = rows.PartTable(part, rows.ROWS)
    table.write(pa.table(columns, schema=rows.ROWS))
    refused = sum(reject.rows for reject in rejects)
    return table.close({"samples": len(keys) + refused, "rows": len(keys), "quarantined": refused})


def rows_of(folder: Path, given: Given, parts: int, execute: Execute = in_process) -> Parts:
    """rows/ of given vectors, dealt to some parts."""

    def tasks() -> Iterator[Task]:
        for number in range(parts):
            chosen = list(range(number, len(given.keys), parts))
            name = f"{number:05d}.tar"
            yield Task(f"{folder}/rows/{number:05d}", write_given, (given, chosen, name), chosen)

    stage = Stage(f"{folder}/rows", GivenParams(), tasks, None, rows.receipt_of, aside=ASIDES)
    return complete(stage, execute)


def selected_from(
    folder: Path,
    given: Given,
    dedup: DedupParams,
    sample: SampleParams,
    parts: int = 2,
    execute: Execute = in_process,
    memory: int = MEMORY,
) -> tuple[Parts, Parts, Parts]:
    """clusters/, dedup/ and coreset/ of given vectors and centroids."""
    embedded = rows_of(folder, given, parts)
    file = f"{folder}/given.npy"
    np.save(file, given.centroids)
    params = resolved(ClusterParams(centroids=file), embedded, f"{folder}/centroids")
    centroids = complete(centroids_stage(f"{folder}/centroids", embedded, params, file, execute, memory), execute)
    clusters = complete(clusters_stage(f"{folder}/clusters", embedded, centroids, params, memory), execute)
    survivors = complete(dedup_stage(f"{folder}/dedup", clusters, centroids, dedup, memory), execute)
    coreset = complete(sample_stage(f"{folder}/coreset", survivors, sample, execute, memory), execute)
    return clusters, survivors, coreset


def random_given(seed: int, most: int = 40, dimension: int = 6) -> Given:
    """Vectors with copies, near-copies, a chain and singletons; scores and centroids with ties."""
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, most + 1))
    kind = draw.integers(0, 4)
    base = draw.normal(size=(max(1, count // 3), dimension))
    if kind == 0:
        base = base[:1]
    x = base[draw.integers(0, len(base), count)] + draw.choice([0, 0, 0.05, 0.5], (count, 1)) * draw.normal(
        size=(count, dimension)
    )
    if kind == 1:
        angle = np.deg2rad(30) * np.arange(count)
        x = np.stack([np.cos(angle), np.sin(angle), *np.zeros((dimension - 2, count))], axis=1)
    if kind == 2:
        x = draw.integers(-1, 2, (count, dimension)).astype(float)
        x[np.abs(x).sum(1) == 0, 0] = 1
    vectors = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)
    keys = [f"{'é' if i % 3 else ''}{i:03d}" for i in draw.permutation(10 * count)[:count]]
    text = draw.choice([-0.0, 0.0, 0.25, *draw.normal(size=3)], count).astype(np.float32)
    centroids = draw.integers(-1, 2, (int(draw.integers(1, 4)), dimension)).astype(np.float32) / 2
    return Given(keys, vectors, text, centroids)
