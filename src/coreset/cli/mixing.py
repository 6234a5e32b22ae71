"""`coreset mix`, which stands apart from runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from coreset.cli.app import app
from coreset.cli.options import HelpWithDefaults, Json, MaxBad, Quiet, place_location

if TYPE_CHECKING:
    from coreset.mixture.mix import Mixed

COLUMNS = {
    "records": "read",
    "left out": "left_out",
    "rejected": "rejected",
    "repeated": "repeated",
    "not drawn": "not_drawn",
    "taken": "taken",
    "text only": "text_only",
}
"""Columns of the table, and the counts they show; of those between, only those that are not all 0."""
ALWAYS = ("records", "taken", "text only")


@app.command(cls=HelpWithDefaults)
def mix(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE.toml", help="The mixture: sources and what is taken.")],
    file: Annotated[
        str, typer.Argument(metavar="OUT.json", help="Is replaced if it is there.", callback=place_location)
    ],
    max_bad: MaxBad = 1.0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Make one JSON list for fine-tuning of parts of others, as a recipe says: counted, checked, repeatable."""
    from coreset.cli.show import display
    from coreset.mixture.mix import mix as mixed
    from coreset.mixture.recipe import read_mixture

    mixture = read_mixture(recipe)
    with display(quiet or json) as progress:
        found = mixed(mixture, file, progress)
    mixed_result(found, json, max_bad)


def mixed_result(found: Mixed, as_json: bool, max_bad: float) -> None:
    """Show what became of each source's records, what was refused, and how much is text alone.

    Raises:
        TooManyBadError: More than `max_bad` percent of the records that the recipe wants cannot be used.
    """
    from coreset.cli.show import print_json
    from coreset.engine.errors import TooManyBadError

    if as_json:
        summary = {"records": found.records, "text_only": found.text_only, "rejected": found.rejected}
        print_json({**dataclasses.asdict(found), **summary})
    else:
        show_mixed(found)
    if 100 * found.rejected > max_bad * found.wanted:
        raise TooManyBadError(
            f"{found.rejected:,} of {found.wanted:,} records cannot be used, more than --max-bad {max_bad:g} %; see "
            f"{found.rejected_file}."
        )


def show_mixed(found: Mixed) -> None:
    """The counts as a table, then what was refused."""
    from rich.table import Table

    from coreset.cli.show import console, out, percent, plain

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("source", no_wrap=True)
    shown = [
        name
        for name, count in COLUMNS.items()
        if name in ALWAYS or any(getattr(source, count) for source in found.sources)
    ]
    for name in (*shown, "of mixture"):
        table.add_column(name, justify="right", no_wrap=True)
    for source in found.sources:
        counts = [f"{getattr(source, COLUMNS[name]):,}" for name in shown]
        table.add_row(plain(source.name), *counts, percent(source.taken, found.records))
    console().print(table)
    out("")
    for reason, count in sorted(found.reasons.items()):
        out(f"rejected: {count:,} {reason}")
        for example in [example for example in found.examples if example.reason == reason]:
            out(f"  {example.source} record {example.record:,} {example.id or ''}: {example.detail}")
    if found.rejected_file:
        out(f"  all of them: {found.rejected_file}")
    if found.shared_ids:
        out(f"ids: {found.shared_ids:,} records have the id of one before them")
    out(f"text only: {found.text_only:,} of {found.records:,} records, {percent(found.text_only, found.records)}")
    out(found.file)
