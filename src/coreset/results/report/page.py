"""The report as a page: one template, filled with numbers, sentences, plots and pictures; it escapes all text."""

from __future__ import annotations

import base64
from importlib.metadata import version
from importlib.resources import files

from coreset.results.report import page_lines, page_plots, page_words, shown
from coreset.results.report.map_shown import MapShown, colour_of
from coreset.results.report.numbers import Numbers
from coreset.results.report.pictures import Pictures

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
"""Names and titles of the sections, in order."""
FILTERS = (
    *(shown.shown, shown.count, shown.cosine),
    *(page_lines.millions, page_lines.scores, page_lines.row_lines, page_lines.refused_lines),
)
SENTENCES = (
    *(page_words.lead, page_words.cuts_sentence, page_words.curve_sentence, page_words.clusters_sentence),
    *(page_words.chains_sentence, page_words.quarantine_sentence, page_words.inputs_sentence, page_words.sampling),
)
TEMPLATES = ("report.html.j2", "report.css")


def page(numbers: Numbers, pictures: Pictures | None, mapped: MapShown) -> str:
    """The page of a report.

    Args:
        numbers: all of them
        pictures: of the rows that are shown; None if none are wanted
        mapped: the map
    """
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files("coreset.results") / "templates"
    loader = DictLoader({name: (folder / name).read_text(encoding="utf-8") for name in TEMPLATES})
    engine = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    engine.filters |= {one.__name__: one for one in FILTERS}
    return engine.get_template(TEMPLATES[0]).render(
        n=numbers,
        version=version("coreset"),
        sections=SECTIONS,
        score_plots=page_plots.score_plots(numbers),
        curve_plot=page_plots.curve_plot(numbers),
        size_plots=page_plots.size_plots(numbers),
        pictures={row["key"]: pictures.by_key.get(row["key"]) if pictures else None for row in numbers.rows},
        pictures_sentence=page_words.pictures_sentence(numbers, pictures),
        map_sentence=page_words.map_sentence(mapped),
        map_label=page_words.map_label(mapped),
        **{sentence.__name__: sentence(numbers) for sentence in SENTENCES},
        **page_lines.tables(numbers),
        **map_pictures(mapped),
    )


def map_pictures(mapped: MapShown) -> dict[str, object]:
    """The pictures of the map, with what is said beside them."""
    panels = [(fate, colour_of(fate), mapped.points[fate], png(picture)) for fate, picture in mapped.panels.items()]
    return {"map_address": png(mapped.picture), "map_panels": panels}


def png(picture: bytes) -> str:
    """A PNG as an address."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()
