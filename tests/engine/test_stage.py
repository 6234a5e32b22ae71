"""`complete` fills what is missing, refuses what does not fit, and leaves the same bytes however it was run."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from command import check_equal, contents
from engine_tasks import SIDE, made, made_stage

from coreset.engine.errors import InputError, MismatchError, MissingFileError, ResourceError
from coreset.engine.local import in_process, on_processes
from coreset.engine.stage import Execute, Needs, check_plan, complete, finished, open_parts

EVERY = ["000", "001", "002", "003"]


def shuffled(calls: Iterable[Callable[[], object]], needs: Needs) -> Iterator[object]:
    """An engine that makes the calls in an order of its own."""
    taken = list(calls)
    random.Random(7).shuffle(taken)
    return (call() for call in taken)


def stopping(after: int) -> Execute:
    """An engine that stops after some calls, as an interrupted run does."""

    def execute(calls: Iterable[Callable[[], object]], needs: Needs) -> Iterator[object]:
        for number, call in enumerate(calls):
            if number == after:
                raise KeyboardInterrupt
            yield call()

    return execute


def robbing(place: Path, after: int) -> Execute:
    """An engine in whose course somebody takes away a file or a folder, after some calls."""

    def execute(calls: Iterable[Callable[[], object]], needs: Needs) -> Iterator[object]:
        for number, call in enumerate(calls, 1):
            yield call()
            if number == after and place.is_dir():
                shutil.rmtree(place)
            elif number == after:
                place.unlink()

    return execute


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A run with a complete stage."""
    run = tmp_path / "run"
    run.mkdir()
    complete(made_stage(run), in_process)
    assert made(run) == EVERY
    return run


def test_a_complete_stage_says_what_it_holds(whole: Path) -> None:
    parts = open_parts(f"{whole}/made")
    assert parts is not None
    assert list(parts.names) == EVERY
    assert parts.counts == {"rows": 6}
    assert parts.summaries["003"] == {"rows": 3}
    assert parts.locations(SIDE) == [f"{whole}/made/{name}{SIDE}" for name in EVERY]
    assert parts == finished(made_stage(whole))


def test_a_second_call_computes_nothing(whole: Path) -> None:
    before = contents(whole)
    complete(made_stage(whole), in_process)
    assert made(whole) == []
    check_equal(whole, before)


@pytest.mark.parametrize("after", range(5))
def test_only_what_is_missing_is_made(tmp_path: Path, whole: Path, after: int) -> None:
    run = tmp_path / "stopped"
    run.mkdir()
    if after < len(EVERY):
        with pytest.raises(KeyboardInterrupt):
            complete(made_stage(run), stopping(after))
        assert open_parts(f"{run}/made") is None
        assert made(run) == EVERY[:after]
    complete(made_stage(run), in_process)
    assert made(run) == EVERY[after:] or after == len(EVERY)
    made(run)
    check_equal(run, contents(whole))


@pytest.mark.parametrize("engine", [shuffled, 1, 2, 4], ids=str)
def test_every_engine_leaves_the_same_bytes(tmp_path: Path, whole: Path, engine: Execute | int) -> None:
    run = tmp_path / "other"
    run.mkdir()
    execute = on_processes(engine) if isinstance(engine, int) else engine
    complete(made_stage(run), execute)
    if isinstance(execute, on_processes):
        execute.close()
    assert made(run) == EVERY
    check_equal(run, contents(whole))


def test_leftovers_of_a_killed_run_are_swept(tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "other"
    run.mkdir()
    with pytest.raises(KeyboardInterrupt):
        complete(made_stage(run), stopping(1))
    for left in ("made/001.side.tmp.9.abcdef01", "aside/made-000.tmp.9.abcdef01", "made/002.side", "made/777.side"):
        (run / left).write_bytes(b"half written")
    complete(made_stage(run), in_process)
    assert made(run) == EVERY
    check_equal(run, contents(whole))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.parquet").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"thesis\.parquet and no plan\.json"):
        complete(made_stage(tmp_path), in_process)
    assert contents(tmp_path) == {"made/thesis.parquet": b"precious"}


def test_a_part_without_its_commit_is_made_again(whole: Path) -> None:
    before = contents(whole)
    (whole / "made" / "stage.json").unlink()
    (whole / "made" / "002.parquet").unlink()
    (whole / "made" / "002.side").write_bytes(b"half")
    complete(made_stage(whole), in_process)
    assert made(whole) == ["002"]
    check_equal(whole, before)


@pytest.mark.parametrize("name", ["made/001.side", "made/001.parquet", "aside/made-000"])
@pytest.mark.parametrize("is_complete", [True, False], ids=["complete", "incomplete"])
@pytest.mark.parametrize("harm", ["cut", "longer"])
def test_a_committed_part_that_was_damaged_is_refused(whole: Path, name: str, is_complete: bool, harm: str) -> None:
    before = contents(whole)
    if not is_complete:
        (whole / "made" / "stage.json").unlink()
    (whole / name).write_bytes(before[name][:-1] if harm == "cut" else before[name] + b"}")
    with pytest.raises(InputError, match=os.path.basename(name)):
        complete(made_stage(whole), in_process)
    for remedy in ("stage.json", f"{name[-3:] if name.startswith('aside') else '001'}.parquet"):
        (whole / "made" / remedy).unlink(missing_ok=True)
    complete(made_stage(whole), in_process)
    assert len(made(whole)) == 1
    check_equal(whole, before)


@pytest.mark.parametrize("name", ["made/001.side", "made/001.parquet", "aside/made-000"])
@pytest.mark.parametrize("is_complete", [True, False], ids=["complete", "incomplete"])
def test_a_file_that_is_gone_is_made_again(whole: Path, name: str, is_complete: bool) -> None:
    before = contents(whole)
    if not is_complete:
        (whole / "made" / "stage.json").unlink()
    (whole / name).unlink()
    if is_complete:
        with pytest.raises(MissingFileError, match=f"{os.path.basename(name)} is missing"):
            open_parts(str(whole / "made"))
    complete(made_stage(whole), in_process)
    assert made(whole) == ["000" if name.startswith("aside") else "001"]
    check_equal(whole, before)


@pytest.mark.parametrize("after", range(1, 5))
@pytest.mark.parametrize("name", ["aside", "aside/made-000", "made/000.side", "made/000.parquet"])
def test_files_that_are_taken_away_meanwhile_are_made_again(tmp_path: Path, whole: Path, name: str, after: int) -> None:
    run = tmp_path / "robbed"
    run.mkdir()
    with pytest.raises(ResourceError, match=r"(aside|made)\S* was removed while \S+made was written; run the same"):
        complete(made_stage(run), robbing(run / name, after))
    assert open_parts(f"{run}/made") is None
    made(run)
    complete(made_stage(run), in_process)
    assert "000" in made(run)
    check_equal(run, contents(whole))


@pytest.mark.parametrize("name", ["plan.json", "stage.json"])
def test_books_that_are_no_json_are_refused_by_name(whole: Path, name: str) -> None:
    (whole / "made" / name).write_bytes(b"{")
    with pytest.raises(InputError, match=f"{name} is damaged"):
        complete(made_stage(whole), in_process)


def test_parameters_that_may_change_lead_to_new_parts(tmp_path: Path, whole: Path) -> None:
    assert check_plan(made_stage(whole, tone=1)) == ["tone"]
    complete(made_stage(whole, tone=1), in_process)
    assert made(whole) == EVERY
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    complete(made_stage(fresh, tone=1), in_process)
    made(fresh)
    check_equal(whole, contents(fresh))


def test_parameters_that_may_not_change_are_refused_with_both_values(whole: Path) -> None:
    before = contents(whole)
    other = made_stage(whole, text="b")
    for attempt in (lambda: check_plan(other), lambda: complete(other, in_process)):
        with pytest.raises(MismatchError, match=r"text = a, and b is asked for.*--overwrite") as error:
            attempt()
        assert error.value.exit_code == 7
    check_equal(whole, before)


def test_overwriting_makes_the_whole_stage_anew(tmp_path: Path, whole: Path) -> None:
    stage = made_stage(whole, order=range(2), text="b")
    assert check_plan(stage, overwrite=True) == []
    complete(stage, in_process)
    assert made(whole) == EVERY[:2]
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    complete(made_stage(fresh, order=range(2), text="b"), in_process)
    made(fresh)
    check_equal(whole, contents(fresh))


def test_overwriting_with_the_same_parameters_keeps_everything(whole: Path) -> None:
    before = contents(whole)
    assert check_plan(made_stage(whole), overwrite=True) == []
    complete(made_stage(whole), in_process)
    check_equal(whole, before)


def test_a_part_of_another_plan_is_made_again(tmp_path: Path, whole: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    complete(made_stage(other, tone=1), in_process)
    (whole / "made" / "stage.json").unlink()
    for suffix in (SIDE, ".parquet"):
        shutil.copy(other / "made" / f"001{suffix}", whole / "made" / f"001{suffix}")
    complete(made_stage(whole), in_process)
    assert made(whole) == ["001"]


def test_half_a_change_can_be_taken_back(whole: Path) -> None:
    before = contents(whole)
    with pytest.raises(KeyboardInterrupt):
        complete(made_stage(whole, tone=1), stopping(2))
    assert open_parts(f"{whole}/made") is None
    made(whole)
    complete(made_stage(whole), in_process)
    assert made(whole) == ["000", "001"]
    check_equal(whole, before)


def test_another_source_leads_to_new_parts(whole: Path) -> None:
    complete(made_stage(whole, source="other"), in_process)
    assert made(whole) == EVERY


def test_parts_that_are_no_longer_planned_are_removed(tmp_path: Path, whole: Path) -> None:
    complete(made_stage(whole, order=range(3), tone=1), in_process)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    complete(made_stage(fresh, order=range(3), tone=1), in_process)
    check_equal(whole, contents(fresh))


def test_a_stage_whose_tasks_cannot_be_planned_stays_as_it_was(whole: Path) -> None:
    before = contents(whole)

    def impossible() -> list[object]:
        raise InputError("more than there are")

    stage = made_stage(whole, tone=1)
    object.__setattr__(stage, "tasks", impossible)
    with pytest.raises(InputError, match="more than there are"):
        complete(stage, in_process)
    check_equal(whole, before)


def test_equal_stages_have_equal_hashes_and_others_do_not(tmp_path: Path) -> None:
    hashes = []
    for name, params in (("a", {}), ("b", {}), ("c", {"tone": 1}), ("d", {"text": "b"})):
        run = tmp_path / name
        run.mkdir()
        hashes.append(complete(made_stage(run, **params), in_process).hash)
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_nothing_that_differs_between_equal_runs_is_in_the_books(whole: Path) -> None:
    said = "".join((whole / "made" / name).read_text() for name in ("plan.json", "stage.json"))
    assert str(whole) not in said
    assert json.loads((whole / "made" / "plan.json").read_text())["params"] == {"text": "a", "tone": 0}
