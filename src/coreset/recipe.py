"""A recipe: the input and the parameters of all stages, as a `coreset.toml` says them.

Flags win over the environment, the environment over the recipe, the recipe over the defaults, which are the
paper's and stand in the stages' params.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import keyword
import os
import tomllib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from coreset.cluster import ClusterParams
from coreset.dedup import DedupParams
from coreset.embed import EmbedParams
from coreset.engine.errors import InputError, UsageError
from coreset.engine.files import folder_of, is_file, join, located, read_bytes
from coreset.engine.stage import Params
from coreset.import_ import ImportParams
from coreset.sample import SampleParams

P = TypeVar("P", bound=Params)
NAME = "coreset.toml"
LOCAL = "local-dir:"


@dataclass(frozen=True)
class Recipe:
    """What to select from, and how.

    Attributes:
        input: shards: paths, globs, braces, or text files of them; or one folder of vectors
        embed: stage 1 for shards
        import_: stage 1 for a folder of vectors; `[import]` in a file
        cluster: stage 2
        dedup: stage 3
        sample: stage 4
        base: folder that relative paths of `input` start from
    """

    input: tuple[str, ...] = ()
    embed: EmbedParams = field(default_factory=EmbedParams)
    import_: ImportParams = field(default_factory=ImportParams)
    cluster: ClusterParams = field(default_factory=ClusterParams)
    dedup: DedupParams = field(default_factory=DedupParams)
    sample: SampleParams = field(default_factory=SampleParams)
    base: str = "."


STAGES: Mapping[str, type[Params]] = {
    "embed": EmbedParams,
    "import": ImportParams,
    "cluster": ClusterParams,
    "dedup": DedupParams,
    "sample": SampleParams,
}


def read_recipe(location: str) -> Recipe:
    """The recipe in a TOML file; its relative paths start from the file's folder, on a disk or in a store.

    Raises:
        InputError: There is no such file.
        UsageError: It is not TOML, or a key or a value is not one of a recipe's.
    """
    location = located(location)
    if not is_file(location):
        raise InputError(f"{location} does not exist; `coreset init 'shards/*.tar'` writes a {NAME}.")
    try:
        return parsed_recipe(read_bytes(location).decode("utf-8"), folder_of(location))
    except UnicodeDecodeError as error:
        raise UsageError(f"{location} is not UTF-8 text.") from error
    except UsageError as error:
        raise UsageError(f"{location}: {error}") from error


def parsed_recipe(text: str, base: str = ".") -> Recipe:
    r"""The recipe that some TOML says.

    Raises:
        UsageError: It is not TOML, or a key or a value is not one of a recipe's.

    Example:
        >>> parsed_recipe("[dedup]\nthreshold = 0.9").dedup.threshold
        0.9
        >>> parsed_recipe("[dedup]\ntreshold = 0.9")
        Traceback (most recent call last):
        ...
        coreset.engine.errors.UsageError: dedup.treshold is not known; did you mean threshold?
    """
    try:
        said = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"not valid TOML: {error}.") from error
    check_names("", said, ("input", *STAGES))
    patterns = said.get("input", [])
    if isinstance(patterns, str):
        patterns = [patterns]
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise UsageError("input must be a list of paths.")
    stages: dict[str, Any] = {}
    for name, params in STAGES.items():
        section = said.get(name, {})
        if not isinstance(section, dict):
            raise UsageError(f"{name} must be a section, [{name}].")
        check_names(f"{name}.", section, [field.name for field in settable(params)])
        values = {field.name: typed(f"{name}.{field.name}", section, params, field) for field in settable(params)}
        stages[attribute(name)] = params(
            **anchored({key: value for key, value in values.items() if key in section}, base)
        )
    return Recipe(input=tuple(patterns), base=base, **stages)


def attribute(name: str) -> str:
    """The field of a `Recipe` that has a stage's parameters.

    Example:
        >>> attribute("embed"), attribute("import")
        ('embed', 'import_')
    """
    return f"{name}_" if keyword.iskeyword(name) else name


def changed(params: P, **flags: object) -> P:
    """Parameters with those flags that were given: None stands for not given."""
    given = {name: value for name, value in flags.items() if value is not None}
    return dataclasses.replace(params, **given)


def settable(params: type[Params]) -> list[dataclasses.Field[object]]:
    """The fields that a person sets; the others are found out when a stage is planned."""
    return [field for field in dataclasses.fields(params) if not field.metadata.get("found")]


def recipe_text(patterns: Sequence[str]) -> str:
    """A `coreset.toml` with every parameter, its default and its meaning.

    Example:
        >>> parsed_recipe(recipe_text(["a.tar"])) == Recipe(input=("a.tar",))
        True
    """
    lines = [
        "# What coreset selects from, and how. Every value below is the default: Bunny's, where the paper names one.",
        f"input = {toml_value(tuple(patterns))}",
    ]
    for name, params in STAGES.items():
        lines += ["", f"[{name}]"]
        for parameter in settable(params):
            value = toml_value(parameter.default)
            mark = "# " if value is None else ""
            lines.append(f"{mark}{parameter.name} = {value or json.dumps('...')}  # {parameter.metadata['help']}")
    return "\n".join(lines) + "\n"


def toml_value(value: object) -> str | None:
    """A value as TOML writes it; None for what TOML cannot say."""
    if value is None:
        return None
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")  # the one character that JSON may hold and TOML may not


def check_names(prefix: str, said: Mapping[str, object], known: Sequence[str]) -> None:
    """Raise for the first name that is not known, with the nearest one that is."""
    for name in said:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
            raise UsageError(f"{prefix}{name} is not known; {hint}")


def typed(name: str, section: Mapping[str, Any], params: type[Params], field: dataclasses.Field[object]) -> object:
    """A section's value of a field, in the field's type."""
    value = section.get(field.name, field.default)
    kind = typing.get_type_hints(params)[field.name]
    if typing.get_origin(kind) is tuple:
        pair = isinstance(value, list | tuple) and len(value) == 2
        if not pair or any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in value):
            raise UsageError(f"{name} = {value!r} must be two numbers, such as [40, 60].")
        return tuple(value)
    if typing.get_origin(kind) is typing.Literal:
        kind = str
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"{name} = {value!r} must be {'text' if kind is str else getattr(kind, '__name__', 'text')}.")
    return value


def anchored(values: dict[str, Any], base: str) -> dict[str, Any]:
    """Paths among a section's values, made to start from the recipe's folder."""
    for name in ("pretrained", "centroids", "exclude", "reuse", "text_embeddings", "metadata"):
        path = values.get(name)
        if path and (name != "pretrained" or os.path.exists(os.path.join(base, path))):
            values[name] = join(base, located(path))
    model = values.get("model", "")
    if model.startswith(LOCAL):
        values["model"] = LOCAL + join(base, model.removeprefix(LOCAL))
    return values
