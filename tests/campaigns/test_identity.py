"""Equal bytes however a selection is computed: workers, order, sizes, budgets, engines, kills, with a forest or not."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import Started, contents
from identity import (
    LEVELS,
    PARTS,
    Combination,
    covering,
    each_value_once,
    is_right,
    select,
    select_alone,
    triples_of,
    write_input,
)

from coreset import rows
from coreset.engine import disk
from coreset.engine.local import in_process, on_processes
from coreset.engine.stage import Execute
from coreset.recipe import Recipe

COMBINATIONS = covering()
SLICE = each_value_once([how for how in COMBINATIONS if how.workers < 4])
"""A few of them, for every day."""

POINTS = ("write", "fsync", "rename")
PASSAGES = {"write": 700, "fsync": 35, "rename": 35}
"""About how often a run in one process passes each point."""
TRIES = 20

Expected = Callable[[int], dict[str, bytes]]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return write_input(tmp_path_factory.mktemp("input"))


@pytest.fixture(scope="module")
def expected(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """What a run holds that is computed in the plain way, for each size of parts."""
    found: dict[int, dict[str, bytes]] = {}

    def contents_of(parts: int) -> dict[str, bytes]:
        if parts not in found:
            folder = tmp_path_factory.mktemp("plain") / "run"
            select(recipe, str(folder), Combination(parts=parts, has_forest=True), in_process)
            found[parts] = contents(folder)
        return found[parts]

    return contents_of


@pytest.fixture(scope="module")
def engines() -> Iterator[Callable[[int], Execute]]:
    """Engines by number of workers, each started once."""
    with contextlib.ExitStack() as stack:
        started: dict[int, Execute] = {1: in_process}

        def engine(workers: int) -> Execute:
            if workers not in started:
                started[workers] = stack.enter_context(contextlib.closing(on_processes(workers)))
            return started[workers]

        yield engine


def interrupt(recipe: Recipe, place: Path, how: Combination, draw: random.Random) -> None:
    """Compute a part of it in a process that is killed: some parts are there, some are not."""
    run = place / "run"
    for _ in range(TRIES):
        point = draw.choice(POINTS)
        fault = f"{point}:{draw.randint(1, PASSAGES[point])}:kill"
        code = Started(select_alone, recipe, str(run), how, cwd=place, CORESET_FAULT=fault).wait()
        is_begun, is_done = list(run.glob("*/*.parquet")), (run / "coreset" / "stage.json").exists()
        if code == -signal.SIGKILL and is_begun and not is_done:
            return
        shutil.rmtree(run)
    raise AssertionError("It was never killed in the middle.")


def check_combination(
    how: Combination, recipe: Recipe, place: Path, engine: Execute, expected: dict[str, bytes]
) -> None:
    """Compute it in one way; every file has the bytes that the plain way left."""
    if not is_right(how.engine):
        pytest.skip(f"{how.engine} products are not exact on this machine")
    if how.is_killed:
        interrupt(recipe, place, how, random.Random(str(how)))
    select(recipe, str(place / "run"), how, engine)
    found = contents(place / "run")
    wanted = {name: content for name, content in expected.items() if how.has_forest or not name.startswith("forest/")}
    assert sorted(found) == sorted(wanted)
    assert [name for name in found if found[name] != wanted[name]] == []


@pytest.mark.parametrize("how", SLICE, ids=str)
def test_a_few_ways_leave_the_same_bytes(
    how: Combination, recipe: Recipe, tmp_path: Path, engines: Callable[[int], Execute], expected: Expected
) -> None:
    check_combination(how, recipe, tmp_path, engines(how.workers), expected(how.parts))


@pytest.mark.campaign
@pytest.mark.parametrize("how", COMBINATIONS, ids=str)
def test_every_way_leaves_the_same_bytes(
    how: Combination, recipe: Recipe, tmp_path: Path, engines: Callable[[int], Execute], expected: Expected
) -> None:
    check_combination(how, recipe, tmp_path, engines(how.workers), expected(how.parts))


def test_every_three_values_occur_together() -> None:
    levels = list(LEVELS.values())
    found = set().union(*(triples_of(tuple(vars(how).values())) for how in COMBINATIONS))
    pairs = [(a, b, c) for a in range(len(levels)) for b in range(a) for c in range(b)]
    assert len(found) == sum(len(levels[a]) * len(levels[b]) * len(levels[c]) for a, b, c in pairs)
    assert len(COMBINATIONS) == len(set(COMBINATIONS)) >= 50
    for name, values in LEVELS.items():
        assert {getattr(how, name) for how in SLICE} == {*values} - ({4} if name == "workers" else set())


def logical(expected: dict[str, bytes], stage: str) -> pa.Table:
    """The rows of a stage without the parts that they stand in; with their vectors where it has some."""
    tables = []
    for name in sorted(name for name in expected if name.startswith(f"{stage}/") and name.endswith(".parquet")):
        table = pq.read_table(pa.BufferReader(expected[name]))
        if stage == "clusters":
            content = expected[name.replace(".parquet", rows.VECTORS)]
            width = len(content[128:]) // table.num_rows
            vectors = [content[128 + width * row : 128 + width * (row + 1)] for row in range(table.num_rows)]
            table = table.append_column("vector", pa.array(vectors))
        tables.append(table)
    together = pa.concat_tables(tables)
    order = [(name, "ascending") for name in ("cluster", "key_hash", "key")]
    return together.sort_by(order) if stage == "clusters" else together


@pytest.mark.parametrize("parts", range(1, len(PARTS)))
def test_other_parts_hold_the_same_rows(parts: int, expected: Expected) -> None:
    one, other = expected(0), expected(parts)
    for stage in ("clusters", "forest", "dedup", "coreset"):
        names = [sum(name.startswith(stage) and name.endswith(".parquet") for name in found) for found in (one, other)]
        assert names[0] == 1 < names[1], stage
        assert logical(one, stage).equals(logical(other, stage)), stage
    facts = [json.loads(found["coreset/stage.json"])["facts"] for found in (one, other)]
    assert facts[0] == facts[1]


def test_a_selection_is_large_enough_to_tell(expected: Expected) -> None:
    counts = json.loads(expected(0)["dedup/stage.json"])["counts"]
    assert counts["kept"] > 300
    assert counts["duplicates"] > 300
    assert json.loads(expected(0)["coreset/stage.json"])["facts"]["sampled"] == 100
    assert disk.TEMPORARY not in "".join(expected(0))
