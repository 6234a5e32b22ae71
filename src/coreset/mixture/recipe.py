"""What a mixture is made of: a TOML of sources, each with what is taken of it."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from coreset.engine.errors import InputError, UsageError
from coreset.engine.files import folder_of, is_file, join, located, read_bytes
from coreset.recipe import check_names

IMAGES = ("any", "with", "without")
FORMS = ("llava", "instructions")
DUPLICATES = ("keep", "first", "refuse")
ORDERS = ("shuffled", "listed")


@dataclass(frozen=True)
class Part:
    """Some records of a source: those for which all of this holds."""

    ids: tuple[str, ...] = field(
        default=(), metadata={"help": "patterns of ids, such as `coco_*`: one of them has to match; none: every id"}
    )
    images: str = field(default="any", metadata={"help": "records `with` images, `without`, or `any`"})

    def has(self, name: str, has_image: bool) -> bool:
        """Whether a record is in this part.

        Example:
            >>> Part(("coco_*",), "with").has("coco_1", has_image=True), Part(images="without").has("a", True)
            (True, False)
        """
        fits = self.images == "any" or (self.images == "with") == has_image
        return fits and (not self.ids or any(fnmatchcase(name, pattern) for pattern in self.ids))


@dataclass(frozen=True)
class Source:
    """One file of records, and what is taken of it."""

    name: str
    path: str = field(metadata={"help": "a JSON list of records, or JSON lines; starts from the recipe's folder"})
    form: str = field(
        default="llava",
        metadata={"help": "`llava`: `id`, `image`, `conversations`; `instructions`: `instruction`, `input`, `output`"},
    )
    ids: tuple[str, ...] = field(default=(), metadata=Part.__dataclass_fields__["ids"].metadata)
    images: str = field(default="any", metadata=Part.__dataclass_fields__["images"].metadata)
    exclude: Part | None = field(
        default=None, metadata={"help": "a part that is left out: `{ids = [...], images = ...}`"}
    )
    n: int = field(default=0, metadata={"help": "exactly so many records, drawn by seeded hash; 0: all"})
    seed: int = field(default=0, metadata={"help": "of that draw"})

    def takes(self, name: str, has_image: bool) -> bool:
        """Whether a record is one of those that are wanted."""
        wanted = Part(self.ids, self.images).has(name, has_image)
        return wanted and (self.exclude is None or not self.exclude.has(name, has_image))


@dataclass(frozen=True)
class Mixture:
    """Sources, and how their records come together."""

    source: tuple[Source, ...]
    order: str = field(
        default="shuffled", metadata={"help": "`shuffled` by seeded hash, or `listed`: source after source"}
    )
    seed: int = field(default=0, metadata={"help": "of that shuffle"})
    duplicates: str = field(
        default="keep",
        metadata={"help": "an id that came before: `keep` both, keep the `first`, or `refuse` the whole mixture"},
    )


CHOICES = {"images": IMAGES, "form": FORMS, "duplicates": DUPLICATES, "order": ORDERS}


def read_mixture(location: str) -> Mixture:
    """The mixture in a TOML file; its paths start from the file's folder.

    Raises:
        InputError: There is no such file.
        UsageError: It is not TOML, or a key or a value is not one of a mixture's.
    """
    location = located(location)
    if not is_file(location):
        raise InputError(f"{location} does not exist; pipelines/bunny_695k.toml is an example of a mixture.")
    try:
        return parsed_mixture(read_bytes(location).decode("utf-8"), folder_of(location))
    except UnicodeDecodeError as error:
        raise UsageError(f"{location} is not UTF-8 text.") from error
    except UsageError as error:
        raise UsageError(f"{location}: {error}") from error


def parsed_mixture(text: str, base: str = ".") -> Mixture:
    r"""The mixture that some TOML says.

    Raises:
        UsageError: It is not TOML, or a key or a value is not one of a mixture's.

    Example:
        >>> mixture = parsed_mixture('[source.svit]\npath = "svit.json"\nexclude = {images = "without"}')
        >>> mixture.source[0].takes("1", has_image=False)
        False
        >>> parsed_mixture('[source.svit]\npath = "svit.json"\nimags = "with"')
        Traceback (most recent call last):
        ...
        coreset.engine.errors.UsageError: source.svit.imags is not known; did you mean images?
    """
    try:
        said = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"not valid TOML: {error}.") from error
    check_names("", said, [found.name for found in fields(Mixture)])
    sources = table("source", said.get("source", {}))
    if not sources:
        raise UsageError("no source is named; give each a section, such as [source.svit] with its path.")
    rest = values("", {name: value for name, value in said.items() if name != "source"}, Mixture)
    return Mixture(tuple(parsed_source(name, section, base) for name, section in sources.items()), **rest)


def parsed_source(name: str, section: object, base: str) -> Source:
    """A source as its section says it."""
    prefix = f"source.{name}"
    said = table(prefix, section)
    check_names(f"{prefix}.", said, [found.name for found in fields(Source) if found.name != "name"])
    if "path" not in said:
        raise UsageError(f"{prefix} has no path; name its file.")
    known = values(f"{prefix}.", said, Source)
    if "exclude" in said:
        part = table(f"{prefix}.exclude", said["exclude"])
        check_names(f"{prefix}.exclude.", part, [found.name for found in fields(Part)])
        if not part:
            raise UsageError(f"{prefix}.exclude would leave everything out; name ids or images.")
        known["exclude"] = Part(**values(f"{prefix}.exclude.", part, Part))
    return Source(name, **{**known, "path": join(base, located(known["path"]))})


def table(name: str, value: object) -> Mapping[str, Any]:
    """A value that must be a section."""
    if not isinstance(value, dict):
        raise UsageError(f"{name} must be a section, [{name}].")
    return value


def values(prefix: str, said: Mapping[str, Any], kind: type[Mixture | Source | Part]) -> dict[str, Any]:
    """What a section says, in the types of its dataclass."""
    types = {found.name: found.type for found in fields(kind)}
    return {name: typed(prefix + name, value, str(types[name])) for name, value in said.items() if name != "exclude"}


def typed(name: str, value: object, kind: str) -> object:
    """A value of a type that is written as `int`, `str` or `tuple[str, ...]`."""
    if kind.startswith("tuple"):
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not listed or not all(isinstance(text, str) for text in listed):
            raise UsageError(f"{name} = {value!r} must be a list of texts.")
        return tuple(listed)
    if kind == "int":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
            raise UsageError(f"{name} = {value!r} must be a whole number, at least 0.")
        return value
    if not isinstance(value, str) or not value:
        raise UsageError(f"{name} = {value!r} must be text.")
    choices = CHOICES.get(name.rpartition(".")[2])
    if choices and value not in choices:
        raise UsageError(f"{name} = {value!r} is not known; {hint(value, choices)}")
    return value


def hint(value: str, choices: Sequence[str]) -> str:
    """The nearest of some words, or all of them."""
    near = difflib.get_close_matches(value, choices, n=1)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(choices)}."
