"""The commands that make a run: read flags and recipe, call the pipeline, show the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coreset.cli.app import app, local_recipe, with_stages
from coreset.cli.complete import recipes
from coreset.cli.flags import (
    AllowFewer,
    BatchSize,
    CentroidRank,
    Centroids,
    Clusters,
    Decoder,
    Device,
    Exclude,
    Features,
    Floor,
    Folder,
    Format,
    Keep,
    KeepFraction,
    KeepTextVectors,
    MetadataFolder,
    MinKeptCosine,
    MissingCaption,
    MissingText,
    Model,
    Normalize,
    Number,
    Precision,
    PrefixKeys,
    PrefixSources,
    Pretrained,
    Reuse,
    Seed,
    Shards,
    TextColumn,
    TextCosine,
    TextFolder,
    TextRank,
    Threshold,
    VectorColumn,
)
from coreset.cli.options import (
    CommonOptions,
    DryRun,
    HelpWithDefaults,
    Json,
    MaxBad,
    Memory,
    Overwrite,
    Quiet,
    Ray,
    RunFolder,
    Workers,
)


@app.command(cls=HelpWithDefaults)
def demo(
    run: RunFolder = "run",
    workers: Workers = None,
    ray: Ray = None,
    memory: Memory = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run the whole selection on the pictures and the model that come with coreset, offline."""
    from coreset.demo import RECIPE
    from coreset.pipeline import selected
    from coreset.recipe import read_recipe

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, ray=ray)
    with common.writing() as run_of:
        selected(run_of, read_recipe(RECIPE))
    common.show_funnel(after="demo")


@app.command(cls=HelpWithDefaults)
def init(
    shards: Annotated[list[str], typer.Argument(help="Tars: paths, globs or braces, quoted; or a folder of vectors.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a coreset.toml that is there.")] = False,
    json: Json = False,
) -> None:
    """Write a coreset.toml here, with every parameter, its default and its meaning."""
    from coreset.cli.show import out, print_json
    from coreset.engine.errors import InputError
    from coreset.engine.files import write_bytes
    from coreset.pipeline import input_names
    from coreset.recipe import NAME, Recipe, recipe_text

    if Path(NAME).exists() and not force:
        raise InputError(f"{NAME} is here already; edit it, or replace it with --force.")
    kind, names = input_names(Recipe(input=tuple(shards)))
    write_bytes(NAME, recipe_text(shards).encode())
    if json:
        print_json({"file": NAME, "input": names, "kind": kind.partition("(")[0]})
    else:
        out(f"{NAME}: {len(names):,} {kind}; next: coreset run")


@app.command(cls=HelpWithDefaults)
def run(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE.toml]", help="Default: ./coreset.toml.", autocompletion=recipes)
    ] = None,
    run: RunFolder = "run",
    workers: Workers = None,
    ray: Ray = None,
    memory: Memory = None,
    max_bad: MaxBad = 1.0,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run all stages of a recipe: embed or import, cluster, dedup, sample."""
    from coreset.account import FUNNEL
    from coreset.pipeline import selected
    from coreset.recipe import NAME, read_recipe

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, max_bad, ray=ray)
    recipe_of = read_recipe(recipe or NAME)
    if dry_run:
        common.show_plan(recipe_of, FUNNEL)
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
    keep_text_vectors: KeepTextVectors = None,
    decoder: Decoder = None,
    reuse: Reuse = None,
    run: RunFolder = "run",
    workers: Workers = None,
    ray: Ray = None,
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

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, max_bad, ray=ray)
    params = changed(
        local_recipe(shards).embed,
        model=model,
        pretrained=pretrained,
        device=device,
        precision=precision,
        batch_size=batch_size,
        prefix_keys=prefix_keys,
        allow_missing_caption=allow_missing_caption,
        keep_text_vectors=keep_text_vectors,
        decoder=decoder,
        reuse=reuse,
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
    allow_missing_caption: MissingText = None,
    run: RunFolder = "run",
    workers: Workers = None,
    ray: Ray = None,
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

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, max_bad, ray=ray)
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
        allow_missing_caption=allow_missing_caption,
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
    min_kept_cosine: MinKeptCosine = None,
    keep_fraction: KeepFraction = None,
    floor: Floor = None,
    run: RunFolder = "run",
    workers: Workers = None,
    ray: Ray = None,
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

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, max_bad, ray=ray)
    found = local_recipe()
    recipe = with_stages(
        found,
        cluster=changed(found.cluster, clusters=clusters, centroids=centroids, exclude=exclude),
        dedup=changed(found.dedup, threshold=threshold, keep=keep, min_kept_cosine=min_kept_cosine),
    )
    if keep_fraction is not None and recipe.dedup.min_kept_cosine:
        raise UsageError(
            "--keep-fraction counts what a threshold alone keeps; with --min-kept-cosine give a --threshold instead."
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
        typer.Option("--plot", help="Draw the curve, too: a .svg, .png or .pdf file."),
    ] = None,
    run: RunFolder = "run",
    workers: Workers = None,
    ray: Ray = None,
    memory: Memory = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Show how many rows each threshold keeps, exactly; makes RUN/forest if it is not there."""
    from coreset.cli.sweep import sweep_result
    from coreset.pipeline import clustered, standing
    from coreset.results.plot import draw_sweep, kind_of
    from coreset.results.sweep import sweep as swept

    common = CommonOptions(run, workers, memory, quiet=quiet, as_json=json, ray=ray)
    if plot is not None:
        kind_of(plot)
    recipe = local_recipe()
    with common.writing() as run_of:
        clustered(run_of, recipe, standing(run_of, "rows"), strict=False)
        if recipe.dedup.min_kept_cosine:
            run_of.progress.note("min_kept_cosine is not counted with: dedup keeps more rows than each threshold here")
        found = swept(run_of, floor, step)
    if plot is not None:
        draw_sweep(plot, found.thresholds, found.kept, found.rows)
    sweep_result(found, json)


@app.command(cls=HelpWithDefaults)
def sample(
    n: Number = None,
    text_rank: TextRank = None,
    centroid_rank: CentroidRank = None,
    seed: Seed = None,
    allow_fewer: AllowFewer = None,
    run: RunFolder = "run",
    workers: Workers = None,
    ray: Ray = None,
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

    common = CommonOptions(run, workers, memory, overwrite, quiet, json, max_bad, ray=ray)
    found = local_recipe()
    flags = {"n": n, "text_rank": text_rank, "centroid_rank": centroid_rank, "seed": seed, "allow_fewer": allow_fewer}
    recipe = with_stages(found, sample=changed(found.sample, **flags))
    if dry_run:
        common.show_plan(recipe, ("coreset",))
        return
    with common.writing() as run_of:
        sampled(run_of, recipe, standing(run_of, "dedup"))
    common.show_funnel(after="sample")
