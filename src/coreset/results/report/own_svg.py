"""The only way for markup into the report that the template engine does not escape: SVG of our own, checked."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from markupsafe import Markup

from coreset.engine.errors import InvariantError

COLOURS = {name: f"#0a0b{number:02x}" for number, name in enumerate(("ink", "dim", "line", "accent", "soft", "mark"))}
"""Colours that plots are drawn with; in the page each is the colour of that name, light or dark."""
_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_ELEMENTS = frozenset({"svg", "g", "defs", "path", "clipPath", "rect", "use", "text", "style"})
_ATTRIBUTES = frozenset(
    {
        *("width", "height", "viewBox", "version", "id", "type", "style", "d", "clip-path", "transform", "x", "y"),
        _LINK,
    }
)
_OUTSIDE = re.compile(r"url\((?!#)|@import", re.IGNORECASE)
_REPLACED = (
    (re.compile(r"<style.*?</style>", re.DOTALL), ""),  # it would count for the whole page
    (re.compile(r"font: (?:\w+ )*([\d.]+)px [^;\"]*"), r"font-size: \1px"),  # as matplotlib before 3.11 says it
    (re.compile(r"font-family: [^;\"]*; "), ""),
    (re.compile(r' transform="rotate\(-0 [^"]*\)"'), ""),
    (re.compile(r"\n\s*"), "\n"),
)


def page_svg(text: str, name: str) -> Markup:
    """SVG as an element of the page: in its colours and its font, and hidden from what reads the page aloud.

    The page says the same in words. Names within it begin with the plot's, so that two plots may stand in one page.

    Args:
        text: as matplotlib writes it
        name: of the plot, unique in the page

    Raises:
        InvariantError: It holds an element, an attribute or a link that matplotlib does not write.

    Example:
        >>> page_svg('<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', "a")
        Traceback (most recent call last):
        coreset.engine.errors.InvariantError: The plot a holds <script>, which no plot has; please report this.
    """
    root = ET.fromstring(text)  # noqa: S314  written by matplotlib a moment ago
    for element in root.iter():
        for what in _strange(element):
            raise InvariantError(f"The plot {name} holds {what}, which no plot has; please report this.")
    body = text[text.index("<svg") :].rstrip()
    for pattern, replacement in _REPLACED:
        body = pattern.sub(replacement, body)
    for colour, value in COLOURS.items():
        body = body.replace(value, f"var(--{colour})")
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(href="#|url\(#)', lambda found: f"{found[1]}{name}-", body)
    whole = r'<svg viewBox="\1" aria-hidden="true" focusable="false">'
    return Markup(re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', whole, body, count=1))  # noqa: S704  checked above


def _strange(element: ET.Element) -> list[str]:
    """What an element holds that no plot has."""
    found = [] if element.tag.removeprefix(_SVG) in _ELEMENTS else [f"<{element.tag.removeprefix(_SVG)}>"]
    found += [f"the attribute {name}" for name in element.attrib if name not in _ATTRIBUTES]
    found += ["a link to elsewhere"] if not element.attrib.get(_LINK, "#").startswith("#") else []
    texts = [*element.attrib.values(), element.text or ""]
    return found + ["a link to elsewhere" for text in texts if _OUTSIDE.search(text)]
