"""Explanations as one HTML file with pictures, which works from a file path: no script, and nothing is fetched."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from coreset.engine.errors import InputError, UsageError
from coreset.engine.files import Location, write_bytes
from coreset.results.explain.chain import NODE_COLUMNS, xml_text
from coreset.results.explain.explain import Explained
from coreset.results.explain.told import counted, ends_of, linked_rows, told_lines
from coreset.results.fate import Judged, judged
from coreset.results.lookup import Place, component_places, found_places, rows_at
from coreset.results.thumbnails import Thumbnails, encoded

SIDE = 160
"""Pixels of a picture's longer side."""
LINKS = 60
"""Rows of a chain that are shown."""
MEMBERS = 24
"""Rows of a component that are shown."""


def check_page(location: Location) -> None:
    """Refuse a name that a page cannot have.

    Raises:
        UsageError: It does not end in `.html`.
    """
    if not location.endswith(".html"):
        raise UsageError(f"{location} must end in .html.")


def write_page(run: Location, found: Sequence[Explained], location: Location) -> dict[str, int]:
    """Write explanations as a page, which appears whole or not at all.

    Args:
        run: the run directory
        found: what is explained
        location: an `.html` file, replaced if it is there

    Returns:
        Why some pictures are not on it, and how many.

    Raises:
        InputError: Nothing is explained.
        UsageError: The file is not named `.html`.
    """
    check_page(location)
    if not found:
        raise InputError(f"No sample is named, so there is nothing to write to {location}; name a key.")
    by, pictures = judged(run), Thumbnails(run, SIDE)
    places = found_places(by.dedup, [story.key for story in found if story.cluster_size is not None])
    stories = [told_story(by, story, places.get(story.key), pictures) for story in found]
    page = template().render(run=run, stories=stories, absent=pictures.absent)
    write_bytes(location, (xml_text(page) + "\n").encode())
    return pictures.absent


def template() -> jinja2.Template:
    """The page's template; what is put into it is escaped."""
    loader = jinja2.PackageLoader("coreset.results")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(
        "explain.html"
    )


def told_story(by: Judged, found: Explained, place: Place | None, pictures: Thumbnails) -> dict[str, Any]:
    """What the page says of one sample."""
    linked = linked_rows(found)
    first, last = ends_of(linked, LINKS)
    notes = list(found.notes)
    if skipped := len(linked) - len(first) - len(last):
        notes.append(f"{counted(skipped, 'row')} in the middle of the chain are not shown.")
    shown = [
        told_picture(row, "" if cosine is None else f"cosine {cosine:.4f} to the one before", pictures)
        for row, cosine in (*first, *last)
    ]
    told = {"key": found.key, "sentence": found.sentence, "notes": notes, "lines": list(told_lines(found))}
    return {**told, "pictures": shown, **told_component(by, found, place, pictures)}


def told_component(by: Judged, found: Explained, place: Place | None, pictures: Thumbnails) -> dict[str, Any]:
    """What the page shows of a sample's component: the rows least like the kept one, behind that one."""
    if place is None or found.row["component_size"] == 1:
        return {"component": [], "component_note": ""}
    members = component_places(place)
    scores = rows_at(by, place, members, ["key", "kept", "kept_cosine"]).append_column("row", [members])
    near = scores.sort_by([("kept", "descending"), ("kept_cosine", "ascending"), ("key", "ascending")])
    wanted = near["row"].to_numpy()[:MEMBERS]
    described = rows_at(by, place, np.sort(wanted), NODE_COLUMNS).take(pa.array(np.argsort(np.argsort(wanted))))
    shown = [
        told_picture(row, "" if row["kept"] else f"cosine {row['kept_cosine']:.4f} to the kept one", pictures)
        for row in described.to_pylist()
    ]
    note = f"{counted(len(members), 'row')}; shown are the kept one and the {len(shown) - 1} that are least like it."
    return {"component": shown, "component_note": note}


def told_picture(row: Mapping[str, Any], said: str, pictures: Thumbnails) -> dict[str, Any]:
    """A picture on the page with what is said of it."""
    image = pictures.of(row)
    source = None if image is None else "data:image/jpeg;base64," + base64.b64encode(encoded(image, "JPEG")).decode()
    told = {"key": row["key"], "caption": row["caption"] or "", "image": source, "said": said}
    return {**told, "kept": bool(row.get("kept"))}
