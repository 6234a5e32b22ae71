"""The loaders themselves, from a checkout that an environment variable names; skipped where there is none.

`CORESET_BUNNY`, `_LLAVA`, `_LLAVA_NEXT`, `_MGM`, `_TINYLLAVA`, `_XTUNER`, `_MINIGPT4`, `_TINYGPTV`, `_BIG_VISION`,
`_COGVLM`, `_COGVLM2`, `_COGAGENT` and `_SAT` (SwissArmyTransformer) are folders of sources. `CORESET_..._PATH`, with
the same names, is put on the Python path of the loader: its libraries need not be those of this environment.
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
from coreset.sources.names import name_of

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


@pytest.mark.parametrize("name", ["bunny", "llava", "llava_next", "mgm"])
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


def test_a_llava_list_in_tinyllava(mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    done("export", "llava", "out", "--images-per-dir", "8", cwd=mixed)
    found = read("TINYLLAVA", "tinyllava_list.py", mixed / "out" / "coreset.json", mixed / "out" / "images")
    captions = [neutralised(caption)[0] for caption in captions_of(mixed)]
    assert [pair["text"].strip() for pair in found] == [caption.strip() for caption in captions]
    assert all((pair["pictures"], pair["first"]) == (1, 0) for pair in found)
    assert all(pair["shape"] == [3, 224, 224] for pair in found)


def test_a_llava_list_in_xtuner(mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    done("export", "llava", "out", "--images-per-dir", "8", cwd=mixed)
    found = read("XTUNER", "xtuner_list.py", mixed / "out" / "coreset.json", mixed / "out" / "images")
    rows = coreset.open_run(str(mixed / "run")).coreset().to_pylist()
    assert [(pair["id"], pair["text"]) for pair in found] == [
        (row["key"], neutralised(row["caption"])[0]) for row in rows
    ]
    assert all((pair["pictures"], pair["shape"]) == (1, [3, 224, 224]) for pair in found)


@pytest.mark.parametrize("name", ["MINIGPT4", "TINYGPTV"])
def test_tars_of_jpegs(name: str, mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    done("export", "webdataset", "out", "--samples-per-shard", "9", "--jpeg", cwd=mixed)
    captions = captions_of(mixed)
    last = -(-len(captions) // 9) - 1
    tars = f"{mixed}/out/{{00000..{last:05d}}}.tar"
    found = read(name, "laion_tars.py", 30 * len(captions), tars)
    assert {pair["caption"] for pair in found} == set(captions)
    assert all(pair["size"] == [16, 16] for pair in found)


def test_tars_in_the_library_of_cogvlm(mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    done("export", "webdataset", "out", "--samples-per-shard", "9", "--jpeg", cwd=mixed)
    captions = captions_of(mixed)
    tars = f"{mixed}/out/{{00000..{-(-len(captions) // 9) - 1:05d}}}.tar"
    found = read("SAT", "sat_tars.py", 30 * len(captions), tars)
    assert {pair["caption"] for pair in found} == set(captions)
    assert all(pair["size"] == [16, 16] for pair in found)


def test_a_folder_in_cogvlm2(mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    done("export", "cogvlm", "out", "--prompt", "What is this?", cwd=mixed)
    found = {pair["name"]: pair for pair in read("COGVLM2", "cogvlm2_folder.py", mixed / "out")}
    rows = coreset.open_run(str(mixed / "run")).coreset().to_pylist()
    assert {name: pair["caption"] for name, pair in found.items()} == {
        name_of(row["key"]): neutralised(row["caption"])[0] for row in rows
    }
    for pair in found.values():
        assert (pair["question"], pair["size"], pair["history"]) == ("What is this?", [16, 16], None)


def test_cogvlm_takes_texts_from_names(mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    """Its pictures can be read; the text that its example trains on is the name, which is no caption."""
    done("export", "cogvlm", "out", cwd=mixed)
    found = read("COGVLM", "cogvlm_items.py", mixed / "out")
    keys = coreset.open_run(str(mixed / "run")).coreset()["key"].to_pylist()
    assert sorted(item["text"] for item in found) == sorted(map(name_of, keys))
    assert all(item["size"] == [16, 16] for item in found)


def test_lines_of_cogagent(mixed: Path, read: Callable[..., list[dict[str, Any]]]) -> None:
    done("export", "cogagent", "out", "--images-per-dir", "8", "--system", "You see a picture.", cwd=mixed)
    found = read("COGAGENT", "cogagent_lines.py", mixed / "out")
    assert [pair["caption"] for pair in found] == [neutralised(caption)[0] for caption in captions_of(mixed)]
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
