"""`urls`: Parquet files from which img2dataset downloads the chosen rows, and the command that does it.

Read by `img2dataset --url_list OUT/urls --input_format parquet`. Where every row has a hash of the original picture,
the command checks it, so that what a server gives today is what was selected.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from coreset import rows
from coreset.engine.files import Location, join, write_bytes
from coreset.engine.stage import Part, Summary
from coreset.results.export.contents import Entry
from coreset.results.export.format import ChosenRows, Finished, Format, beside
from coreset.results.export.indexed import IndexParams, close_index

FOLDER, COMMAND = "urls", "img2dataset.sh"
HASHES = ("sha256", "md5")
"""Columns of hashes, the stronger first."""
KEY = "coreset_key"
"""The column of keys: `key` is img2dataset's own."""
URLS = pa.schema([*(rows.CORESET.field(name) for name in ("url", "caption", *HASHES)), pa.field(KEY, pa.string())])


@dataclass(frozen=True, kw_only=True)
class UrlsParams(IndexParams):
    """Parameters of `urls`."""

    stage: ClassVar[str] = "export-urls"


def write_part(chosen: ChosenRows, params: UrlsParams, part: Part) -> Summary:  # noqa: ARG001  see `Format.write`
    """Write the rows of one part that have a url; img2dataset takes the files by the order of their names."""
    table = chosen.table()
    is_known = pc.fill_null(pc.not_equal(table["url"], ""), False)
    known = table.append_column(KEY, table["key"]).filter(is_known).select(URLS.names)
    with part.file(beside(f"{FOLDER}/{part.name}.parquet")) as file:
        rows.write_table(file, known)
    entries = [
        Entry(row["key"], caption=row["caption"]) if has_url else Entry(row["key"], excluded="no_url")
        for row, has_url in zip(table.select(["key", "caption"]).to_pylist(), is_known.to_pylist(), strict=True)
    ]
    hashes = pa.schema([rows.CORESET.field(name) for name in HASHES])
    return close_index(part, entries, hashes, {name: table[name] for name in HASHES})


def finish(done: Finished[UrlsParams]) -> list[str]:
    """Write the command as a script, which takes the folder for the pictures."""
    text = command('"$(dirname "$0")"/urls', '"${1:?name the folder for the pictures}"', verified_hash(done.parts))
    write_bytes(join(done.out, COMMAND), f"#!/bin/sh\n# sh {COMMAND} FOLDER\n{text}\n".encode())
    return [COMMAND]


def verified_hash(parts: tuple[Location, ...]) -> str | None:
    """The strongest hash that every row has; None if some row has none of it."""
    for name in HASHES:
        tables = (rows.read_table(location, ["excluded", name]) for location in parts)
        written = (table.filter(pc.is_null(table["excluded"])) for table in tables)
        if all(table[name].null_count == 0 for table in written):
            return name
    return None


def command(urls: str, pictures: str, verified: str | None) -> str:
    """The command line of img2dataset; both folders are written as a shell reads them.

    Args:
        urls: the folder of the Parquet files
        pictures: the folder for the pictures
        verified: the hash that is compared
    """
    words = ["--input_format", "parquet", "--url_col", "url", "--caption_col", "caption"]
    words += ["--save_additional_columns", f'["{KEY}"]']
    if verified:
        words += ["--compute_hash", verified, "--verify_hash", f'["{verified}","{verified}"]']
    words += ["--output_format", "webdataset"]
    return f"img2dataset --url_list {urls} {shlex.join(words)} --output_folder {pictures}"


FORMAT = Format(
    "urls",
    "Parquet of urls, captions and hashes, and the command: img2dataset",
    UrlsParams,
    write_part,
    (FOLDER, COMMAND),
    finish,
    has_pictures=False,
)
