"""What `coreset report` shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from coreset.cli.show import out, print_json

if TYPE_CHECKING:
    from coreset.results.report.report import Report


def report_result(found: Report, as_json: bool) -> None:
    """Say where a report lies."""
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    without = f", {found.without:,} without" if found.without else ""
    out(f"{found.bytes / 1e6:.1f} MB, {found.pictures:,} rows with a picture{without}; every number: {found.numbers}")
    out(found.page)
