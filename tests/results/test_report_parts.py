"""The parts of the report: first rows of an order, shown text, plots as markup, thumbnails."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import coreset as package
from coreset.results.report.extremes import First
from coreset.results.report.map_shown import colour_of
from coreset.results.report.own_svg import COLOURS, page_svg
from coreset.results.report.pictures import BUDGET, SIDE, fitted
from coreset.results.report.plots import score_plot, tail
from coreset.results.report.shown import shown
from coreset.sample import FATES

TEMPLATES = Path(package.__file__).parent / "results" / "templates"
SCORES = st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcde")), max_size=40)


@given(st.lists(SCORES, max_size=6), st.integers(1, 8), st.sampled_from(["ascending", "descending"]), st.booleans())
def test_first_rows_are_those_of_the_sorted_whole(
    tables: list[list[tuple[int, str]]], most: int, way: str, one_each: bool
) -> None:
    first, number, every = First(most, [("score", way), ("place", "ascending")], "group" if one_each else None), 0, []
    for rows in tables:
        places = list(range(number, number + len(rows)))
        number += len(rows)
        columns = {
            "score": pa.array([score for score, _ in rows], pa.int32()),
            "group": pa.array([group for _, group in rows], pa.string()),
            "place": pa.array(places, pa.int64()),
        }
        first.add(pa.table(columns))
        every += [(score, group, place) for (score, group), place in zip(rows, places, strict=True)]
    wanted, seen = [], set()
    for row in sorted(every, key=lambda row: (row[0] if way == "ascending" else -row[0], row[2])):
        if not (one_each and row[1] in seen):
            wanted.append(row)
        seen.add(row[1])
    found = [tuple(row.values()) for row in first.table.to_pylist()] if first.table is not None else []
    assert found == wanted[:most]


@given(st.text())
def test_shown_text_holds_nothing_that_turns_or_controls(text: str) -> None:
    found = shown(text, most=10_000)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", found)
    assert (
        "".join(re.findall(r"[a-zA-Z<>&\"' ]", text))
        == "".join(re.findall(r"[a-zA-Z<>&\"' ]", re.sub(r"⟨U\+[0-9A-F]+⟩", "", found)))
        or "⟨" in text
    )


@pytest.mark.parametrize(
    "inside",
    [
        "<script/>",
        "<image/>",
        "<foreignObject/>",
        "<a xmlns:xlink='http://www.w3.org/1999/xlink' xlink:href='javascript:alert(1)'/>",
        "<use xmlns:xlink='http://www.w3.org/1999/xlink' xlink:href='http://203.0.113.7/a.svg#x'/>",
        "<g onclick='alert(1)'/>",
        "<g style='fill: url(http://203.0.113.7)'/>",
        "<style>@import 'http://203.0.113.7'</style>",
        "<g href='#x'/>",
    ],
)
def test_foreign_markup_is_no_plot(inside: str) -> None:
    with pytest.raises(package.CoresetError, match="which no plot has"):
        page_svg(f'<svg xmlns="http://www.w3.org/2000/svg">{inside}</svg>', "a")


def test_plots_have_the_colours_of_the_page_and_names_of_their_own() -> None:
    drawn = [score_plot(name, [0.0, 0.5, 1.0], [2, 3], [1, 2], [(0.5, "<b>&")], "x") for name in ("a", "a", "b")]
    assert drawn[0] == drawn[1]
    assert "&lt;b&gt;&amp;" in drawn[0]
    assert not any(colour in drawn[0] for colour in COLOURS.values())
    ids = [set(re.findall(r'\bid="([^"]*)"', one)) for one in drawn]
    assert ids[0]
    assert ids[0].isdisjoint(ids[2])
    for one, own in zip(drawn, ids, strict=True):
        assert {name for pair in re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', one) for name in pair if name} <= own


def test_a_tail_of_many_sizes_is_thinned_and_keeps_its_ends() -> None:
    sizes = dict.fromkeys(range(1, 5000), 1)
    found, at_least = tail(sizes)
    assert len(found) <= 200
    assert (found[0], at_least[0], found[-1], at_least[-1]) == (1, 4999, 4999, 1)
    assert all(count == 5000 - size for size, count in zip(found, at_least, strict=True))


def test_pictures_fit_the_budget() -> None:
    draw = np.random.default_rng(0)
    noise = Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    rich, poor = (fitted(noise, most) for most in (BUDGET, 20_000))
    assert (rich.width, rich.height) == (SIDE, SIDE)
    assert len(poor.address) <= 20_000 < len(rich.address)
    assert fitted(noise, 20_000) == poor


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_and_plots_stand_out_in_light_and_dark() -> None:
    """Also where axe-core cannot tell: it does not judge text in SVG, nor colours of points."""
    css = (TEMPLATES / "report.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]
    assert len(schemes) == 3  # light, dark, paper
    for scheme in schemes:
        full = {name: "#" + "".join(2 * char for char in c[1:]) if len(c) == 4 else c for name, c in scheme.items()}
        for ground in ("paper", "raised"):
            assert all(contrast(full[name], full[ground]) >= 4.5 for name in ("ink", "dim", "link")), ground
            assert all(contrast(full[name], full[ground]) >= 3 for name in ("accent", "mark", "stays")), ground
        assert contrast(full["on-stays"], full["stays"]) >= 4.5
        for fate in (*FATES, "excluded", "quarantined"):
            assert contrast(colour_of(fate), full["paper"]) >= 3, fate
