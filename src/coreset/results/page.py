"""The report as a page: the lines of its tables, its groups of rows, and the template that puts all in place."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from coreset.results import page_plots, page_words, shown
from coreset.results.fate import EXCLUDED, QUARANTINED
from coreset.results.map_shown import MapShown, colour_of
from coreset.results.members import Component
from coreset.results.quarantine_shown import Refused
from coreset.results.report_numbers import Numbers
from coreset.results.shown import cosine, count, percent
from coreset.results.thumbnails import Thumbnails
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
SECTIONS = (
    ("funnel", "Funnel"),
    ("scores", "Scores"),
    ("threshold", "Threshold"),
    ("clusters", "Clusters"),
    ("largest", "Largest components"),
    ("chained", "Chains"),
    ("samples", "Each fate"),
    ("map", "Map"),
    ("quarantine", "Quarantine"),
    ("parameters", "Parameters"),
)
ROW_HEAD = ("key", "caption", "url", "source", "row", "text cosine", "centroid cosine", "cosine to kept")
TEMPLATES = ("report.html.j2", "report.css")
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


def page(numbers: Numbers, pictures: Thumbnails | None, mapped: MapShown | str) -> str:
    """The page of a report.

    Args:
        numbers: all of them
        pictures: of the rows that are shown; None if none are wanted
        mapped: the map, or why there is none
    """
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files("coreset.results") / "templates"
    loader = DictLoader({name: (folder / name).read_text(encoding="utf-8") for name in TEMPLATES})
    engine = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    engine.filters |= {one.__name__: one for one in (shown.shown, count, cosine, millions, scores)}
    engine.filters |= {"row_lines": row_lines, "refused_lines": refused_lines}
    largest = components_shown(numbers.largest, numbers.largest)
    return engine.get_template(TEMPLATES[0]).render(
        n=numbers,
        version=version("coreset"),
        sections=SECTIONS,
        row_head=ROW_HEAD,
        total=sum(numbers.fates.values()),
        highlights=list(highlights(numbers)),
        funnel=list(funnel_lines(numbers)),
        fates=list(fate_lines(numbers)),
        score_plots=page_plots.score_plots(numbers),
        curve_plot=page_plots.curve_plot(numbers),
        size_plots=page_plots.size_plots(numbers),
        largest=largest,
        chained=components_shown(numbers.chained, (*numbers.largest, *numbers.chained), len(largest)),
        groups=list(groups(numbers)),
        pictures={row["key"]: pictures.by_key.get(row["key"]) if pictures else None for row in numbers.rows},
        **words(numbers, pictures, mapped),
        **map_context(mapped),
        **setting_lines(numbers),
    )


def words(numbers: Numbers, pictures: Thumbnails | None, mapped: MapShown | str) -> dict[str, object]:
    """What is said in sentences."""
    names = ("lead", "cuts_sentence", "curve_sentence", "clusters_sentence", "chains_sentence")
    names += ("quarantine_sentence", "inputs_sentence", "sampling")
    said = {name: getattr(page_words, name)(numbers) for name in names}
    said |= {name: getattr(page_words, name)(mapped) for name in ("map_sentence", "map_label")}
    return {**said, "picture_sentences": page_words.picture_sentences(numbers, pictures)}


def highlights(numbers: Numbers) -> Iterator[tuple[str, str, str]]:
    """The few numbers that stand at the top."""
    fates, samples = numbers.fates, numbers.samples
    in_both = fates["kept"] + fates["not sampled"]
    yield "samples", count(samples), ""
    for name, number in (("near-duplicates", fates["duplicate"]), ("in both windows", in_both), ("chosen", fates["kept"])):
        yield name, count(number), percent(number, samples)
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
        summary = f"cluster {one.cluster:,} · smallest cosine to the kept row {one.smallest:.4f} · {below}"
        left = f"{len(one.rows):,} of {one.size:,} rows are shown, evenly spaced." if len(one.rows) < one.size else ""
        above = first[one.kept_key] if first[one.kept_key] < begin else None
        found.append(ComponentShown(number, above, one.kept_key, one.size, one.smallest, summary, left, one.rows))
    return found


def map_context(mapped: MapShown | str) -> dict[str, object]:
    """The picture of the map, and its legend."""
    if isinstance(mapped, str):
        return {"map_address": "", "map_legend": ()}
    address = "data:image/png;base64," + base64.b64encode(mapped.picture).decode()
    return {"map_address": address, "map_legend": [(f, colour_of(f), number) for f, number in mapped.points.items()]}


def setting_lines(numbers: Numbers) -> dict[str, object]:
    """Tables of what the run was made with, and what it took."""
    costs = [(f"{facts.name}/", facts.cost) for facts in numbers.stages if facts.cost]
    facts, every = numbers.clusters, max(numbers.clustered, 1)
    return {
        "cost_lines": [
            (
                name,
                shown.seconds(cost.get("seconds")),
                shown.size(cost.get("peak_resident_bytes")),
                count(cost.get("workers")),
                shown.shown(cost.get("began")),
                shown.shown(cost.get("host"), 60),
            )
            for name, cost in costs
        ],
        "parameter_lines": [
            (f"{one.name}/", name, shown.shown(json.dumps(value, ensure_ascii=False)))
            for one in numbers.stages
            for name, value in one.params.items()
        ],
        "stage_lines": [(f"{one.name}/", f"{one.made_by}", str(one.rule), one.hash) for one in numbers.stages],
        "version_lines": [(shown.shown(name), shown.shown(str(value))) for name, value in numbers.versions.items()],
        "cluster_lines": [
            (count(c), count(rows), percent(rows, every), count(unlike), percent(unlike, rows), count(chosen))
            for c, rows, unlike, chosen in facts.largest
        ],
    }


def row_lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Rows as lines of a table, see `ROW_HEAD`."""
    texts = ("key", "caption", "url", "source")
    numbers = ("text_cosine", "centroid_cosine", "kept_cosine")
    return [
        (*(shown.shown(row[name]) for name in texts), count(row["source_row"]), *(cosine(row[name]) for name in numbers))
        for row in rows
    ]


def refused_lines(refused: Refused) -> list[tuple[str, ...]]:
    """The examples of one reason, as lines of a table."""
    return [
        (*(shown.shown(row[name]) for name in ("key", "source", "detail")), count(row["source_row"]), count(row["rows"]))
        for row in refused.examples
    ]


def scores(row: Row) -> str:
    """The scores of a row, in few words."""
    return f"text {cosine(row['text_cosine'])} · centroid {cosine(row['centroid_cosine'])}"


def millions(number: int) -> str:
    """A large count as the paper says it.

    Example:
        >>> millions(951_700_000), millions(2_053_332_591), millions(2_000_000)
        ('951.7 M', '2,053,332,591', '2 M')
    """
    return f"{number / 1e6:g} M" if number % 10_000 == 0 else f"{number:,}"
