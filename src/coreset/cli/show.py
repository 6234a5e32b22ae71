"""What a person sees: the result on stdout, progress on stderr. Text from the input never controls a terminal."""

from __future__ import annotations

import json
import math
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from coreset.engine.progress import Progress, quiet

EIGHTHS = " ▏▎▍▌▋▊▉█"


def plain(text: str) -> str:
    r"""Text without control and formatting characters, which could move the cursor or hide text.

    Example:
        >>> plain("a\x1b[31mb\u202ec")
        'a[31mbc'
    """
    return "".join(char for char in text if unicodedata.category(char) not in {"Cc", "Cf", "Cs"} or char == "\n")


def one_line(text: str, most: int) -> str:
    r"""Text of the input as one plain line; of a longer one the beginning, and how long it is.

    Example:
        >>> one_line("a\n\x1b[2Jb", 10), one_line("abcdef", 3)
        ('a [2Jb', 'abc… (6 characters)')
    """
    line = " ".join(plain(text[: 8 * most]).split())
    return line if len(line) <= most and len(text) <= 8 * most else f"{line[:most]}… ({len(text):,} characters)"


def out(text: str) -> None:
    """Print a line to stdout."""
    sys.stdout.write(plain(text) + "\n")


def print_json(value: Any) -> None:  # noqa: ANN401  any JSON value
    """Print a value as JSON to stdout."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def console() -> Console:
    """stdout; no colour where it is a file."""
    return Console(highlight=False, markup=False, emoji=False)


@contextmanager
def display(silent: bool) -> Iterator[Progress]:
    """A progress display for a run: bars on a terminal that can show them, log lines elsewhere."""
    if silent:
        yield quiet
        return
    from coreset.cli.bars import Bars, terminal
    from coreset.cli.progress import Lines

    errors = terminal()
    shown = Bars(errors) if errors.is_terminal and not errors.is_dumb_terminal else Lines(errors)
    try:
        yield shown
    finally:
        shown.close()


def percent(part: int, whole: int) -> str:
    """A share in percent; a dash of nothing.

    Example:
        >>> percent(1, 3)
        '33.3 %'
    """
    return f"{100 * part / whole:.1f} %" if whole else "-"


def bar(part: int, whole: int, width: int) -> str:
    """A share as a bar, to an eighth of a character; what is not nothing is seen.

    Example:
        >>> bar(1, 2, 3), bar(1, 1000, 3), bar(0, 1, 3)
        ('█▌', '▏', '')
    """
    eighths = max(round(8 * width * part / whole), 1) if part and whole else 0
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Example:
        >>> duration(5.25), duration(75), duration(7300)
        ('5.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def time_left(seconds: float) -> str:
    """About how long something will take.

    Example:
        >>> time_left(4.2), time_left(64)
        ('5 s left', '1 min 4 s left')
    """
    return (f"{math.ceil(seconds)} s" if seconds <= 59 else duration(max(60, seconds))) + " left"


def size(count: int) -> str:
    """A number of bytes as people say it.

    Example:
        >>> size(12), size(1500), size(3 << 30)
        ('12 B', '1.5 KiB', '3.0 GiB')
    """
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
