"""Every number of the report, from one pass over the rows and a few looks at what stands beside them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from coreset.account import Step, funnel
from coreset.engine.errors import InvariantError
from coreset.engine.files import JSON, Location, join, read_json
from coreset.numeric.ranks import score_of
from coreset.results.chains.chains import named_components
from coreset.results.chains.deduplicated import deduplicated
from coreset.results.decisions import check_counts
from coreset.results.fate import EXCLUDED, QUARANTINED, Decided, decided
from coreset.results.report.curve import Curve, curve
from coreset.results.report.facts import ClusterFacts, StageFacts, cluster_facts, stage_facts
from coreset.results.report.histograms import Histogram, histogram
from coreset.results.report.members import Component, components_shown, kept_rows
from coreset.results.report.passed import SCORES, Passed, rows_shown
from coreset.results.report.quarantine_shown import Refused, refused
from coreset.sample import DUPLICATE, FATES, Cut

PAPER = {
    "samples": 2_053_332_591,
    "unlike": 951_700_000,
    "text rank": 190_300_000,
    "centroid rank": 38_070_000,
    "coreset": 2_000_000,
}
"""What is left after each step, in arXiv 2402.11530; of steps after the first the paper gives four digits."""
STAGES = ("rows", "centroids", "clusters", "forest", "dedup", "coreset")


@dataclass(frozen=True)
class Numbers:
    """Every number of the report; `report.json` is made of it.

    Attributes:
        run: the name of the run directory
        seed: of what is drawn to be shown
        root: the folder in which the input lies, as `run.json` says; None if it does not
        threshold: of dedup
        funnel: the steps of the selection
        paper: the paper's counts, by step
        fates: samples by fate; they add up to the first step of the funnel
        scores: histograms: text cosine, centroid cosine, cosine of duplicates to the kept row
        cuts: the highest score that stays and the first below that does not, by window; None where ranks are counted
            within clusters, or at the end of the scale
        curve: what other thresholds keep
        clusters: sizes
        component_sizes: how many components have how many rows
        chained_rows: duplicates whose cosine to the kept row is not above the threshold
        largest: the largest components
        chained: those with the smallest cosine to the kept row
        shown: random rows of each fate
        partners: the kept rows of the duplicates among these, by key
        refused: quarantine by reason
        stages: parameters, hashes and costs
        inputs: how many files the run was made from
        versions: of the libraries
    """

    run: str
    seed: int
    root: str | None
    threshold: float
    funnel: tuple[Step, ...]
    paper: dict[str, int]
    fates: dict[str, int]
    scores: dict[str, Histogram]
    cuts: dict[str, tuple[float | None, float | None] | None]
    curve: Curve
    clusters: ClusterFacts
    component_sizes: dict[int, int]
    chained_rows: int
    largest: tuple[Component, ...]
    chained: tuple[Component, ...]
    shown: dict[str, tuple[dict[str, Any], ...]]
    partners: dict[str, dict[str, Any]]
    refused: tuple[Refused, ...]
    stages: tuple[StageFacts, ...]
    inputs: int
    versions: dict[str, str]

    @property
    def json(self) -> JSON:
        """As JSON."""
        return dataclasses.asdict(self)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every row that is shown, in the order of the page; some more than once."""
        components = [row for component in (*self.largest, *self.chained) for row in component.rows]
        return components + [row for rows in self.shown.values() for row in rows] + list(self.partners.values())

    def params(self, stage: str) -> dict[str, JSON]:
        """The parameters of a stage, by its folder."""
        return next(facts.params for facts in self.stages if facts.name == stage)

    @property
    def samples(self) -> int:
        """What came in."""
        return self.funnel[0].rows

    @property
    def unlike(self) -> int:
        """Rows that dedup keeps."""
        return sum(self.component_sizes.values())

    @property
    def clustered(self) -> int:
        """Rows that dedup looks at."""
        return self.unlike + self.fates[FATES[DUPLICATE]]


def report_numbers(run: Location, seed: int = 0) -> Numbers:
    """Every number of the report of a run.

    Args:
        run: the run directory
        seed: of the rows that are drawn to be shown, and of clusters drawn for the threshold curve

    Raises:
        InputError: The run is not selected to its end.
        InvariantError: The fates do not add up to the funnel.
    """
    by = decided(run)
    stages = [facts for name in STAGES if (facts := stage_facts(run, name))]
    threshold = float(next(facts.params["threshold"] for facts in stages if facts.name == "dedup"))
    passed, refusals = Passed(by, threshold, seed), refused(run)
    fates = checked_fates(run, passed.fates, refusals)
    noted = read_json(join(run, "run.json")) or {}
    return Numbers(
        run=os.path.basename(os.path.abspath(run)),
        seed=seed,
        root=noted.get("root"),
        threshold=threshold,
        funnel=tuple(funnel(run)),
        paper=PAPER,
        fates=fates,
        scores=score_histograms(passed),
        cuts={name: cut_scores(cut) for name, cut in (("text", by.cuts.text), ("centroid", by.cuts.centroid))},
        curve=curve(by, seed),
        clusters=cluster_facts(passed.clusters),
        component_sizes=dict(sorted(passed.component_sizes.items())),
        chained_rows=passed.below,
        largest=components_of(by, passed.largest.table, threshold),
        chained=components_of(by, passed.chained.table, threshold),
        shown={fate: tuple(rows_shown(first.table)) for fate, first in passed.shown.items()},
        partners=kept_rows(by.dedup.locations(), passed.shown[FATES[DUPLICATE]].table),
        refused=tuple(refusals),
        stages=tuple(stages),
        inputs=len((read_json(join(run, "rows", "plan.json")) or {}).get("inputs", {})),
        versions=dict(sorted(noted.get("versions", {}).items())),
    )


def checked_fates(run: Location, counts: Mapping[str, int], refusals: Sequence[Refused]) -> dict[str, int]:
    """Samples by fate.

    Args:
        run: the run directory
        counts: rows by fate
        refusals: what was quarantined

    Raises:
        InvariantError: They do not add up to the funnel, step by step.
    """
    fates = {name: counts[name] for name in (*FATES, EXCLUDED)}
    fates[QUARANTINED] = sum(entry.samples for entry in refusals)
    check_counts(run, fates)
    steps = {step.name: step.rows for step in funnel(run)}
    kept, duplicate, text_high, text_low, centroid_high, centroid_low, not_sampled, no_caption = FATES
    in_both = fates[kept] + fates[not_sampled]
    in_text = in_both + fates[centroid_high] + fates[centroid_low]
    unlike = in_text + fates[text_high] + fates[text_low] + fates[no_caption]
    embedded = unlike + fates[duplicate] + fates[EXCLUDED]
    found = {"centroid rank": in_both, "text rank": in_text, "unlike": unlike, "embedded": embedded}
    for name, total in found.items():
        if total != steps[name]:
            raise InvariantError(
                f"The fates make {total:,} rows of {name!r}, but the funnel has {steps[name]:,}; please report this "
                f"with {run}/coreset/stage.json."
            )
    return fates


def score_histograms(passed: Passed) -> dict[str, Histogram]:
    """The histograms of the scores, each with what it is before and after a step."""
    groups = {"text": SCORES[:2], "centroid": SCORES[2:4], "kept": SCORES[4:]}
    return {name: histogram({one: passed.scores[one] for one in of}) for name, of in groups.items()}


def cut_scores(cut: Cut | None) -> tuple[float | None, float | None] | None:
    """The scores at which a window begins, and at which what is below it begins."""
    if cut is None:
        return None
    first, end = cut
    return (score_of(first.order) if first else None, score_of(end.order) if end else None)


def components_of(by: Decided, table: pa.Table | None, threshold: float) -> tuple[Component, ...]:
    """The components that some rows belong to, in the rows' order; components of one row are nothing to look at."""
    rows = [row for row in rows_shown(table) if row["component_size"] != 1]
    chosen = [(row["kept_key"], row["cluster"]) for row in rows]
    named = named_components(deduplicated(by.run), [(cluster, key) for key, cluster in chosen])
    weakest = {key: one.weakest for (_, key), one in named.items()}
    return tuple(components_shown(by.dedup.locations(), chosen, threshold, weakest))
