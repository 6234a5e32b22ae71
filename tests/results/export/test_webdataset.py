"""Tars of the coreset: read by webdataset and open_clip's training, and embedded again to the same rows."""

from __future__ import annotations

import json
import tarfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from command import done
from exporting import EVERYTHING, careless

import coreset
from coreset.results.export.contents import picture_hash
from coreset.results.export.pictures import kind_of
from coreset.sources.names import name_of
from coreset.sources.readers import read_pairs
from coreset.sources.tars import Pair, find_shards

PICTURES = ("jpg", "png", "webp", "gif", "bmp")


def samples_of(folder: Path) -> list[dict[str, Any]]:
    """What webdataset reads of all tars."""
    with careless():
        return list(webdataset.WebDataset(sorted(map(str, folder.glob("*.tar"))), shardshuffle=False))


def picture_of(sample: dict[str, Any]) -> tuple[str, bytes]:
    """The one picture of a sample, whose ending is true."""
    (found,) = [(kind, sample[kind]) for kind in PICTURES if kind in sample]
    assert kind_of(found[1]) == found[0]
    return found


def test_webdataset_reads_what_was_chosen(mixed: Path) -> None:
    done("export", "webdataset", "out", "--samples-per-shard", "7", cwd=mixed)
    run = coreset.open_run(str(mixed / "run"))
    rows, found = run.coreset().to_pylist(), samples_of(mixed / "out")
    assert len(found) == len(rows)
    for number, (sample, row) in enumerate(zip(found, rows, strict=True)):
        said = json.loads(sample["json"])
        assert sample["__key__"] == name_of(row["key"])
        assert Path(sample["__url__"]).name == f"{number // 7:05d}.tar"
        assert sample["txt"].decode() == said["caption"] == row["caption"]
        expected = {name: row[name] for name in ("key", "url", "text_cosine", "cluster", "component_size", "width")}
        assert {name: said.get(name) for name in expected} == expected
        assert said["fate"] == "kept"
        _, content = picture_of(sample)
        if row["image_offset"] is not None:
            assert content == run.picture(row)


def test_members_are_plain_files_of_nobody(mixed: Path) -> None:
    done("export", "webdataset", "out", cwd=mixed)
    with tarfile.open(mixed / "out" / "00000.tar") as archive:
        members = archive.getmembers()
    assert {(member.mode, member.uid, member.gid, member.mtime, member.uname) for member in members} == {
        (0o644, 0, 0, 0, "")
    }
    assert all(member.name.count(".") == 1 and "/" not in member.name for member in members)


def test_sidecars_count_what_the_tars_hold(mixed: Path) -> None:
    done("export", "webdataset", "out", "--samples-per-shard", "9", cwd=mixed)
    sizes = json.loads((mixed / "out" / "sizes.json").read_text())
    for shard in sorted((mixed / "out").glob("*.tar")):
        stats = json.loads(shard.with_name(f"{shard.stem}_stats.json").read_text())
        table = pq.read_table(shard.with_suffix(".parquet"))
        keys = [found.key for found in read_pairs(*find_shards([str(shard)]))]
        assert stats["successes"] == stats["count"] == table.num_rows == len(keys) == sizes[shard.name]
        assert table["coreset_key"].to_pylist() == keys
        assert table["key"].to_pylist() == list(map(name_of, keys))
        assert set(table["status"].to_pylist()) == {"success"}
    said = json.loads(done("inspect", "out/*.tar", "--json", cwd=mixed).out)
    assert not said.get("problems")


@pytest.mark.parametrize("flags", [[], ["--jpeg"]], ids=["bytes", "jpeg"])
def test_exporting_and_embedding_again_gives_the_same_rows(mixed: Path, flags: list[str]) -> None:
    done("export", "webdataset", "out", "--samples-per-shard", "9", *flags, cwd=mixed)
    text = (mixed / "coreset.toml").read_text().replace("shards/*", "out/*.tar").partition("[sample]")[0]
    (mixed / "again.toml").write_text(text + EVERYTHING)
    done("run", "again.toml", "--run", "again", cwd=mixed)
    before = {row["key"]: row for row in coreset.open_run(str(mixed / "run")).coreset().to_pylist()}
    after = coreset.open_run(str(mixed / "again")).fates().to_pylist()
    assert {row["key"] for row in after} == set(before)
    for row in after:
        assert (row["caption"], row["url"]) == (before[row["key"]]["caption"], before[row["key"]]["url"])
    pictures = {pair.key: pair.image for shard in find_shards([f"{mixed}/out/*.tar"]) for pair in read_pairs(shard)}
    first = {
        pair.key: pair.image
        for shard in find_shards([f"{mixed}/shards/*"])
        for pair in read_pairs(shard)
        if isinstance(pair, Pair)
    }
    same = [key for key in before if kind_of(first[key]) == "jpg" or not flags]
    assert all(pictures[key] == first[key] for key in same)
    assert {kind_of(content) for content in pictures.values()} == ({"jpg"} if flags else set(PICTURES))
    assert picture_hash(b"") != picture_hash(pictures[same[0]])


@pytest.mark.parametrize("is_train", [False, True])
def test_open_clip_trains_on_it(mixed: Path, is_train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    done("export", "webdataset", "out", "--samples-per-shard", "9", "--jpeg", cwd=mixed)
    shards = sorted((mixed / "out").glob("*.tar"))
    brace = f"{mixed}/out/{{00000..{len(shards) - 1:05d}}}.tar"
    captions: list[str] = []

    def tokens(text: str) -> torch.Tensor:
        captions.append(text)
        return torch.zeros(1, 4, dtype=torch.long)

    with careless():
        from open_clip_train import data

        # webdataset of today marks the end of a tar by a sample without a name, which open_clip 3.3 does not know.
        expander = partial(data.tar_file_expander, eof_value=None)
        monkeypatch.setattr(data, "tar_file_expander", expander)
        asked = {"train_data": brace, "val_data": brace, "train_num_samples": None, "val_num_samples": None}
        rest = {"train_data_upsampling_factors": None, "batch_size": 4, "workers": 0, "world_size": 1, "seed": 0}
        arguments = SimpleNamespace(**asked, **rest, dataset_resampled=False)
        info = data.get_wds_dataset(arguments, lambda image: torch.zeros(3, *image.size), is_train, tokenizer=tokens)
        batches = list(info.dataloader)
    rows = coreset.open_run(str(mixed / "run")).coreset().to_pylist()
    assert batches[0][0].shape == (4, 3, 16, 16)
    if is_train:
        assert info.dataloader.num_samples == -(-len(rows) // 4) * 4  # read from sizes.json, rounded up to batches
        assert set(captions) == {row["caption"] for row in rows}
    else:
        assert captions == [row["caption"] for row in rows]
