"""The program: what every command is registered with, and how it finds its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from coreset.recipe import Recipe

app = typer.Typer(
    name="coreset",
    help="Select a small, informative training set from image-text pairs: exact, repeatable, nothing lost.",
    epilog="Exit codes: 0 ok, 1 failed or a bug, 2 usage, 3 impossible for this input, 4 too much quarantined, "
    "5 out of disk or memory, 6 run directory in use, 7 parameters differ from what is on disk, 130 interrupted.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def coreset(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Select a small, informative training set from image-text pairs: exact, repeatable, nothing lost."""
    if version:
        from importlib.metadata import version as version_of

        from coreset.cli.show import out

        out(f"coreset {version_of('coreset')}")
        raise typer.Exit


def local_recipe(shards: list[str] | None = None) -> Recipe:
    """The recipe in this folder, or the defaults; shards on the command line replace its input."""
    import dataclasses

    from coreset.recipe import NAME, Recipe, read_recipe

    recipe = read_recipe(NAME) if Path(NAME).is_file() else Recipe()
    return dataclasses.replace(recipe, input=tuple(shards), base=".") if shards else recipe


def with_stages(recipe: Recipe, **stages: Any) -> Recipe:  # noqa: ANN401  params of any stage
    """A recipe with other parameters for some stages."""
    import dataclasses

    return dataclasses.replace(recipe, **stages)
