"""Room on a disk is asked for before a stage begins; what is there already counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_tasks import made, made_stage

from coreset.engine.errors import ResourceError
from coreset.engine.local import in_process
from coreset.engine.space import check_space, free_bytes, held_bytes, with_margin
from coreset.engine.stage import complete

TOO_MUCH = 1 << 60


def test_a_folder_that_is_not_there_yet_lies_on_its_parents_disk(tmp_path: Path) -> None:
    there = free_bytes(str(tmp_path / "a" / "b" / "c"))
    assert there == pytest.approx(free_bytes(str(tmp_path)), rel=0.05)
    assert there > 0
    assert not (tmp_path / "a").exists()


def test_more_than_the_disk_has_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        ResourceError, match=r"made needs \S+ GiB more and its disk has \S+ \wiB left: free \S+ GiB and run"
    ):
        check_space(str(tmp_path / "made"), TOO_MUCH)
    check_space(str(tmp_path / "made"), 0)
    check_space(str(tmp_path / "made"), 1000)


def test_what_is_there_already_counts(tmp_path: Path) -> None:
    with (tmp_path / "00000.npy").open("wb") as file:
        file.truncate(1 << 40)  # takes no room
    assert held_bytes(str(tmp_path)) == 1 << 40
    check_space(str(tmp_path), (1 << 40) // 11 * 10)
    with pytest.raises(ResourceError, match=r"needs 102\.40 GiB more"):
        check_space(str(tmp_path), 1 << 40)
    assert with_margin(1 << 40) - (1 << 40) == (1 << 40) // 10


def test_a_stage_is_refused_before_anything_of_it_is_touched(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    stage = made_stage(run)
    object.__setattr__(stage, "size", lambda: TOO_MUCH)
    with pytest.raises(ResourceError, match="made needs"):
        complete(stage, in_process)
    assert made(run) == []
    assert not (run / "made").exists()
    complete(made_stage(run), in_process)
    complete(stage, in_process)  # complete: nothing is asked for
