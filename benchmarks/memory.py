"""Peak memory and CPU time of a process with all its descendants, by sampling Linux's ``/proc``.

Counted is what must fit the machine: anonymous and shared pages (``RssAnon`` + ``RssShmem``), summed over the
processes. Pages of mapped files do not count, the kernel can drop them, unless the files lie on a tmpfs. Pages that
two processes share count twice, so the sum is never too low. A peak shorter than the interval can be missed.

``python benchmarks/memory.py COMMAND ...`` runs a command and prints its peak and CPU time.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from coreset.engine.memory import own_bytes, proc_text, tree

_TICKS = os.sysconf("SC_CLK_TCK")


class TreeSampler:
    """Samples a process tree from a thread, between entering and leaving.

    Attributes:
        peaks: most bytes held at a time, by label
        cpu: seconds of user and system time, by label
    """

    def __init__(self, pid: int, label: Callable[[], str] = lambda: "", interval: float = 0.05) -> None:
        self.peaks: dict[str, int] = {}
        self.cpu: dict[str, float] = {}
        self._pid, self._label, self._interval = pid, label, interval
        self._seen = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def peak(self) -> int:
        """Most bytes held at a time, whatever the label."""
        return max(self.peaks.values(), default=0)

    def sample(self) -> None:
        """Look once; the CPU time since the last look counts for the label that is found now."""
        label = self._label()
        pids = tree(self._pid)
        used = sum(map(cpu_seconds, pids))
        self.peaks[label] = max(self.peaks.get(label, 0), sum(map(own_bytes, pids)))
        self.cpu[label] = self.cpu.get(label, 0.0) + max(0.0, used - self._seen)
        self._seen = max(self._seen, used)

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            self.sample()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()


def cpu_seconds(pid: int) -> float:
    """User and system time of one process and of the children that it has waited for; 0 once it has ended."""
    fields = proc_text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def main() -> None:
    """Runs the command that the command line names."""
    begun = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:])
    with TreeSampler(process.pid) as sampler:
        code = process.wait()
    seconds, cpu = time.perf_counter() - begun, sum(sampler.cpu.values())
    print(f"{seconds:.2f} s, {cpu:.2f} s of CPU, peak {sampler.peak / 2**20:,.0f} MiB", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
