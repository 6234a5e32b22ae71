"""What `coreset mix` costs: time and memory beside reading the same file with `json.load`.

``python benchmarks/mixing.py [--records 665000]``

Makes a file of records as LLaVA's mixtures have them, one in sixteen without an image, then mixes
it listed and shuffled.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memory import TreeSampler

LOAD = "import json, sys; json.load(open(sys.argv[1], encoding='utf-8'))"


def write_records(path: Path, count: int) -> None:
    """A JSON list of conversations of about 1.2 KB."""
    words = "what stands on the table beside the window and why would anybody put it there "
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            has_image = number % 16 > 0
            turns = [
                {
                    "from": ("human", "gpt")[turn % 2],
                    "value": ("<image>\n" if has_image and not turn else "") + words * (1 + turn % 3),
                }
                for turn in range(6)
            ]
            image = {"image": f"coco/train2017/{number:012d}.jpg"} if has_image else {}
            record = {"id": f"{number // 2:012d}", **image, "conversations": turns}
            file.write(("[" if not number else ",") + json.dumps(record))
        file.write("]")


def cost(command: list[str], folder: Path) -> tuple[float, int]:
    """Seconds of a command, and the most bytes that it held."""
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as running:
        with TreeSampler(running.pid) as sampler:
            code = running.wait()
        if code:
            raise subprocess.CalledProcessError(code, command)
    return time.perf_counter() - began, sampler.peak


def main() -> None:
    """Make the file, mix it, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=665_000)
    count = parser.parse_args().records
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder / "all.json", count)
        size = (folder / "all.json").stat().st_size
        print(f"{count:,} records, {size:,} bytes")
        for order in ("listed", "shuffled"):
            (folder / f"{order}.toml").write_text(f'order = "{order}"\n[source.a]\npath = "all.json"\n')
            mix = [
                sys.executable,
                "-c",
                "from coreset.cli import main; main()",
                "mix",
                f"{order}.toml",
                "out.json",
                "-q",
            ]
            seconds, peak = cost(mix, folder)
            print(f"coreset mix, {order}: {seconds:.1f} s, {size / seconds / 2**20:.0f} MiB/s, {peak / 2**20:.0f} MiB")
        seconds, peak = cost([sys.executable, "-c", LOAD, "all.json"], folder)
        print(f"json.load alone: {seconds:.1f} s, {peak / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
