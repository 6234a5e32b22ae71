"""The commands, one function each: read flags and recipe, call the pipeline, show the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coreset.cli.options import (
    CommonOptions,
    DryRun,
    HelpWithDefaults,
    Json,
    MaxBad,
    Memory,
    Overwrite,
    Quiet,
    RunFolder,
    Workers,
)

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

Shards = Annotated[
    list[str] | None,
    typer.Argument(help="Tars: paths, globs, {00000..00099} braces, or a .txt file of them.", show_default=False),
]
Model = Annotated[str | None, typer.Option("--model", help="embed.model", show_default=False)]
Pretrained = Annotated[str | None, typer.Option("--pretrained", help="embed.pretrained", show_default=False)]
Device = Annotated[str | None, typer.Option("--device", help="embed.device", show_default=False)]
Precision = Annotated[str | None, typer.Option("--precision", help="embed.precision", show_default=False)]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="embed.batch_size", show_default=False)]
PrefixKeys = Annotated[
    bool | None, typer.Option("--prefix-keys/--plain-keys", help="embed.prefix_keys", show_default=False)
]
Folder = Annotated[
    str | None, typer.Argument(help="A folder of vectors: clip-retrieval, .npy, .npz or Parquet.", show_default=False)
]
Format = Annotated[str | None, typer.Option("--format", help="import.format", show_default=False)]
Normalize = Annotated[
    bool | None, typer.Option("--normalize/--no-normalize", help="import.normalize", show_default=False)
]
TextCosine = Annotated[str | None, typer.Option("--text-cosine", help="import.text_cosine", show_default=False)]
Features = Annotated[str | None, typer.Option("--features", help="import.features", show_default=False)]
VectorColumn = Annotated[
    str | None, typer.Option("--embedding-column", help="import.embedding_column", show_default=False)
]
TextColumn = Annotated[str | None, typer.Option("--text-column", help="import.text_column", show_default=False)]
TextFolder = Annotated[str | None, typer.Option("--text-embeddings", help="import.text_embeddings", show_default=False)]
MetadataFolder = Annotated[str | None, typer.Option("--metadata", help="import.metadata", show_default=False)]
MissingCaption = Annotated[
    bool | None,
    typer.Option(
        "--allow-missing-caption/--refuse-missing-caption", help="embed.allow_missing_caption", show_default=False
    ),
]
PrefixSources = Annotated[
    bool | None, typer.Option("--prefix-keys/--plain-keys", help="import.prefix_keys", show_default=False)
]
Threshold = Annotated[float | None, typer.Option("--threshold", help="dedup.threshold", show_default=False)]
Clusters = Annotated[int | None, typer.Option("--clusters", help="cluster.clusters", show_default=False)]
Centroids = Annotated[str | None, typer.Option("--centroids", help="cluster.centroids", show_default=False)]
Exclude = Annotated[str | None, typer.Option("--exclude", help="cluster.exclude", show_default=False)]
Keep = Annotated[str | None, typer.Option("--keep", help="dedup.keep", show_default=False)]
KeepFraction = Annotated[
    str | None,
    typer.Option(
        "--keep-fraction",
        help="Take the highest threshold at which at most this fraction of the rows is kept; makes RUN/forest.",
        show_default=False,
    ),
]
Floor = Annotated[
    float | None,
    typer.Option(
        "--floor", help="Lowest threshold of RUN/forest. [default: as it stands, else 0.8]", show_default=False
    ),
]
Number = Annotated[int | None, typer.Option("-n", help="sample.n", show_default=False)]
Window = tuple[float, float]
TextRank = Annotated[Window | None, typer.Option("--text-rank", help="sample.text_rank", show_default=False)]
CentroidRank = Annotated[
    Window | None, typer.Option("--centroid-rank", help="sample.centroid_rank", show_default=False)
]
Seed = Annotated[int | None, typer.Option("--seed", help="sample.seed", show_default=False)]
AllowFewer = Annotated[
    bool | None, typer.Option("--allow-fewer/--no-fewer", help="sample.allow_fewer", show_default=False)
]


@app.command(cls=HelpWithDefaults)
def demo(
    run: RunFolder = "run",
    workers: Workers = 1,
    memory: Memory = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run the whole selection on the pictures and the model that come with coreset, offline."""
    from coreset.demo import RECIPE
    from coreset.pipeline import selected
    from coreset.recipe import read_recipe

    common = CommonOptions(run, workers, memory, overwrite, quiet, json)
    with common.writing() as run_of:
        selected(run_of, read_recipe(RECIPE))
    common.show_funnel(after="demo")


@app.command(cls=HelpWithDefaults)
def init(
    shards: Annotated[list[str], typer.Argument(help="Tars: paths, globs or braces, quoted; or a folder of vectors.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a coreset.toml that is there.")] = False,
) -> None:
    """Write a coreset.toml here, with every parameter, its default and its meaning."""
    from coreset.cli.show import out
    from coreset.engine.errors import InputError
    from coreset.engine.files import write_bytes
    from coreset.pipeline import input_names
    from coreset.recipe import NAME, Recipe, recipe_text

    if Path(NAME).exists() and not force:
        raise InputError(f"{NAME} is here already; edit it, or replace it with --force.")
    kind, names = input_names(Recipe(input=tuple(shards)))
    write_bytes(NAME, recipe_text(shards).encode())
    out(f"{NAME}: {len(names):,} {kind}; next: coreset run")


@app.command(cls=HelpWithDefaults)
def run(
    recipe: Annotated[str | None, typer.Argument(metavar="[RECIPE.toml]", help="Default: ./coreset.toml.")] = None,
    run: RunFolder = "run",
    workers: Workers = 1,
    memory: Memory = None,
    max_bad: MaxBad = 1.0,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run all stages of a recipe: embed or import, cluster, dedup, sample."""
    from coreset.cli.show import FOLDERS
    from coreset.pipeline import selected
    from coreset.recipe import NAME, read_recipe

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, max_bad)
    recipe_of = read_recipe(recipe or NAME)
    if dry_run:
        common.show_plan(recipe_of, FOLDERS)
        return
    with common.writing() as run_of:
        selected(run_of, recipe_of)
    common.show_funnel(after="run")


@app.command(cls=HelpWithDefaults)
def embed(
    shards: Shards = None,
    model: Model = None,
    pretrained: Pretrained = None,
    device: Device = None,
    precision: Precision = None,
    batch_size: BatchSize = None,
    prefix_keys: PrefixKeys = None,
    allow_missing_caption: MissingCaption = None,
    run: RunFolder = "run",
    workers: Workers = 1,
    memory: Memory = None,
    max_bad: MaxBad = 1.0,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Stage 1: turn the pairs of the shards into unit vectors, in RUN/rows."""
    from coreset.pipeline import embedded
    from coreset.recipe import changed

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, max_bad)
    params = changed(
        local_recipe(shards).embed,
        model=model,
        pretrained=pretrained,
        device=device,
        precision=precision,
        batch_size=batch_size,
        prefix_keys=prefix_keys,
        allow_missing_caption=allow_missing_caption,
    )
    recipe = with_stages(local_recipe(shards), embed=params)
    if dry_run:
        common.show_plan(recipe, ("rows",))
        return
    with common.writing() as run_of:
        embedded(run_of, recipe)
    common.show_funnel(after="embed")


@app.command("import", cls=HelpWithDefaults)
def import_(
    folder: Folder = None,
    format: Format = None,  # noqa: A002  the flag's name
    normalize: Normalize = None,
    text_cosine: TextCosine = None,
    features: Features = None,
    embedding_column: VectorColumn = None,
    text_column: TextColumn = None,
    text_embeddings: TextFolder = None,
    metadata: MetadataFolder = None,
    prefix_keys: PrefixSources = None,
    run: RunFolder = "run",
    workers: Workers = 1,
    memory: Memory = None,
    max_bad: MaxBad = 1.0,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Stage 1 for vectors that exist already: check a folder of them and make RUN/rows."""
    from coreset.pipeline import imported
    from coreset.recipe import changed

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, max_bad)
    found = local_recipe([folder] if folder else None)
    params = changed(
        found.import_,
        format=format,
        normalize=normalize,
        text_cosine=text_cosine,
        features=features,
        embedding_column=embedding_column,
        text_column=text_column,
        text_embeddings=text_embeddings,
        metadata=metadata,
        prefix_keys=prefix_keys,
    )
    recipe = with_stages(found, import_=params)
    if dry_run:
        common.show_plan(recipe, ("rows",))
        return
    with common.writing() as run_of:
        imported(run_of, recipe)
    common.show_funnel(after="import")


@app.command(cls=HelpWithDefaults)
def dedup(
    threshold: Threshold = None,
    clusters: Clusters = None,
    centroids: Centroids = None,
    exclude: Exclude = None,
    keep: Keep = None,
    keep_fraction: KeepFraction = None,
    floor: Floor = None,
    run: RunFolder = "run",
    workers: Workers = 1,
    memory: Memory = None,
    max_bad: MaxBad = 1.0,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Stages 2 and 3: cluster if that is not done yet, then keep one row of each component."""
    from coreset.engine.errors import UsageError
    from coreset.pipeline import clustered, deduplicated, forested, keeping, standing
    from coreset.recipe import changed

    if keep_fraction is not None and threshold is not None:
        raise UsageError("--threshold and --keep-fraction exclude each other: the fraction decides the threshold.")

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, max_bad)
    found = local_recipe()
    recipe = with_stages(
        found,
        cluster=changed(found.cluster, clusters=clusters, centroids=centroids, exclude=exclude),
        dedup=changed(found.dedup, threshold=threshold, keep=keep),
    )
    if dry_run:
        common.show_plan(recipe, ("centroids", "clusters", "dedup"))
        return
    with common.writing() as run_of:
        strict = clusters is not None or centroids is not None
        made = clustered(run_of, recipe, standing(run_of, "rows"), strict)
        if keep_fraction is not None or floor is not None:
            forest = forested(run_of, made[1], floor)
            recipe = keeping(run_of, recipe, forest, keep_fraction) if keep_fraction is not None else recipe
        deduplicated(run_of, recipe, *made)
    common.show_funnel(after="dedup")


@app.command(cls=HelpWithDefaults)
def sweep(
    floor: Floor = None,
    step: Annotated[float, typer.Option("--step", min=0.0001, max=0.5, help="Between two thresholds.")] = 0.01,
    plot: Annotated[
        str | None,
        typer.Option("--plot", help="Draw the curve, too: a .svg, .png or .pdf file; needs coreset[plot]."),
    ] = None,
    run: RunFolder = "run",
    workers: Workers = 1,
    memory: Memory = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Show how many rows each threshold keeps, exactly; makes RUN/forest if it is not there."""
    from coreset.cli.show import sweep_result
    from coreset.forest import kept_above, thresholds_from
    from coreset.pipeline import clustered, forested, standing
    from coreset.results.plot import draw_sweep, kind_of

    common = CommonOptions(run, workers, memory, quiet=quiet, as_json=json)
    if plot is not None:
        kind_of(plot)
    with common.writing() as run_of:
        _, clusters = clustered(run_of, local_recipe(), standing(run_of, "rows"), strict=False)
        forest = forested(run_of, clusters, floor)
        thresholds = thresholds_from(float(forest.facts["floor"]), step)
        kept = kept_above(forest, thresholds, run_of.execute)
    if plot is not None:
        draw_sweep(plot, thresholds, kept, forest.counts["rows"])
    sweep_result(thresholds, kept, forest.counts["rows"], json)


@app.command(cls=HelpWithDefaults)
def sample(
    n: Number = None,
    text_rank: TextRank = None,
    centroid_rank: CentroidRank = None,
    seed: Seed = None,
    allow_fewer: AllowFewer = None,
    run: RunFolder = "run",
    workers: Workers = 1,
    memory: Memory = None,
    max_bad: MaxBad = 1.0,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Stage 4: keep two windows of ranks, then n rows at random, in RUN/coreset."""
    from coreset.pipeline import sampled, standing
    from coreset.recipe import changed

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, max_bad)
    found = local_recipe()
    flags = {"n": n, "text_rank": text_rank, "centroid_rank": centroid_rank, "seed": seed, "allow_fewer": allow_fewer}
    recipe = with_stages(found, sample=changed(found.sample, **flags))
    if dry_run:
        common.show_plan(recipe, ("coreset",))
        return
    with common.writing() as run_of:
        sampled(run_of, recipe, standing(run_of, "dedup"))
    common.show_funnel(after="sample")


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
