"""What the report says of the run as a whole: its stages, and how its rows are spread over the clusters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from coreset.engine.files import JSON, Location, join, read_json
from coreset.engine.stage import open_parts
from coreset.results.report.passed import Clusters

LARGEST_CLUSTERS = 10
"""That are listed."""


@dataclass(frozen=True)
class StageFacts:
    """A stage as it stands.

    Attributes:
        name: its folder
        made_by: the name of its parameters
        rule: version of its rule
        params: as `plan.json` says them
        hash: of what it holds
        cost: what `run.json` notes: when it began, seconds, host, workers, peak memory
    """

    name: str
    made_by: str
    rule: int
    params: dict[str, JSON]
    hash: str
    cost: dict[str, JSON]


@dataclass(frozen=True)
class ClusterFacts:
    """How the rows are spread over the clusters.

    Attributes:
        clusters: that there are
        empty: of those, that hold no row
        imbalance: k * sum(n_i^2) / n^2: 1 if all are equally large, k if one holds all rows
        sizes: how many clusters have how many rows
        largest: number, rows, rows after dedup and rows of the coreset of the largest
    """

    clusters: int
    empty: int
    imbalance: float
    sizes: dict[int, int]
    largest: tuple[tuple[int, int, int, int], ...]


def cluster_facts(clusters: Clusters) -> ClusterFacts:
    """How the rows are spread over the clusters.

    Example:
        >>> found = cluster_facts(Clusters(np.array([3, 1, 0]), np.array([2, 1, 0]), np.array([1, 0, 0])))
        >>> found.empty, found.imbalance, found.largest[0]
        (1, 1.875, (0, 3, 2, 1))
    """
    sizes = clusters.rows
    total = int(sizes.sum())
    squares = sum(
        int(size) ** 2 * int(number) for size, number in zip(*np.unique(sizes, return_counts=True), strict=True)
    )
    order = np.lexsort((np.arange(len(sizes)), -sizes))[:LARGEST_CLUSTERS]
    largest = ((int(c), int(sizes[c]), int(clusters.unlike[c]), int(clusters.chosen[c])) for c in order if sizes[c])
    found, numbers = np.unique(sizes[sizes > 0], return_counts=True)
    return ClusterFacts(
        len(sizes),
        int(np.count_nonzero(sizes == 0)),
        len(sizes) * squares / total**2 if total else 0.0,
        dict(zip(found.tolist(), numbers.tolist(), strict=True)),
        tuple(largest),
    )


def stage_facts(run: Location, name: str) -> StageFacts | None:
    """A complete stage as it stands; None if there is none."""
    parts, plan = open_parts(join(run, name)), read_json(join(run, name, "plan.json"))
    if parts is None or plan is None:
        return None
    costs: Mapping[str, JSON] = (read_json(join(run, "run.json")) or {}).get("stages", {})
    return StageFacts(name, plan["stage"], plan["rule"], plan["params"], parts.hash, costs.get(name, {}))
