"""Runs that must be equal: the ways to compute one selection, and a covering choice of their combinations."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from folders import Vectors, unit, write_clip_retrieval

from coreset.cluster import ClusterParams
from coreset.dedup import DedupParams
from coreset.engine.local import in_process
from coreset.engine.lock import sole_writer
from coreset.engine.stage import Execute, Needs
from coreset.pipeline import Run, clustered, deduplicated, forested, imported, sampled
from coreset.recipe import Recipe
from coreset.sample import SampleParams

T = TypeVar("T")
Constants = dict[str, Any]

COUNT, DIMENSION, FILES = 3000, 32, 7
BLOCKS: tuple[Constants, ...] = (
    {},
    {
        "coreset.rows.BATCH_ROWS": 97,
        "coreset.dedup.BATCH_ROWS": 70,
        "coreset.sample.BATCH_ROWS": 90,
        "coreset.cluster.BLOCK_BYTES": 1000,
        "coreset.keys.RANGE_ROWS": 500,
        "coreset.sources.embedding_headers.BLOCK_ROWS": 61,
        "coreset.numeric.blocks._STREAMED": 1 << 12,
        "coreset.numeric.lengths._CACHED_VALUES": 100,
        "coreset.numeric.tiles._LISTED": 50,
        "coreset.numeric.tiles._DENSE": 1,
        "coreset.numeric.candidates._SIDE": 1,
        "coreset.numeric.components._FIRST_GROUP": 1,
        "coreset.numeric.components._TINY": 0,
        "coreset.numeric.survey._READ_ROWS": 13,
    },
    {
        "coreset.rows.BATCH_ROWS": 1024,
        "coreset.dedup.BATCH_ROWS": 1000,
        "coreset.sample.BATCH_ROWS": 1111,
        "coreset.cluster.BLOCK_BYTES": 1 << 16,
        "coreset.keys.RANGE_ROWS": 2000,
        "coreset.sources.embedding_headers.BLOCK_ROWS": 777,
        "coreset.numeric.blocks._STREAMED": 1 << 17,
        "coreset.numeric.lengths._CACHED_VALUES": 3000,
        "coreset.numeric.tiles._LISTED": 1 << 20,
        "coreset.numeric.tiles._DENSE": 1 << 20,
        "coreset.numeric.candidates._SIDE": 2,
        "coreset.numeric.components._FIRST_GROUP": 500,
        "coreset.numeric.components._TINY": 1 << 20,
        "coreset.numeric.survey._READ_ROWS": 200,
    },
)
"""Sizes of what is held at a time; they must change no byte."""
PARTS: tuple[Constants, ...] = (
    {},
    {"coreset.cluster.PART_ROWS": 500, "coreset.slices.TASK_ROWS": 300, "coreset.sample.FILE_ROWS": 7},
    {"coreset.cluster.PART_ROWS": 1500, "coreset.slices.TASK_ROWS": 1200, "coreset.sample.FILE_ROWS": 40},
)
"""Sizes of parts; they must change no row."""
BUDGETS = (1 << 28, 1 << 24, 1 << 21)
"""Bytes that one task may use."""
ENGINES = ("int8", "bfloat16", "float32")
FLOOR = 0.5


@dataclass(frozen=True)
class Combination:
    """A way to compute the selection.

    Attributes:
        workers: processes; 1 for this one
        order: 0 for the order of things; else a seed that shuffles what folders list and the calls of every stage
        blocks: index into `BLOCKS`
        parts: index into `PARTS`
        budget: index into `BUDGETS`
        engine: how the screens multiply
        is_killed: whether it is begun by one process, which is killed in the middle, and goes on with these workers
        has_forest: whether the forest is grown first, and dedup reads it
    """

    workers: int = 1
    order: int = 0
    blocks: int = 0
    parts: int = 0
    budget: int = 0
    engine: str = "int8"
    is_killed: bool = False
    has_forest: bool = False

    def __str__(self) -> str:
        said = [
            f"{field.name.removeprefix('is_').removeprefix('has_')}={self._said(field.name)}" for field in fields(self)
        ]
        return " ".join(said)

    def _said(self, name: str) -> str:
        value = getattr(self, name)
        return ("yes" if value else "no") if isinstance(value, bool) else str(value)

    @property
    def constants(self) -> Constants:
        """What is patched in every process, by full name."""
        return BLOCKS[self.blocks] | PARTS[self.parts]


LEVELS: dict[str, tuple[Any, ...]] = {
    "workers": (1, 2, 4),
    "order": (0, 1, 2),
    "blocks": (0, 1, 2),
    "parts": (0, 1, 2),
    "budget": (0, 1, 2),
    "engine": ENGINES,
    "is_killed": (False, True),
    "has_forest": (False, True),
}


def triples_of(values: tuple[Any, ...]) -> set[tuple[tuple[int, Any], ...]]:
    """Every three of a combination's values, each with the number of its factor."""
    return set(itertools.combinations(enumerate(values), 3))


def covering(seed: int = 0, tries: int = 20) -> list[Combination]:
    """Combinations in which every three values of three factors occur together, chosen greedily."""
    draw, levels = random.Random(seed), list(LEVELS.values())
    left = {
        tuple(zip(numbers, values, strict=True))
        for numbers in itertools.combinations(range(len(levels)), 3)
        for values in itertools.product(*(levels[number] for number in numbers))
    }
    chosen = []
    while left:
        wanted = dict(draw.choice(sorted(left, key=str)))
        candidates = [
            tuple(wanted.get(number, draw.choice(values)) for number, values in enumerate(levels)) for _ in range(tries)
        ]
        best = max(candidates, key=lambda values: len(triples_of(values) & left))
        left -= triples_of(best)
        chosen.append(Combination(*best))
    return chosen


def each_value_once(combinations: list[Combination]) -> list[Combination]:
    """A few of some combinations in which every value that one of them has occurs, chosen greedily."""
    left = {pair for how in combinations for pair in enumerate(vars(how).values())}
    chosen = []
    while left:
        chosen.append(max(combinations, key=lambda how: len(left.intersection(enumerate(vars(how).values())))))
        left -= set(enumerate(vars(chosen[-1]).values()))
    return chosen


def write_input(place: Path) -> Recipe:
    """Vectors with near-copies and exact ones in `in/`, centroids, and the recipe of a selection of them."""
    draw = np.random.default_rng(7)
    base = draw.normal(size=(400, DIMENSION))
    near = 0.08 * draw.normal(size=(COUNT, DIMENSION)) * draw.choice([0, 1, 4], (COUNT, 1))
    images = unit(base[draw.integers(0, 400, COUNT)] + near)
    texts = unit(images + draw.normal(size=images.shape) * draw.random((COUNT, 1)))
    write_clip_retrieval(place / "in", Vectors(images, texts), parts=FILES)
    np.save(place / "centroids.npy", base[:3].astype(np.float32) / 8)
    return Recipe(
        input=(str(place / "in"),),
        cluster=ClusterParams(centroids=str(place / "centroids.npy")),
        dedup=DedupParams(),
        sample=SampleParams(n=100, text_rank=(10, 90), centroid_rank=(10, 90)),
    )


def select(recipe: Recipe, folder: str, how: Combination, execute: Execute) -> None:
    """Compute the selection in one way."""
    engine = shuffled(with_constants(execute, how), how.order)
    listing = shuffled_listing(how.order) if how.order else contextlib.nullcontext()
    floors = patched({"coreset.pipeline.FLOOR": 0, "coreset.pipeline.LIBRARIES": 0})
    with sole_writer(folder), floors, patched(how.constants), screened(how.engine), listing:
        run = Run(folder, how.workers, engine, how.workers * BUDGETS[how.budget])
        rows = imported(run, recipe)
        centroids, clusters = clustered(run, recipe, rows)
        if how.has_forest:
            forested(run, clusters, FLOOR)
        sampled(run, recipe, deduplicated(run, recipe, centroids, clusters))


def select_alone(recipe: Recipe, folder: str, how: Combination) -> None:
    """The same with one worker: for a process of its own, which is to be killed."""
    select(recipe, folder, dataclasses.replace(how, workers=1), in_process)


def with_constants(execute: Execute, how: Combination) -> Execute:
    """An engine whose calls see the constants, in whatever process they are made."""

    def run(calls: Iterable[Callable[[], T]], needs: Needs) -> Iterator[T]:
        yield from execute((partial(called, how, call) for call in calls), needs)

    return run


def called(how: Combination, call: Callable[[], T]) -> T:
    """One call with other constants."""
    with patched(how.constants), screened(how.engine):
        return call()


def shuffled(execute: Execute, seed: int) -> Execute:
    """An engine that is given the calls in another order."""

    def run(calls: Iterable[Callable[[], T]], needs: Needs) -> Iterator[T]:
        every = list(calls)
        random.Random(seed).shuffle(every)
        yield from execute(every, needs)

    return run if seed else execute


@contextlib.contextmanager
def shuffled_listing(seed: int) -> Iterator[None]:
    """Let folders list their names in another order, as other file systems do."""
    listed, draw = os.listdir, random.Random(seed)

    def listdir(*path: Any) -> list[Any]:
        names = listed(*path)
        draw.shuffle(names)
        return names

    with patched({"os.listdir": listdir}):
        yield


@contextlib.contextmanager
def patched(constants: Constants) -> Iterator[None]:
    """Other values for names of modules until the block ends."""
    before = []
    try:
        for name, value in constants.items():
            module = importlib.import_module(name.rpartition(".")[0])
            before.append((module, name.rpartition(".")[2], getattr(module, name.rpartition(".")[2])))
            setattr(module, before[-1][1], value)
        yield
    finally:
        for module, name, value in reversed(before):
            setattr(module, name, value)


@contextlib.contextmanager
def screened(name: str) -> Iterator[None]:
    """Let the screens multiply in one way; each has been checked to be right on this machine."""
    import torch

    from coreset.numeric.products import Engine

    engine = Engine(getattr(torch, name), "cpu", 2.0**-8 if name == "bfloat16" else 0.0)
    with patched({"coreset.numeric.products._fastest": lambda _: engine}):
        yield


def is_right(name: str) -> bool:
    """Whether this machine gets products of one kind right."""
    from coreset.numeric import products

    with screened(name):
        return products._is_right(products._fastest("cpu"))
