"""`webdataset`: tars of pictures, captions and scores, as img2dataset leaves them.

Read by MiniGPT-4 and TinyGPT-V (`LaionDataset`), open_clip, CogVLM's webdataset library, webdataset itself, and
`coreset embed`: exporting and embedding again gives the same keys, captions and pictures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from coreset import rows
from coreset.engine import files
from coreset.engine.files import join
from coreset.engine.progress import ticker
from coreset.engine.stage import PARQUET, Part, Summary
from coreset.keys import part_summary
from coreset.results.export.captions import is_empty
from coreset.results.export.contents import Entry, close_contents, picture_hash
from coreset.results.export.format import HIDDEN, ChosenRows, ExportParams, Finished, Format, beside, check_part_rows
from coreset.results.export.pictures import JPEG, KINDS, InOrder, as_written, pictures_of, sources_of
from coreset.results.export.tar_writing import TarWriter
from coreset.sources.names import name_of

SIZES = "sizes.json"
SCORES = ("text_cosine", "centroid_cosine", "cluster", "component_size", "fate")
SAID = ("key", "caption", "url", "width", "height", "sha256", "md5", *SCORES)
"""What the json of a sample says, as far as it is known."""


@dataclass(frozen=True, kw_only=True)
class WebdatasetParams(ExportParams):
    """Parameters of `webdataset`."""

    stage: ClassVar[str] = "export-webdataset"

    samples_per_shard: int = field(default=10_000, metadata={"help": "rows of one tar"})
    jpeg: bool = field(
        default=False, metadata={"help": "turn pictures that are no JPEG into one; without it all bytes stay"}
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        check_part_rows("--samples-per-shard", self.samples_per_shard)

    @property
    def part_rows(self) -> int:
        """One tar is one part."""
        return self.samples_per_shard


def write_shard(chosen: ChosenRows, params: WebdatasetParams, part: Part) -> Summary:
    """Write one tar, and beside it what img2dataset says of a tar."""
    table, sources = chosen.table(), sources_of(chosen.run)
    empty = [is_empty(caption) for caption in table["caption"].to_pylist()]
    entries = [Entry(key, excluded="no_caption") for key in table["key"].to_pylist()]
    full = [index for index, without in enumerate(empty) if not without]
    written = table.take(pa.array(full, pa.int64()))
    kept = (JPEG,) if params.jpeg else KINDS
    tar = TarWriter(part.file(beside(f"{part.name}.tar")))
    with InOrder(join(chosen.out, HIDDEN), chosen.memory // 2) as found:
        found.take(pictures_of(written, sources))
        samples = written.select([name for name in SAID if name in written.column_names]).to_pylist()
        for place, (index, row) in enumerate(zip(full, samples, strict=True)):
            picture = as_written(found.pop(place), kept, sources.max_pixels, row["key"])
            entries[index] = write_sample(tar, row, picture, f"{part.name}.tar")
            ticker.add(1)
    tar.close()
    sidecar = [entry.name for entry in entries if entry.excluded is None]
    write_sidecars(part, written, [name or "" for name in sidecar])
    return close_contents(part, entries)


def write_sample(tar: TarWriter, row: Mapping[str, Any], picture: tuple[bytes, str, bool], shard: str) -> Entry:
    """Add one sample to a tar: picture, caption, json."""
    content, kind, transcoded = picture
    name = name_of(row["key"])
    said = {field: row[field] for field in SAID if row[field] is not None}
    if transcoded:
        said["transcoded"] = True
    tar.add(f"{name}.{kind}", content)
    tar.add(f"{name}.txt", row["caption"].encode())
    tar.add(f"{name}.json", json.dumps(said).encode())
    return Entry(
        row["key"],
        file=shard,
        name=name,
        kind=kind,
        bytes=len(content),
        hash=picture_hash(content),
        transcoded=transcoded,
        caption=row["caption"],
        neutralised=0,
    )


SIDECAR = pa.schema(
    [
        *((name, pa.string()) for name in ("url", "key", "caption", "status", "error_message")),
        *((name, pa.int32()) for name in ("width", "height", "original_width", "original_height")),
        *((name, pa.string()) for name in ("sha256", "md5", "coreset_key")),
        *(rows.CORESET.field(name) for name in SCORES if name in rows.CORESET.names),
    ]
)


def write_sidecars(part: Part, table: pa.Table, names: Sequence[str]) -> None:
    """Write the Parquet and the counts that img2dataset leaves beside a tar."""
    count = table.num_rows
    given = {"key": pa.array(names, pa.string()), "coreset_key": table["key"]}
    given["status"] = pa.array(["success"] * count, pa.string())
    columns = [
        given.get(column.name, table[column.name] if column.name in table.column_names else None) for column in SIDECAR
    ]
    filled = [
        pa.nulls(count, column.type) if found is None else found for column, found in zip(SIDECAR, columns, strict=True)
    ]
    rows.write_table(part.file(beside(f"{part.name}.parquet")), pa.table(filled, schema=SIDECAR))
    failed = {"failed_to_download": 0, "failed_to_resize": 0}
    stats = {"count": count, "successes": count, **failed, "status_dict": {"success": count}}
    with part.file(beside(f"{part.name}_stats.json")) as file:
        file.write(files.json_bytes(stats))


def finish(done: Finished[WebdatasetParams]) -> list[str]:
    """Write how many samples each tar has, as open_clip's training looks for it."""
    sizes = {
        f"{os.path.basename(part).removesuffix(PARQUET)}.tar": part_summary(part)["written"] for part in done.parts
    }
    files.write_json(join(done.out, SIZES), sizes)
    return [SIZES]


FORMAT = Format(
    "webdataset",
    "tars of jpg, txt and json: MiniGPT-4, TinyGPT-V, open_clip, CogVLM, img2dataset's readers",
    WebdatasetParams,
    write_shard,
    ("[0-9]*.tar", "[0-9]*.parquet", "[0-9]*_stats.json", SIZES),
    finish,
)
