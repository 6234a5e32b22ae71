"""The sizes of a Parquet's pages: what its writer was told to make, and refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import check_refused, coreset
from shards import recipe

from coreset.sources.image_parquet import PAGES_HELD, reading_bytes
from coreset.sources.page_headers import BadHeaderError, ShortHeaderError, largest_page, parsed_page_header
from coreset.sources.shards import find_shards

SIZE, COUNT = 1000, 64
NEEDED = SIZE + 4
"""Bytes of a picture in a page: its length stands before it."""


def written(path: Path, rows_a_page: int, **options: Any) -> Path:
    draw = np.random.default_rng(0)
    pictures = pa.array([draw.bytes(SIZE) for _ in range(COUNT)], pa.binary())
    kept = {"use_dictionary": False, "compression": "none", "data_page_size": 1, "write_batch_size": rows_a_page}
    texts = [f"a lamp, {number}" for number in range(COUNT)]
    pq.write_table(pa.table({"caption": texts, "jpg": pictures}), path, **{**kept, **options})
    return path


def pages_of(path: Path) -> int:
    """The largest page of the pictures in the first row group."""
    chunk = pq.read_metadata(path).row_group(0).column(1)
    with path.open("rb", buffering=0) as file:
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        return largest_page(file, start, start + chunk.total_compressed_size)


@pytest.mark.parametrize("rows", [1, 7, 16, 64])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "zstd", "snappy"])
def test_the_largest_page_is_as_large_as_it_was_written(
    tmp_path: Path, rows: int, version: str, compression: str
) -> None:
    path = written(tmp_path / "0.parquet", rows, data_page_version=version, compression=compression)
    found = pages_of(path)
    assert rows * NEEDED <= found <= rows * NEEDED + 16  # and which of them are null


@pytest.mark.parametrize(
    "options", [{"write_page_checksum": True}, {"write_statistics": False}, {"write_page_index": True}]
)
def test_what_else_stands_in_a_header_changes_nothing(tmp_path: Path, options: dict[str, bool]) -> None:
    assert pages_of(written(tmp_path / "0.parquet", 8, **options)) == pages_of(written(tmp_path / "1.parquet", 8))


def test_a_page_with_a_dictionary_counts(tmp_path: Path) -> None:
    found = pages_of(written(tmp_path / "0.parquet", 64, use_dictionary=True))
    assert COUNT * NEEDED <= found <= COUNT * NEEDED + 16


def test_every_header_cut_short_is_short(tmp_path: Path) -> None:
    path = written(tmp_path / "0.parquet", 8)
    content = path.read_bytes()[pq.read_metadata(path).row_group(0).column(1).data_page_offset :]
    size = parsed_page_header(content).size
    for cut in range(size):
        with pytest.raises(ShortHeaderError):
            parsed_page_header(content[:cut])
    with pytest.raises(BadHeaderError):
        parsed_page_header(b"\x00" + content)


def test_pages_are_looked_at_only_where_the_footer_leaves_a_doubt(tmp_path: Path) -> None:
    (shard,) = find_shards([str(written(tmp_path / "0.parquet", 8))])
    whole = pq.read_metadata(shard.location).row_group(0).column(1).total_uncompressed_size
    assert reading_bytes(shard, PAGES_HELD * whole) == PAGES_HELD * whole
    assert 8 * NEEDED <= reading_bytes(shard, PAGES_HELD * whole - 1) / PAGES_HELD <= 8 * NEEDED + 16


def test_pages_that_do_not_fit_are_refused_before_any_work(tmp_path: Path, clip: Path) -> None:
    draw = np.random.default_rng(0)
    pictures = pa.array([draw.bytes(70 << 20)] * 2, pa.binary())
    table = pa.table({"jpg": pictures, "caption": ["a", "b"]})
    pq.write_table(table, tmp_path / "0.parquet", use_dictionary=False, data_page_size=1 << 30, compression="zstd")
    (tmp_path / "coreset.toml").write_text(recipe(clip, "0.parquet"))
    said = coreset("embed", "--memory", "768MiB", cwd=tmp_path)
    check_refused(said, 5, "pages of 140 MiB", "takes 560 MiB", "256 MiB that --memory leaves", "row groups of 100")
    assert not (tmp_path / "run/rows").exists()
    said = coreset("embed", "--memory", "2GiB", "--max-bad", "100", cwd=tmp_path)
    counts = json.loads((tmp_path / "run/rows/stage.json").read_text())["counts"]
    assert counts["quarantined"] == 2  # the pictures are more than a picture may be
