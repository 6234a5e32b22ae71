"""What is told to a person while a stage is filled. Results never depend on it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from multiprocessing.sharedctypes import Synchronized
from types import MappingProxyType
from typing import Protocol

NOTHING: Mapping[str, int] = MappingProxyType({})


class Progress(Protocol):
    """Told of a stage's life by `complete`; called in the main process only."""

    def plan(self, stage: str) -> None:
        """A stage is being planned, which may take passes over the one before."""

    def start(
        self, stage: str, parts: int, done: int, counts: Mapping[str, int] = NOTHING, rows: int | None = None
    ) -> None:
        """A stage begins.

        Args:
            stage: its name
            parts: that it has in all
            done: of them, found complete
            counts: what those came to
            rows: that it will have seen at its end; None if nobody knows
        """

    def advance(self, counts: Mapping[str, int]) -> None:
        """One more part is committed; this is what it came to."""

    def finish(self, counts: Mapping[str, int]) -> None:
        """The stage is complete."""

    def reuse(self, stage: str, counts: Mapping[str, int]) -> None:
        """The stage was complete already."""

    def redo(self, stage: str, changes: Sequence[str]) -> None:
        """The stage is computed anew because of changed parameters."""

    def note(self, text: str) -> None:
        """Something worth knowing was decided."""


class Quiet:
    """Says nothing."""

    def plan(self, stage: str) -> None:
        """Nothing."""

    def start(
        self, stage: str, parts: int, done: int, counts: Mapping[str, int] = NOTHING, rows: int | None = None
    ) -> None:
        """Nothing."""

    def advance(self, counts: Mapping[str, int]) -> None:
        """Nothing."""

    def finish(self, counts: Mapping[str, int]) -> None:
        """Nothing."""

    def reuse(self, stage: str, counts: Mapping[str, int]) -> None:
        """Nothing."""

    def redo(self, stage: str, changes: Sequence[str]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


quiet = Quiet()


class Ticker:
    """Rows done so far inside unfinished parts, by this process and its workers; for rates only.

    Example:
        >>> ticker = Ticker(); ticker.add(5); ticker.add(2); ticker.total
        7
    """

    def __init__(self, shared: Synchronized[int] | None = None) -> None:
        self._own = 0
        self._shared = shared

    @property
    def total(self) -> int:
        """Rows of this process and, once shared, of its workers."""
        return self._own + (self._shared.value if self._shared is not None else 0)

    def add(self, rows: int) -> None:
        """Count rows."""
        if self._shared is None:
            self._own += rows
        else:
            with self._shared.get_lock():
                self._shared.value += rows

    def share(self) -> Synchronized[int]:
        """A counter that worker processes can be given."""
        if self._shared is None:
            self._shared = multiprocessing.get_context("spawn").Value("q", 0)
        return self._shared

    def adopt(self, shared: Synchronized[int]) -> None:
        """Count into the parent's counter: called once in a worker."""
        self._shared = shared


ticker = Ticker()
"""The process's own; tasks call `ticker.add`."""
