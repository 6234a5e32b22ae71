"""How fast pictures are exported, beside `cp` of the same tars: prints MB/s and ratios.

    python benchmarks/export_speed.py [--shards 20 --pairs 1000 --bytes 60000 --workers 2 --cold --chosen 1]

Tars of random bytes are made (an export decodes nothing), then a run whose vectors are random, with a coreset of all
rows. `cp` is followed by `sync`, since an export leaves nothing unflushed; that of single files copies what `llava`
wrote. Every way is tried three times, in turn; what is read was just written, so no disk is waited for. With `--cold`
the machine forgets the bytes of every source before each trial, as it does with sources that are larger than its
memory: then `cp` waits for the disk, and so does an export. With `--chosen` the coreset is a random share of the rows;
`cp` and MB/s are still of whole tars, so then only seconds may be compared.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa

from coreset import rows
from coreset.account import note_root
from coreset.dedup import DedupParams
from coreset.embed import EmbedParams
from coreset.embed_table import row_table
from coreset.engine.local import in_process, on_processes
from coreset.engine.progress import quiet
from coreset.engine.stage import Execute, Part, Parts, Stage, Summary, Task, complete
from coreset.pipeline import Run, clustered, deduplicated, sampled
from coreset.recipe import Recipe
from coreset.results.export.exporting import export
from coreset.sample import SampleParams
from coreset.sources.readers import read_pairs
from coreset.sources.tars import Pair, Shard, find_shards

DIMENSION = 8
CP, SYNC = "/bin/cp", "/bin/sync"
ROUNDS = 3


def main() -> None:
    """Make the tars and the run, then time each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, value in (("shards", 20), ("pairs", 1000), ("bytes", 60_000), ("workers", 2)):
        parser.add_argument(f"--{flag}", type=int, default=value)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--chosen", type=float, default=1.0, help="share of the rows that the coreset has")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        for number in range(asked.shards):
            write_tar(folder / "tars" / f"{number:05d}.tar", number, asked.pairs, asked.bytes)
        run = str(folder / "run")
        chosen = round(asked.chosen * asked.shards * asked.pairs)
        selected(run, find_shards([f"{folder}/tars/*.tar"]), chosen)
        size = sum(path.stat().st_size for path in (folder / "tars").iterdir())
        print(f"{asked.shards} tars, {asked.shards * asked.pairs:,} pairs, {size / 1e6:,.0f} MB; {chosen:,} chosen")
        export(run, "llava", f"{folder}/files", images_per_dir=asked.pairs)
        with closing(on_processes(asked.workers)) as processes:
            ways: dict[str, Callable[[str], object]] = {
                "cp -r, sync": lambda out: subprocess.run([CP, "-r", f"{folder}/tars", out], check=True),
                "cp -r of single files": lambda out: subprocess.run([CP, "-r", f"{folder}/files", out], check=True),
                "webdataset": lambda out: export(run, "webdataset", out, samples_per_shard=asked.pairs),
                "llava": lambda out: export(run, "llava", out, images_per_dir=asked.pairs),
                "hf": lambda out: export(run, "hf", out),
                f"webdataset, {asked.workers} workers": many(
                    run, "webdataset", processes, samples_per_shard=asked.pairs
                ),
                f"llava, {asked.workers} workers": many(run, "llava", processes, images_per_dir=asked.pairs),
            }
            timed(ways, str(folder / "out"), size, [folder / "tars", folder / "files"] if asked.cold else [])


def many(run: str, form: str, processes: Execute, **params: int) -> Callable[[str], object]:
    """An export by several workers."""
    return lambda out: export(run, form, out, processes, 1 << 30, quiet, False, **params)


def forget(folder: Path) -> None:
    """Let the machine forget the bytes of every file in a folder: the next reading waits for the disk."""
    subprocess.run([SYNC, "-f", str(folder)], check=True)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(ways: dict[str, Callable[[str], object]], out: str, size: int, cold: list[Path]) -> None:
    """Print the best of three times for each way, and the processor time of what runs in this process or below it.

    What is in the folders `cold` is forgotten before each trial.
    """
    best = dict.fromkeys(ways, (float("inf"), 0.0))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            for folder in cold:
                forget(folder)
            began, used = time.monotonic(), processor_seconds()
            way(out)
            subprocess.run([SYNC, "-f", out], check=True)
            best[name] = min(best[name], (time.monotonic() - began, processor_seconds() - used))
            shutil.rmtree(out)
    copied = best["cp -r, sync"][0]
    for name, (seconds, used) in best.items():
        processor = f"{used:6.2f} s" if "workers" not in name else "       -"
        rate = size / 1e6 / seconds
        print(f"{name:<24} {seconds:6.2f} s  processor {processor} {rate:7.0f} MB/s   {copied / seconds:5.2f} x cp")


def processor_seconds() -> float:
    """Processor time of this process and of its children that ended."""
    return sum(os.times()[:4])


def write_tar(path: Path, seed: int, pairs: int, size: int) -> None:
    """A tar of pairs whose pictures begin like JPEGs and are random bytes of about that size."""
    path.parent.mkdir(exist_ok=True)
    draw = np.random.default_rng(seed)
    with tarfile.open(path, "w") as tar:
        for number in range(pairs):
            key = f"{seed:05d}{number:05d}"
            picture = b"\xff\xd8\xff" + draw.bytes(int(size * draw.uniform(0.5, 1.5)))
            said = json.dumps({"url": f"http://example.org/{key}"}).encode()
            for ending, content in (("jpg", picture), ("txt", b"a caption of some words"), ("json", said)):
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def selected(run: str, shards: list[Shard], chosen: int) -> Parts:
    """A run of these tars with random vectors, of which so many rows are in the coreset."""

    def tasks() -> Iterator[Task]:
        for number, shard in enumerate(shards):
            yield Task(f"{run}/rows/{number:05d}", write_rows, (shard, number))

    inputs = {shard.name: {"size": shard.size, "part": f"{number:05d}"} for number, shard in enumerate(shards)}
    embedded = complete(
        Stage(f"{run}/rows", EmbedParams(), tasks, None, rows.receipt_of, inputs=lambda: inputs), in_process
    )
    note_root(run, str(Path(shards[0].location).parent))
    everything = SampleParams(n=chosen, text_rank=(0, 100), centroid_rank=(0, 100), allow_fewer=True)
    recipe = Recipe(dedup=DedupParams(threshold=1.0), sample=everything)
    work = Run(run)
    return sampled(work, recipe, deduplicated(work, recipe, *clustered(work, recipe, embedded)))


def write_rows(shard: Shard, seed: int, part: Part) -> Summary:
    """The rows of a tar, with random vectors."""
    pairs = [pair for pair in read_pairs(shard) if isinstance(pair, Pair)]
    draw = np.random.default_rng(seed).normal(size=(len(pairs), DIMENSION))
    found = draw / np.linalg.norm(draw, axis=1, keepdims=True)
    vectors = rows.VectorsWriter(part.file(rows.VECTORS), None, DIMENSION)
    vectors.write(found.astype(np.float16))
    vectors.close()
    table = rows.PartTable(part, rows.ROWS)
    table.write(row_table(pairs, found[:, 0].astype(np.float32), shard.name, 0, prefix=False))
    return table.close({"samples": len(pairs), "rows": len(pairs), "quarantined": 0, "incomplete": 0})


if __name__ == "__main__":
    pa.set_cpu_count(1)
    main()
