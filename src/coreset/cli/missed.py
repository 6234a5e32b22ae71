"""What `coreset missed` shows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from coreset.cli.show import out, print_json
from coreset.cli.table import Column, show_table

if TYPE_CHECKING:
    from coreset.results.chains.misses import Missed


def missed_result(found: Missed, as_json: bool) -> None:
    """Show the estimates with their intervals, and what to do about them."""
    if as_json:
        print_json({**said(found), "advice": found.advice})
        return
    shares = (
        ("rows with a near-duplicate in another cluster", found.missed, True),
        ("pairs of these", found.missed_pairs, False),
        ("of all pairs above the threshold", found.missed_of_pairs, True),
        ("survivors with a surviving near-duplicate in another cluster", found.surviving, True),
        ("pairs of these", found.surviving_pairs, False),
    )
    lines = []
    for name, estimated, is_share in shares:
        if estimated is not None:
            value, low, high = (number(one, is_share) for one in estimated)
            lines.append([name, value, f"{low} to {high}"])
    out(
        f"{found.sampled:,} of {found.rows:,} rows, {found.sampled_survivors:,} of them survivors, were searched for "
        f"among all: cosine above {found.threshold:g}, {found.clusters:,} cluster(s)"
    )
    show_table((Column(""), Column("estimate", is_number=True), Column("95 % interval", is_number=True)), lines)
    out(found.advice)


def said(found: Missed) -> dict[str, object]:
    """The fields as JSON values: an estimate as its value, low and high."""
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return {name: value._asdict() if hasattr(value, "_asdict") else value for name, value in fields.items()}


def number(value: float, is_share: bool) -> str:
    """A share in percent, or a count.

    Example:
        >>> number(0.0123, True), number(12345.6, False)
        ('1.23 %', '12,346')
    """
    return f"{100 * value:.2f} %" if is_share else f"{value:,.0f}"
