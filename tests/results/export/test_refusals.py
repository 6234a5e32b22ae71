"""Targets that are not ours, sources that are not what they were, exports that are of something else."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from command import check_refused, contents, coreset, done, started
from synthetic import random_given, selected_from

from coreset.dedup import DedupParams
from coreset.engine.lock import sole_writer
from coreset.results.export.exporting import export
from coreset.sample import SampleParams


def test_a_folder_that_holds_something_is_left_alone(mixed: Path) -> None:
    (mixed / "out").mkdir()
    (mixed / "out" / "mine.txt").write_text("mine")
    for flags in ([], ["--overwrite"]):
        check_refused(coreset("export", "llava", "out", *flags, cwd=mixed), 3, "mine.txt", "new or empty")
    assert os.listdir(mixed / "out") == ["mine.txt"]
    check_refused(coreset("export", "llava", "coreset.toml", cwd=mixed), 3, "is a file")
    (mixed / "odd" / ".coreset").mkdir(parents=True)
    (mixed / "odd" / ".coreset" / "mine").write_text("")
    check_refused(coreset("export", "llava", "odd", cwd=mixed), 3, ".coreset/mine")


def test_an_empty_folder_is_taken_and_a_finished_export_is_left(mixed: Path) -> None:
    (mixed / "out").mkdir()
    done("export", "llava", "out", cwd=mixed)
    before = {path: path.stat().st_mtime_ns for path in (mixed / "out").rglob("*")}
    shutil.rmtree(mixed / "shards")  # nothing is read again
    assert "complete already" in done("export", "llava", "out/", cwd=mixed).err
    assert before == {path: path.stat().st_mtime_ns for path in (mixed / "out").rglob("*")}


def test_another_export_is_replaced_only_if_that_is_asked_for(mixed: Path) -> None:
    done("export", "llava", "out", cwd=mixed)
    (mixed / "out" / "mine.txt").write_text("mine")
    said = coreset("export", "llava", "out", "--prompt", "What?", cwd=mixed)
    check_refused(said, 7, "prompt = nothing, and What? is asked for", "--overwrite")
    check_refused(coreset("export", "webdataset", "out", cwd=mixed), 7, "export-llava, and export-webdataset")
    done("export", "webdataset", "out", "--overwrite", cwd=mixed)
    assert sorted(os.listdir(mixed / "out")) == [
        *(".coreset", "00000.parquet", "00000.tar", "00000_stats.json", "mine.txt", "sizes.json")
    ]
    done("sample", "-n", "3", cwd=mixed)
    check_refused(coreset("export", "webdataset", "out", cwd=mixed), 7, "another selection")
    done("export", "webdataset", "out", "--overwrite", cwd=mixed)
    done("verify", "out", cwd=mixed)


def test_what_is_killed_while_it_clears_an_export_begins_anew(mixed: Path) -> None:
    done("export", "llava", "out", "--images-per-dir", "9", cwd=mixed)
    arguments = ("export", "llava", "out", "--overwrite")
    assert started(*arguments, cwd=mixed, fault="remove:3:kill").wait() < 0
    done(*arguments, cwd=mixed)
    done("export", "llava", "fresh", cwd=mixed)
    assert contents(mixed / "out") == contents(mixed / "fresh")


@pytest.mark.parametrize("form", ["llava", "webdataset"])
def test_a_source_that_is_gone_or_longer_is_named(mixed: Path, form: str) -> None:
    with (mixed / "shards" / "plain.tar").open("ab") as file:
        file.write(bytes(1024))
    (mixed / "shards" / "packed.tar.gz").unlink()
    said = coreset("export", form, "out", cwd=mixed)
    check_refused(said, 3, "packed.tar.gz is missing", "plain.tar has", "nothing was written", "coreset embed")
    assert not (mixed / "out").exists()


def changed_tar(path: Path) -> bytes:
    """A tar of the same size with its members in another order."""
    size = path.stat().st_size
    with tarfile.open(path) as before:
        members = [(member, before.extractfile(member)) for member in before.getmembers()]
        with tarfile.open(path.with_suffix(".new"), "w") as after:
            for member, content in reversed(members):
                after.addfile(member, content)
    found = path.with_suffix(".new").read_bytes()
    path.with_suffix(".new").unlink()
    return found[:size].ljust(size, b"\0")


def flipped_tar(path: Path) -> bytes:
    """A tar with one bit changed in the middle of the picture of cats/1."""
    found = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        picture = max((member for member in tar if "cats/1" in member.name), key=lambda member: member.size)
    found[picture.offset_data + picture.size // 2] ^= 1
    return bytes(found)


@pytest.mark.parametrize("change", ["order", "zeros", "bit"])
@pytest.mark.parametrize("form", ["llava", "webdataset"])
def test_a_source_of_the_same_size_with_other_pictures_is_noticed(mixed: Path, form: str, change: str) -> None:
    tar = mixed / "shards" / "plain.tar"
    size = tar.stat().st_size
    tar.write_bytes({"order": changed_tar, "zeros": lambda _: bytes(size), "bit": flipped_tar}[change](tar))
    said = coreset("export", form, "out", cwd=mixed)
    check_refused(said, 3, "plain.tar is not the file that was embedded", "cats/1")
    out = mixed / "out"
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == [".lock", "plan.json"]
    assert [path.name for path in out.iterdir()] == [".coreset"]


def test_other_pictures_in_packed_and_parquet_sources(mixed: Path) -> None:
    packed, table = mixed / "shards" / "packed.tar.gz", mixed / "shards" / "table.parquet"
    whole = packed.read_bytes()
    packed.write_bytes(gzip.compress(bytes(20480), mtime=0)[: len(whole)].ljust(len(whole), b"\0"))
    check_refused(coreset("export", "llava", "out", cwd=mixed), 3, "packed.tar.gz")
    packed.write_bytes(whole)
    content = bytearray(table.read_bytes())
    content[100:3000] = bytes(2900)
    table.write_bytes(content)
    check_refused(coreset("export", "llava", "out", cwd=mixed), 3, "table.parquet")


def test_a_run_of_vectors_has_no_pictures(tmp_path: Path) -> None:
    selected_from(
        tmp_path / "run",
        random_given(3),
        DedupParams(),
        SampleParams(n=5, text_rank=(0, 100), centroid_rank=(0, 100), allow_fewer=True),
    )
    plan = tmp_path / "run" / "rows" / "plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "stage": "import"}))
    check_refused(coreset("export", "llava", "out", cwd=tmp_path), 3, "made from vectors")
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_there_or_not_selected(mixed: Path) -> None:
    check_refused(coreset("export", "llava", "out", "--run", "nothing", cwd=mixed), 3, "coreset dedup")
    shutil.rmtree(mixed / "run" / "coreset")
    check_refused(coreset("export", "llava", "out", cwd=mixed), 3, "coreset sample")
    assert not (mixed / "out").exists()


@pytest.mark.parametrize("workers", [[], ["--workers", "2", "--memory", "1700MiB"]], ids=["one", "two"])
def test_a_place_in_the_folder_that_cannot_be_written(mixed: Path, workers: list[str]) -> None:
    arguments = ("export", "llava", "out", "--images-per-dir", "12", *workers)
    assert started(*arguments[:5], cwd=mixed, fault="rename:2:kill").wait() < 0
    (mixed / "out" / "images" / "0001").write_text("in the way")
    said = coreset(*arguments, cwd=mixed)
    check_refused(said, 3, "out/images/0001", "cannot be written", "same command again", "another folder than out")
    assert "--run" not in said.err
    (mixed / "out" / "images" / "0001").unlink()
    done(*arguments, cwd=mixed)


def test_two_writers(mixed: Path) -> None:
    with sole_writer(str(mixed / "out" / ".coreset")):
        check_refused(coreset("export", "llava", "out", cwd=mixed), 6, "is being written", "use another folder")


def test_a_picture_that_is_taken_from_a_finished_export(mixed: Path) -> None:
    done("export", "llava", "out", cwd=mixed)
    taken = sorted((mixed / "out" / "images" / "0000").iterdir())[2]
    taken.unlink()
    check_refused(coreset("export", "llava", "out", cwd=mixed), 3, taken.name, "00000.parquet")
    for name in ("00000.parquet", "stage.json"):
        (mixed / "out" / ".coreset" / "export" / name).unlink()
    done("export", "llava", "out", cwd=mixed)
    done("verify", "out", cwd=mixed)


def test_from_python(mixed: Path) -> None:
    found = export(str(mixed / "run"), "llava", str(mixed / "out"), where=("centroid rank",))
    assert found.counts["written"] == found.counts["chosen"]
    assert set(found.facts["files"]) == {"coreset.json"}
