"""Exports that are killed, that run out of disk, and that other workers make: the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import check_refused, contents, coreset, done, started

from coreset.engine import disk

ARGUMENTS = {
    "llava": ("export", "llava", "out", "--images-per-dir", "12"),
    "webdataset": ("export", "webdataset", "out", "--samples-per-shard", "12", "--where", "unlike"),
}
KILLS = ("write:9", "fsync:4", "rename:7", "rename:20", "flush:6")


@pytest.fixture(scope="session")
def whole(mixed_once: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of undisturbed exports."""
    folder = tmp_path_factory.mktemp("whole")
    found = {}
    for form, arguments in ARGUMENTS.items():
        done(*arguments[:2], str(folder / form), *arguments[3:], cwd=mixed_once)
        found[form] = contents(folder / form)
    return found


@pytest.mark.parametrize("form", ARGUMENTS)
@pytest.mark.parametrize("point", KILLS)
def test_a_killed_export_goes_on_to_the_same_bytes(
    form: str, point: str, mixed: Path, whole: dict[str, dict[str, bytes]]
) -> None:
    code = started(*ARGUMENTS[form], cwd=mixed, fault=f"{point}:kill").wait()
    assert code < 0 or point in {"rename:20", "write:9"}
    if code < 0:
        lists = [mixed / "out" / name for name in ("coreset.json", ".coreset/export/stage.json")]
        assert not lists[1].exists()
        check_refused(coreset("verify", "out", cwd=mixed), 3, "out")
    done(*ARGUMENTS[form], cwd=mixed)
    assert contents(mixed / "out") == whole[form]


@pytest.mark.parametrize("form", ARGUMENTS)
@pytest.mark.parametrize("point", ["write:5:short", "fsync:2:enospc", "rename:3:enospc"])
def test_a_full_disk_ends_in_one_sentence_and_the_same_command_goes_on(
    form: str, point: str, mixed: Path, whole: dict[str, dict[str, bytes]]
) -> None:
    failed = started(*ARGUMENTS[form], cwd=mixed, fault=point)
    assert failed.wait() == 5, failed.text
    assert failed.text.splitlines()[-1].startswith("error: No space left to write")
    assert [path for path in (mixed / "out").rglob("*") if disk.is_temporary(path.name)] == []
    done(*ARGUMENTS[form], cwd=mixed)
    assert contents(mixed / "out") == whole[form]


@pytest.mark.parametrize("form", ARGUMENTS)
def test_two_workers_write_the_same_bytes(form: str, mixed: Path, whole: dict[str, dict[str, bytes]]) -> None:
    done(*ARGUMENTS[form], "--workers", "2", "--memory", "1700MiB", cwd=mixed)
    assert contents(mixed / "out") == whole[form]


def test_pictures_that_do_not_fit_in_memory_lie_on_the_disk_meanwhile(
    mixed: Path, whole: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from coreset.results.export import webdataset
    from coreset.results.export.pictures import InOrder

    monkeypatch.setattr(webdataset, "InOrder", lambda folder, memory: InOrder(folder, 300))
    done(*ARGUMENTS["webdataset"], cwd=mixed)
    assert contents(mixed / "out") == whole["webdataset"]
