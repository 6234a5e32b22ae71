"""Progress on a terminal: two live lines for the stage under way; a finished stage stays as one line."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from coreset.cli.meter import Meter, found_facts
from coreset.cli.progress import Said
from coreset.cli.show import duration, size, time_left
from coreset.engine.progress import NOTHING

REFRESHES = 4
"""Times a second that the live lines are drawn."""
NAME = 10
"""Characters of a stage's name, and the space behind it."""
BAR = 40
"""Characters of the bar where there is room."""
RESULT = 40
"""Characters of what a finished stage came to, where there is room."""
CARRIAGE_RETURN = ControlType.CARRIAGE_RETURN
ERASE, UP = (ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)
SWEEPS = 8
"""Characters a second at which a bar without an end moves."""


class Terminal(Console):
    """stderr; the cursor is never hidden, so that a killed process leaves it as it was."""

    def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002  rich hides it while something is live
        """Do nothing."""
        return False


def terminal() -> Console:
    """stderr, whatever it is; its lines are never broken in a file."""
    return Terminal(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=not sys.stderr.isatty())


class Bars(Said):
    """Two live lines at the bottom of the terminal; what is finished stands above them."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._drawn: list[int] = []
        self._live = Live(get_renderable=self._frame, console=console, transient=True, refresh_per_second=REFRESHES)
        self._live.start()

    def start(
        self, stage: str, parts: int, done: int, counts: Mapping[str, int] = NOTHING, rows: int | None = None
    ) -> None:
        """Show how far a stage is."""
        self._meter.begin(stage, parts, done, counts, rows)

    def finish(self, counts: Mapping[str, int]) -> None:
        """Replace the live lines by what the stage came to."""
        meter = self._meter
        self._console.print(finished_line(meter, counts, self._console.width), soft_wrap=True)
        meter.end()

    def close(self) -> None:
        """Take the live lines off the terminal."""
        self._live.stop()

    def _frame(self) -> Group:
        self._meter.look()
        width, ascii_only = self._console.width, self._console.options.ascii_only
        for _ in range(broken_lines(self._drawn, width)):
            self._console.control(Control(CARRIAGE_RETURN, ERASE, UP))
        lines = frame(self._meter, width, time.monotonic(), ascii_only)
        self._drawn = [line.cell_len for line in lines]
        return Group(*lines)


def broken_lines(lengths: Sequence[int], width: int) -> int:
    """How many lines a terminal adds that breaks lines of these lengths when it becomes narrower.

    Example:
        >>> broken_lines([70, 20], 100), broken_lines([70, 20], 60), broken_lines([70, 20], 30)
        (0, 1, 2)
    """
    return sum(max(0, -(-length // width) - 1) for length in lengths)


def frame(meter: Meter, width: int, now: float, ascii_only: bool = False) -> list[Text]:
    """The two live lines, none wider than the terminal.

    Args:
        meter: of the stage
        width: of the terminal; its last column stays empty, because some terminals break a full line
        now: decides where a bar without an end stands
        ascii_only: whether the terminal knows no lines to draw with
    """
    room = max(1, width - 1)
    left = meter.seconds_left
    ends = [] if left is None else [time_left(left)]
    if meter.share is not None:
        ends.insert(0, f"{int(100 * meter.share):3d} %")
    first = Text(f"{meter.stage or 'working':<{NAME - 1}} ")
    end = fitting(ends, room - len(first) - 8, "  ")
    long = min(BAR, room - len(first) - (cell_len(end) + 2 if end else 0))
    if long > 3:
        first.append_text(drawn_bar(meter.share, long, now, ascii_only))
    first.append("  " + end if end else "")
    first.truncate(room)
    facts = fitting(meter.facts(), room - NAME, ", ")
    return [first, Text(" " * NAME + facts, "dim") if facts else Text("")]


def drawn_bar(share: float | None, width: int, now: float, ascii_only: bool = False) -> Text:
    """A bar that is full up to its share; without one, a piece that moves to and fro.

    Example:
        >>> drawn_bar(0.5, 6, 0).plain, drawn_bar(None, 8, 0.25).plain
        ('━━━───', '──━━────')
    """
    full, rest = "=-" if ascii_only else "━─"
    if share is None:
        long = max(1, width // 4)
        at = int(now * SWEEPS) % (2 * (width - long) or 1)
        start, end = min(at, 2 * (width - long) - at), min(at, 2 * (width - long) - at) + long
    else:
        start, end = 0, int(share * width)
    drawn = Text(rest * start, "bright_black")
    return drawn.append(full * (end - start), "green").append(rest * (width - end), "bright_black")


def finished_line(meter: Meter, counts: Mapping[str, int], width: int) -> str:
    """What a stage came to, and what it took."""
    took = duration(meter.seconds)
    result = result_of(counts)
    name = f"{meter.stage:<{NAME}}" if len(meter.stage) < NAME else f"{meter.stage}: "
    line = f"{name}{result:<{RESULT}}{took:>14}"
    if width <= len(line):
        return f"{name}{result}, {took}"
    rows = counts.get("rows", 0)
    rate = f"{rows / meter.seconds:,.0f} rows/s" if rows and meter.seconds >= 1 else ""
    memory = size(meter.peak) if meter.peak else ""
    for more in (f"{rate:>18}", f"{memory:>12}"):
        line += more if len(line) + len(more) < width else ""
    return line.rstrip()


def result_of(counts: Mapping[str, int]) -> str:
    """What a stage came to.

    Example:
        >>> result_of({"rows": 1385, "kept": 815, "duplicates": 570}), result_of({"clusters": 40, "sample": 9})
        ('1,385 rows, 58.8 % kept', '40 clusters')
    """
    names = ("rows", "edges", "clusters")
    return ", ".join([*(f"{counts[name]:,} {name}" for name in names if name in counts), *found_facts(counts)])


def fitting(pieces: Sequence[str], room: int, gap: str) -> str:
    """As many of some texts, from the first on, as there is room for.

    Example:
        >>> fitting(["one", "two", "three"], 9, ", ")
        'one, two'
    """
    line = ""
    for piece in pieces:
        longer = line + gap + piece if line else piece
        if cell_len(longer) > room:
            break
        line = longer
    return line
