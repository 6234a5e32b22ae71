"""What was quarantined, by reason, with the first few of each; streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from coreset import rows
from coreset.engine.disk import TEMPORARY
from coreset.engine.files import Location, join, names_in

EXAMPLES = 20
"""Entries of each reason that are shown."""


@dataclass(frozen=True)
class Refused:
    """One reason.

    Attributes:
        reason: its code
        samples: that it cost
        entries: in quarantine; remarks cost no sample, and a shard that was cut may cost many
        examples: the first of them, with the columns of quarantine
    """

    reason: str
    samples: int
    entries: int
    examples: tuple[dict[str, Any], ...]


def refused(run: Location) -> list[Refused]:
    """Every reason for quarantine of a run, most samples first."""
    folder = join(run, "quarantine")
    samples, entries, examples = dict[str, int](), dict[str, int](), dict[str, list[dict[str, Any]]]()
    for name in names_in(folder):
        if not name.endswith(".parquet") or TEMPORARY in name:
            continue
        for table in rows.table_batches(join(folder, name), rows.QUARANTINE.names):
            for count in table.group_by("reason").aggregate([("rows", "sum"), ("rows", "count")]).to_pylist():
                reason = count["reason"]
                samples[reason] = samples.get(reason, 0) + count["rows_sum"]
                entries[reason] = entries.get(reason, 0) + count["rows_count"]
            for row in _first(table, {reason: EXAMPLES - len(found) for reason, found in examples.items()}):
                examples.setdefault(row["reason"], []).append(row)
    ordered = sorted(samples, key=lambda reason: (-samples[reason], reason))
    return [Refused(reason, samples[reason], entries[reason], tuple(examples[reason])) for reason in ordered]


def _first(table: Any, wanted: dict[str, int]) -> list[dict[str, Any]]:  # noqa: ANN401  pyarrow has no types
    """The first rows of each reason, as many as are still wanted of it."""
    left, chosen = dict(wanted), []
    for place, reason in enumerate(table["reason"].to_pylist()):
        left.setdefault(reason, EXAMPLES)
        if left[reason] > 0:
            left[reason] -= 1
            chosen.append(place)
    return list(table.take(chosen).to_pylist())
