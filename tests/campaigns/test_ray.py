"""A Ray cluster of several nodes that lose workers, die as a whole, or lose their driver: the same bytes at the end."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from command import Started, check_equal, contents, done
from identity import write_input
from ray_driver import WORKERS, select_here, select_on
from shards import recipe, write_shards

pytestmark = pytest.mark.campaign
STAGES = ("rows", "centroids", "clusters", "dedup", "coreset")
PAUSE = 0.25
TRIES = 6
"""Of a disturbance that came too late for its stage."""
NODE = {"num_cpus": 1, "memory": 3 << 30, "object_store_memory": 80 << 20}


class Nodes:
    """A cluster of one node that runs nothing, and `WORKERS` that do."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
        self._nodes = [self._cluster.add_node(**NODE) for _ in range(WORKERS)]
        self.address: str = self._cluster.address

    def kill_one(self) -> None:
        """A whole node dies; another one comes."""
        self._cluster.remove_node(self._nodes.pop(0), allow_graceful=False)
        self._nodes.append(self._cluster.add_node(**NODE))

    def kill_worker(self) -> bool:
        """One busy worker dies; false if none was busy."""
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith("ray::made"):
                    process.kill()
                    return True
        return False

    def close(self) -> None:
        """All of it ends."""
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    cluster = Nodes()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> dict[str, Path]:
    """A folder of shards and one of vectors, each with its recipe and what an undisturbed run leaves."""
    places = {name: tmp_path_factory.mktemp(name) / "place" for name in ("shards", "vectors")}
    write_shards(places["shards"] / "shards", count=12, pairs=60)
    (places["shards"] / "coreset.toml").write_text(recipe(clip, clusters=9))
    places["vectors"].mkdir()
    write_input(places["vectors"])
    windows = "n = 100\ntext_rank = [10, 90]\ncentroid_rank = [10, 90]\n"
    (places["vectors"] / "coreset.toml").write_text(f'input = ["in"]\n[cluster]\nclusters = 20\n[sample]\n{windows}')
    for place in places.values():
        alone = Started(select_here, cwd=place)
        assert alone.wait() == 0, alone.text
    return places


def fresh(place: Path, to: Path) -> Path:
    """The same inputs without the run."""
    shutil.copytree(place, to, ignore=shutil.ignore_patterns("run", "log.txt"))
    return to


def wait_for(stage: Path, driver: Started) -> bool:
    """Whether the stage could be met while it was being filled."""
    while driver.process.is_alive():
        if (stage / "plan.json").exists():
            return not (stage / "stage.json").exists()
        time.sleep(0.01)
    return False


def disturbed(nodes: Nodes, kind: str, driver: Started) -> bool:
    """Kill something; false if there was nothing to kill."""
    if kind == "node":
        nodes.kill_one()
        return True
    limit = time.monotonic() + 5
    while time.monotonic() < limit and driver.process.is_alive():
        if nodes.kill_worker():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("kind", ["worker", "worker again", "node", "driver"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ["shards", "vectors"])
def test_what_dies_changes_no_byte(
    nodes: Nodes, inputs: dict[str, Path], tmp_path: Path, name: str, stage: str, kind: str
) -> None:
    for number in range(TRIES):
        place = fresh(inputs[name], tmp_path / str(number))
        driver = Started(select_on, nodes.address, PAUSE, cwd=place)
        hit = wait_for(place / "run" / stage, driver)
        if hit and kind == "driver":
            driver.kill()
            assert driver.wait() == -signal.SIGKILL
            driver = Started(select_on, nodes.address, 0.0, cwd=place)
        elif hit:
            hit = disturbed(nodes, kind, driver)
        assert driver.wait() == 0, driver.text
        check_equal(place / "run", contents(inputs[name] / "run"))
        if hit:
            return
    pytest.fail(f"{stage} was never met in {TRIES} runs")


def test_status_can_be_asked_meanwhile(nodes: Nodes, inputs: dict[str, Path], tmp_path: Path) -> None:
    place = fresh(inputs["vectors"], tmp_path / "place")
    driver = Started(select_on, nodes.address, PAUSE, cwd=place)
    assert wait_for(place / "run" / "clusters", driver)
    stages = json.loads(done("status", "--json", cwd=place).out)["stages"]
    assert {"rows": "complete", "centroids": "complete"}.items() <= {s["name"]: s["state"] for s in stages}.items()
    assert driver.wait() == 0, driver.text
