"""Disks that are too small, that may not be written to, and folders that vanish while they are written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from command import check_equal, check_refused, contents, coreset, done, started, wait_until
from folders import random_vectors, write_clip_retrieval
from shards import good_pairs, write_shard

from coreset.account import check_sums
from coreset.engine.disk import is_temporary
from coreset.engine.errors import InputError, ResourceError
from coreset.engine.stage import Needs, open_parts
from coreset.pipeline import Run, embedded
from coreset.recipe import read_recipe

RUN = ("run", "--max-bad", "10")
PLACES = 10
"""Sizes of a disk between nothing and enough."""
PAGE = 4096


def mount(place: Path, options: str) -> bool:
    """Mount or remount a file system in memory; false where that is not allowed."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return (
        shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small disk, or changes it; skips where nobody may mount one."""
    place = tmp_path / "disk"

    def changed(options: str) -> Path:
        if not mount(place, options):
            pytest.skip("file systems may not be mounted here")
        return place

    yield changed
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def pages_of(folder: Path) -> int:
    """Pages that a copy of a folder takes in memory."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // PAGE) for path in found)


@pytest.mark.parametrize("number", range(1, PLACES + 1))
def test_a_full_disk_ends_in_one_sentence_and_a_larger_one_goes_on(
    number: int, undisturbed: Path, place: Path, disk: Callable[[str], Path]
) -> None:
    pages = max(1, pages_of(undisturbed / "run") * number // (PLACES + 1))
    folder = disk(f"size={pages * PAGE}")
    said = coreset(*RUN, "--run", str(folder / "run"), cwd=place)
    check_refused(said, 5)
    assert "No space left to write" in said.err or "its disk has" in said.err
    assert [path for path in folder.rglob("*") if is_temporary(path.name)] == []
    disk("remount,size=64m")
    done(*RUN, "--run", str(folder / "run"), cwd=place)
    check_equal(folder / "run", contents(undisturbed / "run"))


def test_a_stage_that_has_no_room_is_refused_before_it_begins(tmp_path: Path, disk: Callable[[str], Path]) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(4000, 256), caption=None)
    folder = disk("size=64m")
    run = ("--run", str(folder / "run"))
    done("import", "in", *run, cwd=tmp_path)  # vectors stay where they are
    before = contents(folder / "run")
    tight = f"remount,size={pages_of(folder) * PAGE + (1 << 20)}"
    disk(tight)
    said = coreset("dedup", "--clusters", "2", *run, cwd=tmp_path)
    check_refused(said, 5, "run/clusters needs 2.", " left: free 1.", "it continues; or use a --run on a larger disk")
    assert {name for name in contents(folder / "run") if not name.startswith("centroids/")} == before.keys()
    said = coreset("import", "in", "--normalize", "--run", str(folder / "other"), cwd=tmp_path)
    check_refused(said, 5, "other/rows needs 2.15 MiB more")
    disk("remount,size=64m")
    done("dedup", "--clusters", "2", *run, cwd=tmp_path)
    done("dedup", *run, cwd=tmp_path)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("form", ["llava", "webdataset"])
def test_an_export_that_fills_a_disk_goes_on_when_there_is_more(
    form: str, number: int, undisturbed: Path, tmp_path: Path, disk: Callable[[str], Path]
) -> None:
    arguments = ("export", form, "--where", "embedded")
    done(*arguments, str(tmp_path / "whole"), cwd=undisturbed)
    folder = disk(f"size={max(1, pages_of(tmp_path / 'whole') * number // 4) * PAGE}")
    check_refused(coreset(*arguments, str(folder / "out"), cwd=undisturbed), 5, "No space left to write")
    assert [path for path in folder.rglob("*") if is_temporary(path.name)] == []
    disk("remount,size=64m")
    done(*arguments, str(folder / "out"), cwd=undisturbed)
    check_equal(folder / "out", contents(tmp_path / "whole"))


def test_a_disk_that_may_only_be_read_is_refused(undisturbed: Path, place: Path, disk: Callable[[str], Path]) -> None:
    folder = disk("size=64m")
    shutil.copytree(undisturbed / "run", folder / "run", ignore=shutil.ignore_patterns("coreset"))
    before = contents(folder / "run")
    disk("remount,ro")
    for run in ("run", "new"):
        check_refused(coreset(*RUN, "--run", str(folder / run), cwd=place), 3, "cannot be written", "--run")
    check_equal(folder / "run", before)
    disk("remount,rw,size=64m")
    done(*RUN, "--run", str(folder / "run"), cwd=place)
    check_equal(folder / "run", contents(undisturbed / "run"))


def test_a_quarantine_that_is_taken_away_is_said_by_its_name(undisturbed: Path, place: Path) -> None:
    shutil.copytree(undisturbed / "run", place / "run")
    parts = open_parts(str(place / "run" / "rows"))
    assert parts is not None
    shutil.rmtree(place / "run" / "quarantine")
    with pytest.raises(InputError, match=r"quarantine/embed-\d+\.parquet is missing"):
        check_sums(str(place / "run"), "rows", parts)


def test_a_quarantine_that_is_taken_away_meanwhile_is_said_and_made_again(place: Path, tmp_path: Path) -> None:
    write_shard(place / "shards/00000.tar", [*good_pairs(0), {"__key__": "bad", "png": b"none", "txt": b"a lamp"}])
    done("embed", "--max-bad", "10", "--run", "../wanted", cwd=place)
    recipe = read_recipe(str(place / "coreset.toml"))

    def robbed(calls: Iterable[Callable[[], object]], needs: Needs) -> Iterator[object]:
        for call in calls:
            yield call()
            shutil.rmtree(place / "run/quarantine", ignore_errors=True)

    with pytest.raises(ResourceError, match=r"run/quarantine was removed while \S+ was written"):
        embedded(Run(str(place / "run"), execute=robbed), recipe)
    assert open_parts(str(place / "run/rows")) is None
    done("embed", "--max-bad", "10", cwd=place)
    check_equal(place / "run", contents(tmp_path / "wanted"))


@pytest.mark.parametrize("taken", ["", "rows", "quarantine", "centroids", "clusters", "dedup"])
def test_a_folder_that_is_taken_away_meanwhile_is_made_again(taken: str, undisturbed: Path, place: Path) -> None:
    running = started(*RUN, cwd=place)
    folder = place / "run" / taken
    wait_until(lambda: folder.exists() and any(folder.iterdir()))
    shutil.rmtree(folder, ignore_errors=True)
    code = running.wait()
    assert code in {0, 3, 5}, running.text
    assert "Traceback" not in running.text, running.text
    assert code == 0 or running.text.splitlines()[-1].startswith("error: "), running.text
    done(*RUN, cwd=place)
    check_equal(place / "run", contents(undisturbed / "run"))


@pytest.mark.parametrize("is_complete", [True, False], ids=["complete", "incomplete"])
def test_what_was_taken_away_is_made_again(is_complete: bool, undisturbed: Path, place: Path) -> None:
    shutil.copytree(undisturbed / "run", place / "run")
    shutil.rmtree(place / "run/quarantine")
    for gone in ("centroids/centroids.npy", "clusters/00000.npy", "dedup/00000.parquet"):
        (place / "run" / gone).unlink()
    if not is_complete:
        for said in (place / "run").glob("*/stage.json"):
            said.unlink()
    done(*RUN, cwd=place)
    check_equal(place / "run", contents(undisturbed / "run"))
