"""A run that is killed or interrupted anywhere goes on with the same command and leaves the same bytes."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Started, check_equal, contents, coreset, done, started, wait_until

from coreset.engine import faults

BAD = ("--max-bad", "10")
FOLDERS = {
    "embed": ("rows", "quarantine", "centroids", "clusters", "dedup", "coreset"),
    "dedup": ("centroids", "clusters", "dedup", "coreset"),
    "sample": ("coreset",),
}
"""What is not there before a command."""
POINTS = ("write", "fsync", "rename")
SEED = 20
SLICE = 3
"""Kills at random passages of each point of each command; a campaign takes every passage."""
RANDOM_KILLS = 4
CAMPAIGN_KILLS = 200
SHARDS = 200
"""Shards of a run that is long enough to be interrupted."""


def before(folder: Path, command: str, place: Path) -> Path:
    """A folder in which a command has not run yet, and what it needs has."""
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns(*FOLDERS[command], "run.json"))
    return place


def expected(folder: Path, command: str) -> dict[str, bytes]:
    """What the run holds after a command, undisturbed."""
    names = list(FOLDERS)
    later = FOLDERS[names[names.index(command) + 1]] if command != "sample" else ()
    return {name: content for name, content in contents(folder / "run").items() if not name.startswith(later)}


def passages(folder: Path, command: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often an undisturbed command passes each point."""
    monkeypatch.setenv(faults.FAULT, "none:1:kill")
    monkeypatch.setattr(faults, "_passages", {})
    done(command, *BAD, cwd=before(folder, command, place))
    monkeypatch.delenv(faults.FAULT)
    return dict(faults._passages)


def check_resumes(place: Path, command: str, wanted: dict[str, bytes]) -> None:
    """The same command again leaves what the undisturbed one left."""
    done(command, *BAD, cwd=place)
    check_equal(place / "run", wanted)


def is_killed_at(folder: Path, command: str, place: Path, point: str, count: int) -> bool:
    """Kill a command at a passage and resume it; false if it has fewer passages."""
    killed = started(command, *BAD, cwd=before(folder, command, place), fault=f"{point}:{count}:kill").wait()
    assert killed in {0, -signal.SIGKILL}
    check_resumes(place, command, expected(folder, command))
    shutil.rmtree(place)
    return killed != 0


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("command", FOLDERS)
def test_kill_9_at_a_passage_changes_no_byte(
    undisturbed: Path, tmp_path: Path, command: str, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = passages(undisturbed, command, tmp_path / "counted", monkeypatch)[point]
    chosen = random.Random(f"{SEED} {command} {point}").sample(range(1, most + 1), min(SLICE, most))
    for count in chosen:
        assert is_killed_at(undisturbed, command, tmp_path / str(count), point, count), f"{point} {count} of {most}"


@pytest.mark.campaign
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("command", FOLDERS)
def test_kill_9_at_every_passage_changes_no_byte(
    undisturbed: Path, tmp_path: Path, command: str, point: str, record_property: pytest.RecordProperty
) -> None:
    count = 1
    while is_killed_at(undisturbed, command, tmp_path / str(count), point, count):
        count += 1
    assert count > 1
    record_property("kills", count - 1)


def test_a_run_that_is_killed_again_and_again_comes_to_its_end(
    undisturbed: Path, pristine: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(pristine, tmp_path / "place")
    kills = 0
    for count in (30, 60, 90, 120, 150):
        kills += started("run", *BAD, cwd=place, fault=f"write:{count}:kill").wait() == -signal.SIGKILL
    assert kills > 1
    check_resumes(place, "run", contents(undisturbed / "run"))


def unfinished_parts(run: Path) -> set[tuple[str, str]]:
    """Parts of which there is something, and not the Parquet that commits them: what a kill costs."""
    found = [path for path in run.glob("*/*") if path.suffix != ".json" and path.parent.name != "quarantine"]
    begun = {(path.parent.name, path.name.partition(".")[0]) for path in found if ".json.tmp." not in path.name}
    return begun - {(path.parent.name, path.stem) for path in found if path.suffix == ".parquet"}


def check_survives_random_kills(undisturbed: Path, pristine: Path, place: Path, kills: int, workers: int) -> None:
    """Kill the process group of a run at a random time, start again, and so on until it is done."""
    draw = random.Random(f"{SEED} {workers}")
    wanted, killed = contents(undisturbed / "run"), 0
    command = ("run", *BAD, "--workers", str(workers))
    took = 2.0 if workers == 1 else 12.0  # seconds; workers import torch first
    while killed < kills:
        shutil.copytree(pristine, place)
        code = None
        while code != 0 and killed < kills:
            began = time.monotonic()
            running = started(*command, cwd=place)
            running.process.join(draw.uniform(0, took))
            running.kill()
            code = running.wait()
            assert code in {0, -signal.SIGKILL}, running.text
            killed += code != 0
            assert len(unfinished_parts(place / "run")) <= workers
            took = max(0.5, time.monotonic() - began) if code == 0 else took
        check_resumes(place, "run", wanted)
        shutil.rmtree(place)


def test_kill_9_at_a_random_time_changes_no_byte(undisturbed: Path, pristine: Path, tmp_path: Path) -> None:
    check_survives_random_kills(undisturbed, pristine, tmp_path / "place", RANDOM_KILLS, workers=1)


@pytest.mark.campaign
@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_at_many_random_times_changes_no_byte(
    undisturbed: Path, pristine: Path, tmp_path: Path, workers: int
) -> None:
    check_survives_random_kills(undisturbed, pristine, tmp_path / "place", CAMPAIGN_KILLS // workers, workers)


@pytest.mark.campaign
def test_workers_that_die_at_the_same_passage_end_in_one_sentence_and_resume(
    undisturbed: Path, pristine: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(pristine, tmp_path / "place")
    running = started("run", *BAD, "--workers", "2", cwd=place, fault="fsync:2:kill")
    assert running.wait() == 1
    assert "error: Workers died 3 times" in running.text
    assert "Traceback" not in running.text
    check_resumes(place, "run", contents(undisturbed / "run"))


@pytest.fixture
def busy(pristine: Path, tmp_path: Path) -> Iterator[tuple[Path, Started]]:
    """A run in the middle of embedding many shards."""
    place = shutil.copytree(pristine, tmp_path / "busy")
    first = (place / "shards" / "00000.tar").read_bytes()
    for number in range(2, SHARDS):
        (place / "shards" / f"{number:05d}.tar").write_bytes(first)
    running = started("embed", "--prefix-keys", *BAD, cwd=place)
    wait_until((place / "run" / "rows" / "00001.parquet").exists)
    yield place, running
    running.kill()
    running.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_exits_130_and_goes_on(busy: tuple[Path, Started], number: signal.Signals) -> None:
    place, running = busy
    running.kill(number)
    assert running.wait() == 130, running.text
    assert running.text.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in running.text
    assert not [path for path in (place / "run").rglob("*") if ".tmp." in path.name]
    complete = len(list((place / "run" / "rows").glob("*.parquet")))
    resumed = started("embed", "--prefix-keys", *BAD, cwd=place)
    wait_until(lambda: "part(s)" in resumed.text)
    resumed.kill()
    resumed.wait()
    assert f"{SHARDS} part(s), {complete} found complete" in resumed.text


def test_while_a_run_is_written_a_second_writer_exits_6_and_status_works(busy: tuple[Path, Started]) -> None:
    place, running = busy
    said = coreset("embed", "--prefix-keys", cwd=place)
    assert said.code == 6
    assert f"process {running.pid}" in said.err
    assert "incomplete" in done("status", cwd=place).out
    assert running.process.is_alive()


def test_an_interrupted_run_with_workers_leaves_none_behind(pristine: Path, tmp_path: Path) -> None:
    import psutil

    place = shutil.copytree(pristine, tmp_path / "place")
    running = started("embed", "--workers", "2", *BAD, cwd=place)
    wait_until(lambda: len(psutil.Process(running.pid).children()) >= 2)
    children = psutil.Process(running.pid).children()
    time.sleep(1.0)
    running.kill(signal.SIGINT)
    assert running.wait() == 130, running.text
    assert "Traceback" not in running.text, running.text
    wait_until(lambda: not any(child.is_running() for child in children), 10)
