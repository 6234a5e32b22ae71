"""Stage 1: sources -> rows/. Each pair becomes a unit image vector and the cosine of picture and caption."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from coreset import rows
from coreset.embed_params import DRAFT, EmbedParams, needs_of, resolved, tried
from coreset.embed_rows import How, Known, embedded_pairs, nothing_known
from coreset.embed_table import row_table
from coreset.engine import files
from coreset.engine.errors import InputError, MismatchError
from coreset.engine.files import JSON, Location
from coreset.engine.names import Numbered, part_number
from coreset.engine.stage import PARQUET, Execute, Part, Stage, Summary, Task, in_order
from coreset.keys import check_keys, embedded_before, prefixed_key, rewrite_keys, written_keys
from coreset.quarantine import ASIDES, write_quarantine
from coreset.sources.known_vectors import known_vectors
from coreset.sources.pairs import Limits
from coreset.sources.readers import read_pairs
from coreset.sources.sidecars import expected_samples
from coreset.sources.tars import Pair, Reject, Shard, read_sidecar

if TYPE_CHECKING:
    from coreset.encoder import Choice

__all__ = ["EmbedParams", "embed_stage", "known_of", "resolved", "tried", "write_rows"]

BROKEN = ("truncated_shard", "damaged_shard", "expansion_limit")
"""Reasons that leave unknown how many samples a source had, unless a sidecar says it."""


def embed_stage(
    folder: Location,
    shards: Sequence[Shard],
    params: EmbedParams,
    choice: Choice,
    execute: Execute,
    reuse: Location | None = None,
) -> Stage:
    """Plan `rows/`: one part per shard, numbered in the order in which shards were first seen.

    `params` and `choice` come from `resolved` and then from `tried`; `reuse` is the folder whose hash is in the params.
    """
    by_name = {shard.name: shard for shard in shards}
    ordered = [by_name[name] for name in in_order(folder, by_name)]
    del by_name

    def inputs() -> dict[str, JSON]:
        return {shard.name: {"size": shard.size, "part": part_number(at)} for at, shard in enumerate(ordered)}

    def tasks() -> Iterator[Task]:
        for number, shard in enumerate(ordered):
            identity = {"name": shard.name, "size": shard.size}
            part = files.join(folder, part_number(number))
            yield Task(part, write_rows, (shard, params, choice, reuse), identity)

    def check() -> None:
        check_keys(Numbered(len(ordered), files.join(folder, ""), PARQUET), execute)

    def size() -> int:
        if shards and files.is_remote(shards[0].location):  # a request or two for each would take too long
            return rows.vectors_size(expected_samples(shards) or 0, params.dimension)
        sidecars = ((shard, read_sidecar(shard)) for shard in shards)
        # a pair takes a byte at least: what a lying count asks for beyond that stops no run
        counted = (min(found.samples or 0, shard.size) for shard, found in sidecars if found is not None)
        return rows.vectors_size(sum(counted), params.dimension)

    return Stage(
        folder,
        params,
        tasks,
        None,
        rows.receipt_of,
        needs_of(choice),
        inputs,
        check,
        aside=ASIDES,
        size=size,
        rows=partial(expected_samples, shards),
    )


def write_rows(shard: Shard, params: EmbedParams, choice: Choice, reuse: Location | None, part: Part) -> Summary:
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
    known, taken = known_of(reuse, shard.name, encoder.dimension)
    for found in embedded_pairs(read_pairs(shard, limits), encoder, how, rejects, known):
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
    if reuse is not None:
        summary["reused"] = len(taken)
    is_broken = any(reject.reason in BROKEN for reject in rejects)
    incomplete = is_broken and ((sidecar := read_sidecar(shard)) is None or sidecar.samples is None)
    return table.close({**summary, "incomplete": int(incomplete)}, **written_keys(params.prefix_keys, identity))


def known_of(reuse: Location | None, source: str, dimension: int) -> tuple[Known, list[str]]:
    """Gives the vectors of a folder by the keys of pairs, plain or with the source in front, and notes which.

    Raises:
        InputError: The folder's vectors have other than `dimension` numbers.
    """
    taken: list[str] = []
    if reuse is None:
        return nothing_known, taken
    vectors = known_vectors(reuse)
    if vectors.dimension != dimension:
        raise InputError(f"The vectors in {reuse} have {vectors.dimension} numbers, those of the model {dimension}.")

    def known(pair: Pair) -> Float32[np.ndarray, "d"] | None:
        vector = vectors.unit(prefixed_key(source, pair.key), pair.key)
        if vector is not None:
            taken.append(pair.key)
        return vector

    return known, taken


def embedding_identity(shard: Shard, params: EmbedParams) -> str:
    """Identifies the vectors of a shard: everything but how keys are written."""
    fixed = dataclasses.asdict(dataclasses.replace(params, prefix_keys=False))
    return files.fingerprint({"rule": params.rule, "params": fixed, "name": shard.name, "size": shard.size})
