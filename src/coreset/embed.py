"""Stage 1: sources -> rows/. Each pair becomes a unit image vector and the cosine of picture and caption."""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import UsageError
from coreset.engine.files import Location
from coreset.engine.progress import ticker
from coreset.engine.stage import PARQUET, Execute, Needs, Part, Stage, Summary, Task, fold, params_json, part_numbers
from coreset.keys import check_keys, embedded_before, plain_key, prefixed_key, rewrite_keys, written_keys
from coreset.quarantine import ASIDES, write_quarantine
from coreset.sources.decoding import decoded_apart
from coreset.sources.pairs import Limits
from coreset.sources.pictures import MAX_PIXELS, BadPictureError
from coreset.sources.readers import read_pairs
from coreset.sources.sidecars import expected_samples
from coreset.sources.tars import Pair, Reject, Shard, read_sidecar

if TYPE_CHECKING:
    import torch

    from coreset.encoder import Choice, Encoder

S = TypeVar("S")
T = TypeVar("T")
AUTO = "auto"
BROKEN = ("truncated_shard", "damaged_shard", "expansion_limit")
"""Reasons that leave unknown how many samples a source had, unless a sidecar says it."""


@dataclass(frozen=True)
class EmbedParams:
    """Parameters of `embed`; the defaults are the paper's.

    `weights` and `decoder` are found out when the stage is planned, and recorded.
    """

    stage: ClassVar[str] = "embed"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset({"prefix_keys"})

    model: str = field(
        default="ViT-L-14", metadata={"help": "an open_clip model: NAME, local-dir:FOLDER or hf-hub:NAME"}
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
    decoder: str = field(default="pillow", metadata={"found": True})
    weights: str = field(default="", metadata={"found": True})

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
    params = dataclasses.replace(
        asked,
        model="local-dir" if schema == "local-dir" else asked.model,
        pretrained="file" if is_file else pretrained,
        quick_gelu="yes" if quick_gelu else "no",
        device=device.partition(":")[0],
        precision=precision,
        threads=threads,
        weights=weights.sha256,
    )
    choice = encoder.Choice(
        asked.model,
        weights.location if is_file else pretrained,
        quick_gelu,
        device,
        precision,
        asked.batch_size,
        threads,
    )
    return params, choice


def embed_stage(
    folder: Location, shards: Sequence[Shard], params: EmbedParams, choice: Choice, execute: Execute
) -> Stage:
    """Plan `rows/`: one part per shard, numbered in the order in which shards were first seen."""
    by_name = {shard.name: shard for shard in shards}
    numbers = part_numbers(folder, by_name)
    identities = {name: {"size": by_name[name].size, "part": number} for name, number in numbers.items()}
    needs = Needs(threads=choice.threads)

    def tasks() -> Iterator[Task]:
        if not embeds_alike(folder, params):  # a model that cannot be loaded is refused before what is there goes
            fold([partial(vector_dimension, choice)], max, execute, needs)
        for name, number in numbers.items():
            identity = {"name": name, "size": by_name[name].size}
            yield Task(files.join(folder, number), write_rows, (by_name[name], params, choice), identity)

    def check() -> None:
        check_keys([files.join(folder, number + PARQUET) for number in numbers.values()], execute)

    def size() -> int:
        sidecars = ((shard, read_sidecar(shard)) for shard in shards)
        # a pair takes a byte at least: what a lying count asks for beyond that stops no run
        counted = (min(found.samples or 0, shard.size) for shard, found in sidecars if found is not None)
        return rows.vectors_size(sum(counted), known_dimension(choice.model))

    return Stage(
        folder,
        params,
        tasks,
        None,
        rows.receipt_of,
        needs,
        identities,
        check,
        aside=ASIDES,
        size=size,
        rows=partial(expected_samples, shards),
    )


def known_dimension(model: str) -> int:
    """How many numbers a vector of a model has, by its configuration; 0 if that is not at hand."""
    from coreset.encoder import configured_dimension

    return configured_dimension(model)


def embeds_alike(folder: Location, params: EmbedParams) -> bool:
    """Whether what is in the folder was embedded by this model in this way, but for fields that need no model."""
    plan = files.read_json(files.join(folder, "plan.json")) or {"params": {}}
    asked = params_json(params)
    return {**plan["params"], **{name: asked[name] for name in params.redo}} == asked


def vector_dimension(choice: Choice) -> int:
    """How many numbers a vector of a model has; loads it, and keeps it for the tasks of this process.

    Raises:
        InputError: It cannot be loaded.
    """
    from coreset.encoder import loaded_encoder

    return int(loaded_encoder(choice).dimension)


def write_rows(shard: Shard, params: EmbedParams, choice: Choice, part: Part) -> Summary:
    """Embed one shard: vectors, rows and quarantine of it."""
    identity = embedding_identity(shard, params)
    if embedded_before(part.location, identity):
        return rewrite_keys(part, params.prefix_keys, identity)
    from coreset.encoder import loaded_encoder

    encoder = loaded_encoder(choice)
    rejects: list[Reject] = []
    vectors = rows.VectorsWriter(part.file(rows.VECTORS), None, encoder.dimension)
    table = rows.PartTable(part, rows.ROWS)
    limits = Limits(allow_missing_caption=params.allow_missing_caption)
    for pairs, images, cosines in embedded_pairs(read_pairs(shard, limits), encoder, params, choice, rejects):
        table.write(row_table(pairs, cosines, shard.name, vectors.rows, params.prefix_keys))
        vectors.write(images.astype(np.float16))
        ticker.add(len(pairs))
    vectors.close()
    write_quarantine(EmbedParams.stage, rejects, shard.name, part)
    quarantined = sum(reject.rows for reject in rejects)
    summary = {"samples": table.rows + quarantined, "rows": table.rows, "quarantined": quarantined}
    is_broken = any(reject.reason in BROKEN for reject in rejects)
    incomplete = is_broken and ((sidecar := read_sidecar(shard)) is None or sidecar.samples is None)
    return table.close({**summary, "incomplete": int(incomplete)}, **written_keys(params.prefix_keys, identity))


def embedded_pairs(
    pairs: Iterable[Pair | Reject], encoder: Encoder, params: EmbedParams, choice: Choice, rejects: list[Reject]
) -> Iterator[tuple[list[Pair], Float32[np.ndarray, "b d"], Float32[np.ndarray, "b"]]]:
    """Pairs in order, a batch at a time, with unit image vectors and text cosines; bad ones join `rejects`.

    The cosine is NaN where there is no caption.
    """
    ready = prepared_pairs(pairs, encoder, params.max_pixels, 2 * choice.batch_size, choice.threads, rejects)
    while batch := list(islice(ready, choice.batch_size)):
        kept = [pair for pair, _ in batch]
        images = encoder.image_vectors([picture for _, picture in batch])
        texts = encoder.text_vectors([pair.caption or "" for pair in kept])
        cosines = np.einsum("nd,nd->n", images, texts, dtype=np.float32)
        good = finite_rows(images, cosines)
        rejects.extend(
            Reject(pair.key, pair.row, "not_finite", "the model gave NaN, infinity or a zero vector", 1)
            for pair, fine in zip(kept, good, strict=True)
            if not fine
        )
        cosines[[pair.caption is None for pair in kept]] = np.nan
        yield [pair for pair, fine in zip(kept, good, strict=True) if fine], images[good], cosines[good]


def finite_rows(images: Float32[np.ndarray, "b d"], cosines: Float32[np.ndarray, "b"]) -> Bool[np.ndarray, "b"]:
    """Which rows have a vector of length 1 and a cosine that is a number.

    Example:
        >>> finite_rows(np.float32([[1, 0], [0, 0], [np.nan, 1]]), np.float32([0.5, 0.5, 0.5]))
        array([ True, False, False])
    """
    norms = np.linalg.norm(images, axis=1)
    good: Bool[np.ndarray, "b"] = (np.abs(norms - 1) < 1e-3) & np.isfinite(cosines)
    return good


def prepared_pairs(
    pairs: Iterable[Pair | Reject], encoder: Encoder, max_pixels: int, window: int, threads: int, rejects: list[Reject]
) -> Iterator[tuple[Pair, torch.Tensor]]:
    """Pairs whose picture decodes, with what the model reads; decoded ahead, yielded in order."""

    def prepared(pair: Pair | Reject) -> tuple[Pair, torch.Tensor] | Reject:
        if isinstance(pair, Reject):
            return pair
        try:
            return pair, encoder.prepared(decoded_apart(pair.image, max_pixels))
        except BadPictureError as error:
            return Reject(pair.key, pair.row, error.reason, error.detail, 1)

    with ThreadPoolExecutor(threads) as pool:
        for result in ordered_ahead(pool, prepared, pairs, window):
            if isinstance(result, Reject):
                rejects.append(result)
            else:
                yield result


def ordered_ahead(pool: ThreadPoolExecutor, call: Callable[[S], T], values: Iterable[S], window: int) -> Iterator[T]:
    """Results in the order of the values, at most `window` of them computed ahead.

    Example:
        >>> with ThreadPoolExecutor(2) as pool:
        ...     list(ordered_ahead(pool, lambda x: x * x, [1, 2, 3], window=2))
        [1, 4, 9]
    """
    waiting: deque[Future[T]] = deque()
    for value in values:
        waiting.append(pool.submit(call, value))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def row_table(
    pairs: Sequence[Pair], cosines: Float32[np.ndarray, "b"], source: str, first_row: int, prefix: bool
) -> pa.Table:
    """The rows of some embedded pairs; `first_row` is the first one's row in the vectors file."""
    name = partial(prefixed_key, source) if prefix else plain_key
    keys = [name(pair.key) for pair in pairs]
    columns = {
        "key": keys,
        "url": [pair.url for pair in pairs],
        "caption": [pair.caption for pair in pairs],
        "text_cosine": pa.array(cosines, pa.float32(), mask=np.isnan(cosines)),
        "key_hash": rows.key_hashes(keys),
        "source": [source] * len(pairs),
        "source_row": [pair.row for pair in pairs],
        "vector_row": np.arange(first_row, first_row + len(pairs)),
        "image_offset": [pair.image_offset for pair in pairs],
        "image_bytes": [None if pair.image_offset is None else pair.image_size for pair in pairs],
        "width": [pair.width for pair in pairs],
        "height": [pair.height for pair in pairs],
        "sha256": [pair.hashes.get("sha256") for pair in pairs],
        "md5": [pair.hashes.get("md5") for pair in pairs],
    }
    return pa.table(columns, schema=rows.ROWS)


def embedding_identity(shard: Shard, params: EmbedParams) -> str:
    """Identifies the vectors of a shard: everything but how keys are written."""
    fixed = dataclasses.asdict(dataclasses.replace(params, prefix_keys=False))
    return files.fingerprint({"rule": params.rule, "params": fixed, "name": shard.name, "size": shard.size})


def _decided(asked: T, recorded: T | None, auto: T) -> T:
    """What is asked for; if that is `auto`, what was recorded."""
    return recorded if asked == auto and recorded is not None else asked
