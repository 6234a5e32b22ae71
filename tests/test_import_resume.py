"""An import that is killed at any passage goes on with the same command and leaves the same bytes."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from command import check_equal, check_refused, contents, coreset, done, started
from folders import WRITERS, random_vectors, write_npy
from importing import BAD, COUNT, IMAGE, array

from coreset.engine import faults

KINDS = ("clip-retrieval", "datacomp")
"""One whose vectors stay where they lie, and one whose vectors are copied."""
POINTS = ("write", "fsync", "rename")
SLICE = 4
"""Kills at random passages of each point; a campaign takes every passage."""


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with `in/`, in which a row is bad, and a finished run of it in `wanted/`."""
    vectors = random_vectors(COUNT)
    vectors.images[40] = np.nan
    WRITERS[request.param](tmp_path / "place/in", vectors)
    done("import", "in", *BAD, "--run", "../wanted", cwd=tmp_path / "place")
    return tmp_path


def passages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often an undisturbed import passes each point."""
    monkeypatch.setenv(faults.FAULT, "none:1:kill")
    monkeypatch.setattr(faults, "_passages", {})
    done("import", "in", *BAD, "--run", "../counted", cwd=folder / "place")
    monkeypatch.delenv(faults.FAULT)
    return dict(faults._passages)


def is_killed_at(folder: Path, point: str, count: int) -> bool:
    """Kill an import at a passage and resume it; false if it has fewer passages."""
    place = folder / "place"
    killed = started("import", "in", *BAD, cwd=place, fault=f"{point}:{count}:kill").wait()
    assert killed in {0, -signal.SIGKILL}
    done("import", "in", *BAD, cwd=place)
    check_equal(place / "run", contents(folder / "wanted"))
    shutil.rmtree(place / "run")
    return killed != 0


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_at_a_passage_changes_no_byte(folder: Path, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    most = passages(folder, monkeypatch)[point]
    for count in random.Random(f"20 {point}").sample(range(1, most + 1), SLICE):
        assert is_killed_at(folder, point, count), f"{point} {count} of {most}"


@pytest.mark.campaign
@pytest.mark.parametrize("point", POINTS)
def test_kill_9_at_every_passage_changes_no_byte(
    folder: Path, point: str, record_property: pytest.RecordProperty
) -> None:
    count = 1
    while is_killed_at(folder, point, count):
        count += 1
    assert count > 1
    record_property("kills", count - 1)


def test_a_file_that_changes_between_the_kill_and_the_resumption_is_never_mixed_in(tmp_path: Path) -> None:
    WRITERS["clip-retrieval"](tmp_path / "in", random_vectors(COUNT))
    for count in range(1, 100):  # until the second part is committed and the stage is not
        killed = started("import", "in", cwd=tmp_path, fault=f"rename:{count}:kill").wait()
        if (tmp_path / "run/rows/00001.parquet").exists() or not killed:
            break
        shutil.rmtree(tmp_path / "run")
    assert killed
    array(IMAGE, lambda x: x[::-1])(tmp_path / "in")
    check_refused(coreset("import", "in", cwd=tmp_path), 3, f"{IMAGE} has other bytes than when it was imported")
    array(IMAGE, lambda x: x[::-1])(tmp_path / "in")
    done("import", "in", cwd=tmp_path)


def test_a_part_whose_vectors_need_not_be_copied_any_more_leaves_no_copy(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    path = write_npy(tmp_path / "in/img_emb/img_emb_0.npy", vectors.images.astype(np.float32))
    write_npy(tmp_path / "in/text_emb/text_emb_0.npy", vectors.texts)
    done("import", "in", cwd=tmp_path)
    assert (tmp_path / "run/rows/00000.npy").exists()
    write_npy(path, vectors.images)
    check_refused(coreset("import", "in", cwd=tmp_path), 7, "img_emb_0.npy")
    done("import", "in", "--overwrite", cwd=tmp_path)
    assert not (tmp_path / "run/rows/00000.npy").exists()
