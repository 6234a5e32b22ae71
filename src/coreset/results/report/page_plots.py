"""The plots of a report, each with its heading, its legend and its numbers as a table."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from coreset.results.report import plots
from coreset.results.report.histograms import Histogram
from coreset.results.report.numbers import Numbers
from coreset.results.report.shown import count, percent


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
    lines: Sequence[tuple[str, ...]]


def score_plots(numbers: Numbers) -> list[PlotShown]:
    """The histograms of the scores."""
    found = [
        windowed("text", "Picture and caption", numbers),
        windowed("centroid", "Picture and centroid", numbers),
    ]
    return [*found, duplicates_plot(numbers)] if numbers.fates["duplicate"] else found


def windowed(name: str, title: str, numbers: Numbers) -> PlotShown:
    """A histogram with the window that stays."""
    scores, cut = numbers.scores[name], numbers.cuts[name]
    low, high = numbers.params("coreset")[f"{name}_rank"]
    ranks = f"ranks from {low:g} % to {high:g} %, best first"
    cuts = []
    if cut is not None and cut[0] is not None:
        cuts = [(cut[0], f"{low:g} %: {cut[0]:.3f}")]
        if cut[1] is not None:
            cuts = [(cut[1], f"{high:g} %: {cut[1]:.3f}"), *cuts]
    if len(cuts) == 2:
        sentence = f"What stays has {ranks}: scores from {cuts[1][0]:.4f} down to just above {cuts[0][0]:.4f}."
    else:
        sentence = f"What stays has {ranks}{', in each cluster: there is no one cut' if cut is None else ''}."
    names, (before, after) = list(scores.counts), scores.counts.values()
    behind, front = (one.partition(", ")[2] for one in names)
    label = f"{name} cosine"
    return PlotShown(
        plots.score_plot(f"{name}-scores", scores.edges, before, after, cuts, label),
        f"Histogram of the {label}, {behind} and {front}. {sentence}",
        title,
        (
            ("soft", f"{behind}: {scores.total(names[0]):,} rows"),
            ("accent", f"{front}: {scores.total(names[1]):,}"),
            ("mark", "the window that stays"),
        ),
        (sentence, *beyond(scores)),
        (label, behind, front),
        score_lines(scores),
    )


def score_lines(scores: Histogram) -> list[tuple[str, ...]]:
    """How many scores lie in each bin, and beyond them, as lines of a table."""
    edges = scores.edges
    names = [f"{low:.4f} to {high:.4f}" for low, high in itertools.pairwise(edges)]
    counts = zip(*scores.counts.values(), strict=True)
    lines = [(name, *map(count, of)) for name, of in zip(names, counts, strict=True)]
    if any(scores.below.values()):
        lines.insert(0, (f"below {edges[0]:.4f}", *map(count, scores.below.values())))
    if any(scores.above.values()):
        lines.append((f"from {edges[-1]:.4f}", *map(count, scores.above.values())))
    return lines


def beyond(scores: Histogram) -> tuple[str, ...]:
    """What is said of scores that lie beyond the plot; of the last ones that are counted."""
    name, low, high = list(scores.counts)[-1], scores.edges[0], scores.edges[-1]
    found = ((scores.below[name], f"below {low:g}"), (scores.above[name], f"from {high:g}"))
    said = " and ".join(f"{number:,} {where}" for number, where in found if number)
    return (f"Not drawn: {said} ({name.partition(', ')[2]}).",) if said else ()


def duplicates_plot(numbers: Numbers) -> PlotShown:
    """The histogram of the cosine of each duplicate to the row that stands for it."""
    scores, at = numbers.scores["kept"], f"threshold {numbers.threshold:g}"
    (counts,) = scores.counts.values()
    below, total = numbers.chained_rows, numbers.fates["duplicate"]
    sentence = (
        f"{below:,} of {total:,} duplicates ({percent(below, total)}) are not above the {at} themselves: a chain of "
        f"others joins them to the row that stays."
    )
    label = "cosine of a duplicate to the kept row"
    return PlotShown(
        plots.score_plot("kept-scores", scores.edges, None, counts, [(numbers.threshold, at)], label),
        f"Histogram of the {label}. {sentence}",
        "Duplicate and kept row",
        (("accent", f"duplicates: {total:,}"), ("mark", "threshold")),
        (sentence, *beyond(scores)),
        (label, "duplicates"),
        score_lines(scores),
    )


def curve_plot(numbers: Numbers) -> PlotShown:
    """What other thresholds keep."""
    curve = numbers.curve
    shares = [100 * kept / curve.rows for kept in curve.kept]
    ends_of = [f"{shares[end]:.1f} % at {curve.thresholds[end]:g}" for end in (0, -1)]
    whose = "all rows" if curve.source == "forest" else f"rows of {curve.clusters:,} clusters"
    now = (numbers.threshold, 100 * numbers.unlike / numbers.clustered)
    kept_at = zip(curve.thresholds, curve.kept, strict=True)
    return PlotShown(
        plots.curve_plot("threshold-curve", curve.thresholds, shares, now),
        f"Percent of rows kept against the threshold: from {ends_of[0]} to {ends_of[1]}.",
        "Rows kept at each threshold",
        (("accent", whose), ("mark", "this run, all rows")),
        (),
        ("threshold", "rows kept", "of them"),
        [(f"{threshold:.2f}", count(kept), percent(kept, curve.rows)) for threshold, kept in kept_at],
    )


def size_plots(numbers: Numbers) -> list[PlotShown]:
    """The sizes of clusters and of components."""
    return [
        size_plot(what, sizes)
        for what, sizes in (("cluster", numbers.clusters.sizes), ("component", numbers.component_sizes))
        if sizes
    ]


def size_plot(what: str, sizes: dict[int, int]) -> PlotShown:
    """How many have at least so many rows."""
    label = (
        f"How many {what}s have at least so many rows: {sum(sizes.values()):,} have {min(sizes):,} or more, the "
        f"largest has {max(sizes):,}."
    )
    return PlotShown(
        plots.tail_plot(f"{what}-sizes", sizes, what),
        label,
        f"{what.capitalize()} sizes",
        (),
        (label,),
        (f"rows of a {what}", f"{what}s"),
        [(count(size), count(sizes[size])) for size in page_sizes(sizes)],
    )


def page_sizes(sizes: dict[int, int], most: int = 60) -> list[int]:
    """The sizes that the page lists: of many, the smallest and the largest.

    Example:
        >>> page_sizes({1: 9, 2: 5, 3: 1, 4: 1}, 2)
        [1, 4]
    """
    ordered = sorted(sizes)
    return ordered if len(ordered) <= most else [*ordered[: most // 2], *ordered[-(most // 2) :]]
