"""One word for many files -> the words for each: braces and numbers as the shell and webdataset know them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from coreset.engine.errors import InputError

MOST_FILES = 1_000_000
_RANGE = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})(?:\.\.-?(\d{1,18}))?", re.ASCII)
_DIGITS = re.compile(r"([0-9]+)")


def expanded_braces(pattern: str) -> list[str]:
    """The words that a pattern with braces stands for, in order; braces that mean nothing stay as they are.

    Args:
        pattern: With `{a,b}` lists and `{first..last}` or `{first..last..step}` numbers, nested as you like.
            Numbers are padded to the longer end if one of the ends begins with 0.

    Raises:
        InputError: More than a million words.

    Example:
        >>> expanded_braces("{cats,dogs/{08..10}}.tar")
        ['cats.tar', 'dogs/08.tar', 'dogs/09.tar', 'dogs/10.tar']
    """
    words = list(islice(_words(pattern), MOST_FILES + 1))
    if len(words) > MOST_FILES:
        raise InputError(f"'{pattern}' stands for more than {MOST_FILES} files: give the shards of one run in fewer")
    return words


def natural_order(name: str) -> tuple[tuple[str | int, ...], str]:
    """A sort key by which part_2 comes before part_10.

    Example:
        >>> sorted(["b_10", "b_2", "a_3"], key=natural_order)
        ['a_3', 'b_2', 'b_10']
    """
    return tuple(int(part) if part.isdecimal() else part for part in _DIGITS.split(name)), name


def _words(pattern: str) -> Iterator[str]:
    at = pattern.find("{")
    while at >= 0:
        found = _group(pattern, at)
        if found is not None:
            body, end = found
            choices = _choices(body)
            if choices is not None:
                yield from _combined(pattern[:at], choices, pattern[end:])
                return
        at = pattern.find("{", at + 1)
    yield pattern


def _combined(before: str, choices: Iterator[str], after: str) -> Iterator[str]:
    for choice in choices:
        for word in _words(choice + after):
            yield before + word


def _group(pattern: str, start: int) -> tuple[str, int] | None:
    """What stands between the brace at `start` and its partner, and where it goes on behind."""
    depth = 0
    for at in range(start, len(pattern)):
        depth += {"{": 1, "}": -1}.get(pattern[at], 0)
        if depth == 0:
            return pattern[start + 1 : at], at + 1
    return None


def _choices(body: str) -> Iterator[str] | None:
    """What a group between braces stands for, None if it is neither numbers nor a list."""
    numbers = _RANGE.fullmatch(body)
    if numbers:
        return _numbers(numbers[1], numbers[2], max(1, int(numbers[3] or 1)))
    parts = [""]
    depth = 0
    for letter in body:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return iter(parts) if len(parts) > 1 else None


def _numbers(first: str, last: str, step: int) -> Iterator[str]:
    padded = any(re.match(r"-?0[0-9]", end) for end in (first, last))
    width = max(len(first), len(last)) if padded else 0
    begin, end = int(first), int(last)
    span = range(begin, end + 1, step) if begin <= end else range(begin, end - 1, -step)
    return (f"{number:0{width}d}" if width else str(number) for number in span)
