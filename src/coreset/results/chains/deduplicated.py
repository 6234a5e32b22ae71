"""A run that is deduplicated, whether or not it is selected to its end."""

from __future__ import annotations

from dataclasses import dataclass

from coreset.dedup import DedupParams
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join, read_json
from coreset.engine.stage import Parts, open_parts


@dataclass(frozen=True)
class Deduplicated:
    """Stages 2 and 3 of a run.

    Attributes:
        run: the run directory
        clusters: stage 2
        dedup: stage 3, made from these clusters
        params: of stage 3
    """

    run: Location
    clusters: Parts
    dedup: Parts
    params: DedupParams


def deduplicated(run: Location) -> Deduplicated:
    """`clusters/` and the `dedup/` that was made from it.

    Raises:
        InputError: One is not there or not complete, or they do not belong together.
    """
    clusters, dedup = open_parts(join(run, "clusters")), open_parts(join(run, "dedup"))
    if clusters is None or dedup is None or dedup.source != clusters.hash:
        raise InputError(f"{run} has no complete dedup/ of its clusters/; run `coreset dedup` first, or name a run.")
    return Deduplicated(
        run, clusters, dedup, DedupParams(**(read_json(join(dedup.folder, "plan.json")) or {})["params"])
    )
