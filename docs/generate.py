"""Write docs/cli.md and docs/formats.md from the code they describe; `--check` only compares.

Run from anywhere: `python docs/generate.py`, after every change of a flag, a parameter or a column.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from typer.models import ArgumentInfo, CommandInfo, OptionInfo

from coreset import rows
from coreset.cli.commands import app
from coreset.engine.errors import CoresetError
from coreset.mixture.recipe import Mixture, Part, Source
from coreset.recipe import STAGES, settable, toml_value
from coreset.results.export.formats import option_help
from coreset.results.fate import EXCLUDED
from coreset.results.map import MAP_COLUMNS
from coreset.sample import FATES

FOLDER = Path(__file__).resolve().parent
MARK = "<!-- Written by docs/generate.py from {source}: change that, then run `python docs/generate.py`. -->"
VALUES: dict[Any, str] = {
    bool: "",
    int: "N",
    float: "X",
    str: "TEXT",
    tuple[float, float]: "LOW HIGH",
    list[str]: "TEXT...",
}
"""How the value of a flag is called, by its type."""

ADDED = {"clusters": rows.CLUSTER_COLUMNS, "dedup": rows.DEDUP_COLUMNS}
"""The columns that a folder has besides those of the stage before it."""

CLI_INTRODUCTION = """\
A value on the command line wins over the environment, that over `coreset.toml` in the current folder,
that over the default. `coreset run` takes all parameters from its recipe. The result is on stdout,
progress and errors are on stderr. The text in brackets names the parameter that a flag sets in a recipe,
and its default. `coreset --version` shows the version, `--help` behind a command its flags.

`coreset --install-completion` teaches bash, zsh or fish to complete commands, flags, their values and run directories;
`coreset --show-completion` prints what it would install."""
RECIPE_INTRODUCTION = """\
`coreset init` writes one with every parameter. `input` is a list of shards: paths, globs, braces, or
`.txt` files that hold one of these a line; or one folder of vectors, to which `[import]` applies instead of
`[embed]`. Relative paths start from the recipe's folder. An unknown name is an error."""
MIXTURE_INTRODUCTION = """\
What `coreset mix` takes: a few keys of the whole, then a section for each source. [Mixing](mixing.md) has an example.
An unknown name is an error."""
FORMATS_INTRODUCTION = f"""\
Vectors are `.npy` files of float16, C order, shape (n, d). Everything else is Parquet, compressed with
zstd, in row groups of {rows.GROUP_ROWS:,} rows. [The run directory](run-directory.md) says which files
there are.

`<x, y>` is the inner product of the vectors of two pictures, `<x, t>` that of a picture and its caption.
All vectors have length 1 up to rounding (imported ones within 0.001), so an inner product is a cosine."""
FOREST_INTRODUCTION = """\
On request (`coreset sweep`, `coreset dedup --keep-fraction`): at most one edge for each row but one of a
cluster. Above any threshold that is not below the floor, these edges connect the rows that all edges connect."""
CORESET_INTRODUCTION = """\
Of the columns of `dedup/` these, in the order in which the rows were drawn: the first m rows of a coreset
are the coreset of m rows."""
FATES_INTRODUCTION = """\
`coreset.rows_with_fate(run)` gives every row with one more column, `fate`. It is not stored:
it follows from the row and the cuts in `coreset/stage.json`. `coreset decisions OUT.parquet` writes it for every sample
that came in, the quarantined ones among them, piece by piece whatever their number."""
FATE_MEANINGS = {
    "kept": "the row is in the coreset",
    "excluded": "a list of `--exclude` names its key, url or hash; its row is in `excluded/`, and in no cluster",
    "duplicate": "another row stands for its component: `kept_key`",
    "text rank too high": "a survivor, above the window by `text_cosine`",
    "text rank too low": "a survivor, below that window",
    "centroid rank too high": "in the text window, above the window by `centroid_cosine`",
    "centroid rank too low": "in the text window, below that window",
    "no caption": "a survivor without a caption (`--allow-missing-caption`): it has no text rank, and is never drawn",
    "not sampled": "in both windows, and not among the n rows that were drawn",
}


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or say which ones are out of date; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    check = parser.parse_args(arguments).check
    stale = 0
    for name, text in pages().items():
        location = FOLDER / name
        if location.is_file() and location.read_text(encoding="utf-8") == text:
            continue
        if check:
            stale += 1
            sys.stderr.write(f"docs/{name} is out of date; run `python docs/generate.py`\n")
        else:
            location.write_text(text, encoding="utf-8")
            sys.stdout.write(f"docs/{name}\n")
    return 1 if stale else 0


def pages() -> dict[str, str]:
    """The text of each generated page by its name."""
    return {"cli.md": "\n".join(cli_page()) + "\n", "formats.md": "\n".join(formats_page()) + "\n"}


def cli_page() -> Iterator[str]:
    """Lines of the page on the command line."""
    commands = {found.name or callback_of(found).__name__: callback_of(found) for found in app.registered_commands}
    yield "# The command line"
    yield ""
    yield MARK.format(source="the commands and the parameters in src/coreset")
    yield ""
    yield CLI_INTRODUCTION
    yield ""
    yield "| command | what it does |"
    yield "|---|---|"
    for name, callback in commands.items():
        yield f"| [`coreset {name}`](#coreset-{name}) | {cell(first_line(callback.__doc__))} |"
    for name, callback in commands.items():
        yield ""
        yield from command_section(name, callback)
    yield ""
    yield from recipe_section()
    yield ""
    yield from mixture_section()
    yield ""
    yield from exit_section()


def callback_of(found: CommandInfo) -> Callable[..., Any]:
    """The function of a command."""
    if found.callback is None:
        raise TypeError(f"{found.name} has no function.")
    return found.callback


def command_section(name: str, callback: Callable[..., Any]) -> Iterator[str]:
    """Lines about one command."""
    parameters = list(parameters_of(callback))
    words = [spelled for spelled, _, is_flag in parameters if not is_flag]
    yield f"## coreset {name}"
    yield ""
    yield first_line(callback.__doc__)
    yield ""
    yield "```"
    yield " ".join(["coreset", name, *words, "[FLAGS]" if len(words) < len(parameters) else ""]).strip()
    yield "```"
    yield ""
    yield "| argument or flag | meaning |"
    yield "|---|---|"
    for spelled, meaning, _ in parameters:
        yield f"| `{spelled}` | {cell(meaning)} |"


def parameters_of(callback: Callable[..., Any]) -> Iterator[tuple[str, str, bool]]:
    """For each argument and flag of a command: how it is typed, what it means, whether it is a flag."""
    hints = typing.get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        kind, info = typing.get_args(hints[name])
        required = parameter.default is inspect.Parameter.empty
        if isinstance(info, ArgumentInfo):
            several = list[str] in {kind, *typing.get_args(kind)}
            spelled = info.metavar or name.upper() + ("..." if several else "")
            meaning = meaning_of(info, None)
            yield spelled if required or info.metavar else f"[{spelled}]", meaning, False
        else:
            yield flag_spelling(info, kind), meaning_of(info, parameter.default), True


def flag_spelling(info: OptionInfo, kind: Any) -> str:  # noqa: ANN401  a type, perhaps a union
    """A flag as one types it."""
    if kind not in VALUES:
        kind = next(found for found in typing.get_args(kind) if found is not type(None))
    # Annotated leaves the first name where typer keeps a default, until a command is built.
    names = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    return ", ".join(names).replace("/", ", ") + (f" {VALUES[kind]}" if VALUES[kind] else "")


def meaning_of(info: OptionInfo | ArgumentInfo, default: object) -> str:
    """What a flag means, with its environment variable and default."""
    stage, _, name = str(info.help).partition(".")
    if stage in STAGES and name in STAGES[stage].__dataclass_fields__:
        found = STAGES[stage].__dataclass_fields__[name]
        said = str(found.metadata["help"])
        return f"{said[0].upper()}{said[1:]}. [{stage}.{name}, default {toml_value(found.default) or 'none'}]"
    if stage == "export":
        return option_help(name)
    notes = [f"or ${info.envvar}"] if info.envvar else []
    if default is not None and not isinstance(default, bool):
        notes.append(f"default {default}")
    return f"{info.help} [{', '.join(notes)}]" if notes else str(info.help)


def recipe_section() -> Iterator[str]:
    """Lines about the parameters of a recipe."""
    yield "## coreset.toml"
    yield ""
    yield RECIPE_INTRODUCTION
    for name, params in STAGES.items():
        yield ""
        yield f"### [{name}]"
        yield ""
        yield "| parameter | default | meaning |"
        yield "|---|---|---|"
        for field in settable(params):
            default = toml_value(field.default)
            shown = "none" if default is None else f"`{default}`"
            yield f"| `{field.name}` | {shown} | {cell(field.metadata['help'])} |"


def mixture_section() -> Iterator[str]:
    """Lines about the recipe of a mixture."""
    yield "## The recipe of a mixture"
    yield ""
    yield MIXTURE_INTRODUCTION
    for name, kind in (("The whole", Mixture), ("[source.NAME]", Source), ("exclude", Part)):
        yield ""
        yield f"### {name}"
        yield ""
        yield "| key | default | meaning |"
        yield "|---|---|---|"
        for field in dataclasses.fields(kind):
            if field.metadata:
                shown = None if field.default is dataclasses.MISSING else toml_value(field.default)
                yield f"| `{field.name}` | {f'`{shown}`' if shown else 'none'} | {cell(field.metadata['help'])} |"


def exit_section() -> Iterator[str]:
    """Lines about exit codes."""
    yield "## Exit codes"
    yield ""
    yield "| code | meaning |"
    yield "|---|---|"
    yield "| 0 | Done. |"
    meanings: dict[int, list[str]] = {}
    for error in CoresetError.__subclasses__():
        meanings.setdefault(error.exit_code, []).append(first_line(error.__doc__))
    for code, texts in sorted(meanings.items()):
        yield f"| {code} | {cell(' '.join(texts))} |"
    yield "| 130 | Interrupted; the same command again continues. |"
    yield ""
    yield "[What can go wrong](failure-modes.md) says what to do about each."


def formats_page() -> Iterator[str]:
    """Lines of the page on the columns."""
    yield "# Columns"
    yield ""
    yield MARK.format(source="src/coreset/rows.py")
    yield ""
    yield FORMATS_INTRODUCTION
    yield ""
    yield "## rows/"
    yield ""
    yield from column_table(rows.ROW_COLUMNS)
    for before, folder in (("rows", "clusters"), ("clusters", "dedup")):
        yield ""
        yield f"## {folder}/"
        yield ""
        yield f"The columns of `{before}/`, and:"
        yield ""
        yield from column_table(ADDED[folder])
    yield ""
    yield "## forest/"
    yield ""
    yield FOREST_INTRODUCTION
    yield ""
    yield from column_table(rows.FOREST_COLUMNS)
    yield ""
    yield "## coreset/"
    yield ""
    yield CORESET_INTRODUCTION
    yield ""
    known = {column.name: column for columns in (rows.ROW_COLUMNS, *ADDED.values()) for column in columns}
    yield from column_table([known[name] for name in rows.CORESET_NAMES])
    yield ""
    yield "## quarantine/"
    yield ""
    yield from column_table(rows.QUARANTINE_COLUMNS)
    yield ""
    yield "[What can go wrong](failure-modes.md) lists the reasons."
    yield ""
    yield "## Fates"
    yield ""
    yield FATES_INTRODUCTION
    yield ""
    yield "| fate | meaning |"
    yield "|---|---|"
    for fate in (*FATES, EXCLUDED):
        yield f"| `{fate}` | {FATE_MEANINGS[fate]} |"
    yield ""
    yield "## The map"
    yield ""
    yield "`coreset map OUT.parquet` writes one row for each row of `dedup/`, in the same order."
    yield ""
    yield from column_table(MAP_COLUMNS)


def column_table(columns: Sequence[rows.Column]) -> Iterator[str]:
    """Lines of a table of columns."""
    yield "| column | type | meaning |"
    yield "|---|---|---|"
    for column in columns:
        yield f"| `{column.name}` | {column.type} | {cell(column.meaning)} |"


def cell(text: str) -> str:
    """Text that may stand in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def first_line(text: str | None) -> str:
    """The first line of a docstring."""
    return (text or "").strip().splitlines()[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
