"""The names of parts: numbered ones are counted, not held, and a thousand of them travel as one number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload


def part_number(number: int) -> str:
    """The name of a part by its number.

    Example:
        >>> part_number(7), part_number(232_319)
        ('00007', '232319')
    """
    return f"{number:05d}"


@dataclass(frozen=True, slots=True)
class Numbered(Sequence[str]):
    """The names `00000`, `00001`, … of numbered parts, or their locations.

    Attributes:
        length: how many there are
        prefix: stands before each
        suffix: stands behind each

    Example:
        >>> list(Numbered(2, "run/rows/", ".parquet"))
        ['run/rows/00000.parquet', 'run/rows/00001.parquet']
    """

    length: int
    prefix: str = ""
    suffix: str = ""

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[str]:
        return (f"{self.prefix}{number:05d}{self.suffix}" for number in range(self.length))

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        numbers = range(self.length)[index]
        if isinstance(numbers, int):
            return f"{self.prefix}{numbers:05d}{self.suffix}"
        return tuple(f"{self.prefix}{number:05d}{self.suffix}" for number in numbers)

    def between(self, prefix: str, suffix: str) -> Numbered:
        """The same with more before and behind each."""
        return Numbered(self.length, prefix + self.prefix, self.suffix + suffix)


def names_held(names: Sequence[str]) -> Sequence[str]:
    """The same names, in the least memory.

    Example:
        >>> names_held(["00000", "00001"]), names_held(["centroids"])
        (Numbered(length=2, prefix='', suffix=''), ('centroids',))
    """
    numbered = Numbered(len(names))
    return numbered if all(one == other for one, other in zip(names, numbered, strict=True)) else tuple(names)
