"""Vectors computed again: those that agree, and what explains those that do not."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import check_refused, coreset, done
from models import write_model
from PIL import Image
from shards import write_shard

PICTURES = 12


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shard, a model, the same model with another resizing, and a run of each."""
    place = tmp_path_factory.mktemp("parity")
    draw = np.random.default_rng(0)
    samples = []
    for number in range(PICTURES):
        file = io.BytesIO()
        small = Image.fromarray(draw.integers(0, 256, (6, 9, 3), np.uint8))
        small.resize((60, 40), Image.Resampling.BICUBIC).save(file, "PNG")
        samples.append({"__key__": f"{number:09d}", "png": file.getvalue(), "txt": b"a red heart"})
    write_shard(place / "shards/00000.tar", samples)
    write_model(place / "model", "clip")
    shutil.copytree(place / "model", place / "squashing")
    config = json.loads((place / "model/open_clip_config.json").read_text())
    config["preprocess_cfg"] = {"resize_mode": "squash"}
    (place / "squashing/open_clip_config.json").write_text(json.dumps(config))
    for name in ("model", "squashing"):
        flags = ("--model", f"local-dir:{name}", "--precision", "float32", "--run", f"run-{name}")
        done("embed", "shards/*.tar", *flags, cwd=place)
    return place


def test_a_run_agrees_with_its_model(embedded: Path) -> None:
    flags = ("--parity", "run-model", "--model", "local-dir:model")
    said = done("inspect", "shards/*.tar", *flags, cwd=embedded)
    assert f"{PICTURES} rows of run-model computed again" in said.out
    found = json.loads(done("inspect", "shards/*.tar", *flags, "--json", cwd=embedded).out)
    assert found["agrees"]
    assert found["rows"] == PICTURES
    assert found["cosines"]["0.0"] > 0.99999
    assert found["causes"] == []


def test_what_explains_a_difference_is_named_first(embedded: Path) -> None:
    said = coreset("inspect", "shards/*.tar", "--parity", "run-squashing", "--model", "local-dir:model", cwd=embedded)
    check_refused(said, 3, "run-squashing", "at least 0.999", "nearest: resized squash, 1.0000")
    causes = [line.split(maxsplit=1) for line in said.out.splitlines() if line.startswith("  ")]
    assert causes[0][1] == "resized squash"
    assert {"quick-GELU on", "pixels normalised to -1 .. 1"} <= {cause for _, cause in causes}


def test_another_dimension_or_other_shards_are_said(embedded: Path, pristine: Path, clip: Path) -> None:
    said = coreset("inspect", "shards/*.tar", "--parity", "run-model", "--model", f"local-dir:{clip}", cwd=embedded)
    check_refused(said, 3, "24 numbers", "8", "another model")
    shard = str(pristine / "shards/00001.tar")
    said = coreset("inspect", shard, "--parity", "run-model", "--model", "local-dir:model", cwd=embedded)
    check_refused(said, 3, f"None of the {PICTURES} keys")
