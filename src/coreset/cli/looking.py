"""The commands that look at an input or a run, and change neither."""

from __future__ import annotations

from typing import Annotated

import typer

from coreset.cli.app import app, local_recipe
from coreset.cli.flags import (
    Features,
    Format,
    MetadataFolder,
    Model,
    Precision,
    PrefixSources,
    Pretrained,
    TextColumn,
    TextFolder,
    VectorColumn,
)
from coreset.cli.options import (
    CommonOptions,
    HelpWithDefaults,
    Json,
    Memory,
    Quiet,
    Ray,
    RunFolder,
    Workers,
    place_location,
)
from coreset.results.chains.misses import ROWS, SEED

OutFile = Annotated[
    str,
    typer.Argument(metavar="OUT.parquet", help="Is replaced if it is there.", callback=place_location),
]


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
    parity: Annotated[
        str | None,
        typer.Option("--parity", metavar="FOLDER", help="Compute some of its vectors again from the shards in PATH."),
    ] = None,
    model: Model = None,
    pretrained: Pretrained = None,
    precision: Precision = None,
    json: Json = False,
) -> None:
    """Say what an input is, whether it is whole, what a run of it would cost and what to type next; does no work."""
    from coreset.cli.inspected import inspected_result
    from coreset.recipe import changed
    from coreset.results.inspect.inspect import inspect as inspected

    if parity is not None:
        from coreset.cli.parity import parity_result
        from coreset.results.inspect.parity import parity as compared

        asked = changed(local_recipe().embed, model=model, pretrained=pretrained, precision=precision)
        parity_result(compared(parity, paths, asked), json)
        return
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
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH",
            help="An export or a run. [default: the run]",
            show_default=False,
            callback=place_location,
        ),
    ] = None,
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
    """Check every file of a run or an export against what was written, and what the files hold; writes nothing."""
    from coreset.cli.exported import verified_export
    from coreset.cli.verified import verified_result
    from coreset.results.export.verifying import is_export, verify_export
    from coreset.results.verify.verify import verify as verified

    if path is not None and is_export(path):
        common = CommonOptions(run, workers, memory, quiet=quiet, as_json=json, ray=ray)
        with common.reading() as run_of:
            checked = verify_export(path, run_of.folder, run_of.execute, run_of.task_memory, run_of.progress)
        verified_export(checked, json)
        return
    common = CommonOptions(path or run, workers, memory, quiet=quiet, as_json=json, ray=ray)
    with common.reading() as run_of:
        found = verified(run_of.folder, run_of.execute, run_of.task_memory, full, run_of.progress)
    verified_result(found, json)


@app.command(cls=HelpWithDefaults)
def decisions(
    file: OutFile,
    run: RunFolder = "run",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write every sample that came in, with its fate and its scores, to a Parquet file."""
    from coreset.cli.funnel import fates_result
    from coreset.cli.show import display
    from coreset.results.decisions import write_decisions

    with display(quiet or json) as progress:
        counts = write_decisions(run.rstrip("/"), file, progress)
    fates_result(file, counts, json)


@app.command(name="map", cls=HelpWithDefaults)
def map_(
    file: OutFile,
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
        str | None,
        typer.Option(
            "--out", help="The folder to write. [default: RUN/report]", show_default=False, callback=place_location
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is drawn to be shown.")] = 0,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Show no pictures, and read no tars.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write a page that shows what was kept, what was thrown away and why, with pictures; one file, no network."""
    from coreset.cli.reported import report_result
    from coreset.results.report.report import report as reported

    with CommonOptions(run, quiet=quiet, as_json=json).reading() as run_of:
        found = reported(run_of.folder, out, seed, not no_pictures, run_of.progress)
    report_result(found, json)


@app.command(cls=HelpWithDefaults)
def missed(
    rows: Annotated[
        int, typer.Option("--rows", help="Search for so many rows among all; all, if there are no more.")
    ] = ROWS,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the rows that are searched for.")] = SEED,
    run: RunFolder = "run",
    workers: Workers = None,
    ray: Ray = None,
    memory: Memory = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Estimate how many near-duplicates are in different clusters, where dedup does not see them; writes nothing."""
    from coreset.cli.missed import missed_result
    from coreset.results.chains.missed import missed as estimated

    common = CommonOptions(run, workers, memory, quiet=quiet, as_json=json, ray=ray)
    with common.reading() as run_of:
        found = estimated(run_of.folder, rows, seed, run_of.execute, run_of.task_memory, run_of.progress)
    missed_result(found, json)
