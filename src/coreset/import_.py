"""Stage 1, for vectors that exist already: a folder of them -> rows/.

A file that can be used as it stands is not copied: `rows/` names it (`coreset.vectors`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa
import xxhash

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import InputError, UsageError
from coreset.engine.files import JSON, Location
from coreset.engine.names import Numbered, part_number
from coreset.engine.progress import ticker
from coreset.engine.stage import PARQUET, Execute, Needs, Part, Stage, Summary, Task, in_order
from coreset.import_rows import Imported, SeenKeys, imported_rows
from coreset.import_samples import Look, check_order, check_samples, sampled
from coreset.keys import check_keys
from coreset.quarantine import ASIDES, write_quarantine
from coreset.sources.embeddings import (
    AUTO,
    FORMATS,
    EmbeddingFolder,
    EmbeddingPart,
    Header,
    Reading,
    find_embeddings,
    look_at,
    read_blocks,
)
from coreset.sources.pairs import Reject
from coreset.vectors import Lent

T = TypeVar("T")
COSINES = (AUTO, "similarity", "embeddings")
FEATURES = ("l14", "b32")


@dataclass(frozen=True)
class ImportParams:
    """Parameters of `import`. `dimension` and `columns` are found out when the stage is planned, and recorded."""

    stage: ClassVar[str] = "import"
    rule: ClassVar[int] = 2
    redo: ClassVar[frozenset[str]] = frozenset({"prefix_keys"})

    format: str = field(default=AUTO, metadata={"help": f"{AUTO}, {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"})
    normalize: bool = field(
        default=False,
        metadata={"help": "divide every vector by its length; without it, lengths must be 1 within 0.001"},
    )
    text_cosine: str = field(
        default=AUTO,
        metadata={
            "help": "similarity (the input's column), embeddings (computed), or auto: the column if there is one"
        },
    )
    features: str = field(default="l14", metadata={"help": "of DataComp's two models: " + " or ".join(FEATURES)})
    embedding_column: str | None = field(
        default=None, metadata={"help": "the column of the vectors in a Parquet, if it has no usual name"}
    )
    text_column: str | None = field(
        default=None, metadata={"help": "the column of the text vectors in a Parquet, likewise"}
    )
    text_embeddings: str | None = field(
        default=None, metadata={"help": "the folder of the text vectors, if it is not text_emb/"}
    )
    metadata: str | None = field(default=None, metadata={"help": "the folder of the tables, if it is not metadata/"})
    prefix_keys: bool = field(
        default=False, metadata={"help": "make keys unique by putting the source in front: SOURCE/KEY"}
    )
    allow_missing_caption: bool = field(
        default=False, metadata={"help": "import rows without a caption too; they get no text rank"}
    )
    dimension: int = field(default=0, metadata={"found": True})
    columns: str = field(default="", metadata={"found": True})

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        for name, known in (("format", (AUTO, *FORMATS)), ("text_cosine", COSINES), ("features", FEATURES)):
            if getattr(self, name) not in known:
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} {getattr(self, name)} is not known; use {', '.join(known)}.")


@dataclass(frozen=True)
class Embeddings:
    """A folder whose headers fit together.

    Attributes:
        folder: its format and its parts
        headers: of each part
        reading: how every part is read
    """

    folder: EmbeddingFolder
    headers: tuple[Header, ...]
    reading: Reading

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(header.rows for header in self.headers)

    @property
    def has_texts(self) -> bool:
        """Whether there are text vectors."""
        return any(header.has_texts for header in self.headers if header.rows)

    @property
    def filled(self) -> list[EmbeddingPart]:
        """The parts that have rows."""
        return [part for part, header in zip(self.folder.parts, self.headers, strict=True) if header.rows]


def found_embeddings(folder: Location, asked: ImportParams) -> Embeddings:
    """What a folder holds, by its headers alone.

    Raises:
        InputError: Its files do not fit together, or nothing in it says how well captions fit.
    """
    found = find_embeddings(folder, asked.format, asked.text_embeddings, asked.metadata)
    headers = look_at(found, asked.features, asked.embedding_column, asked.text_column)
    reading = next(header.reading for header in headers if header.rows)
    embeddings = Embeddings(found, tuple(headers), reading)
    for problem in misfits(folder, embeddings, asked):
        raise problem
    return embeddings


def misfits(folder: Location, embeddings: Embeddings, asked: ImportParams) -> Iterator[InputError]:
    """Why headers that fit together cannot be imported as asked: no fit of captions, or keys that repeat."""
    reading = embeddings.reading
    if not reading.has_cosine and not embeddings.has_texts:
        yield InputError(
            f"{folder} has neither text vectors nor a column similarity or clip_score, and the text rank needs one of "
            f"them; name the folder of text vectors with --text-embeddings, or that of the tables with --metadata."
        )
    if asked.text_cosine == "embeddings" and not embeddings.has_texts:
        yield InputError(f"{folder} has no text vectors; --text-cosine similarity takes its column instead.")
    if asked.text_cosine == "similarity" and not reading.has_cosine:
        yield InputError(f"{folder} has no column similarity or clip_score; --text-cosine embeddings computes it.")
    if not asked.prefix_keys:
        yield from repeated_first_keys(embeddings)


def repeated_first_keys(embeddings: Embeddings) -> Iterator[InputError]:
    """Parts that begin with the same key: then they probably share many, and it costs nothing to ask."""
    first: dict[str, str] = {}
    for part, header in zip(embeddings.folder.parts, embeddings.headers, strict=True):
        if header.first_key is None:
            continue
        if header.first_key in first:
            yield InputError(
                f"Key {header.first_key} is in {first[header.first_key]} and again in {part.name}; run again with "
                f"--prefix-keys to put the source in front of every key."
            )
        else:
            first[header.first_key] = part.name


def resolved(asked: ImportParams, embeddings: Embeddings) -> ImportParams:
    """What is asked for with every automatic value decided by the folder; no path is recorded."""
    reading = embeddings.reading
    cosine = asked.text_cosine
    if cosine == AUTO:
        cosine = "similarity" if reading.has_cosine else "embeddings"
    return dataclasses.replace(
        asked,
        format=embeddings.folder.format,
        text_cosine=cosine,
        embedding_column=reading.images,
        text_column=reading.texts,
        text_embeddings=None,
        metadata=None,
        dimension=reading.dimension,
        columns=", ".join(f"{meaning} = {name}" for meaning, name in reading.columns),
    )


def import_stage(folder: Location, embeddings: Embeddings, params: ImportParams, execute: Execute) -> Stage:
    """Plan `rows/`: one part per file of vectors, numbered in the order in which they were first seen."""
    found = {
        part.name: (part, header) for part, header in zip(embeddings.folder.parts, embeddings.headers, strict=True)
    }
    ordered = [found[name] for name in in_order(folder, found)]
    del found
    compare = embeddings.reading.has_cosine and embeddings.has_texts

    @cache
    def same() -> bool:
        return check_samples(embeddings.filled, embeddings.reading, look_of(params, compare))

    def inputs() -> dict[str, JSON]:
        return {part.name: {"files": sizes_of(part), "part": part_number(at)} for at, (part, _) in enumerate(ordered)}

    def tasks() -> Iterator[Task]:
        _ = same()  # before the first: what cannot be imported is refused by all parts together
        for number, (part, header) in enumerate(ordered):
            how = Plan(header.reading, header.rows, header.as_stored and not params.normalize, compare, same())
            yield Task(files.join(folder, part_number(number)), write_imported, (part, how, params), sizes_of(part))

    def check() -> None:
        check_keys(Numbered(len(ordered), files.join(folder, ""), PARQUET), execute)

    def size() -> int:
        return rows.vectors_size(copied_rows(embeddings, params), params.dimension)

    return Stage(
        folder,
        params,
        tasks,
        None,
        rows.receipt_of,
        Needs(),
        inputs,
        check,
        aside=ASIDES,
        size=size,
        rows=lambda: embeddings.rows,
    )


def sizes_of(part: EmbeddingPart) -> dict[str, int]:
    """What identifies the files of a part: names and sizes."""
    return {file.name: file.size for file in part.files}


def copied_rows(embeddings: Embeddings, params: ImportParams) -> int:
    """Rows whose vectors are written to `rows/`, because the user's file cannot be used as it lies."""
    return sum(header.rows for header in embeddings.headers if params.normalize or not header.as_stored)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one part is imported.

    Attributes:
        reading: how its own files are read
        rows: that it has
        as_stored: whether its file of vectors is used where it lies
        compare: whether similarities and text vectors are both there, to be compared
        same: whether the similarities are those of the vectors, as far as a look at a few parts tells
    """

    reading: Reading
    rows: int
    as_stored: bool
    compare: bool
    same: bool


def write_imported(source: EmbeddingPart, plan: Plan, params: ImportParams, part: Part) -> Summary:
    """Import one part: its rows, its quarantine and, unless the user's file is used, its vectors."""
    if plan.compare and plan.rows:
        check_order(sampled(source, plan.reading, look_of(params, plan.compare)), plan.same)
    digest = xxhash.xxh3_128() if plan.as_stored and plan.rows else None
    own = None if digest else rows.VectorsWriter(part.file(rows.VECTORS), plan.rows, params.dimension)
    table = rows.PartTable(part, rows.ROWS)
    rejects: list[Reject] = []
    for found, start in one_ahead(imported_blocks(source, plan, params, digest)):
        first = table.rows
        table.write(row_table(found, found.good + start if own is None else np.arange(first, first + len(found.good))))
        if own is not None:
            own.write(found.vectors)
        rejects += found.rejects
        ticker.add(len(found.good))
    if own is not None:
        own.close()
    write_quarantine(params.stage, rejects, source.name, part)
    metadata = Lent(source.name, source.images.size, digest.hexdigest()).metadata if digest else {}
    return table.close({"samples": plan.rows, "rows": table.rows, "quarantined": len(rejects)}, **metadata)


def look_of(params: ImportParams, compare: bool) -> Look:
    """What a few rows of every part are looked at for."""
    return Look(compare, params.normalize, params.allow_missing_caption)


def imported_blocks(
    source: EmbeddingPart, plan: Plan, params: ImportParams, digest: xxhash.xxh3_128 | None
) -> Iterator[tuple[Imported, int]]:
    """What each block of a part comes to, and its first row."""
    if not plan.rows:
        return
    seen = SeenKeys()
    for block in read_blocks(source, plan.reading, params.text_cosine == "embeddings", digest):
        found = imported_rows(
            block, source.name, params.normalize, params.prefix_keys, params.allow_missing_caption, seen
        )
        yield found, block.start


def one_ahead(values: Iterator[T]) -> Iterator[T]:
    """The same values, each computed by a thread while the one before is used: checks and writing share two cores.

    Example:
        >>> list(one_ahead(iter([1, 2, 3])))
        [1, 2, 3]
    """
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(list, islice(values, 1))
        while found := following.result():
            following = pool.submit(list, islice(values, 1))
            yield found[0]


def row_table(found: Imported, vector_row: np.ndarray[Any, Any]) -> pa.Table:
    """The rows of a block in the columns of `rows/`; null where the input does not say."""
    known = {**found.table, "vector_row": vector_row}
    columns = {name: known.get(name, pa.nulls(len(found.good), rows.ROWS.field(name).type)) for name in rows.ROWS.names}
    return pa.table(columns, schema=rows.ROWS)


def input_times(embeddings: Embeddings) -> dict[str, int | str]:
    """When each file of vectors was last written; the etags of objects."""
    return {part.name: part.images.changed for part in embeddings.folder.parts}


def notes_of(embeddings: Embeddings, params: ImportParams) -> Sequence[str]:
    """What was found, for a person to check before work."""
    copied = sum(not header.as_stored or params.normalize for header in embeddings.headers)
    where = "used where they lie" if not copied else f"copied as float16 from {copied:,} file(s)"
    name = os.path.basename(embeddings.folder.root)
    found = f"{name}: {embeddings.folder.format}, {len(embeddings.headers):,} file(s), {embeddings.rows:,} rows"
    cosine = "its column" if params.text_cosine == "similarity" else "the vectors"
    return [
        f"{found} of {params.dimension} {embeddings.reading.dtype} numbers, {where}",
        f"columns: {params.columns or 'none; keys are SOURCE/ROW'}; text_cosine from {cosine}",
        *(f"warning: {header.note}" for header in embeddings.headers if header.note),
    ]
