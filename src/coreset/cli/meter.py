"""What is known of a stage while it is filled: how far it is, how quickly it goes, what was found so far."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping

from coreset.cli.show import duration, percent, size
from coreset.engine.memory import tree_bytes
from coreset.engine.progress import NOTHING, ticker
from coreset.engine.stage import summed

RATE_SECONDS = 60.0
"""Rates are those of the last minute: the last clusters may be slower than the first."""
MEMORY_SECONDS = 1.0
PLANNING, FILLING, CHECKING = "planning", "filling", "checking"


class Meter:
    """What both displays need: how far the stage is, how quickly it goes, what was found so far.

    Attributes:
        stage: the one that is under way; empty between two
        phase: of it
        parts: that it will have
        done: of them
        counts: what those came to
        total: rows that it will have seen at its end; None if nobody knows
        memory: bytes that all processes hold; 0 where that is not known
        peak: most of them that were seen since the stage began
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._memory_at = 0.0
        self.memory = 0
        self._clear("", "")

    def _clear(self, stage: str, phase: str) -> None:
        self.stage, self.phase = stage, phase
        self.parts = self.done = 0
        self.peak = self.memory
        self.counts: Mapping[str, int] = NOTHING
        self.total: int | None = None
        self._found_parts = self._found_rows = 0
        self._began, self._ticks = self._clock(), ticker.total
        self._seen.clear()
        self._seen.append((self._began, 0))

    def plan(self, stage: str) -> None:
        """A stage is being planned."""
        self._clear(stage, PLANNING)

    def begin(self, stage: str, parts: int, done: int, counts: Mapping[str, int], total: int | None) -> None:
        """A stage begins; the time of planning counts."""
        began = self._began if self.stage == stage else self._clock()
        self._clear(stage, FILLING)
        self._began = began
        self.parts, self.done, self.counts, self.total = parts, done, counts, total
        self._found_parts, self._found_rows = done, rows_seen(counts)

    def advance(self, counts: Mapping[str, int]) -> None:
        """A part is done."""
        self.done += 1
        self.counts = summed([self.counts, counts])
        if self.done == self.parts:
            self.phase = CHECKING

    def end(self) -> None:
        """The stage is over."""
        self._clear("", "")

    def look(self) -> None:
        """Note how far it is now; called from time to time."""
        now = self._clock()
        self._seen.append((now, ticker.total - self._ticks))
        while now - self._seen[0][0] > RATE_SECONDS and len(self._seen) > 2:
            self._seen.popleft()
        if now - self._memory_at >= MEMORY_SECONDS:
            self.memory, self._memory_at = tree_bytes(os.getpid()), now
            self.peak = max(self.peak, self.memory)

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return self._clock() - self._began

    @property
    def rows(self) -> int:
        """Rows seen, those of unfinished parts too; never more than there are."""
        seen = self._found_rows + max(ticker.total - self._ticks, rows_seen(self.counts) - self._found_rows)
        return seen if self.total is None else min(seen, self.total)

    @property
    def rate(self) -> float:
        """Rows a second, lately; 0 if none were seen."""
        (began, before), (now, ticks) = self._seen[0], self._seen[-1]
        return (ticks - before) / (now - began) if now > began else 0.0

    @property
    def share(self) -> float | None:
        """How much of the stage is done, from 0 to 1; None if nobody knows."""
        if self.phase == PLANNING or not self.parts:
            return None
        if self.total:
            return self.rows / self.total
        return self.done / self.parts if self.parts > 1 else None

    @property
    def seconds_left(self) -> float | None:
        """Judged by rows if their number is known, else by parts; None if that cannot be said yet."""
        if self.phase != FILLING:
            return None
        if self.total:
            return (self.total - self.rows) / self.rate if self.rate else None
        made = self.done - self._found_parts
        return self.seconds / made * (self.parts - self.done) if made else None

    def facts(self) -> list[str]:
        """What is worth saying, the most important first."""
        said = []
        if self.phase == PLANNING:
            said.append("planning")
        elif self.rows:
            said.append(f"{self.rows:,} of {self.total:,} rows" if self.total else f"{self.rows:,} rows")
        if self.phase == CHECKING:
            said.append("checking")
        if self.rate:
            said.append(f"{self.rate:,.0f} rows/s")
        said += found_facts(self.counts)
        if self.parts > 1:
            said.append(f"{self.done:,}/{self.parts:,} parts")
        if self.memory:
            said.append(size(self.memory))
        return [*said, duration(self.seconds)]


def rows_seen(counts: Mapping[str, int]) -> int:
    """Rows that parts with these counts have gone through, whatever became of them.

    Example:
        >>> rows_seen({"samples": 5, "rows": 4, "quarantined": 1}), rows_seen({"rows": 4, "excluded": 1})
        (5, 5)
    """
    return counts.get("samples", counts.get("rows", 0) + counts.get("excluded", 0))


def found_facts(counts: Mapping[str, int]) -> list[str]:
    """What became of the rows so far.

    Example:
        >>> found_facts({"rows": 4, "kept": 3, "duplicates": 1}), found_facts({"samples": 2, "quarantined": 1})
        (['75.0 % kept'], ['1 quarantined'])
    """
    kept = [f"{percent(counts['kept'], counts['rows'])} kept"] if counts.get("rows") and "kept" in counts else []
    return kept + [f"{counts[name]:,} {name}" for name in ("quarantined", "excluded") if counts.get(name)]
