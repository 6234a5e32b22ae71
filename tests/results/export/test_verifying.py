"""What `coreset verify OUT` notices of an export."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command import check_refused, coreset, done

FORMS = ("llava", "webdataset", "cogvlm")


def forgotten(out: Path, listed: str) -> None:
    """Write a list's new seal where the old one stands, as a bug would."""
    from coreset.engine import files

    said = json.loads((out / ".coreset" / "export" / "stage.json").read_text())
    seal = files.sealed(str(out / listed))
    said["facts"]["files"][listed] = {"size": seal.size, "hash": seal.hash}
    (out / ".coreset" / "export" / "stage.json").write_text(json.dumps(said))


def swap(path: Path, before: bytes, after: bytes) -> None:
    """Replace some bytes of a file."""
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after, 1))


def images(out: Path) -> list[Path]:
    """The pictures of an export in folders."""
    return sorted(path for path in (out / "images").rglob("*") if path.is_file())


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a picture is gone": ("llava", lambda out: images(out)[3].unlink(), "is missing"),
    "a picture changed": ("llava", lambda out: images(out)[3].write_bytes(b"GIF89a"), "has other bytes"),
    "the list changed": ("llava", lambda out: swap(out / "coreset.json", b'"gpt"', b'"gqt"'), "has other bytes"),
    "the list is gone": ("llava", lambda out: (out / "coreset.json").unlink(), "is missing"),
    "a tar changed": ("webdataset", lambda out: swap(out / "00001.tar", b"ustar", b"ustaz"), "has other bytes"),
    "a tar is gone": ("webdataset", lambda out: (out / "00001.tar").unlink(), "is missing"),
    "a sidecar is gone": ("webdataset", lambda out: (out / "00000_stats.json").unlink(), "is missing"),
}


@pytest.fixture(scope="session")
def exports(mixed_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an export in each of some forms; not to be written to."""
    folder = tmp_path_factory.mktemp("exports")
    done("export", "llava", str(folder / "llava"), "--images-per-dir", "10", cwd=mixed_once)
    done("export", "webdataset", str(folder / "webdataset"), "--samples-per-shard", "10", cwd=mixed_once)
    done("export", "cogvlm", str(folder / "cogvlm"), cwd=mixed_once)
    return folder


@pytest.fixture
def mine(exports: Path, tmp_path: Path) -> Path:
    """The same, of one's own."""
    import shutil

    return shutil.copytree(exports, tmp_path / "exports")


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_damage_is_named_and_healed_as_it_is_said(damage: str, mine: Path, mixed_once: Path) -> None:
    form, change, what = DAMAGES[damage]
    change(mine / form)
    said = coreset("verify", str(mine / form), cwd=mixed_once)
    check_refused(said, 3, what, "run the same `coreset export` again", f"{form}/.coreset/export/stage.json")
    remedy = said.err.splitlines()[-1].partition("; remove ")[2].partition(", and run")[0]
    for location in remedy.split(" and "):
        os.unlink(location)
    flags = {"llava": ["--images-per-dir", "10"], "webdataset": ["--samples-per-shard", "10"]}[form]
    done("export", form, str(mine / form), *flags, cwd=mixed_once)
    done("verify", str(mine / form), cwd=mixed_once)


def test_what_was_written_wrong_is_a_bug(mine: Path, mixed_once: Path) -> None:
    out = mine / "llava"
    lines = (out / "coreset.json").read_text().splitlines(keepends=True)
    changes = {
        "a caption": lambda: lines[2].replace('"gpt", "value": "', '"gpt", "value": "x'),
        "an id": lambda: lines[2].replace('"id": "', '"id": "x'),
        "no picture": lambda: lines[2].replace("<image>", "image"),
        "a pair less": lambda: "",
    }
    for change in changes.values():
        (out / "coreset.json").write_text("".join([*lines[:2], change(), *lines[3:]]))
        forgotten(out, "coreset.json")
        check_refused(coreset("verify", str(out), cwd=mixed_once), 1, "pair 1", "please report it")


def test_a_label_that_changed_is_noticed(mine: Path, mixed_once: Path) -> None:
    labels = sorted((mine / "cogvlm" / "labels_en").iterdir())
    labels[0].write_bytes(labels[1].read_bytes())
    said = coreset("verify", str(mine / "cogvlm"), cwd=mixed_once)
    check_refused(said, 3, "pair ", "is not that of key", "00000.parquet")


def test_what_is_said_of_a_whole_one(exports: Path, mixed_once: Path, finished: Path) -> None:
    for form in FORMS:
        said = done("verify", str(exports / form), cwd=mixed_once).out
        assert f"{form}: " in said
        assert "pictures decoded: ok" in said
        assert "note:" not in said
        found = json.loads(done("verify", str(exports / form), "--json", cwd=finished).out)
        assert found["ok"]
        assert "is not the run of this export" in found["notes"][0]


def test_captions_of_another_run_are_wrong(mine: Path, finished: Path) -> None:
    plan = mine / "llava" / ".coreset" / "export" / "plan.json"
    hash_of = json.loads((finished / "run" / "coreset" / "stage.json").read_text())["hash"]
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "source": hash_of}))
    said = coreset("verify", str(mine / "llava"), cwd=finished)
    check_refused(said, 1, "please report it")


def test_unfinished_and_foreign_folders(mine: Path, mixed_once: Path) -> None:
    (mine / "llava" / ".coreset" / "export" / "stage.json").unlink()
    check_refused(coreset("verify", str(mine / "llava"), cwd=mixed_once), 3, "is not finished", "coreset export")
    check_refused(coreset("verify", str(mine), cwd=mixed_once), 3, "holds no run")
    plan = mine / "cogvlm" / ".coreset" / "export" / "plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "stage": "export-future"}))
    check_refused(coreset("verify", str(mine / "cogvlm"), cwd=mixed_once), 3, "another version")
