"""The loaders themselves, from a checkout that an environment variable names; skipped where there is none.

`CORESET_BUNNY`, `CORESET_LLAVA`, `CORESET_MINIGPT4`, `CORESET_TINYGPTV` and `CORESET_BIG_VISION` are folders of
sources. `CORESET_..._PATH`, with the same names, is put on the Python path of the loader: its libraries need not be
those of this environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import done

import coreset
from coreset.results.export.captions import neutralised

LOADERS = Path(__file__).parents[2] / "loaders"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Runs a loader of a checkout and gives what it read."""

    def reading(name: str, script: str, *arguments: object, checkout_at: int = 0) -> list[dict[str, Any]]:
        checkout = os.environ.get(f"CORESET_{name}")
        if not checkout:
            pytest.skip(f"CORESET_{name} names no checkout")
        given = [str(argument) for argument in arguments]
        given.insert(checkout_at, checkout)
        libraries = os.environ.get(f"CORESET_{name}_PATH", "")
        environment = {**os.environ, "PYTHONPATH": libraries, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-W", "ignore", str(LOADERS / script), *given]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        found: list[dict[str, Any]] = json.loads(ended.stdout.splitlines()[-1])
        return found

    return reading


def captions_of(place: Path) -> list[str]:
    """The captions of the coreset."""
    captions: list[str] = coreset.open_run(str(place / "run")).coreset()["caption"].to_pylist()
    return captions


@pytest.mark.parametrize("name", ["bunny", "llava"])
@pytest.mark.parametrize("flags", [[], ["--jpeg", "--prompt", "What is this?"]], ids=["bytes", "jpeg"])
def test_a_llava_list(name: str, flags: list[str], mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    done("export", "llava", "out", "--images-per-dir", "8", *flags, cwd=mixed)
    out = mixed / "out"
    found = read(name.upper(), "llava_list.py", name, out / "coreset.json", out / "images", checkout_at=1)
    captions = captions_of(mixed)
    assert len(found) == len(captions)
    for pair, caption in zip(found, captions, strict=True):
        assert (pair["pictures"], pair["first"]) == (1, 0)
        assert pair["shape"] == [3, 224, 224]
        assert pair["text"].strip() == neutralised(caption)[0].strip()


@pytest.mark.parametrize("name", ["MINIGPT4", "TINYGPTV"])
def test_tars_of_jpegs(name: str, mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    done("export", "webdataset", "out", "--samples-per-shard", "9", "--jpeg", cwd=mixed)
    captions = captions_of(mixed)
    last = -(-len(captions) // 9) - 1
    tars = f"{mixed}/out/{{00000..{last:05d}}}.tar"
    found = read(name, "laion_tars.py", 30 * len(captions), tars)
    assert {pair["caption"] for pair in found} == set(captions)
    assert all(pair["size"] == [16, 16] for pair in found)


def test_an_aligned_folder(mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    done("export", "minigpt4-align", "out", cwd=mixed)
    found = read("MINIGPT4", "align_folder.py", mixed / "out")
    assert [pair["caption"] for pair in found] == [neutralised(caption)[0] for caption in captions_of(mixed)]


def test_lines_of_big_vision(mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    done("export", "bigvision", "out", cwd=mixed)
    found = read("BIG_VISION", "bv_jsonl.py", mixed / "out" / "coreset.jsonl", mixed / "out" / "images")
    assert [row["suffix"] for row in found] == captions_of(mixed)
    assert all(row["prefix"] == "caption en" and row["shape"] == [16, 16, 3] for row in found)
