"""Progress on stderr: a bar with rate and time left on a terminal, a log line every 30 s elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from coreset.cli.show import duration, plain
from coreset.engine.progress import ticker

LOG_SECONDS = 30.0
REFRESH_SECONDS = 0.5
SAID = ("samples", "rows", "quarantined", "clusters", "kept", "duplicates")
"""Counts that are said when a stage is complete, in this order."""


class Meter:
    """What both displays need: when the stage began, its parts, rows seen since."""

    def __init__(self) -> None:
        self.stage, self.parts, self.done, self.found = "", 0, 0, 0
        self.began = self.rows_before = 0.0

    def begin(self, stage: str, parts: int, done: int) -> None:
        """A stage begins."""
        self.stage, self.parts, self.done, self.found = stage, parts, done, done
        self.began, self.rows_before = time.monotonic(), ticker.total

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return time.monotonic() - self.began

    @property
    def rate(self) -> str:
        """Rows per second, if rows are counted."""
        rows = ticker.total - self.rows_before
        return f"{rows / max(self.seconds, 1e-9):,.0f} rows/s" if rows else ""

    @property
    def left(self) -> str:
        """Time left, judged by the parts done in this run."""
        done = self.done - self.found
        return (
            duration(self.seconds / done * (self.parts - self.done)) + " left"
            if done and self.done < self.parts
            else ""
        )

    def closing(self, counts: Mapping[str, int]) -> str:
        """What a stage came to."""
        said = ", ".join(f"{counts[name]:,} {name}" for name in SAID if name in counts)
        return f"{self.stage}: {said} in {duration(self.seconds)}"


class Said:
    """What both displays say in a line of its own."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._meter, self._stop = Meter(), threading.Event()

    def reuse(self, stage: str, counts: Mapping[str, int]) -> None:
        """Say that a stage was complete."""
        self._console.print(reuse_line(stage, counts))

    def redo(self, stage: str, changes: Sequence[str]) -> None:
        """Say why a stage is computed anew."""
        self._console.print(redo_line(stage, changes))

    def note(self, text: str) -> None:
        """Say what was decided."""
        self._console.print(plain(text))


class Lines(Said):
    """A log line when a stage begins and ends, and every 30 s."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True))
        threading.Thread(target=self._log, daemon=True).start()

    def start(self, stage: str, parts: int, done: int) -> None:
        """Say that a stage begins."""
        self._meter.begin(stage, parts, done)
        found = f", {done:,} found complete" if done else ""
        self._console.print(f"{stage}: {parts:,} part(s){found}")

    def advance(self, counts: Mapping[str, int]) -> None:  # noqa: ARG002  the Protocol's shape
        """Count a part."""
        self._meter.done += 1

    def finish(self, counts: Mapping[str, int]) -> None:
        """Say what a stage came to."""
        self._console.print(self._meter.closing(counts))
        self._meter.stage = ""

    def close(self) -> None:
        """Stop logging."""
        self._stop.set()

    def _log(self) -> None:
        while not self._stop.wait(LOG_SECONDS):
            meter = self._meter
            if meter.stage:
                facts = [f"{meter.done:,}/{meter.parts:,} parts", meter.rate, meter.left]
                self._console.print(f"{meter.stage}: " + ", ".join(fact for fact in facts if fact))


class Bars(Said):
    """A bar for each stage."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True, highlight=False, markup=False, emoji=False))
        self._bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
        )
        self._bars.start()
        self._task = self._bars.add_task("", total=None, visible=False, rate="")
        threading.Thread(target=self._refresh, daemon=True).start()

    def start(self, stage: str, parts: int, done: int) -> None:
        """Show a new bar."""
        self._meter.begin(stage, parts, done)
        self._bars.remove_task(self._task)
        self._task = self._bars.add_task(stage, total=parts, completed=done, rate="")

    def advance(self, counts: Mapping[str, int]) -> None:  # noqa: ARG002  the Protocol's shape
        """Move the bar by a part."""
        self._meter.done += 1
        self._bars.advance(self._task)

    def finish(self, counts: Mapping[str, int]) -> None:
        """Replace the bar by what the stage came to."""
        self._bars.update(self._task, visible=False)
        self._console.print(self._meter.closing(counts))

    def close(self) -> None:
        """Take the bars off the terminal."""
        self._stop.set()
        self._bars.stop()

    def _refresh(self) -> None:
        while not self._stop.wait(REFRESH_SECONDS):
            self._bars.update(self._task, rate=self._meter.rate)


def reuse_line(stage: str, counts: Mapping[str, int]) -> str:
    """What is said of a stage that was complete."""
    rows = f", {counts['rows']:,} rows" if "rows" in counts else ""
    return f"{stage}: complete already{rows}"


def redo_line(stage: str, changes: Sequence[str]) -> str:
    """What is said of a stage that is computed anew."""
    return f"{stage}: computed anew because of a new {', '.join(changes)}; everything before it is reused"
