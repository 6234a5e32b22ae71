"""The commands that look at an input or a run, and change neither."""

from __future__ import annotations

from typing import Annotated

import typer

from coreset.cli.app import app, local_recipe
from coreset.cli.flags import (
    Features,
    Format,
    MetadataFolder,
    PrefixSources,
    TextColumn,
    TextFolder,
    VectorColumn,
)
from coreset.cli.options import CommonOptions, HelpWithDefaults, Json, Memory, Quiet, Ray, RunFolder, Workers


@app.command(cls=HelpWithDefaults)
def status(run: RunFolder = "run", json: Json = False) -> None:
    """Show how far a run has come: its stages, counts, times, and what was quarantined."""
    CommonOptions(run, as_json=json).show_status()


@app.command(cls=HelpWithDefaults)
def inspect(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="A folder, or tars: paths, globs, braces, a .txt of them.")
    ],
    format: Format = None,  # noqa: A002  the flag's name
    features: Features = None,
    embedding_column: VectorColumn = None,
    text_column: TextColumn = None,
    text_embeddings: TextFolder = None,
    metadata: MetadataFolder = None,
    prefix_keys: PrefixSources = None,
    json: Json = False,
) -> None:
    """Say what an input is, whether it is whole, what a run of it would cost and what to type next; does no work."""
    from coreset.cli.inspected import inspected_result
    from coreset.recipe import changed
    from coreset.results.inspect import inspect as inspected

    params = changed(
        local_recipe().import_,
        format=format,
        features=features,
        embedding_column=embedding_column,
        text_column=text_column,
        text_embeddings=text_embeddings,
        metadata=metadata,
        prefix_keys=prefix_keys,
    )
    inspected_result(inspected(paths, params), json)


@app.command(cls=HelpWithDefaults)
def verify(
    full: Annotated[
        bool,
        typer.Option("--full", help="Compute every row's cluster and every component again, not some of each part."),
    ] = False,
    run: RunFolder = "run",
    workers: Workers = None,
    ray: Ray = None,
    memory: Memory = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Check every file of a run against what was written, and what the files hold; writes nothing."""
    from coreset.cli.verified import verified_result
    from coreset.results.verify import verify as verified

    common = CommonOptions(run, workers, memory, quiet=quiet, as_json=json, ray=ray)
    with common.reading() as run_of:
        found = verified(run_of.folder, run_of.execute, run_of.task_memory, full, run_of.progress)
    verified_result(found, json)


@app.command(cls=HelpWithDefaults)
def decisions(
    file: Annotated[str, typer.Argument(metavar="OUT.parquet", help="Is replaced if it is there.")],
    run: RunFolder = "run",
    json: Json = False,
) -> None:
    """Write every sample that came in, with its fate and its scores, to a Parquet file."""
    from coreset.cli.show import fates_result
    from coreset.results.decisions import write_decisions

    fates_result(file, write_decisions(run.rstrip("/"), file), json)


@app.command(name="map", cls=HelpWithDefaults)
def map_(
    file: Annotated[str, typer.Argument(metavar="OUT.parquet", help="Is replaced if it is there.")],
    run: RunFolder = "run",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the sample that the two directions come from.")] = 0,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write every row as a point (x, y) with its fate, key and caption to a Parquet file, to be plotted."""
    from coreset.cli.show import out, print_json
    from coreset.results.map import write_map

    with CommonOptions(run, quiet=quiet, as_json=json).reading() as run_of:
        count = write_map(run_of.folder, file, seed, run_of.progress)
    if json:
        print_json({"file": file, "points": count})
    else:
        out(f"{count:,} points: {file}")


@app.command(cls=HelpWithDefaults)
def report(
    run: RunFolder = "run",
    out: Annotated[
        str | None, typer.Option("--out", help="The folder to write. [default: RUN/report]", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is drawn to be shown.")] = 0,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Show no pictures, and read no tars.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write a page that shows what was kept, what was thrown away and why, with pictures; one file, no network."""
    from coreset.cli.show import report_result
    from coreset.results.report import report as reported

    with CommonOptions(run, quiet=quiet, as_json=json).reading() as run_of:
        found = reported(run_of.folder, out, seed, not no_pictures, run_of.progress)
    report_result(found, json)
