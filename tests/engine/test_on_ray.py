"""The engine of a Ray cluster: what every engine must do, and what only this one meets."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from command import Started, contents
from engine_tasks import die, made_stage, own_pid, refuse, square
from ray_driver import listening_to
from synthetic import random_given, selected_from

from coreset.dedup import DedupParams
from coreset.engine.errors import InputError, ResourceError, TaskFailedError
from coreset.engine.local import in_process
from coreset.engine.on_ray import ATTEMPTS, on_ray
from coreset.engine.stage import Needs, complete, fold
from coreset.sample import SampleParams

SMALL = Needs(memory=1 << 20)


@pytest.fixture(scope="module")
def cluster() -> Iterator[on_ray]:
    engine = on_ray("local", workers=2)
    yield engine
    engine.close()


@pytest.mark.parametrize("count", [0, 1, 25])
def test_every_call_is_answered_once(cluster: on_ray, count: int) -> None:
    calls = (partial(square, number) for number in range(count))
    assert sorted(cluster(calls, SMALL)) == [number * number for number in range(count)]


def test_values_are_merged(cluster: on_ray) -> None:
    calls = (partial(square, number) for number in range(10))
    assert fold(calls, lambda a, b: a + b, cluster, SMALL) == 285


def test_an_error_of_a_call_arrives_as_it_was_raised(cluster: on_ray) -> None:
    with pytest.raises(InputError, match=r"^no such thing$"):
        list(cluster([partial(refuse, "no such thing")], SMALL))
    assert list(cluster([partial(square, 3)], SMALL)) == [9]


def test_calls_are_taken_from_the_plan_as_they_can_be_made(cluster: on_ray) -> None:
    taken = 0

    def calls() -> Iterator[partial[int]]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield partial(square, number)

    results = cluster(calls(), SMALL)
    for received in range(1, 20):
        next(results)
        assert taken <= received + 2 * 2
    results.close()


def test_workers_stay_for_the_next_call(cluster: on_ray) -> None:
    pids = set(cluster([partial(own_pid, 0.05)] * 12, SMALL))
    again = set(cluster([partial(own_pid, 0.05)] * 12, SMALL))
    assert os.getpid() not in pids
    assert pids & again


@pytest.mark.parametrize("deaths", range(1, ATTEMPTS))
def test_a_call_whose_worker_dies_is_made_again(cluster: on_ray, tmp_path: Path, deaths: int) -> None:
    calls = [partial(square, 2), partial(die, deaths, str(tmp_path)), partial(square, 3)]
    assert sorted(cluster(calls, SMALL)) == sorted([4, deaths, 9])


def test_a_call_whose_workers_die_again_and_again_is_given_up(cluster: on_ray, tmp_path: Path) -> None:
    with pytest.raises(TaskFailedError, match="same command with fewer --workers") as error:
        list(cluster([partial(die, 99, str(tmp_path))], SMALL))
    assert error.value.exit_code == 1
    assert len(os.listdir(tmp_path)) == ATTEMPTS


def test_a_worker_that_is_killed_from_outside_costs_its_call_an_attempt(cluster: on_ray) -> None:
    results = cluster([partial(own_pid, 0.0), *[partial(own_pid, 0.4)] * 4], SMALL)
    os.kill(next(results), signal.SIGKILL)
    assert len(list(results)) == 4


@pytest.mark.parametrize("needs", [Needs(memory=1 << 60), Needs(memory=1, gpus=64)])
def test_what_no_node_can_run_is_refused(cluster: on_ray, needs: Needs) -> None:
    with pytest.raises(ResourceError, match="No node of the Ray cluster") as error:
        list(cluster([partial(square, 1)], needs))
    assert error.value.exit_code == 5


def test_locations_may_be_relative(cluster: on_ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    complete(made_stage(Path("here")), cluster)
    assert (tmp_path / "here" / "made" / "stage.json").exists()


def test_the_same_bytes_as_in_one_process(cluster: on_ray, tmp_path: Path) -> None:
    given = random_given(5)
    params = SampleParams(n=5, text_rank=(0, 90), centroid_rank=(5, 95), allow_fewer=True)
    for name, engine in (("here", in_process), ("ray", cluster)):
        (tmp_path / name).mkdir()
        selected_from(tmp_path / name, given, DedupParams(), params, parts=3, execute=engine)
    assert contents(tmp_path / "here") == contents(tmp_path / "ray")


def test_no_cluster_at_the_address_is_one_sentence() -> None:
    with pytest.raises(InputError, match="no Ray cluster answers there"):
        on_ray("auto")


def test_a_cluster_of_our_own_listens_to_this_machine_only(tmp_path: Path) -> None:
    asked = Started(listening_to, cwd=tmp_path)
    assert asked.wait() == 0, asked.text
    opened = asked.text.splitlines()[-1].split()
    assert opened
    assert set(opened) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
