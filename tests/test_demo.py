"""The shipped pictures and model: small enough, whole, and worth looking at."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import coreset
from coreset.demo import FOLDER

SHARDS = Path(FOLDER) / "shards"


def size_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_pictures_and_model_stay_small() -> None:
    assert size_below(SHARDS) <= 8 << 20
    assert size_below(Path(FOLDER) / "model") <= 16 << 20
    assert "Apache" in (Path(FOLDER) / "LICENSES.md").read_text()


def test_both_downloads_are_there_with_their_sidecars() -> None:
    tars = sorted(SHARDS.rglob("*.tar"))
    assert {tar.parent.name for tar in tars} == {"noto-emoji", "openclipart"}
    for tar in tars:
        stats = json.loads((tar.parent / f"{tar.stem}_stats.json").read_text())
        assert stats["successes"] == pq.read_metadata(tar.with_suffix(".parquet")).num_rows


def test_the_funnel_adds_up(demo: coreset.Run) -> None:
    steps = {step.name: step.rows for step in coreset.funnel(demo.folder)}
    refused = sum(entry["rows"] for entry in coreset.quarantined(demo.folder))
    assert steps["samples"] == steps["embedded"] + refused
    assert steps["text rank"] == 60 * steps["unlike"] // 100 - 40 * steps["unlike"] // 100
    assert steps["centroid rank"] == 35 * steps["text rank"] // 100 - 15 * steps["text rank"] // 100
    assert (
        steps["coreset"]
        == pq.read_metadata(os.path.join(demo.folder, "coreset/coreset-00000-of-00001.parquet")).num_rows
    )


def test_bad_pairs_are_quarantined_with_their_reasons(demo: coreset.Run) -> None:
    assert {entry["reason"] for entry in coreset.quarantined(demo.folder)} == {"no_caption", "undecodable_picture"}


def test_near_duplicates_share_words_far_more_often_than_chance(demo: coreset.Run) -> None:
    table = coreset.rows_with_fate(demo.folder)
    captions = dict(zip(table["key"].to_pylist(), table["caption"].to_pylist(), strict=True))
    words = {key: set(caption.lower().split()) for key, caption in captions.items()}
    dropped = [row for row in table.select(["key", "kept_key", "kept"]).to_pylist() if not row["kept"]]
    others = np.random.default_rng(0).permutation(len(dropped))

    def shared(a: str, b: str) -> float:
        return len(words[a] & words[b]) / len(words[a] | words[b])

    alike = np.mean([shared(row["key"], row["kept_key"]) for row in dropped])
    chance = np.mean([shared(row["key"], dropped[i]["kept_key"]) for row, i in zip(dropped, others, strict=True)])
    assert alike > 2 * chance, (alike, chance)


def test_pictures_of_the_coreset_are_read_from_their_tars(demo: coreset.Run) -> None:
    for row in (
        pq.read_table(os.path.join(demo.folder, "coreset/coreset-00000-of-00001.parquet")).slice(0, 5).to_pylist()
    ):
        content = coreset.picture_bytes(demo.folder, row["source"], row["image_offset"], row["image_bytes"])
        assert content.startswith(b"\xff\xd8")
