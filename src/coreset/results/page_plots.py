"""The plots of a report, each with its heading, its legend and its numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from coreset.results import plots
from coreset.results.histograms import Histogram
from coreset.results.report_numbers import Numbers
from coreset.results.shown import cosine, count, percent


@dataclass(frozen=True)
class PlotShown:
    """A plot as it stands in the page.

    Attributes:
        svg: the drawing
        label: what it shows, for whoever does not see it
        title: above it
        legend: colours and what they mean
        sentences: below the title
        head: of the table of its numbers
        lines: of that table
    """

    svg: Markup
    label: str
    title: str
    legend: tuple[tuple[str, str], ...]
    sentences: tuple[str, ...]
    head: tuple[str, ...]
    lines: list[tuple[str, ...]]


def score_plots(numbers: Numbers) -> list[PlotShown]:
    """The histograms of the scores."""
    params = next(facts.params for facts in numbers.stages if facts.name == "coreset")
    text, centroid, kept = (numbers.scores[name] for name in ("text", "centroid", "kept"))
    found = [
        windowed("text", "Picture and caption", "text cosine", text, numbers, params["text_rank"]),
        windowed("centroid", "Picture and centroid", "centroid cosine", centroid, numbers, params["centroid_rank"]),
    ]
    return [*found, duplicates_plot(kept, numbers)] if sum(kept.counts["kept, of duplicates"]) else found


def windowed(
    name: str, title: str, label: str, scores: Histogram, numbers: Numbers, percents: Sequence[float]
) -> PlotShown:
    """A histogram with the window that stays."""
    (before, after), cut = scores.counts, numbers.cuts[name]
    cuts = []
    if cut is not None and cut[0] is not None:
        cuts = [(cut[0], f"{percents[0]:g} %: {cut[0]:.3f}")]
        if cut[1] is not None:
            cuts = [(cut[1], f"{percents[1]:g} %: {cut[1]:.3f}"), *cuts]
    if len(cuts) == 2:
        sentence = f"What stays has ranks from {percents[0]:g} % to {percents[1]:g} %, best first: scores from {cuts[1][0]:.4f} down to just above {cuts[0][0]:.4f}."
    elif cut is None:
        sentence = f"Ranks from {percents[0]:g} % to {percents[1]:g} % stay in each cluster, so there is no one cut."
    else:
        sentence = f"Ranks from {percents[0]:g} % to {percents[1]:g} % stay, best first."
    behind, front = (one.partition(", ")[2] for one in (before, after))
    svg = plots.score_plot(f"{name}-scores", scores.edges, scores.counts[before], scores.counts[after], cuts, label)
    lines = [(f"{low:.4f} to {high:.4f}", count(a), count(b)) for (low, high), a, b in zip(plots.pairs_of(scores.edges), scores.counts[before], scores.counts[after], strict=True)]
    legend = (("soft", f"{behind}: {sum(scores.counts[before]):,} rows"), ("accent", f"{front}: {sum(scores.counts[after]):,}"), ("mark", "the window that stays"))
    said = f"Histogram of the {label}, {behind} and {front}. {sentence}"
    return PlotShown(svg, said, title, legend, (sentence,), (label, behind, front), lines)


def duplicates_plot(scores: Histogram, numbers: Numbers) -> PlotShown:
    """The histogram of the cosine of each duplicate to the row that stands for it."""
    (counts,) = scores.counts.values()
    below, total = numbers.chained_rows, sum(counts)
    sentence = (
        f"{below:,} of {total:,} duplicates ({percent(below, total)}) are not above the threshold {numbers.threshold:g} "
        f"themselves: a chain of others joins them to the row that stays."
    )
    label = "cosine of a duplicate to the kept row"
    svg = plots.score_plot("kept-scores", scores.edges, None, counts, [(numbers.threshold, f"threshold {numbers.threshold:g}")], label)
    lines = [(f"{low:.4f} to {high:.4f}", count(a)) for (low, high), a in zip(plots.pairs_of(scores.edges), counts, strict=True)]
    legend = (("accent", f"duplicates: {total:,}"), ("mark", "threshold"))
    return PlotShown(svg, f"Histogram of the {label}. {sentence}", "Duplicate and kept row", legend, (sentence,), (label, "duplicates"), lines)


def curve_plot(numbers: Numbers) -> PlotShown | None:
    """What other thresholds keep; None if nothing is known of it."""
    curve = numbers.curve
    if not curve.thresholds:
        return None
    shares = [100 * kept / curve.rows for kept in curve.kept]
    clustered, unlike = numbers.clustered, numbers.unlike
    svg = plots.curve_plot("threshold-curve", curve.thresholds, shares, (numbers.threshold, 100 * unlike / clustered))
    lines = [(f"{threshold:.2f}", count(kept), percent(kept, curve.rows)) for threshold, kept in zip(curve.thresholds, curve.kept, strict=True)]
    label = f"Percent of rows kept against the threshold: from {shares[0]:.1f} % at {curve.thresholds[0]:g} to {shares[-1]:.1f} % at {curve.thresholds[-1]:g}."
    whose = "all rows" if curve.source == "forest" else f"rows of {curve.clusters:,} clusters"
    legend = (("accent", whose), ("mark", "this run, all rows"))
    return PlotShown(svg, label, "Rows kept at each threshold", legend, (), ("threshold", "rows kept", "of them"), lines)


def size_plots(numbers: Numbers) -> list[PlotShown]:
    """The sizes of clusters and of components."""
    facts, sizes = numbers.clusters, numbers.component_sizes
    found = []
    for what, of in (("cluster", facts.sizes), ("component", sizes)):
        if of:
            svg = plots.tail_plot(f"{what}-sizes", of, what)
            label = f"How many {what}s have at least so many rows: {sum(of.values()):,} have {min(of):,} or more, the largest has {max(of):,}."
            lines = [(count(size), count(of[size])) for size in page_sizes(of)]
            found.append(PlotShown(svg, label, f"{what.capitalize()} sizes", (), (label,), (f"rows of a {what}", f"{what}s"), lines))
    return found


def page_sizes(sizes: dict[int, int], most: int = 60) -> list[int]:
    """The sizes that the page lists: of many, those that are had most often by small ones and the largest ones.

    Example:
        >>> page_sizes({1: 9, 2: 5, 3: 1, 4: 1}, 2)
        [1, 4]
    """
    ordered = sorted(sizes)
    return ordered if len(ordered) <= most else [*ordered[: most // 2], *ordered[-(most // 2) :]]
