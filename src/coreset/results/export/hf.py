"""`hf`: a folder that Hugging Face's `datasets.load_dataset(OUT)` opens, with a data card and Croissant metadata.

Pictures stand in the Parquet files with their original bytes, in row groups of `GROUP_ROWS`. The schema says that they
are pictures, so that no loading script is needed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from coreset import rows
from coreset.engine.files import join, json_bytes, write_bytes
from coreset.engine.outgoing import Outgoing
from coreset.engine.progress import ticker
from coreset.engine.stage import Part, Summary
from coreset.results.export.captions import is_empty
from coreset.results.export.card import card_text
from coreset.results.export.contents import Entry, picture_hash
from coreset.results.export.croissant import croissant_of
from coreset.results.export.format import HIDDEN, ChosenRows, ExportParams, Finished, Format, beside, check_part_rows
from coreset.results.export.indexed import NOTHING, close_index, metadata_of_parts
from coreset.results.export.pictures import InOrder, kind_of, pictures_of, sources_of
from coreset.sources.names import name_of

FOLDER, CARD, CROISSANT = "data", "README.md", "croissant.json"
GROUP_ROWS = 100
"""Rows of one row group: what a reader of a single picture fetches, and what is held in memory."""
IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
SAID = (
    *("caption", "key", "url", "width", "height", "sha256", "md5"),
    *("text_cosine", "centroid_cosine", "cluster", "component_size"),
)
TYPES = {name: rows.CORESET.field(name).type for name in SAID} | {"fate": pa.string()}
KINDS_OF_VALUES = {"string": "string", "int32": "int32", "int64": "int64", "float": "float32"}
"""Names of types in Arrow, and in Hugging Face's features."""


@dataclass(frozen=True, kw_only=True)
class HfParams(ExportParams):
    """Parameters of `hf`."""

    stage: ClassVar[str] = "export-hf"

    samples_per_shard: int = field(default=10_000, metadata={"help": "rows of one tar or Parquet file"})

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        check_part_rows("--samples-per-shard", self.samples_per_shard)

    @property
    def part_rows(self) -> int:
        """One file is one part."""
        return self.samples_per_shard


def features() -> dict[str, Any]:
    """The columns as `datasets` describes them."""
    values = {name: {"dtype": KINDS_OF_VALUES[str(kind)], "_type": "Value"} for name, kind in TYPES.items()}
    return {"image": {"_type": "Image"}, **values}


def schema() -> pa.Schema:
    """The schema of the files; its metadata tells `datasets` what the columns are."""
    said = {"huggingface": json.dumps({"info": {"features": features()}}, sort_keys=True)}
    return pa.schema([pa.field("image", IMAGE), *(pa.field(name, kind) for name, kind in TYPES.items())], metadata=said)


def shard_name(number: int, parts: int) -> str:
    """The name of a file, as the Hub's own are.

    Example:
        >>> shard_name(3, 12)
        'data/train-00003-of-00012.parquet'
    """
    return f"{FOLDER}/train-{number:05d}-of-{parts:05d}.parquet"


def write_part(chosen: ChosenRows, params: HfParams, part: Part) -> Summary:  # noqa: ARG001  see `Format.write`
    """Write one Parquet file of pictures."""
    table, sources = chosen.table(), sources_of(chosen.run)
    is_full = [not is_empty(caption) for caption in table["caption"].to_pylist()]
    entries = [Entry(key, excluded="no_caption") for key in table["key"].to_pylist()]
    full = [index for index, has_caption in enumerate(is_full) if has_caption]
    written = table.take(pa.array(full, pa.int64()))
    name = shard_name(chosen.number, chosen.parts)
    with InOrder(join(chosen.out, HIDDEN), chosen.memory // 2) as pictures, part.file(beside(name)) as file:
        pictures.take(pictures_of(written, sources))
        hashed = Hashed(file)
        with pq.ParquetWriter(
            pa.PythonFile(hashed, mode="w"), schema(), compression="zstd", use_dictionary=["fate"]
        ) as writer:
            for start in range(0, len(full), GROUP_ROWS):
                group = written.slice(start, GROUP_ROWS)
                found = [pictures.pop(start + place) for place in range(group.num_rows)]
                writer.write_table(shard_rows(group, found), row_group_size=GROUP_ROWS)
                for index, row, content in zip(full[start:], group.to_pylist(), found, strict=False):
                    entries[index] = entry_of(row, content, name)
                ticker.add(group.num_rows)
    return close_index(part, entries, NOTHING, {}, sha256=hashed.digest.hexdigest(), shard=name)


def shard_rows(group: pa.Table, pictures: list[bytes]) -> pa.Table:
    """Some rows as the files have them."""
    images = [
        {"bytes": content, "path": f"{name_of(key)}.{kind_of(content)}"}
        for key, content in zip(group["key"].to_pylist(), pictures, strict=True)
    ]
    columns = {"image": pa.array(images, IMAGE)} | {name: group[name] for name in TYPES}
    return pa.table(columns, schema=schema())


def entry_of(row: dict[str, Any], content: bytes, file: str) -> Entry:
    """What became of a row."""
    return Entry(
        row["key"],
        file=file,
        name=name_of(row["key"]),
        kind=kind_of(content),
        bytes=len(content),
        hash=picture_hash(content),
        transcoded=False,
        caption=row["caption"],
        neutralised=0,
    )


class Hashed:
    """A file that is written from beginning to end, with the sha256 that Croissant asks for."""

    closed = False

    def __init__(self, file: Outgoing) -> None:
        self.digest = hashlib.sha256()
        self._file = file

    def write(self, block: Any) -> int:  # noqa: ANN401  anything with a buffer, as io says
        """Append bytes."""
        self.digest.update(block)
        return self._file.write(block)

    def tell(self) -> int:
        """The offset of the next byte."""
        return self._file.tell()

    def flush(self) -> None:
        """Nothing: the file is flushed when it is closed."""

    def close(self) -> None:
        """Nothing: whoever opened the file closes it."""


def finish(done: Finished[HfParams]) -> list[str]:
    """Write the data card and the Croissant metadata."""
    names, hashes = (metadata_of_parts(done.parts, name) for name in ("shard", "sha256"))
    files = [(name, digest) for name, digest in zip(names, hashes, strict=True)]
    write_bytes(join(done.out, CARD), card_text(done, TYPES).encode())
    write_bytes(join(done.out, CROISSANT), json_bytes(croissant_of(files, TYPES)))
    return [CARD, CROISSANT]


FORMAT = Format(
    "hf",
    "Parquet of pictures with a data card and Croissant metadata: datasets.load_dataset, the Hub, mlcroissant",
    HfParams,
    write_part,
    (FOLDER, CARD, CROISSANT),
    finish,
)
