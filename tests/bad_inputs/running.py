"""A command that may take so much time and no more; in a process of its own, so much memory, too."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from command import Said, Started, coreset

from coreset.cli import main

DEADLINE = 60.0
"""Seconds after which one bad input counts as a hang; the process is killed then."""
ADDRESS_SPACE = 6 << 30
"""How much a process may map on top of what it has when it begins."""
_PEAK = "peak.txt"


@dataclass(frozen=True)
class Ended:
    """What a command left behind.

    Attributes:
        said: Exit code and what was printed.
        grown: Bytes by which resident memory grew at its peak.
    """

    said: Said
    grown: int


def bounded(*arguments: str, cwd: Path, deadline: float = DEADLINE) -> Ended:
    """Run a command to its end, or kill it: a hang and boundless memory are failures, not a stuck test."""
    process = Started(_bounded, *arguments, cwd=cwd)
    process.process.join(deadline)
    if process.process.exitcode is None:
        process.kill()
        process.process.join()
        raise AssertionError(f"{' '.join(arguments)} did not end within {deadline:g} s: {process.text}")
    peak = cwd / _PEAK
    grown = int(peak.read_text()) if peak.exists() else 0
    return Ended(Said(process.process.exitcode, "", process.text), grown)


def timed(*arguments: str, cwd: Path) -> Said:
    """Run a command here; one that takes too long fails."""
    with alarm(DEADLINE):
        said = coreset(*arguments, cwd=cwd)
    return Said(said.code, said.out, said.out + said.err)


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise AssertionError in what runs longer."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"did not end within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _bounded(*arguments: str) -> None:
    pages = [int(word) * resource.getpagesize() for word in Path("/proc/self/statm").read_text().split()]
    resource.setrlimit(resource.RLIMIT_AS, (pages[0] + ADDRESS_SPACE,) * 2)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of the process that this one came from
    sys.argv = ["coreset", *arguments]
    try:
        main()
    finally:
        peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        Path(_PEAK).write_text(str(int(peak.split()[1]) * 1024 - pages[1]))
