"""What `coreset sweep` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coreset.cli.show import bar, percent, print_json
from coreset.cli.table import Column, show_table

if TYPE_CHECKING:
    from coreset.results.sweep import Sweep

BAR = 40
COLUMNS = (Column("threshold"), Column("kept", is_number=True), Column("of all", is_number=True), Column("", worth=1))


def sweep_result(swept: Sweep, as_json: bool) -> None:
    """Show how many rows each threshold keeps, with a bar for its share."""
    found, total = list(zip(swept.thresholds, swept.kept, strict=True)), swept.rows
    if as_json:
        print_json([{"threshold": t, "kept": count, "fraction": count / total} for t, count in found])
        return
    rows = [[f"{t:g}", f"{count:,}", percent(count, total), bar(count, total, BAR)] for t, count in found]
    show_table(COLUMNS, rows)
