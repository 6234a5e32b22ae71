"""The command that writes chosen rows for a trainer."""

from __future__ import annotations

from typing import Annotated

import typer

from coreset.cli.app import app
from coreset.cli.options import (
    CommonOptions,
    HelpWithDefaults,
    Json,
    Memory,
    Overwrite,
    Quiet,
    Ray,
    RunFolder,
    Workers,
    place_location,
)

Where = Annotated[list[str] | None, typer.Option("--where", help="export.where", show_default=False)]
SamplesPerShard = Annotated[
    int | None, typer.Option("--samples-per-shard", help="export.samples_per_shard", show_default=False)
]
ImagesPerDir = Annotated[int | None, typer.Option("--images-per-dir", help="export.images_per_dir", show_default=False)]
Prompt = Annotated[str | None, typer.Option("--prompt", help="export.prompt", show_default=False)]
Prefix = Annotated[str | None, typer.Option("--prefix", help="export.prefix", show_default=False)]
Labels = Annotated[str | None, typer.Option("--labels", help="export.labels", show_default=False)]
Lists = Annotated[str | None, typer.Option("--lists", help="export.lists", show_default=False)]
IndexOnly = Annotated[
    bool, typer.Option("--index-only", help="Refuse formats that copy pictures: use those where they lie.")
]
ImagePrefix = Annotated[str | None, typer.Option("--image-prefix", help="export.image_prefix", show_default=False)]
System = Annotated[str | None, typer.Option("--system", help="export.system", show_default=False)]
Jpeg = Annotated[bool | None, typer.Option("--jpeg/--keep-bytes", help="export.jpeg", show_default=False)]


@app.command(cls=HelpWithDefaults)
def export(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="export.format")],
    out: Annotated[
        str,
        typer.Argument(metavar="OUT", help="A folder that is new or empty; or its URL.", callback=place_location),
    ],
    where: Where = None,
    samples_per_shard: SamplesPerShard = None,
    images_per_dir: ImagesPerDir = None,
    jpeg: Jpeg = None,
    prompt: Prompt = None,
    prefix: Prefix = None,
    labels: Labels = None,
    image_prefix: ImagePrefix = None,
    system: System = None,
    lists: Lists = None,
    index_only: IndexOnly = False,
    run: RunFolder = "run",
    workers: Workers = None,
    ray: Ray = None,
    memory: Memory = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write the coreset, or rows of any fate, in the form that a trainer's own loader reads."""
    from coreset.cli.exported import exported_result
    from coreset.results.export.exporting import export as exported
    from coreset.results.export.formats import check_index_only

    if index_only:
        check_index_only(form)
    common = CommonOptions(run, workers, memory, overwrite, quiet, json, ray=ray)
    with common.reading() as run_of:
        found = exported(
            run_of.folder,
            form,
            out,
            run_of.execute,
            run_of.task_memory,
            run_of.progress,
            overwrite,
            where=tuple(where) if where else None,
            samples_per_shard=samples_per_shard,
            images_per_dir=images_per_dir,
            jpeg=jpeg,
            prompt=prompt,
            prefix=prefix,
            labels=labels,
            image_prefix=image_prefix,
            system=system,
            lists=lists,
        )
    exported_result(out, found, json)
