"""The small counts of many parts, held in columns: eight bytes a count."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence

from coreset.engine.names import Numbered, names_held

Summary = dict[str, int]
"""Small counts of one part, such as `{"rows": 10, "quarantined": 1}`; a stage's counts are their sums."""

_UNSAID = -(1 << 63)


class Summaries(Mapping[str, Summary]):
    """The summaries of many parts by name.

    Example:
        >>> some = Summaries()
        >>> some.append({"rows": 5})
        >>> some.append({"rows": 2, "kept": 1})
        >>> some.named(["00000", "00001"])["00001"], some["00000"], some.sums()
        ({'rows': 2, 'kept': 1}, {'rows': 5}, {'rows': 7, 'kept': 1})
    """

    def __init__(self) -> None:
        self.names: Sequence[str] = ()
        self._columns: dict[str, array[int]] = {}
        self._count = 0
        self._places: dict[str, int] = {}

    def append(self, summary: Mapping[str, int]) -> None:
        """Take one more part's counts."""
        for name in summary:
            if name not in self._columns:
                self._columns[name] = array("q", [_UNSAID]) * self._count
        for name, column in self._columns.items():
            column.append(summary.get(name, _UNSAID))
        self._count += 1

    def named(self, names: Sequence[str]) -> Summaries:
        """Say what the parts are called, in order; returns itself.

        Raises:
            ValueError: There are more or fewer names than parts.
        """
        if len(names) != self._count:
            raise ValueError(f"{len(names)} names for {self._count} parts")
        self.names = names_held(names)
        self._places = {} if isinstance(self.names, Numbered) else {name: at for at, name in enumerate(names)}
        return self

    def sums(self) -> Summary:
        """What all parts come to."""
        return {name: sum(count for count in column if count != _UNSAID) for name, column in self._columns.items()}

    def __getitem__(self, name: str) -> Summary:
        place = self._place(name)
        return {count: column[place] for count, column in self._columns.items() if column[place] != _UNSAID}

    def _place(self, name: str) -> int:
        if isinstance(self.names, Numbered) and name.isdecimal() and int(name) < self._count:
            return int(name)
        return self._places[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return self._count
