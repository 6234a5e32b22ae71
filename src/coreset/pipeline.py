"""The order of the stages, and nothing else: what one returns is the argument of the next."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

from coreset import cluster, dedup, embed, forest, import_, sample
from coreset.account import check_sums, journal, note_begun, note_root, note_times, noted_times
from coreset.engine import files
from coreset.engine.errors import InputError, MismatchError, ResourceError, UsageError
from coreset.engine.files import Location, join
from coreset.engine.local import in_process
from coreset.engine.progress import Progress, quiet
from coreset.engine.stage import Execute, Parts, Stage, check_plan, complete, finished, open_parts
from coreset.recipe import Recipe
from coreset.sources.embedding_files import holds_vectors
from coreset.sources.image_parquet import PAGES_HELD, reading_bytes
from coreset.sources.readers import check_shard
from coreset.sources.tars import Shard, find_shards, input_root
from coreset.vectors import check_lent, lent_locations

FLOOR = 768 << 20
"""Least memory of one worker: what the libraries take, and blocks worth having."""
LIBRARIES = 512 << 20
FEW_ROWS = 39
"""Rows for each cluster below which FAISS would warn, in a wall of text."""


@dataclass(frozen=True)
class Run:
    """Where a selection lives and how it is computed; none of it changes a byte of the result.

    Attributes:
        folder: the run directory
        workers: processes; 1 for this one
        execute: the engine
        memory: bytes that all processes together may use
        progress: told what is done
        overwrite: make anew what was made with other parameters
    """

    folder: Location = "run"
    workers: int = 1
    execute: Execute = in_process
    memory: int = 8 << 30
    progress: Progress = quiet
    overwrite: bool = False

    def at(self, name: str) -> Location:
        """The folder of a stage."""
        return join(self.folder, name)

    @property
    def task_memory(self) -> int:
        """Working memory of one task.

        Raises:
            ResourceError: The budget is below what the workers need to start.
        """
        if self.memory // self.workers < FLOOR:
            raise ResourceError(
                f"--memory {self.memory / 2**30:.2f} GiB is below the {self.workers * FLOOR / 2**30:.2f} GiB that "
                f"{self.workers} worker(s) need; raise it, or use fewer --workers."
            )
        return self.memory // self.workers - LIBRARIES


def embedded(run: Run, recipe: Recipe) -> Parts:
    """Stage 1: `rows/`, complete and with unique keys."""
    memory = run.task_memory  # refuses a budget that is too small before anything is read
    shards = listed_shards(recipe, prefixed=recipe.embed.prefix_keys)
    check_pages(shards, memory)
    run.progress.note(f"{len(shards):,} shard(s); loading {model_name(recipe)}")
    params, choice = embed.resolved(recipe.embed, run.at("rows"), run.progress.note)
    run.progress.note(f"device {params.device}, {params.precision}, {params.threads} thread(s)")
    if not run.overwrite:
        check_plan(embed.embed_stage(run.at("rows"), shards, params, choice, run.execute, recipe.embed.reuse))
    params, choice = embed.tried(run.at("rows"), params, choice, run.execute, run.progress.note)
    stage = embed.embed_stage(run.at("rows"), shards, params, choice, run.execute, recipe.embed.reuse)
    return completed(run, stage, input_root(shards))


def imported(run: Run, recipe: Recipe) -> Parts:
    """Stage 1 for a folder of vectors that exist already: `rows/`, complete and with unique keys."""
    _ = run.task_memory
    embeddings, params = listed_embeddings(recipe)
    for note in import_.notes_of(embeddings, params):
        run.progress.note(note)
    stage = import_.import_stage(run.at("rows"), embeddings, params, run.execute)
    check_plan(stage, run.overwrite)
    root = embeddings.folder.root
    try:
        check_lent(run.folder, lent_locations(stage.folder), noted_times(run.folder), root)
    except InputError:
        if not run.overwrite:
            raise
        files.remove(stage.folder)
    note_times(run.folder, import_.input_times(embeddings))
    note_root(run.folder, root)
    return completed(run, stage)


def listed_embeddings(recipe: Recipe) -> tuple[import_.Embeddings, import_.ImportParams]:
    """The recipe's folder of vectors, its headers checked, and the parameters that are recorded.

    Raises:
        InputError: Its files do not fit together.
        UsageError: The recipe names no folder, or more than one.
    """
    if len(recipe.input) != 1:
        raise UsageError("No folder of vectors was named, or more than one; give one: `coreset import FOLDER`.")
    folder = join(recipe.base, os.path.expanduser(files.located(recipe.input[0])))
    embeddings = import_.found_embeddings(folder, recipe.import_)
    return embeddings, import_.resolved(recipe.import_, embeddings)


def is_import(recipe: Recipe) -> bool:
    """Whether a recipe's input is a folder: of vectors, then, since tars are named one by one."""
    folders = [join(recipe.base, os.path.expanduser(files.located(place))) for place in recipe.input]
    if len(folders) == 1 and files.is_remote(folders[0]):
        return holds_vectors(folders[0])
    return len(folders) == 1 and os.path.isdir(folders[0])


def input_names(recipe: Recipe) -> tuple[str, list[str]]:
    """What the input consists of, as a person says it, and the names; tars are listed only, vectors looked at."""
    if is_import(recipe):
        return "file(s) of vectors", [part.name for part in listed_embeddings(recipe)[0].folder.parts]
    return "shard(s)", [shard.name for shard in find_shards(recipe.input, recipe.base)]


def model_name(recipe: Recipe) -> str:
    """The model of a recipe, as a person names it, and whether it may have to be downloaded."""
    asked = recipe.embed
    if asked.model.startswith("local-dir:") or (asked.pretrained and os.path.exists(asked.pretrained)):
        return asked.model
    return f"{asked.model} {asked.pretrained or ''}".strip() + " (downloaded, if it never was)"


def listed_shards(recipe: Recipe, prefixed: bool) -> list[Shard]:
    """The recipe's shards, each looked at before any work.

    Raises:
        InputError: One is missing, empty or no tar or Parquet of pictures, or two begin with the same key.
        UsageError: The recipe names no input.
    """
    if not recipe.input:
        raise UsageError("No shards were named; give tars, or write a coreset.toml with `coreset init 'shards/*.tar'`.")
    shards = find_shards(recipe.input, recipe.base)
    for problem in shard_problems(shards, prefixed):
        raise problem
    return shards


def check_pages(shards: Sequence[Shard], memory: int) -> None:
    """Refuse Parquets of pictures whose pages do not fit into the memory of a task.

    Raises:
        ResourceError: One does not; says how much it needs.
    """
    for shard in shards:
        needed = reading_bytes(shard, memory) if shard.is_table else 0
        if needed > memory:
            raise ResourceError(
                f"{shard.location} has pages of {needed / PAGES_HELD / 2**20:,.0f} MiB, and reading them takes "
                f"{needed / 2**20:,.0f} MiB, above the {memory / 2**20:,.0f} MiB that --memory leaves a worker; "
                f"raise it, or write the file anew with row groups of 100 rows."
            )


def shard_problems(shards: Sequence[Shard], prefixed: bool) -> Iterator[InputError]:
    """What the first headers of shards have against embedding them: one is no tar or empty, or two share a key."""
    first: dict[str, Shard] = {}
    for shard, key in first_keys(shards):
        if isinstance(key, InputError):
            yield key
            continue
        if key is None or prefixed:
            continue
        if key in first:
            yield InputError(
                f"Key {key} is in {first[key].name} and again in {shard.name}; run again with --prefix-keys to put the "
                f"source in front of every key."
            )
        else:
            first[key] = shard


def first_keys(shards: Sequence[Shard]) -> Iterator[tuple[Shard, str | InputError | None]]:
    """The first key of each shard, or what it has against being embedded; objects are asked several at a time."""

    def looked(shard: Shard) -> str | InputError | None:
        try:
            return check_shard(shard)
        except InputError as error:
            return error

    if shards and files.is_remote(shards[0].location):
        yield from zip(shards, files.many(looked, shards), strict=True)
    else:
        yield from ((shard, looked(shard)) for shard in shards)


def clustered(run: Run, recipe: Recipe, rows: Parts, strict: bool = True) -> tuple[Parts, Parts]:
    """Stage 2: `centroids/` and `clusters/`.

    Args:
        run: where and how
        recipe: parameters of the stage
        rows: stage 1
        strict: whether the recipe's parameters must be those of a stage that is complete; if not, it is taken
            as it stands
    """
    asked, memory = recipe.cluster, run.task_memory
    found = None if strict else standing_clusters(run, rows)
    if found is not None and asked.exclude is None:
        return found
    if found is not None:
        centroids, params = found[0], cluster.recorded_params(run.at("centroids"), asked.exclude)
    else:
        params = cluster.resolved(asked, rows, run.at("centroids"))
        if asked.centroids is None and rows.counts["rows"] < FEW_ROWS * params.clusters:
            run.progress.note(
                f"warning: {rows.counts['rows']:,} rows are few for {params.clusters:,} clusters; FAISS advises "
                f"{FEW_ROWS} for each"
            )
        training = cluster.centroids_stage(
            run.at("centroids"), rows, params, asked.centroids, run.execute, run.memory, run.workers * LIBRARIES
        )
        centroids = completed_from(run, training, rows)
    stage = cluster.clusters_stage(run.at("clusters"), rows, centroids, params, memory, asked.exclude)
    clusters = completed_from(run, stage, rows)
    if asked.exclude and not clusters.counts["excluded"]:
        run.progress.note(f"warning: no row has a key, url or hash that {asked.exclude} lists")
    if not clusters.counts["rows"]:
        raise InputError(f"{asked.exclude} excludes all {rows.counts['rows']:,} rows; nothing is left to select from.")
    return centroids, clusters


def standing_clusters(run: Run, rows: Parts) -> tuple[Parts, Parts] | None:
    """`centroids/` and `clusters/` if both are complete and were made from these rows.

    Raises:
        MismatchError: They were made from other rows.
    """
    centroids, clusters = open_parts(run.at("centroids")), open_parts(run.at("clusters"))
    if centroids is None or clusters is None or run.overwrite:
        return None
    if clusters.source != cluster.clusters_source(rows, centroids):
        raise MismatchError(
            f"{clusters.folder} was made from other rows than {rows.folder} holds now; --overwrite clusters them anew."
        )
    return centroids, clusters


def deduplicated(run: Run, recipe: Recipe, centroids: Parts, clusters: Parts) -> Parts:
    """Stage 3: `dedup/`; from the forest, if there is one that can answer the threshold."""
    found = open_parts(run.at("forest"))
    if found and (found.source != clusters.hash or found.facts["floor"] > recipe.dedup.threshold):
        found = None
    stage = dedup.dedup_stage(run.at("dedup"), clusters, centroids, recipe.dedup, run.task_memory, found)
    return completed(run, stage)


def forested(run: Run, clusters: Parts, floor: float | None) -> Parts:
    """On request: `forest/`; the one that is there if no floor is asked for."""
    found = open_parts(run.at("forest"))
    if found and found.source == clusters.hash and (floor is None or found.facts["floor"] == floor):
        return found
    params = forest.ForestParams() if floor is None else forest.ForestParams(floor)
    return completed(run, forest.forest_stage(run.at("forest"), clusters, params, run.task_memory))


def keeping(run: Run, recipe: Recipe, found: Parts, fraction: str) -> Recipe:
    """The recipe with the highest threshold at which at most this fraction of the rows is kept.

    Raises:
        UsageError: The fraction is not above 0 and at most 1.
        InputError: The forest's floor is too high for it.
    """
    try:
        wanted = Fraction(fraction)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"--keep-fraction {fraction} is not a number; write it like 0.464.") from error
    if not 0 < wanted <= 1:
        raise UsageError(f"--keep-fraction {fraction} must be above 0 and at most 1.")
    threshold = forest.threshold_keeping(found, int(wanted * found.counts["rows"]), run.execute)
    run.progress.note(f"--keep-fraction {fraction} is --threshold {threshold!r}")
    return dataclasses.replace(recipe, dedup=dataclasses.replace(recipe.dedup, threshold=threshold))


def sampled(run: Run, recipe: Recipe, survivors: Parts) -> Parts:
    """Stage 4: `coreset/`."""
    return completed(
        run, sample.sample_stage(run.at("coreset"), survivors, recipe.sample, run.execute, run.task_memory)
    )


def selected(run: Run, recipe: Recipe) -> Parts:
    """All stages."""
    rows = imported(run, recipe) if is_import(recipe) else embedded(run, recipe)
    centroids, clusters = clustered(run, recipe, rows)
    return sampled(run, recipe, deduplicated(run, recipe, centroids, clusters))


def standing(run: Run, name: str) -> Parts:
    """A complete stage as it stands.

    Raises:
        InputError: It is not complete; says which command makes it.
    """
    found = open_parts(run.at(name))
    if found is None:
        maker = {"rows": "embed` or `coreset import", "centroids": "dedup", "clusters": "dedup", "dedup": "dedup"}[name]
        raise InputError(f"{run.at(name)} is not there or not complete; run `coreset {maker}` first.")
    return found


def completed_from(run: Run, stage: Stage, rows: Parts) -> Parts:
    """A stage that reads the vectors of `rows/`: those which are a user's file must be what was imported.

    Raises:
        InputError: One is gone, or has other bytes.
    """
    if finished(stage) is None:
        times: dict[str, int | str] = noted_times(run.folder)
        found = check_lent(run.folder, rows.locations(), times)
        note_times(run.folder, {**times, **found})
    return completed(run, stage)


def completed(run: Run, stage: Stage, root: str | None = None) -> Parts:
    """A stage brought to completion, its sums checked, its costs noted."""
    changes = check_plan(stage, run.overwrite)
    if changes:
        run.progress.redo(stage.name, changes)
    parts = finished(stage)
    if parts is None:
        begun = partial(note_begun, run.folder, stage.name, run.workers)
        with journal(run.folder, stage.name):
            parts = complete(dataclasses.replace(stage, begun=begun), run.execute, run.progress)
    else:
        run.progress.reuse(stage.name, parts.counts)
    if root is not None:
        note_root(run.folder, root)
    check_sums(run.folder, stage.name, parts)
    return parts


SHARE = Fraction(4, 5)
"""Of the memory that is there, what is used unless another budget is asked for."""
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says what a container may use, in the two versions of its control groups."""


def default_memory(limits: Sequence[str] = CONTAINER_LIMITS) -> int:
    """Four fifths of the memory of this machine, or of this container if that has less."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in limits:
        with contextlib.suppress(OSError, ValueError):  # not Linux, no container, or `max`: no limit
            most = min(most, int(Path(limit).read_text(encoding="ascii")))
    return int(most * SHARE)
