"""Every fault point of every command: it fails in every way, the same command goes on, and the bytes are the same."""

from __future__ import annotations

import random
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from command import Started, check_equal, contents, done, started
from folders import random_vectors, write_clip_retrieval, write_datacomp
from lost_writes import command_on_a_forgetful_disk

from coreset.engine import disk, faults

BAD = ("--max-bad", "10")
STAGES = ("rows", "quarantine", "centroids", "clusters", "forest", "dedup", "coreset")
RESOURCE = 5
"""Exit code of a command that the disk stopped."""


@dataclass(frozen=True)
class Job:
    """A command, and what of a finished run is not there yet when it starts."""

    arguments: tuple[str, ...]
    absent: tuple[str, ...]


JOBS = {
    "embed": Job(("embed", *BAD), STAGES),
    "import": Job(("import", "lent", *BAD), STAGES),
    "import, copied": Job(("import", "copied", *BAD), STAGES),
    "dedup": Job(("dedup", *BAD), STAGES[2:]),
    "sweep": Job(("sweep",), ("forest", "dedup", "coreset")),
    "sample": Job(("sample", *BAD), ("coreset",)),
    "another threshold": Job(("dedup", "--threshold", "0.9", *BAD), ("coreset",)),
    "overwrite": Job(("embed", *BAD, "--overwrite", "--batch-size", "8"), ()),
}
SLICE = 2
"""Faults of each command and kind for every day; a campaign takes every one."""


@dataclass(frozen=True)
class Undisturbed:
    """What a job starts from, what it leaves, and how often it passes each point."""

    before: Path
    expected: dict[str, bytes]
    passages: dict[str, int]


@pytest.fixture(scope="module")
def jobs(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Undisturbed]:
    """Each job, done once without a fault."""
    found = {}
    for name, job in JOBS.items():
        place = tmp_path_factory.mktemp("jobs")
        before = shutil.copytree(undisturbed, place / "before", ignore=shutil.ignore_patterns(*job.absent))
        if job.arguments[0] == "import":
            write_vectors(before)
        shutil.copytree(before, place / "after")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(faults.FAULT, "none:0:kill")
            patch.setattr(faults, "_passages", {})
            done(*job.arguments, cwd=place / "after")
            found[name] = Undisturbed(before, contents(place / "after" / "run"), dict(faults._passages))
    return found


def write_vectors(folder: Path) -> None:
    """Vectors that are used where they lie, and some that are copied; a row of them cannot be used."""
    vectors = random_vectors(30)
    vectors.images[20] = np.nan
    write_clip_retrieval(folder / "lent", vectors, parts=2)
    write_datacomp(folder / "copied", vectors, parts=2)


def places_of(passages: dict[str, int], kind: str) -> list[tuple[str, int]]:
    """Every passage of every point that can fail in this way."""
    points = ("write",) if kind == "short" else faults.POINTS
    return [(point, count) for point in points for count in range(1, passages.get(point, 0) + 1)]


def check_fault(name: str, was: Undisturbed, place: Path, fault: str) -> None:
    """One fault: the command ends as it should, leaves nothing half, and goes on to the same bytes."""
    arguments = JOBS[name].arguments
    shutil.copytree(was.before, place)
    running = started(*arguments, cwd=place, fault=fault)
    code = running.wait()
    if fault.endswith(":kill"):
        assert code == -signal.SIGKILL, f"{fault}: {running.text}"
    else:
        assert code == RESOURCE, f"{fault}: {code} {running.text}"
        assert "Traceback" not in running.text, running.text
        assert running.text.splitlines()[-1].startswith("error: "), running.text
        left = [path for path in (place / "run").rglob("*") if disk.is_temporary(path.name) and path.is_file()]
        assert left == [], fault  # a whole folder may be: it was on its way out, and the next command sweeps it
    done(*arguments, cwd=place)
    check_equal(place / "run", was.expected)
    shutil.rmtree(place)


@pytest.mark.parametrize("kind", faults.KINDS)
@pytest.mark.parametrize("name", JOBS)
def test_a_fault_changes_no_byte(name: str, kind: str, jobs: dict[str, Undisturbed], tmp_path: Path) -> None:
    every = places_of(jobs[name].passages, kind)
    for point, count in random.Random(f"{name} {kind}").sample(every, min(SLICE, len(every))):
        check_fault(name, jobs[name], tmp_path / "place", f"{point}:{count}:{kind}")


@pytest.mark.campaign
@pytest.mark.parametrize("kind", faults.KINDS)
@pytest.mark.parametrize("name", JOBS)
def test_every_fault_changes_no_byte(name: str, kind: str, jobs: dict[str, Undisturbed], tmp_path: Path) -> None:
    every = places_of(jobs[name].passages, kind)
    for point, count in every:
        check_fault(name, jobs[name], tmp_path / "place", f"{point}:{count}:{kind}")
    sys.stdout.write(f"\n{name}, {kind}: {len(every)} faults survived\n")


def test_every_point_is_passed(jobs: dict[str, Undisturbed]) -> None:
    assert {point for was in jobs.values() for point in was.passages} == set(faults.POINTS)


def check_power_cut(name: str, was: Undisturbed, place: Path, fault: str, seed: int) -> None:
    """The process dies, and what it had not flushed is gone: the same command leaves the same bytes."""
    arguments = JOBS[name].arguments
    place.mkdir()
    root = shutil.copytree(was.before, place / "root")
    (place / "work").mkdir()
    running = Started(on_root, str(root), seed, *arguments, cwd=place / "work", CORESET_FAULT=fault)
    assert running.wait() == -signal.SIGKILL, f"{fault}: {running.text}"
    done(*arguments, cwd=root)
    check_equal(root / "run", was.expected)
    shutil.rmtree(place)


def on_root(root: str, seed: int, *arguments: str) -> None:
    """Run a command in a folder that forgets."""
    import os

    os.chdir(root)
    command_on_a_forgetful_disk(f"{root}/run", seed, *arguments)


@pytest.mark.parametrize("name", JOBS)
def test_what_was_not_flushed_may_vanish(name: str, jobs: dict[str, Undisturbed], tmp_path: Path) -> None:
    every = places_of(jobs[name].passages, "kill")
    for point, count in random.Random(f"cut {name}").sample(every, SLICE):
        for seed in (0, count):
            check_power_cut(name, jobs[name], tmp_path / "place", f"{point}:{count}:kill", seed)


@pytest.mark.campaign
@pytest.mark.parametrize("name", JOBS)
def test_what_was_not_flushed_may_vanish_anywhere(name: str, jobs: dict[str, Undisturbed], tmp_path: Path) -> None:
    every = places_of(jobs[name].passages, "kill")
    for point, count in every:
        for seed in (0, 1, 2):
            check_power_cut(
                name, jobs[name], tmp_path / "place", f"{point}:{count}:kill", 1000 * seed + count * bool(seed)
            )
    sys.stdout.write(f"\n{name}: {3 * len(every)} power cuts survived\n")


def test_a_lost_write_is_noticed_by_the_model(tmp_path: Path) -> None:
    """The model forgets: else the tests above would show nothing."""
    from lost_writes import Disk

    root = tmp_path / "root"
    root.mkdir()
    (root / "old").write_bytes(b"old")
    disk = Disk(root)
    (root / "new").write_bytes(b"new")
    (root / "old").write_bytes(b"longer")
    disk.lose(None)
    assert {path.name: path.read_bytes() for path in root.iterdir()} == {"old": b"old"}
