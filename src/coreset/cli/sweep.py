"""What `coreset sweep` shows."""

from __future__ import annotations

from collections.abc import Sequence

from coreset.cli.show import bar, percent, print_json
from coreset.cli.table import Column, show_table

BAR = 40
COLUMNS = (Column("threshold"), Column("kept", is_number=True), Column("of all", is_number=True), Column("", worth=1))


def sweep_result(thresholds: Sequence[float], kept: Sequence[int], total: int, as_json: bool) -> None:
    """Show how many rows each threshold keeps, with a bar for its share."""
    found = list(zip(thresholds, kept, strict=True))
    if as_json:
        print_json([{"threshold": t, "kept": count, "fraction": count / total} for t, count in found])
        return
    rows = [[f"{t:g}", f"{count:,}", percent(count, total), bar(count, total, BAR)] for t, count in found]
    show_table(COLUMNS, rows)
