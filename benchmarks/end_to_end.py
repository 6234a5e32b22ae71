"""The commands ``dedup`` and ``sample`` on made rows: time, CPU time and peak memory of each stage, by budget.

``python benchmarks/end_to_end.py --rows 1000000 [--memory 2GiB 4GiB 8GiB] [--folder DIR] [--keep-rows]``
``python benchmarks/end_to_end.py --rows 1000000 --memory 4GiB --profile`` shows where the time goes instead.

``rows/`` is made once, a window of `generate.py` at a time, as `coreset embed` would leave it; with ``--keep-rows``
a later call with the same arguments finds it. Each budget has a run folder of its own, whose ``rows/`` are hard
links: coreset only ever renames a new file over an old name, so neither budget can change the other's input. The
first budget trains the centroids; the others get hard links to them, because ``--centroids FILE`` would be another
plan and so another hash. The hashes of all later stages must then be equal, or the program fails.

Seconds of a stage are the journal's. Its CPU time and peak are those of the samples taken while it was the first
that is not complete; the start of the program, until it holds the run folder, counts for the command only.

``DIR`` must not lie on a tmpfs, whose files count as memory. Linux only: see `memory.py`.
"""

import argparse
import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import pyarrow as pa
from generate import KINDS, WINDOW, Rows, windows
from memory import TreeSampler

from coreset import cluster, dedup, pipeline, rows, sample
from coreset.cli.options import bytes_of
from coreset.engine.local import in_process
from coreset.engine.lock import NAME as LOCK
from coreset.engine.outgoing import OutgoingFile
from coreset.engine.stage import Part, Stage, Summary, Task, complete
from coreset.numeric import components, members, nearest
from coreset.recipe import Recipe

COMMANDS = {"dedup": ("centroids", "clusters", "dedup"), "sample": ("coreset",)}
STAGES = tuple(stage for stages in COMMANDS.values() for stage in stages)
COMPARED = ("clusters", "dedup", "coreset")
START = "start"

Places = tuple[tuple[Any, str], ...]
Pictures = tuple[str, Sequence[tuple[int, int]]]
KERNEL: dict[str, Places] = {
    "connected_components": ((components, "connected_components"),),
    "nearest_centroids": ((nearest, "nearest_centroids"),),
    "squared_distances": ((nearest, "squared_distances"),),
    "kept_cosines": ((members, "kept_cosines"),),
    "centroid_cosines": ((nearest, "centroid_cosines"),),
}
AROUND: dict[str, Places] = {
    "table reading": ((rows, "read_table"), (rows, "table_batches")),
    "table writing": ((rows.TableWriter, "write"), (rows.TableWriter, "close")),
    "vector writing": ((rows.VectorsWriter, "write"), (rows.VectorsWriter, "close")),
    "vectors put in order": ((cluster, "write_sorted_vectors"),),
    "files flushed to disk": ((OutgoingFile, "close"), (OutgoingFile, "commit")),
    "rows put in order": tuple((module, "rows_in_order") for module in (cluster, dedup, sample)),
    "columns of dedup": ((dedup, "dedup_table"),),
    "fates and ranks": ((sample, "fates"), (sample, "answered")),
    "hashes of keys": ((rows, "key_hashes"),),
}


@dataclass(frozen=True)
class MadeParams:
    """Identifies made rows, in place of the parameters of ``embed``."""

    stage: ClassVar[str] = "embed"
    rule: ClassVar[int] = 1
    redo: ClassVar[frozenset[str]] = frozenset()

    count: int
    dimension: int = 768
    kind: str = "power-law"
    seed: int = 0

    @property
    def clusters(self) -> int:
        """As many as the paper's ratio gives."""
        return cluster.default_clusters(self.count)

    @property
    def name(self) -> str:
        """Of the folder."""
        return f"{self.kind}-{self.count}x{self.dimension}-seed{self.seed}"


@dataclass(frozen=True)
class Cost:
    """What a stage or a whole command took: wall time, CPU time of all its processes, most bytes held at a time."""

    seconds: float
    cpu: float
    peak: int


@dataclass(frozen=True)
class Measured:
    """One budget: the costs of commands and stages by name, and the hashes of the stages."""

    memory: str
    budget: int
    commands: dict[str, Cost] = field(default_factory=dict)
    stages: dict[str, Cost] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)


def made_rows(folder: Path, params: MadeParams, pictures: Pictures | None = None) -> Path:
    """A run folder whose ``rows/`` are complete: made now, or found as an earlier call left them.

    Args:
        folder: in which it stands
        params: of the rows
        pictures: a source, and places in it; each row gets one. None for rows without pictures
    """
    run = folder / params.name

    def tasks() -> Iterator[Task]:
        kind = KINDS[params.kind]
        made = windows(params.count, params.dimension, kind, clusters=params.clusters, seed=params.seed)
        stream = enumerate(made)
        for number in range(-(-params.count // WINDOW)):
            yield Task(f"{run}/rows/{number:05d}", write_window, (stream, number, params.seed, pictures))

    complete(Stage(f"{run}/rows", params, tasks, None, rows.receipt_of), in_process)
    return run


def write_window(
    stream: Iterator[tuple[int, Rows]], number: int, seed: int, pictures: Pictures | None, part: Part
) -> Summary:
    """Write a window as a part, after passing over the windows before it that are there already."""
    made = next(window for at, window in stream if at == number)
    count, dimension = made.vectors.shape
    vectors = rows.VectorsWriter(part.file(rows.VECTORS), count, dimension)
    vectors.write(made.vectors)
    vectors.close()
    keys = [f"{number:05d}{row:05d}" for row in range(count)]
    columns = {
        "key": keys,
        "url": [f"https://example.org/{key}.jpg" for key in keys],
        "caption": [f"subject {c}, picture {f}" for c, f in zip(made.cluster, made.first, strict=True)],
        "text_cosine": np.float32(np.random.default_rng([seed, number, 1]).normal(0.25, 0.05, count)),
        "key_hash": rows.key_hashes(keys),
        "source": [f"{number:05d}.tar"] * count,
        "source_row": np.arange(count),
        "vector_row": np.arange(count),
    }
    if pictures is not None:
        source, places = pictures
        offsets, sizes = zip(*(places[row % len(places)] for row in range(count)), strict=True)
        columns |= {"source": [source] * count, "image_offset": offsets, "image_bytes": sizes}
    columns |= {name: [None] * count for name in rows.ROWS.names if name not in columns}
    table = rows.PartTable(part, rows.ROWS)
    table.write(pa.table(columns, schema=rows.ROWS))
    return table.close({"samples": count, "rows": count, "quarantined": 0})


def linked(source: Path, target: Path, names: Sequence[str]) -> Path:
    """A fresh run folder with hard links to the files of some stages of another."""
    shutil.rmtree(target, ignore_errors=True)
    for name in names:
        shutil.copytree(source / name, target / name, copy_function=os.link)
    return target


def under_way(run: Path, stages: Sequence[str]) -> str:
    """The first stage that is not complete, or the last one; `START` before the run folder is held."""
    if not (run / LOCK).exists():
        return START
    return next((stage for stage in stages if not (run / stage / "stage.json").exists()), stages[-1])


def timed_command(run: Path, command: str, flags: Sequence[str]) -> tuple[Cost, TreeSampler]:
    """Run a command in a process of its own; its cost, and the samples by stage."""
    stages = COMMANDS[command]
    program = [str(Path(sys.executable).with_name("coreset")), command, "--quiet", "--run", str(run), *flags]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CORESET_")}
    (run / LOCK).unlink(missing_ok=True)
    before, begun = children_seconds(), time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            program,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=run,
            env=environment,  # no recipe lies there
        )
        with TreeSampler(process.pid, lambda: under_way(run, stages)) as sampler:
            code = process.wait()
        seconds = time.perf_counter() - begun
        if code:
            errors.seek(0)
            sys.exit(f"{' '.join(program)} failed ({code}): {errors.read().decode().strip()}")
    return Cost(seconds, children_seconds() - before, sampler.peak), sampler


def children_seconds() -> float:
    """User and system time of all processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(run: Path, memory: str, count: int, workers: int, *engine: str) -> Measured:
    """Run both commands in a folder that holds ``rows/``; ``engine`` are more flags of theirs."""
    found = Measured(memory, bytes_of(memory))
    shared = ("--memory", memory, "--workers", str(workers), *engine)
    for command, extra in (("dedup", ()), ("sample", ("-n", str(count)))):
        whole, sampler = timed_command(run, command, (*shared, *extra))
        found.commands[command] = whole
        exact = whole.cpu / max(sum(sampler.cpu.values()), 0.01)  # of the samples, which miss the last 50 ms
        for stage, entry in said(run / "run.json")["stages"].items():
            if stage in COMMANDS[command]:
                cpu = exact * sampler.cpu.get(stage, 0.0)
                found.stages[stage] = Cost(entry["seconds"], cpu, sampler.peaks.get(stage, 0))
    for stage in STAGES:
        found.hashes[stage] = said(run / stage / "stage.json")["hash"]
    return found


def said(file: Path) -> Any:  # noqa: ANN401  any JSON value
    """What a JSON file holds."""
    return json.loads(file.read_text())


def end_to_end(source: Path, memories: Sequence[str], workers: int, count: int) -> list[Measured]:
    """Measure each budget in a fresh run folder beside the source's ``rows/``; the folders are removed again."""
    folders = [source / f"run-{memory}" for memory in memories]
    done: list[Measured] = []
    try:
        for memory, run in zip(memories, folders, strict=True):
            linked(source, run, ("rows",))
            if done:
                shutil.copytree(folders[0] / "centroids", run / "centroids", copy_function=os.link)
            done.append(measured(run, memory, count, workers))
    finally:
        for run in folders:
            shutil.rmtree(run, ignore_errors=True)
    return done


def differing(found: Sequence[Measured]) -> list[str]:
    """The stages whose hashes are not the same for all budgets."""
    return [stage for stage in COMPARED if len({one.hashes[stage] for one in found}) > 1]


def print_table(found: Sequence[Measured]) -> None:
    """One line for each command and, below it, each of its stages."""
    print(f"{'budget':10s}{'':20s}{'wall s':>10s}{'cpu s':>10s}{'peak MiB':>10s}{'of budget':>11s}")
    for one in found:
        for command, stages in COMMANDS.items():
            lines = {f"coreset {command}": one.commands[command]}
            lines |= {f"  {stage}": one.stages[stage] for stage in stages if stage in one.stages}
            for name, cost in lines.items():
                share = cost.peak / one.budget
                print(f"{one.memory:10s}{name:20s}{cost.seconds:10.2f}{cost.cpu:10.2f}", end="")
                print(f"{cost.peak / 2**20:10,.0f}{share:11.2f}{'  OVER' if share > 1 else ''}")


class Timers:
    """Seconds by name, exclusive: what a wrapped call spends in another wrapped call counts there.

    Only for calls of one thread.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the block's time."""
        begun = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            took = time.perf_counter() - begun
            self.seconds[name] += took - self._inner.pop()
            if self._inner:
                self._inner[-1] += took

    def wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """A function, or a function that gives an iterator, with its time counted."""

        @wraps(call)
        def timed(*given: Any, **named: Any) -> Any:  # noqa: ANN401  whatever the function takes
            with self.timed(name):
                answer = call(*given, **named)
            return self._steps(name, answer) if isinstance(answer, Generator) else answer

        return timed

    def _steps(self, name: str, steps: Generator[Any, None, None]) -> Iterator[Any]:
        end = object()
        while True:
            with self.timed(name):
                step = next(steps, end)
            if step is end:
                return
            yield step

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Time what `KERNEL` and `AROUND` name, while the block runs."""
        with ExitStack() as patches:
            for name, places in {**KERNEL, **AROUND}.items():
                for owner, attribute in places:
                    wrapper = self.wrapped(name, getattr(owner, attribute))
                    patches.enter_context(mock.patch.object(owner, attribute, wrapper))
            yield


@dataclass(frozen=True)
class Profile:
    """One stage: its wall time, and the exclusive seconds of what was wrapped."""

    wall: float
    seconds: Mapping[str, float]


def profiled(source: Path, memory: str, count: int) -> dict[str, Profile]:
    """Run the stages after the centroids in this process, with timers around what they call."""
    folder = linked(source, source / "run-profile", ("rows",))
    run = pipeline.Run(str(folder), memory=bytes_of(memory))
    recipe = Recipe(sample=sample.SampleParams(n=count))
    parts = pipeline.standing(run, "rows")
    params = cluster.resolved(recipe.cluster, parts, run.at("centroids"))
    training = cluster.centroids_stage(run.at("centroids"), parts, params, None, run.execute, run.memory)
    centroids = pipeline.completed(run, training)
    calls: dict[str, Callable[[], object]] = {
        "clusters": lambda: pipeline.clustered(run, recipe, parts),
        "dedup": lambda: pipeline.deduplicated(run, recipe, centroids, pipeline.standing(run, "clusters")),
        "coreset": lambda: pipeline.sampled(run, recipe, pipeline.standing(run, "dedup")),
    }
    found: dict[str, Profile] = {}
    for stage, call in calls.items():
        timers, begun = Timers(), time.perf_counter()
        with timers.installed():
            call()
        found[stage] = Profile(time.perf_counter() - begun, timers.seconds)
    shutil.rmtree(folder)
    return found


def print_profile(found: dict[str, Profile]) -> None:
    """Shares of wall time in percent, a column for each stage and one for all, the kernel first."""
    together = {name: sum(one.seconds.get(name, 0.0) for one in found.values()) for name in (*KERNEL, *AROUND)}
    columns = {**found, "all": Profile(sum(one.wall for one in found.values()), together)}
    lines = {"KERNEL": tuple(KERNEL), **{f"  {name}": (name,) for name in KERNEL}, **{name: (name,) for name in AROUND}}
    print(f"{'percent of wall time':26s}" + "".join(f"{stage:>12s}" for stage in columns))
    for line, names in lines.items():
        shares = [sum(one.seconds.get(name, 0.0) for name in names) / one.wall for one in columns.values()]
        print(f"{line:26s}" + "".join(f"{100 * share:12.1f}" for share in shares))
    others = [1 - sum(one.seconds.values()) / one.wall for one in columns.values()]
    print(f"{'everything else':26s}" + "".join(f"{100 * share:12.1f}" for share in others))
    print(f"{'wall s':26s}" + "".join(f"{one.wall:12.2f}" for one in columns.values()))


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rows", type=int, default=100_000)
    flags.add_argument("--memory", nargs="+", default=["2GiB", "4GiB", "8GiB"])
    flags.add_argument("--workers", type=int, default=1)
    flags.add_argument("--kind", choices=sorted(KINDS), default="power-law")
    flags.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "coreset-end-to-end")
    flags.add_argument("--keep-rows", action="store_true", help="leave the rows for a later call")
    flags.add_argument("--json", type=Path, help="write the figures there, too")
    flags.add_argument("--profile", action="store_true", help="one process, first budget: where the time goes")
    return flags


def main() -> None:
    """Prints the table that the command line asks for."""
    given = arguments().parse_args()
    params = MadeParams(given.rows, kind=given.kind)
    source = made_rows(given.folder.resolve(), params)
    print(
        f"{given.rows:,} {given.kind} rows x {params.dimension}, {params.clusters} clusters, {given.workers} worker(s)"
    )
    if given.profile:
        found = []
        print_profile(profiled(source, given.memory[0], sampled_rows(given.rows)))
    else:
        found = end_to_end(source, given.memory, given.workers, sampled_rows(given.rows))
        print_table(found)
    if given.json and found:
        given.json.write_text(json.dumps([dataclasses.asdict(one) for one in found], indent=1) + "\n")
    if not given.keep_rows:
        shutil.rmtree(source)
    if changed := differing(found):
        sys.exit(f"The budget changed the hash of {', '.join(changed)}: this is a bug.")


def sampled_rows(count: int) -> int:
    """Rows to draw: one in a hundred; the default windows leave four in a hundred of what is unlike."""
    return max(1, count // 100)


if __name__ == "__main__":
    main()
