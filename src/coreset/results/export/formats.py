"""All formats, by the name that is typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from coreset.engine.errors import UsageError
from coreset.results.export import (
    bigvision,
    clip_retrieval,
    cogagent,
    cogvlm,
    datacomp,
    hf,
    key_lists,
    llava,
    minigpt4,
    urls,
    webdataset,
)
from coreset.results.export.format import ExportParams, Format

ALL: tuple[Format[Any], ...] = (
    llava.FORMAT,
    webdataset.FORMAT,
    bigvision.FORMAT,
    cogvlm.FORMAT,
    cogagent.FORMAT,
    minigpt4.FORMAT,
    hf.FORMAT,
    key_lists.FORMAT,
    urls.FORMAT,
    datacomp.FORMAT,
    clip_retrieval.FORMAT,
)
FORMATS: dict[str, Format[Any]] = {found.name: found for found in ALL}


def format_named(name: str) -> Format[Any]:
    """A format by its name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in FORMATS:
        raise UsageError(f"{name} is no format; known are {', '.join(FORMATS)}.")
    return FORMATS[name]


def check_index_only(name: str) -> None:
    """Refuse a format that copies pictures where nothing may be copied.

    Raises:
        UsageError: It does.
    """
    if format_named(name).has_pictures:
        others = ", ".join(form.name for form in ALL if not form.has_pictures)
        raise UsageError(
            f"--index-only: what reads {name} opens each picture in a file of the export, and finds none in your tars; "
            f"{others} copy no picture, and coreset.filter in Python trains on the tars themselves."
        )


def params_of(form: Format[Any], **flags: object) -> ExportParams:
    """The parameters of a format with those flags that were given: None stands for not given.

    Raises:
        UsageError: One is not a parameter of this format; says of which it is.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    known = {field.name for field in dataclasses.fields(form.params)}
    for name in given:
        if name not in known:
            others = ", ".join(other.name for other, _ in having(name))
            raise UsageError(f"--{name.replace('_', '-')} is for {others}; {form.name} does not have it.")
    params: ExportParams = form.params(**given)
    return params


def having(name: str) -> Iterator[tuple[Format[Any], dataclasses.Field[Any]]]:
    """The formats that have a parameter, and its field."""
    for form in FORMATS.values():
        for field in dataclasses.fields(form.params):
            if field.name == name:
                yield form, field


def option_help(name: str) -> str:
    """What a flag means: the parameter's meaning, and its default in each format that has it; `format`: all of them."""
    if name == "format":
        return "; ".join(f"{form.name}: {form.meaning}" for form in FORMATS.values()) + "."
    found = list(having(name))
    meaning = str(found[0][1].metadata["help"])
    forms = "all formats" if len(found) == len(FORMATS) else ", ".join(form.name for form, _ in found)
    defaults = dict.fromkeys(shown(field.default) for _, field in found)
    return f"{meaning[0].upper()}{meaning[1:]}. [{forms}; default {' or '.join(defaults)}]"


def shown(default: object) -> str:
    """A default as a help page says it.

    Example:
        >>> shown(("kept",)), shown(None), shown(False), shown(10000)
        ('kept', 'none', 'no', '10000')
    """
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return "none" if default is None else str(default)
