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
from coreset.cli.options import CommonOptions, HelpWithDefaults, Json, Memory, Quiet, RunFolder, Workers


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
    from coreset.results.inspect import inspect as inspected

    if parity is not None:
        from coreset.cli.parity import parity_result
        from coreset.results.parity import parity as compared

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
    full: Annotated[
        bool,
        typer.Option("--full", help="Compute every row's cluster and every component again, not some of each part."),
    ] = False,
    run: RunFolder = "run",
    workers: Workers = 1,
    memory: Memory = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Check every file of a run against what was written, and what the files hold; writes nothing."""
    from coreset.cli.verified import verified_result
    from coreset.results.verify import verify as verified

    common = CommonOptions(run, workers, memory, quiet=quiet, as_json=json)
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
