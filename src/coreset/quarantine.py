"""What could not be used of the input, and why: one file for each part of `rows/` of which something was refused."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from coreset import rows
from coreset.engine.stage import Part
from coreset.sources.pairs import Reject

ASIDES = ("../quarantine/embed-", "../quarantine/import-")
"""How the names begin of the files that the stages which fill `rows/` leave in `quarantine/`."""


def quarantine_suffix(stage: str, part: Part) -> str:
    """Where the refused rows of a part go, relative to the stage's folder."""
    return f"../quarantine/{stage}-{part.name}.parquet"


def write_quarantine(stage: str, rejects: Sequence[Reject], source: str, part: Part) -> None:
    """Write what was refused of one source, in the source's order; no file if nothing was."""
    suffix = quarantine_suffix(stage, part)
    if not rejects:
        part.without(suffix)
        return
    ordered = sorted(rejects, key=lambda reject: (reject.row is None, reject.row or 0, reject.reason))
    columns = {
        "source": [source] * len(ordered),
        "key": [reject.key for reject in ordered],
        "source_row": [reject.row for reject in ordered],
        "reason": [reject.reason for reject in ordered],
        "detail": [reject.detail for reject in ordered],
        "rows": [reject.rows for reject in ordered],
    }
    rows.write_table(part.file(suffix), pa.table(columns, schema=rows.QUARANTINE))
