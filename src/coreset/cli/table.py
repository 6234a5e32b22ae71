"""A table as lines of text that fit a terminal: what is worth least is left out, and no cell is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from coreset.cli.show import console, plain

GAP = "  "
KEPT = 100
"""The worth of a column that is always shown."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading
        is_number: whether its cells stand at the right
        worth: what is worth less is left out first where there is no room
    """

    name: str
    is_number: bool = False
    worth: int = KEPT


def table_lines(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The headings, if there are any, and a line for each row; nothing at their right ends.

    Args:
        columns: of the table
        cells: of each row, as many as columns
        width: of the terminal; None for a file, which has no edge

    Example:
        >>> table_lines([Column("a"), Column("n", True), Column("note", worth=1)], [["x", "12", "y"]], None)
        ['a   n  note', 'x  12  y']
        >>> table_lines([Column("a"), Column("n", True), Column("note", worth=1)], [["x", "12", "y"]], 10)
        ['a   n', 'x  12']
    """
    shown = list(range(len(columns)))
    widths = [max([cell_len(column.name), *(cell_len(row[at]) for row in cells)]) for at, column in enumerate(columns)]
    shown = [at for at in shown if widths[at]]
    while width is not None and sum(widths[at] + len(GAP) for at in shown) - len(GAP) > width:
        least = min(shown, key=lambda at: columns[at].worth)
        if columns[least].worth >= KEPT:
            break
        shown.remove(least)
    rows = [[column.name for column in columns], *cells] if any(column.name for column in columns) else cells
    return [GAP.join(_padded(row[at], widths[at], columns[at].is_number) for at in shown).rstrip() for row in rows]


def show_table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout, with bold headings on a terminal."""
    paper = console()
    has_heading = any(column.name for column in columns)
    safe = [[plain(cell) for cell in row] for row in cells]
    for number, line in enumerate(table_lines(columns, safe, paper.width if paper.is_terminal else None)):
        paper.print(Text(line, "bold" if has_heading and not number else ""), soft_wrap=True)


def _padded(cell: str, width: int, is_number: bool) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if is_number else cell + space
