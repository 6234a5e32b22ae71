"""The lines of the report's tables, and the groups of rows that it shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from coreset.results.fate import EXCLUDED, QUARANTINED
from coreset.results.report import shown
from coreset.results.report.facts import StageFacts
from coreset.results.report.map_shown import colour_of
from coreset.results.report.members import Component
from coreset.results.report.numbers import Numbers
from coreset.results.report.quarantine_shown import Refused
from coreset.results.report.shown import cosine, count, percent
from coreset.sample import FATES

MEANING = {
    "kept": "in the coreset",
    "duplicate": "a near-duplicate of a row that stands for both",
    "text rank too high": "its caption fits better than the window allows: often it is text in the picture",
    "text rank too low": "its caption fits worse than the window allows",
    "centroid rank too high": "more typical of its cluster than the window allows",
    "centroid rank too low": "less typical of its cluster than the window allows",
    "not sampled": "in both windows, and not drawn",
    "no caption": "took part in dedup, and has no text rank",
    EXCLUDED: "named by a list of what must not be used",
    QUARANTINED: "could not be used",
}
"""What a fate means, to a person who looks at pictures."""
ROW_HEAD = ("key", "caption", "url", "source", "row", "text cosine", "centroid cosine", "cosine to kept")
Row = dict[str, Any]


@dataclass(frozen=True)
class FunnelLine:
    """A step of the funnel; `paper` is the paper's count, None where the paper has no such step."""

    name: str
    rows: int
    note: str
    share: str
    of_input: str
    of_before: str
    paper: int | None
    paper_of_input: str
    paper_of_before: str


@dataclass(frozen=True)
class FateLine:
    """A fate, as the table says it."""

    name: str
    count: int
    share: str
    meaning: str
    colour: str


@dataclass(frozen=True)
class Group:
    """Rows of one fate; duplicates in pairs with the rows that are kept."""

    name: str
    colour: str
    summary: str
    rows: tuple[Row, ...]
    pairs: tuple[tuple[Row, Row], ...]


@dataclass(frozen=True)
class ComponentShown:
    """A component as it is shown; `above` is the number under which it was shown already."""

    number: int
    above: int | None
    kept_key: str
    size: int
    smallest: float
    summary: str
    left: str
    rows: tuple[Row, ...]


def highlights(numbers: Numbers) -> Iterator[tuple[str, str, str]]:
    """The few numbers that stand at the top."""
    fates, samples = numbers.fates, numbers.samples
    chosen = fates["kept"]
    yield "samples", count(samples), ""
    yield "near-duplicates", count(fates["duplicate"]), percent(fates["duplicate"], samples)
    yield "in both windows", count(chosen + fates["not sampled"]), percent(chosen + fates["not sampled"], samples)
    yield "chosen", count(chosen), percent(chosen, samples)
    yield "quarantined", count(fates[QUARANTINED]), percent(fates[QUARANTINED], samples)


def funnel_lines(numbers: Numbers) -> Iterator[FunnelLine]:
    """The funnel, beside the paper's."""
    first, before = numbers.samples, numbers.samples
    paper_first = paper_before = numbers.paper["samples"]
    for step in numbers.funnel:
        paper = numbers.paper.get(step.name)
        yield FunnelLine(
            step.name,
            step.rows,
            step.note,
            f"{100 * step.rows / max(first, 1):.2f}%",
            percent(step.rows, first),
            percent(step.rows, before),
            paper,
            percent(paper or 0, paper_first),
            percent(paper or 0, paper_before),
        )
        before, paper_before = step.rows, paper or paper_before


def fate_lines(numbers: Numbers) -> Iterator[FateLine]:
    """Every fate with its count."""
    for name, number in numbers.fates.items():
        yield FateLine(name, number, percent(number, numbers.samples), MEANING[name], colour_of(name))


def groups(numbers: Numbers) -> Iterator[Group]:
    """The rows that are shown of each fate."""
    for fate in FATES:
        rows, number = numbers.shown[fate], numbers.fates[fate]
        if not rows:
            continue
        summary = f"{MEANING[fate]}; {len(rows):,} of {number:,}"
        pairs = tuple((row, numbers.partners[row["kept_key"]]) for row in rows) if fate == "duplicate" else ()
        yield Group(fate, colour_of(fate), summary, rows, pairs)


def components_shown(
    components: Sequence[Component], every: Sequence[Component], begin: int = 0
) -> list[ComponentShown]:
    """Components as they are shown; `every` holds all those of the page, in order, `begin` of them before these."""
    first: dict[str, int] = {}
    for number, one in enumerate(every):
        first.setdefault(one.kept_key, number)
    found = []
    for number, one in enumerate(components, start=begin):
        below = f"{one.below:,} joined by a chain only" if one.below else "each above the threshold itself"
        weakest = "" if one.weakest is None else f" · weakest link {one.weakest:.4f}"
        summary = f"cluster {one.cluster:,} · smallest cosine to the kept row {one.smallest:.4f}{weakest} · {below}"
        left = f"{len(one.rows):,} of {one.size:,} rows are shown, evenly spaced." if len(one.rows) < one.size else ""
        above = first[one.kept_key] if first[one.kept_key] < begin else None
        found.append(ComponentShown(number, above, one.kept_key, one.size, one.smallest, summary, left, one.rows))
    return found


def tables(numbers: Numbers) -> dict[str, object]:
    """All lines of all tables, by the names that the template has for them."""
    largest = components_shown(numbers.largest, numbers.largest)
    return {
        "row_head": ROW_HEAD,
        "total": sum(numbers.fates.values()),
        "highlights": list(highlights(numbers)),
        "funnel": list(funnel_lines(numbers)),
        "fates": list(fate_lines(numbers)),
        "largest": largest,
        "chained": components_shown(numbers.chained, (*numbers.largest, *numbers.chained), len(largest)),
        "groups": list(groups(numbers)),
        "cluster_lines": list(cluster_lines(numbers)),
        "cost_lines": list(cost_lines(numbers)),
        "stages": [(one, parameter_lines(one)) for one in numbers.stages],
        "version_lines": [(shown.shown(name), shown.shown(str(value))) for name, value in numbers.versions.items()],
    }


def cluster_lines(numbers: Numbers) -> Iterator[tuple[str, ...]]:
    """The largest clusters."""
    for cluster, rows, unlike, chosen in numbers.clusters.largest:
        shares = percent(rows, numbers.clustered), percent(unlike, rows)
        yield count(cluster), count(rows), shares[0], count(unlike), shares[1], count(chosen)


def cost_lines(numbers: Numbers) -> Iterator[tuple[str, ...]]:
    """What each stage took, as far as it is noted."""
    for one in numbers.stages:
        if cost := one.cost:
            began, host = (
                shown.shown(str(cost.get("began", "-"))[:19].replace("T", " ")),
                shown.shown(cost.get("host"), 60),
            )
            took = shown.seconds(cost.get("seconds")), shown.size(cost.get("peak_resident_bytes"))
            yield f"{one.name}/", began, host, *took, count(cost.get("workers"))


def parameter_lines(facts: StageFacts) -> list[tuple[str, ...]]:
    """The parameters of a stage."""
    return [(name, shown.shown(json.dumps(value, ensure_ascii=False))) for name, value in facts.params.items()]


def row_lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Rows as lines of a table, see `ROW_HEAD`."""
    texts = ("key", "caption", "url", "source")
    numbers = ("text_cosine", "centroid_cosine", "kept_cosine")
    return [
        (
            *(shown.shown(row[name]) for name in texts),
            count(row["source_row"]),
            *(cosine(row[name]) for name in numbers),
        )
        for row in rows
    ]


def refused_lines(refused: Refused) -> list[tuple[str, ...]]:
    """The examples of one reason, as lines of a table."""
    texts, numbers = ("key", "source", "detail"), ("source_row", "rows")
    return [
        (*(shown.shown(row[name]) for name in texts), *(count(row[name]) for name in numbers))
        for row in refused.examples
    ]


def scores(row: Row) -> list[str]:
    """The scores of a row, in few words."""
    return [f"text {cosine(row['text_cosine'])}", f"centroid {cosine(row['centroid_cosine'])}"]


def millions(number: int) -> str:
    """A large count as the paper says it.

    Example:
        >>> millions(951_700_000), millions(2_053_332_591), millions(2_000_000)
        ('951.7 M', '2,053.3 M', '2 M')
    """
    return f"{number / 1e6:,.2f}".rstrip("0").rstrip(".") + " M" if number % 10_000 == 0 else f"{number / 1e6:,.1f} M"
