"""Engines of one machine: every result comes, deaths of workers are survived, none outlives its parent."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from command import Started, wait_until
from engine_tasks import count_rows, die, keep_workers_busy, own_pid, refuse, square

from coreset.engine.errors import InputError, TaskFailedError
from coreset.engine.local import ATTEMPTS, in_process, on_processes
from coreset.engine.progress import ticker
from coreset.engine.stage import Execute, Needs, fold


@pytest.fixture
def two() -> Iterator[on_processes]:
    engine = on_processes(2)
    yield engine
    engine.close()


@pytest.fixture(scope="module", params=["in_process", 1, 2, 4])
def engine(request: pytest.FixtureRequest) -> Iterator[Execute]:
    if request.param == "in_process":
        yield in_process
        return
    made = on_processes(request.param)
    yield made
    made.close()


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("count", [0, 1, 25])
def test_every_call_is_answered_once(engine: Execute, count: int) -> None:
    calls = (partial(square, number) for number in range(count))
    assert sorted(engine(calls, Needs())) == [number * number for number in range(count)]


def test_an_engine_serves_one_pass_after_the_other(engine: Execute) -> None:
    for number in range(3):
        assert list(engine([partial(square, number)], Needs())) == [number * number]


def test_fold_merges_whatever_order_values_come_in(engine: Execute) -> None:
    assert fold((partial(square, number) for number in range(10)), lambda a, b: a + b, engine) == 285
    assert fold([], max, engine) is None


def test_an_error_of_a_call_arrives_as_it_was_raised(engine: Execute) -> None:
    with pytest.raises(InputError, match=r"^no such thing$"):
        list(engine([partial(refuse, "no such thing")], Needs()))
    assert list(engine([partial(square, 3)], Needs())) == [9]


def test_calls_are_taken_from_the_plan_as_they_can_be_made(two: on_processes) -> None:
    taken = 0

    def calls() -> Iterator[partial[int]]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield partial(square, number)

    results = two(calls(), Needs())
    for received in range(1, 20):
        next(results)
        assert taken <= received + 2 * 2
    results.close()


def test_no_more_calls_run_at_a_time_than_their_needs_allow(two: on_processes) -> None:
    calls = [partial(own_pid, 0.0)] * 6
    taken = []
    results = two((taken.append(call) or call for call in calls), Needs(concurrency=1))
    for received, _ in enumerate(results, start=1):
        assert len(taken) <= received


def test_workers_are_processes_of_their_own(two: on_processes) -> None:
    pids = set(two([partial(own_pid, 0.3)] * 8, Needs()))
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("deaths", range(ATTEMPTS))
def test_a_call_whose_worker_dies_is_made_again(two: on_processes, tmp_path: Path, deaths: int) -> None:
    calls = [partial(square, 2), partial(die, deaths, str(tmp_path)), partial(square, 3)]
    assert sorted(two(calls, Needs())) == sorted([4, deaths, 9])


def test_a_call_whose_workers_die_again_and_again_is_given_up(two: on_processes, tmp_path: Path) -> None:
    with pytest.raises(TaskFailedError, match="run the same command with fewer --workers") as error:
        list(two([partial(die, 99, str(tmp_path))], Needs()))
    assert error.value.exit_code == 1
    assert len(os.listdir(tmp_path)) == ATTEMPTS
    assert list(two([partial(square, 3)], Needs())) == [9]


def test_a_worker_that_dies_between_two_passes_costs_nothing(two: on_processes) -> None:
    for pid in set(two([partial(own_pid, 0.2)] * 4, Needs())):
        os.kill(pid, signal.SIGKILL)
    assert sorted(two([partial(square, number) for number in range(9)], Needs())) == [n * n for n in range(9)]


def test_workers_go_when_their_results_are_no_longer_wanted(two: on_processes) -> None:
    results = two([partial(own_pid, 0.0), partial(own_pid, 0.0), *[partial(own_pid, 60.0)] * 4], Needs())
    pid = next(results)
    results.close()
    wait_until(lambda: not is_alive(pid), 5)


def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()
    parent = Started(keep_workers_busy, str(folder), cwd=tmp_path)
    wait_until(lambda: len(os.listdir(folder)) == 2)
    workers = [int(name) for name in os.listdir(folder)]
    assert all(is_alive(pid) for pid in workers)
    os.kill(parent.pid, signal.SIGKILL)
    assert parent.wait() == -signal.SIGKILL
    wait_until(lambda: not any(is_alive(pid) for pid in workers), 10)


def test_rows_are_counted_across_workers(two: on_processes) -> None:
    before = ticker.total
    list(two([partial(count_rows, 5)] * 3, Needs()))
    assert ticker.total == before + 15
