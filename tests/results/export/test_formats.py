"""Each format as its loader's code demands it; one row in, one row out, the same pictures and captions."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command import check_refused, coreset, done
from PIL import Image

import coreset as package
from coreset.results.export.captions import MARKERS, neutralised
from coreset.results.export.pictures import kind_of
from coreset.results.export.prompts import PROMPTS
from coreset.sources.names import key_of, name_of
from coreset.sources.pictures import decoded

ALL = ("llava", "webdataset", "bigvision", "cogvlm", "cogagent", "minigpt4-align")


def chosen_of(place: Path) -> list[dict[str, Any]]:
    """The coreset's rows."""
    return package.open_run(str(place / "run")).coreset().to_pylist()


def exported(place: Path, form: str, *flags: str) -> dict[str, int]:
    """The counts of an export, which is verified."""
    said = json.loads(done("export", form, form, "--json", *flags, cwd=place).out)
    found = json.loads(done("verify", form, "--json", cwd=place).out)
    assert found["ok"]
    assert found["pictures"] == said["counts"]["written"]
    assert found["notes"] == []
    return said["counts"]


def original(place: Path, row: dict[str, Any]) -> bytes | None:
    """A row's picture by another way; None from the gzipped tar."""
    return None if row["image_offset"] is None else package.open_run(str(place / "run")).picture(row)


def test_llava(mixed: Path) -> None:
    counts = exported(mixed, "llava", "--images-per-dir", "8")
    rows = chosen_of(mixed)
    entries = json.loads((mixed / "llava" / "coreset.json").read_text(encoding="ascii"))
    assert [entry["id"] for entry in entries] == [row["key"] for row in rows]
    assert {tuple(entry) for entry in entries} == {("id", "image", "conversations")}
    for number, (entry, row) in enumerate(zip(entries, rows, strict=True)):
        asked, told = entry["conversations"]
        assert (asked["from"], told["from"]) == ("human", "gpt")
        assert asked["value"].count("<image>") == 1
        assert asked["value"].removeprefix("<image>\n") in PROMPTS
        assert told["value"] == neutralised(row["caption"])[0]
        assert not any(marker in told["value"] for marker in MARKERS)
        folder, file = entry["image"].split("/")
        assert folder == f"{number // 8:04d}"
        content = (mixed / "llava" / "images" / folder / file).read_bytes()
        assert file == f"{name_of(row['key'])}.{kind_of(content)}"
        assert content == (original(mixed, row) or content)
        assert "ocr" not in entry["image"]
        assert "VG_100K" not in entry["image"]
    assert counts["neutralised"] == sum(neutralised(row["caption"])[1] > 0 for row in rows) > 0
    assert counts["transcoded"] == 0
    assert counts["png"] > 0 < counts["webp"]


def test_one_prompt_and_only_jpegs(mixed: Path) -> None:
    counts = exported(mixed, "llava", "--jpeg", "--prompt", "What is this?")
    entries = json.loads((mixed / "llava" / "coreset.json").read_text())
    assert {entry["conversations"][0]["value"] for entry in entries} == {"<image>\nWhat is this?"}
    assert {Path(entry["image"]).suffix for entry in entries} == {".jpg"}
    assert counts["transcoded"] > 0
    for entry, row in zip(entries, chosen_of(mixed), strict=True):
        before = original(mixed, row)
        content = (mixed / "llava" / "images" / entry["image"]).read_bytes()
        if before is not None and kind_of(before) == "jpg":
            assert content == before
        elif before is not None:
            image = Image.open(io.BytesIO(content))
            assert image.mode == "RGB"
            assert image.size == decoded(before).size


def test_transparency_is_laid_on_white(mixed: Path) -> None:
    exported(mixed, "minigpt4-align")
    row = next(row for row in chosen_of(mixed) if (kind_of(original(mixed, row) or b"") == "png"))
    written = Image.open(mixed / "minigpt4-align" / "image" / f"{name_of(row['key'])}.jpg")
    assert written.getpixel((8, 0)) == pytest.approx((255, 255, 255), abs=12)


def test_bigvision(mixed: Path) -> None:
    counts = exported(mixed, "bigvision", "--prefix", "caption de")
    lines = (mixed / "bigvision" / "coreset.jsonl").read_text(encoding="ascii").splitlines()
    rows = chosen_of(mixed)
    for line, row in zip(lines, rows, strict=True):
        said = json.loads(line)
        assert list(said) == ["image", "prefix", "suffix"]
        assert all(isinstance(value, str) and value for value in said.values())
        assert (said["prefix"], said["suffix"]) == ("caption de", row["caption"])
        content = (mixed / "bigvision" / "images" / said["image"]).read_bytes()
        assert kind_of(content) in {"jpg", "png", "bmp"}
    assert "webp" not in counts
    assert counts["transcoded"] > 0
    assert counts["neutralised"] == 0


@pytest.mark.parametrize("labels", ["conversations", "captions"])
def test_cogvlm(mixed: Path, labels: str) -> None:
    exported(mixed, "cogvlm", "--labels", labels)
    images, texts = (sorted(os.listdir(mixed / "cogvlm" / folder)) for folder in ("images", "labels_en"))
    assert [name.removesuffix(".jpg") for name in images] == [name.removesuffix(".json") for name in texts]
    assert not any("." in name.removesuffix(".jpg") for name in images)
    for row in chosen_of(mixed):
        name = name_of(row["key"])
        assert kind_of((mixed / "cogvlm" / "images" / f"{name}.jpg").read_bytes()) == "jpg"
        said = json.loads((mixed / "cogvlm" / "labels_en" / f"{name}.json").read_text())
        assert list(said) == [labels]
        roles = [turn["role"] for turn in said[labels]]
        assert roles == (["user", "assistant"] if labels == "conversations" else ["caption"])
        assert said[labels][-1]["content"] == neutralised(row["caption"])[0]


@pytest.mark.parametrize("system", [[], ["--system", "You see a picture."]], ids=["two", "three"])
def test_cogagent(mixed: Path, system: list[str]) -> None:
    exported(mixed, "cogagent", "--image-prefix", "/far/away/", *system)
    lines = (mixed / "cogagent" / "train.jsonl").read_text().splitlines()
    for line, row in zip(lines, chosen_of(mixed), strict=True):
        *first, asked, told = json.loads(line)["messages"]
        assert first == [{"role": "system", "content": text} for text in system[1:]]
        assert (asked["role"], told["role"]) == ("user", "assistant")
        assert (mixed / "cogagent" / asked["image"].removeprefix("/far/away/")).is_file()
        assert told == {"role": "assistant", "content": neutralised(row["caption"])[0]}


def test_minigpt4_align(mixed: Path) -> None:
    exported(mixed, "minigpt4-align")
    said = json.loads((mixed / "minigpt4-align" / "filter_cap.json").read_text())
    assert list(said) == ["annotations"]
    for entry, row in zip(said["annotations"], chosen_of(mixed), strict=True):
        assert (mixed / "minigpt4-align" / "image" / f"{entry['image_id']}.jpg").is_file()
        assert entry["caption"] == neutralised(row["caption"])[0]


def test_rows_without_a_caption_are_left_out_and_counted(mixed: Path) -> None:
    for form in ALL:
        counts = exported(mixed, form, "--where", "unlike")
        assert counts["excluded_no_caption"] == 1
        assert counts["chosen"] == counts["written"] + 1 == len(chosen_of(mixed)) + 1


def test_names_are_reversible(mixed: Path) -> None:
    exported(mixed, "llava")
    files = [path.stem for path in (mixed / "llava" / "images").rglob("*") if path.is_file()]
    keys = Counter(row["key"] for row in chosen_of(mixed))
    assert Counter(filter(None, map(key_of, files))) == Counter({key: 1 for key in keys if len(key) < 200})


def test_a_flag_of_another_format_is_refused(mixed: Path) -> None:
    said = coreset("export", "llava", "out", "--samples-per-shard", "5", cwd=mixed)
    check_refused(said, 2, "--samples-per-shard is for webdataset", "llava")
    check_refused(coreset("export", "lava", "out", cwd=mixed), 2, "lava is no format", "llava")
    check_refused(coreset("export", "llava", "out", "--images-per-dir", "0", cwd=mixed), 2, "at least 1")
    check_refused(coreset("export", "llava", "out", "--prompt", "a <image>", cwd=mixed), 2, "markers")
    check_refused(coreset("export", "cogvlm", "out", "--labels", "x", cwd=mixed), 2, "captions")
    assert not (mixed / "out").exists()
