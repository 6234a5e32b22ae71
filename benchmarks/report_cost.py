"""What ``coreset report`` costs on made rows with pictures: seconds, peak memory, and the size of the page.

``python benchmarks/report_cost.py [--rows 1000000] [--folder DIR] [--keep]``

``rows/`` is made as in `end_to_end.py`; then `coreset dedup` and `coreset sample` run, and the report is made twice by
the command, which gives the same bytes, and once without pictures. Every row's picture is one of ``PICTURES`` noisy
JPEG files of 512 x 512, one after the other in one file, as in a tar. ``DIR`` must not lie on a tmpfs.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from end_to_end import Cost, MadeParams, children_seconds, made_rows, sampled_rows
from memory import TreeSampler
from PIL import Image

from coreset.account import note_root

PICTURES = 64
SIDE = 512
SOURCE = "pictures.tar"


def write_pictures(location: Path) -> list[tuple[int, int]]:
    """Write the pictures; where each begins, and how long it is."""
    places, draw = [], np.random.default_rng(0)
    with location.open("wb") as file:
        for _ in range(PICTURES):
            coarse = Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize((SIDE, SIDE))
            noisy = np.clip(np.asarray(coarse, np.int16) + draw.integers(-20, 21, (SIDE, SIDE, 3)), 0, 255)
            picture = io.BytesIO()
            Image.fromarray(noisy.astype(np.uint8)).save(picture, "JPEG", quality=90)
            places.append((file.tell(), picture.tell()))
            file.write(picture.getvalue())
    return places


def timed(run: Path, *command: str) -> Cost:
    """What a command takes."""
    program = [str(Path(sys.executable).with_name("coreset")), *command, "--quiet", "--run", str(run)]
    before, begun = children_seconds(), time.perf_counter()
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, cwd=run)
    with TreeSampler(process.pid, lambda: command[0]) as sampler:
        code = process.wait()
    if code:
        sys.exit(f"{' '.join(program)} failed ({code})")
    return Cost(time.perf_counter() - begun, children_seconds() - before, sampler.peak)


def selected(folder: Path, count: int) -> Path:
    """A run of made rows that is selected to its end."""
    places = write_pictures(folder / SOURCE)
    run = made_rows(folder, MadeParams(count), (SOURCE, places))
    note_root(str(run), str(folder))
    for command in (("dedup",), ("sample", "-n", str(sampled_rows(count)))):
        timed(run, *command)
    return run


def measure(run: Path, cases: Sequence[Sequence[str]]) -> None:
    """Print a line for each way to make the report."""
    print(f"{'':28s}{'wall s':>8s}{'cpu s':>8s}{'peak MiB':>10s}{'page MB':>9s}")
    pages = []
    for flags in cases:
        cost = timed(run, "report", *flags)
        page = (run / "report" / "index.html").read_bytes()
        pages.append(page)
        print(f"{' '.join(['report', *flags]):28s}{cost.seconds:8.1f}{cost.cpu:8.1f}", end="")
        print(f"{cost.peak / 2**20:10,.0f}{len(page) / 1e6:9.2f}")
    if pages[0] != pages[1]:
        sys.exit("The same run gave two different pages: this is a bug.")


def main() -> None:
    """Prints the table."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rows", type=int, default=1_000_000)
    flags.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "coreset-report-cost")
    flags.add_argument("--keep", action="store_true", help="leave the run for a later call")
    given = flags.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    run = selected(given.folder.resolve(), given.rows)
    print(f"{given.rows:,} rows, {MadeParams(given.rows).clusters} clusters")
    measure(run, [(), (), ("--no-pictures",)])
    if not given.keep:
        shutil.rmtree(given.folder)


if __name__ == "__main__":
    main()
