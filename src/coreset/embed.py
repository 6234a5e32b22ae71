"""Stage 1: sources -> rows/. Each pair becomes a unit image vector and the cosine of picture and caption."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from coreset import rows
from coreset.embed_rows import How, embedded_pairs, row_table
from coreset.engine import files
from coreset.engine.errors import MismatchError, ResourceError, UsageError
from coreset.engine.files import Location
from coreset.engine.stage import PARQUET, Execute, Needs, Part, Stage, Summary, Task, fold, params_json, part_numbers
from coreset.keys import check_keys, embedded_before, rewrite_keys, written_keys
from coreset.quarantine import ASIDES, write_quarantine
from coreset.sources.pairs import Limits
from coreset.sources.pictures import MAX_PIXELS
from coreset.sources.readers import read_pairs
from coreset.sources.tars import Reject, Shard, read_sidecar

if TYPE_CHECKING:
    from coreset.encoder import Choice

T = TypeVar("T")
AUTO = "auto"
PILLOW, DRAFT = "pillow", "draft"
BROKEN = ("truncated_shard", "damaged_shard", "expansion_limit")
"""Reasons that leave unknown how many samples a source had, unless a sidecar says it."""


@dataclass(frozen=True)
class EmbedParams:
    """Parameters of `embed`; the defaults are the paper's.

    `weights`, `dimension` and `fitting_batch` are found out when the stage is planned, and recorded.
    """

    stage: ClassVar[str] = "embed"
    rule: ClassVar[int] = 2
    redo: ClassVar[frozenset[str]] = frozenset({"prefix_keys"})

    model: str = field(
        default="ViT-L-14",
        metadata={"help": "an open_clip model: NAME, local-dir:FOLDER or hf-hub:NAME; or encoder:NAME, your own"},
    )
    pretrained: str | None = field(
        default="openai", metadata={"help": "a tag of open_clip's, a weights file or a folder"}
    )
    quick_gelu: str = field(default=AUTO, metadata={"help": "auto (as the tag was trained), yes or no"})
    device: str = field(default=AUTO, metadata={"help": "auto, cpu, cuda or cuda:N"})
    precision: str = field(default=AUTO, metadata={"help": "auto, float32, bfloat16 or float16"})
    batch_size: int = field(default=64, metadata={"help": "pictures in one call of the model"})
    threads: int = field(default=0, metadata={"help": "threads of one call; 0 for all cores of this machine"})
    max_pixels: int = field(default=MAX_PIXELS, metadata={"help": "larger pictures are quarantined undecoded"})
    prefix_keys: bool = field(
        default=False, metadata={"help": "make keys unique by putting the source in front: SOURCE/KEY"}
    )
    allow_missing_caption: bool = field(
        default=False, metadata={"help": "embed pictures without a caption too; they get no text rank"}
    )
    keep_text_vectors: bool = field(
        default=False, metadata={"help": "write the vectors of the captions too, beside those of the pictures"}
    )
    decoder: str = field(
        default=PILLOW,
        metadata={
            "help": "pillow; or draft: a JPEG is decoded at 1/2, 1/4 or 1/8 where that is twice what the model reads"
        },
    )
    weights: str = field(default="", metadata={"found": True})
    dimension: int = field(default=0, metadata={"found": True})
    fitting_batch: int = field(default=0, metadata={"found": True})

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size} must be at least 1.")
        if not 0 <= self.threads < 4096:
            raise UsageError(f"threads {self.threads} must be at least 0 (for all cores) and below 4096.")
        if self.max_pixels < 1:
            raise UsageError(f"max_pixels {self.max_pixels} must be at least 1.")
        if self.quick_gelu not in {AUTO, "yes", "no"}:
            raise UsageError(f"quick_gelu {self.quick_gelu} must be auto, yes or no.")
        if self.decoder not in {PILLOW, DRAFT}:
            raise UsageError(f"--decoder {self.decoder} is not known; use {PILLOW} or {DRAFT}.")


def resolved(asked: EmbedParams, folder: Location) -> tuple[EmbedParams, Choice]:
    """What is asked for with every `auto` decided: as recorded in the folder, else for this machine.

    Returns:
        The parameters to record, which name no path, and the choice that loads the model here.

    Raises:
        InputError: The model, its weights or the device are not there.
    """
    from coreset import encoder

    plan = files.read_json(files.join(folder, "plan.json")) or {"params": {}}
    found = plan["params"]
    device = encoder.resolved_device(_decided(asked.device, found.get("device"), AUTO))
    precision = encoder.resolved_precision(_decided(asked.precision, found.get("precision"), AUTO), device)
    threads = _decided(asked.threads, found.get("threads"), 0) or os.cpu_count() or 1
    schema = asked.model.partition(":")[0] if ":" in asked.model else None
    pretrained = None if schema else asked.pretrained
    weights = encoder.found_weights(asked.model, pretrained)
    quick_gelu = weights.quick_gelu if asked.quick_gelu == AUTO else asked.quick_gelu == "yes"
    is_file = pretrained is not None and os.path.exists(pretrained)
    batch = found.get("fitting_batch") if found.get("batch_size") == asked.batch_size else None
    params = dataclasses.replace(
        asked,
        model="local-dir" if schema == "local-dir" else asked.model,
        pretrained="file" if is_file else pretrained,
        quick_gelu="yes" if quick_gelu else "no",
        device=device.partition(":")[0],
        precision=precision,
        threads=threads,
        weights=weights.sha256,
        dimension=found.get("dimension", 0),
        fitting_batch=batch or asked.batch_size,
    )
    choice = encoder.Choice(
        asked.model,
        weights.location if is_file else pretrained,
        quick_gelu,
        device,
        precision,
        params.fitting_batch,
        threads,
    )
    return params, choice


def tried(
    folder: Location, params: EmbedParams, choice: Choice, execute: Execute, say: Callable[[str], None]
) -> tuple[EmbedParams, Choice]:
    """The same once the model has been loaded and has its memory, where the folder was not filled by it before.

    A model that cannot be loaded is refused before what is there goes. If memory runs out, half the batch is tried
    once, and recorded, so that the same command asks for it again.

    Raises:
        InputError: The model cannot be loaded.
        ResourceError: Not even half a batch fits into the memory.
    """
    if embeds_alike(folder, params):
        return params, choice
    needs = Needs(threads=choice.threads)
    try:
        dimension = fold([partial(vector_dimension, choice)], max, execute, needs)
    except ResourceError:
        if choice.batch_size == 1:
            raise
        choice = dataclasses.replace(choice, batch_size=choice.batch_size // 2)
        say(
            f"a batch of {params.fitting_batch} does not fit into the memory; {choice.batch_size} is tried and recorded"
        )
        dimension = fold([partial(vector_dimension, choice)], max, execute, needs)
    return dataclasses.replace(params, dimension=dimension or 0, fitting_batch=choice.batch_size), choice


def embed_stage(
    folder: Location, shards: Sequence[Shard], params: EmbedParams, choice: Choice, execute: Execute
) -> Stage:
    """Plan `rows/`: one part per shard, numbered in the order in which shards were first seen.

    `params` and `choice` come from `resolved` and then from `tried`.
    """
    by_name = {shard.name: shard for shard in shards}
    numbers = part_numbers(folder, by_name)
    identities = {name: {"size": by_name[name].size, "part": number} for name, number in numbers.items()}
    needs = Needs(threads=choice.threads)

    def tasks() -> Iterator[Task]:
        for name, number in numbers.items():
            identity = {"name": name, "size": by_name[name].size}
            yield Task(files.join(folder, number), write_rows, (by_name[name], params, choice), identity)

    def check() -> None:
        check_keys([files.join(folder, number + PARQUET) for number in numbers.values()], execute)

    return Stage(folder, params, tasks, None, rows.receipt_of, needs, identities, check, aside=ASIDES)


def embeds_alike(folder: Location, params: EmbedParams) -> bool:
    """Whether what is in the folder was embedded by this model in this way, but for fields that need no model."""
    plan = files.read_json(files.join(folder, "plan.json")) or {"params": {}}
    asked = params_json(params)
    return {**plan["params"], **{name: asked[name] for name in params.redo}} == asked


def vector_dimension(choice: Choice) -> int:
    """How many numbers a vector of a model has; the model is kept for the tasks of this process.

    Raises:
        InputError: It cannot be loaded.
        ResourceError: A batch does not fit into the memory.
    """
    from PIL import Image

    from coreset.encoder import as_array, loaded_encoder
    from coreset.encoder.own import OWN

    encoder = loaded_encoder(choice)
    if choice.device != "cpu" or choice.model.startswith(OWN):  # memory is short there, or its need not known
        blank = encoder.prepared(Image.new("RGB", (64, 64)))
        as_array(encoder.image_vectors([blank] * choice.batch_size))
    return int(encoder.dimension)


def write_rows(shard: Shard, params: EmbedParams, choice: Choice, part: Part) -> Summary:
    """Embed one shard: vectors, rows and quarantine of it."""
    identity = embedding_identity(shard, params)
    if embedded_before(part.location, identity):
        return rewrite_keys(part, params.prefix_keys, identity)
    from coreset.encoder import loaded_encoder

    encoder = loaded_encoder(choice)
    if encoder.dimension != params.dimension:
        raise MismatchError(
            f"{choice.name} gives vectors of {encoder.dimension} numbers, and this run has some of {params.dimension}; "
            f"use another --run, or --overwrite to make it anew."
        )
    rejects: list[Reject] = []
    vectors = rows.VectorsWriter(part.file(rows.VECTORS), None, encoder.dimension)
    texts = rows.VectorsWriter(part.file(rows.TEXTS), None, encoder.dimension) if params.keep_text_vectors else None
    table = rows.PartTable(part, rows.ROWS)
    limits = Limits(allow_missing_caption=params.allow_missing_caption)
    how = How(choice.batch_size, choice.threads, params.max_pixels, params.decoder == DRAFT)
    for found in embedded_pairs(read_pairs(shard, limits), encoder, how, rejects):
        table.write(row_table(found.pairs, found.cosines, shard.name, vectors.rows, params.prefix_keys))
        vectors.write(found.images.astype(np.float16))
        if texts is not None:
            texts.write(np.where(np.isnan(found.cosines)[:, None], 0, found.texts).astype(np.float16))
    for writer in (vectors, texts):
        if writer is not None:
            writer.close()
    write_quarantine(EmbedParams.stage, rejects, shard.name, part)
    quarantined = sum(reject.rows for reject in rejects)
    summary = {"samples": table.rows + quarantined, "rows": table.rows, "quarantined": quarantined}
    is_broken = any(reject.reason in BROKEN for reject in rejects)
    incomplete = is_broken and ((sidecar := read_sidecar(shard)) is None or sidecar.samples is None)
    return table.close({**summary, "incomplete": int(incomplete)}, **written_keys(params.prefix_keys, identity))


def embedding_identity(shard: Shard, params: EmbedParams) -> str:
    """Identifies the vectors of a shard: everything but how keys are written."""
    fixed = dataclasses.asdict(dataclasses.replace(params, prefix_keys=False))
    return files.fingerprint({"rule": params.rule, "params": fixed, "name": shard.name, "size": shard.size})


def _decided(asked: T, recorded: T | None, auto: T) -> T:
    """What is asked for; if that is `auto`, what was recorded."""
    return recorded if asked == auto and recorded is not None else asked
