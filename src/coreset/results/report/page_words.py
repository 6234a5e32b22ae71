"""What the report says in sentences."""

from __future__ import annotations

from coreset.results.report.curve import LARGEST
from coreset.results.report.map_shown import MOST, MapShown
from coreset.results.report.members import MEMBERS
from coreset.results.report.numbers import Numbers
from coreset.results.report.passed import COMPONENTS, GRID_ROWS, KEPT_ROWS
from coreset.results.report.pictures import Pictures
from coreset.results.report.shown import percent
from coreset.results.report.shown import shown as cleaned
from coreset.results.thumbnails import IMPORTED


def lead(numbers: Numbers) -> str:
    """The heading of the page."""
    kept, samples = numbers.fates["kept"], numbers.samples
    return f"{kept:,} of {samples:,} samples were chosen ({percent(kept, samples)})"


def cuts_sentence(numbers: Numbers) -> str:
    """What the plots of scores show."""
    where = "over all rows" if numbers.params("coreset")["rank_scope"] == "global" else "within each cluster"
    return (
        f"Ranks are counted {where}, best first. The first window is by how well picture and caption fit, of what "
        f"dedup left; the second by how near a picture is to its centroid, of what the first window left."
    )


def curve_sentence(numbers: Numbers) -> str:
    """Where the curve of thresholds is from."""
    curve = numbers.curve
    if curve.source == "forest":
        return f"Exact, of all {curve.rows:,} rows, from the forest. A higher threshold joins less and keeps more."
    return (
        f"Of a sample: {curve.rows:,} rows, all those of {curve.clusters:,} of {curve.of_clusters:,} clusters, "
        f"compared when the report was made. A higher threshold joins less and keeps more. `coreset sweep` gives the "
        f"exact curve of all rows."
    )


def clusters_sentence(numbers: Numbers) -> str:
    """How uneven clusters are, and how many components there are."""
    facts, sizes = numbers.clusters, numbers.component_sizes
    components, alone = sum(sizes.values()), sizes.get(1, 0)
    empty = f", {facts.empty:,} of them empty" if facts.empty else ""
    return (
        f"{facts.clusters:,} clusters{empty}; their imbalance is {facts.imbalance:.2f} (1 if all were equally large). "
        f"In them {components:,} components; {alone:,} rows ({percent(alone, components)} of the components) are like "
        f"no other."
    )


def chains_sentence(numbers: Numbers) -> str:
    """What a chain is, and how often there is one."""
    at = f"the threshold {numbers.threshold:g}"
    if not numbers.chained:
        return f"Every duplicate is above {at} itself: no chain of others was needed to join it."
    return (
        f"Rows are joined step by step: each is like the next, but the last need not be like the first. "
        f"{numbers.chained_rows:,} duplicates are not above {at} to the row that stays. These components hold the "
        f"least alike of them. If they should not have been joined, raise the threshold."
    )


def map_sentence(mapped: MapShown) -> str:
    """What the map shows."""
    return (
        f"{sum(mapped.points.values()):,} rows by the two directions in which their vectors differ most. Near points "
        f"may be far apart in the others. `coreset map` writes every row as a point."
    )


def map_label(mapped: MapShown) -> str:
    """The map in words."""
    said = ", ".join(f"{number:,} {fate}" for fate, number in mapped.points.items())
    return f"Map of a sample of rows, coloured by fate: {said}."


def quarantine_sentence(numbers: Numbers) -> str:
    """How much was quarantined."""
    samples = numbers.fates["quarantined"]
    if not samples:
        return "Nothing was quarantined: every sample that came in could be used."
    of_all = f"{samples:,} of {numbers.samples:,} samples ({percent(samples, numbers.samples)})"
    return f"{of_all} could not be used. quarantine/ has them all."


def inputs_sentence(numbers: Numbers) -> str:
    """What the run was made from."""
    root = f" in {cleaned(numbers.root)}" if numbers.root else ""
    return f"Made from {numbers.inputs:,} input {'file' if numbers.inputs == 1 else 'files'}{root}."


def sampling(numbers: Numbers) -> list[str]:
    """Where the page shows a part for the whole."""
    curve = numbers.curve
    found = [
        f"Counts, histograms and sizes are of all rows. What is drawn is drawn by seed {numbers.seed} and keys.",
        f"Each fate shows {GRID_ROWS} rows at most, the kept {KEPT_ROWS}.",
        f"Of the largest components {COMPONENTS} are shown, of the longest chains as many, {MEMBERS} rows of each.",
        f"The map shows {MOST:,} rows at most.",
    ]
    if curve.source == "sample":
        of_clusters = f"{curve.clusters:,} of {curve.of_clusters:,} clusters, none of more than {LARGEST:,} rows"
        found.append(f"The threshold curve is of {of_clusters}.")
    return found


def pictures_sentence(numbers: Numbers, pictures: Pictures | None) -> str:
    """What is said of pictures that are not shown; nothing if all are."""
    if pictures is None:
        return "This report was made without pictures (--no-pictures)."
    if not pictures.absent:
        return ""
    if IMPORTED in pictures.absent:
        return IMPORTED
    total, missing = len({row["key"] for row in numbers.rows}), sum(pictures.absent.values())
    first = min(pictures.absent, key=lambda reason: (-pictures.absent[reason], reason))
    others = f" ({len(pictures.absent) - 1:,} more of the kind)" if len(pictures.absent) > 1 else ""
    return f"{missing:,} of {total:,} pictures have a placeholder: {cleaned(first.rstrip('.'))}{others}."
