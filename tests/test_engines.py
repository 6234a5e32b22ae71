"""One selection by every engine: this process, processes, a Ray cluster. The same bytes of every stage.

How often a worker loads the model is counted meanwhile.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command import check_equal, contents
from engine_tasks import with_loads
from identity import patched, write_input
from shards import recipe, write_shards

from coreset.cluster import ClusterParams
from coreset.engine.local import in_process, on_processes
from coreset.engine.on_ray import on_ray
from coreset.engine.stage import Execute, Needs
from coreset.pipeline import Run, clustered, deduplicated, embedded, forested, imported, sampled
from coreset.recipe import Recipe, read_recipe
from coreset.results.export.exporting import export

WORKERS, SHARDS = 2, 8
ENGINES = {"in_process": None, "on_processes": on_processes, "on_ray": lambda workers: on_ray("local", workers)}
SMALL = {
    "coreset.cluster.PART_ROWS": 500,
    "coreset.slices.TASK_ROWS": 300,
    "coreset.sample.FILE_ROWS": 40,
    "coreset.pipeline.FLOOR": 0,
}
"""Several parts of each stage; planned in the driver only."""
STAGES = {
    "embed": ("shards/rows", "shards/quarantine"),
    "import": ("vectors/rows",),
    "centroids": ("vectors/centroids", "shards/centroids"),
    "cluster": ("vectors/clusters", "shards/clusters"),
    "exclude": ("vectors/excluded",),
    "forest": ("vectors/forest",),
    "dedup": ("vectors/dedup", "shards/dedup"),
    "sample": ("vectors/coreset", "shards/coreset"),
    "export of pictures": ("pictures",),
    "export of rows": ("table",),
}


@dataclass(frozen=True)
class Inputs:
    """A selection from shards and one from vectors, with a list of what must not be used."""

    shards: Recipe
    vectors: Recipe


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Inputs:
    place = tmp_path_factory.mktemp("inputs")
    write_shards(place / "shards", count=SHARDS, pairs=9)
    (place / "coreset.toml").write_text(recipe(clip, clusters=5))
    found = write_input(place)
    listed = place / "excluded.txt"
    listed.write_text("".join(f"{number:09d}\n" for number in range(0, 3000, 7)))
    params = ClusterParams(clusters=20, iterations=3, exclude=str(listed))
    return Inputs(read_recipe(str(place / "coreset.toml")), dataclasses.replace(found, cluster=params))


def select(place: Path, inputs: Inputs, execute: Execute) -> Path:
    """Every stage of both selections, and two exports."""
    how: dict[str, Any] = {"workers": WORKERS, "execute": execute, "memory": 3 << 30}
    with patched(SMALL):
        of_shards, of_vectors = Run(str(place / "shards"), **how), Run(str(place / "vectors"), **how)
        rows = embedded(of_shards, inputs.shards)
        centroids, clusters = clustered(of_shards, inputs.shards, rows)
        sampled(of_shards, inputs.shards, deduplicated(of_shards, inputs.shards, centroids, clusters))
        rows = imported(of_vectors, inputs.vectors)
        centroids, clusters = clustered(of_vectors, inputs.vectors, rows)
        survivors = deduplicated(of_vectors, inputs.vectors, centroids, clusters)
        forested(of_vectors, clusters, 0.7)
        sampled(of_vectors, inputs.vectors, survivors)
        export(of_shards.folder, "webdataset", str(place / "pictures"), execute)
        export(of_vectors.folder, "urls", str(place / "table"), execute)
    return place


class Selections:
    """What each engine makes of the inputs, made once; how often each of its processes had loaded a model, by call."""

    def __init__(self, folder: Path, inputs: Inputs) -> None:
        self._folder, self._inputs = folder, inputs
        self.loads: dict[str, dict[int, list[int]]] = {name: {} for name in ENGINES}

    def by(self, name: str) -> Path:
        """Where an engine's results are."""
        place = self._folder / name
        if not place.exists():
            make = ENGINES[name]
            if make is None:
                return select(place, self._inputs, in_process)
            with closing(make(WORKERS)) as engine:
                select(place, self._inputs, self._watched(engine, self.loads[name]))
        return place

    def _watched(self, execute: Execute, loads: dict[int, list[int]]) -> Execute:
        def run(calls: Iterable[Callable[[], Any]], needs: Needs) -> Iterator[Any]:
            for result, pid, count in execute((partial(with_loads, call) for call in calls), needs):
                loads.setdefault(pid, []).append(count)
                yield result

        return run


@pytest.fixture(scope="module")
def selections(tmp_path_factory: pytest.TempPathFactory, inputs: Inputs) -> Selections:
    return Selections(tmp_path_factory.mktemp("selections"), inputs)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "in_process"])
def test_every_engine_leaves_the_same_bytes(selections: Selections, engine: str, stage: str) -> None:
    for name in STAGES[stage]:
        expected = contents(selections.by("in_process") / name)
        assert any(path.endswith(".parquet") for path in expected)
        check_equal(selections.by(engine) / name, expected)


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "in_process"])
def test_a_worker_loads_the_model_once_for_many_shards(selections: Selections, engine: str) -> None:
    selections.by(engine)
    counts = selections.loads[engine].values()
    loaded = [found for found in counts if max(found)]
    assert {max(found) for found in loaded} == {1}
    assert len(loaded) < SHARDS
