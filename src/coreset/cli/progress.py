"""Progress on stderr: what every display says in a line of its own, and log lines where there is no terminal."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from rich.console import Console

from coreset.cli.meter import Meter
from coreset.cli.show import duration, plain, time_left
from coreset.engine.progress import NOTHING

LOG_SECONDS = 30.0
SAID = ("samples", "rows", "edges", "quarantined", "excluded", "clusters", "kept", "duplicates")
"""Counts that are said when a stage is complete, in this order."""


class Said:
    """What both displays say in a line of its own."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._meter = Meter()

    def plan(self, stage: str) -> None:
        """Remember what is being planned."""
        self._meter.plan(stage)

    def advance(self, counts: Mapping[str, int]) -> None:
        """Count a part."""
        self._meter.advance(counts)

    def reuse(self, stage: str, counts: Mapping[str, int]) -> None:
        """Say that a stage was complete."""
        self._meter.end()
        self._console.print(reuse_line(stage, counts))

    def redo(self, stage: str, changes: Sequence[str]) -> None:
        """Say why a stage is computed anew."""
        self._console.print(redo_line(stage, changes))

    def note(self, text: str) -> None:
        """Say what was decided."""
        self._console.print(plain(text))


class Lines(Said):
    """A log line when a stage begins and ends, and every 30 s."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._stop = threading.Event()
        threading.Thread(target=self._log, daemon=True).start()

    def start(
        self, stage: str, parts: int, done: int, counts: Mapping[str, int] = NOTHING, rows: int | None = None
    ) -> None:
        """Say that a stage begins."""
        self._meter.begin(stage, parts, done, counts, rows)
        found = f", {done:,} found complete" if done else ""
        self._console.print(f"{stage}: {parts:,} part(s){found}")

    def finish(self, counts: Mapping[str, int]) -> None:
        """Say what a stage came to."""
        said = ", ".join(f"{counts[name]:,} {name}" for name in SAID if name in counts)
        self._console.print(f"{self._meter.stage}: {said} in {duration(self._meter.seconds)}")
        self._meter.end()

    def close(self) -> None:
        """Stop logging."""
        self._stop.set()

    def _log(self) -> None:
        while not self._stop.wait(LOG_SECONDS):
            self._meter.look()
            if self._meter.stage:
                self._console.print(log_line(self._meter))


def log_line(meter: Meter) -> str:
    """How far a stage is, as a line of a log."""
    left = meter.seconds_left
    said = meter.facts() + ([] if left is None else [time_left(left)])
    return f"{meter.stage}: " + ", ".join(said)


def reuse_line(stage: str, counts: Mapping[str, int]) -> str:
    """What is said of a stage that was complete."""
    rows = f", {counts['rows']:,} rows" if "rows" in counts else ""
    return f"{stage}: complete already{rows}"


def redo_line(stage: str, changes: Sequence[str]) -> str:
    """What is said of a stage that is computed anew."""
    return f"{stage}: computed anew because of a new {', '.join(changes)}; everything before it is reused"
