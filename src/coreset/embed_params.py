"""The parameters of `embed`, and what they become on this machine before anything is embedded."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

from coreset.engine import files
from coreset.engine.errors import InputError, ResourceError, UsageError
from coreset.engine.files import Location
from coreset.engine.stage import Execute, Needs, fold, params_json
from coreset.sources.known_vectors import fingerprint_of
from coreset.sources.pictures import MAX_PIXELS

if TYPE_CHECKING:
    from coreset.encoder import Choice

T = TypeVar("T")
AUTO = "auto"
PILLOW, DRAFT = "pillow", "draft"


@dataclass(frozen=True)
class EmbedParams:
    """Parameters of `embed`; the defaults are the paper's.

    `weights`, `dimension` and `fitting_batch` are found out when the stage is planned, and recorded.
    """

    stage: ClassVar[str] = "embed"
    rule: ClassVar[int] = 5
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
    batch_size: int = field(default=64, metadata={"help": "pictures that the model is given together"})
    threads: int = field(default=0, metadata={"help": "threads that call the model; 0 for all cores of this machine"})
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
    reuse: str | None = field(
        default=None,
        metadata={"help": "a run, or .npy files with keys, whose image vectors are taken by key"},
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


def unsaid(text: str) -> None:
    """Says nothing."""


def resolved(asked: EmbedParams, folder: Location, say: Callable[[str], None] = unsaid) -> tuple[EmbedParams, Choice]:
    """What is asked for with every `auto` decided: as recorded in the folder, else for this machine.

    `say` is told what a person should know of the model before it is used.

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
    batch = found.get("fitting_batch") if found.get("batch_size") == asked.batch_size else None
    batch = batch or asked.batch_size
    if encoder.is_own(asked.model):
        own = encoder.Choice(asked.model, None, False, device, precision, batch, threads)
        weights = encoder.own_weights(own, say)
    else:
        weights = encoder.found_weights(asked.model, pretrained)
    quick_gelu = weights.quick_gelu if asked.quick_gelu == AUTO else asked.quick_gelu == "yes"
    is_file = pretrained is not None and os.path.exists(pretrained)
    params = dataclasses.replace(
        asked,
        model="local-dir" if schema == "local-dir" else asked.model,
        pretrained="file" if is_file else pretrained,
        quick_gelu="yes" if quick_gelu else "no",
        device=device.partition(":")[0],
        precision=precision,
        threads=threads,
        reuse=fingerprint_of(asked.reuse) if asked.reuse else None,
        weights=weights.sha256,
        dimension=found.get("dimension", 0),
        fitting_batch=batch,
    )
    if asked.reuse:
        check_reuse(asked.reuse, params)
    choice = encoder.Choice(
        asked.model,
        weights.location if is_file else pretrained,
        quick_gelu,
        device,
        precision,
        batch,
        threads,
    )
    return params, choice


def check_reuse(folder: str, params: EmbedParams) -> None:
    """Refuse vectors of a run whose model is recorded, and another; of other folders nobody can see it.

    Raises:
        InputError: It is another model, or the same with other activations.
    """
    plans = (files.read_json(files.join(folder, place)) for place in ("rows/plan.json", "plan.json"))
    recorded = next((plan["params"] for plan in plans if plan and plan.get("stage") == EmbedParams.stage), None)
    if recorded is None:
        return
    for name in ("weights", "quick_gelu"):
        if recorded.get(name) != getattr(params, name):
            raise InputError(
                f"--reuse {folder}: its vectors are of {recorded.get('model')} {recorded.get('pretrained') or ''} with "
                f"other {name}; name the model that made them, or embed without --reuse."
            )


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
    needs = needs_of(choice)
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


def needs_of(choice: Choice) -> Needs:
    """What a task that embeds needs: the threads of its calls, and a device of its own where it uses one."""
    return Needs(gpus=float(choice.device.startswith("cuda")), threads=choice.threads)


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

    from coreset.encoder import as_array, is_own, loaded_encoder, memory_said

    encoder = loaded_encoder(choice)
    if choice.device != "cpu" or is_own(choice.model):  # memory is short there, or its need not known
        blank = encoder.prepared(Image.new("RGB", (64, 64)))
        with memory_said(choice):
            as_array(encoder.image_vectors([blank] * choice.batch_size))
            encoder.text_vectors(["a caption"])
    return int(encoder.dimension)


def _decided(asked: T, recorded: T | None, auto: T) -> T:
    """What is asked for; if that is `auto`, what was recorded."""
    return recorded if asked == auto and recorded is not None else asked
