"""What img2dataset noted beside a tar, or a Parquet's own footer: how many samples a shard should have."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from coreset.engine import files
from coreset.sources.shards import Shard

LOOKED_AT = 1000
LOOKED_AT_THERE = 48  # of shards in a store
_LARGEST_STATS = 16 << 20
_MOST_SAMPLES = 2**40


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a file beside a tar says of it.

    Attributes:
        name: Of that file, without its folder.
        samples: How many samples the tar should have; None if the file cannot be believed.
        problem: Why not.
    """

    name: str
    samples: int | None
    problem: str | None = None


def read_sidecar(shard: Shard) -> Sidecar | None:
    """How many samples a shard should have.

    Of a Parquet that is what its footer counts. Of a tar, and of a Parquet whose footer cannot be read, it is
    `successes` of its `_stats.json`; without one, the rows of its `.parquet` whose `status` is
    `success`.

    Returns:
        None if neither file is there, or the Parquet is not one of img2dataset's (it has no `status`).

    Raises:
        OSError: The disk cannot be read.
    """
    stats, table = f"{shard.stem}_stats.json", f"{shard.stem}.parquet"
    footer = _from_footer(shard) if shard.is_table else None
    if footer is not None:
        return footer
    if files.is_file(stats):
        return _from_stats(stats)
    if shard.is_table:
        return None
    return _from_parquet(table) if files.is_file(table) else None


def expected_samples(shards: Sequence[Shard]) -> int | None:
    """About how many samples shards hold together, for eyes only; exact if a file beside each shard says it.

    At most `LOOKED_AT` shards, spread over all, are asked; the others count by their bytes. None if one that is asked
    does not know.
    """
    is_remote = bool(shards) and files.is_remote(shards[0].location)
    asked = shards[:: -(-len(shards) // (LOOKED_AT_THERE if is_remote else LOOKED_AT)) or 1]
    found = files.many(read_sidecar, asked) if is_remote else [read_sidecar(shard) for shard in asked]
    samples = [sidecar.samples for sidecar in found if sidecar is not None and sidecar.samples is not None]
    size = sum(shard.size for shard in asked)
    if len(samples) < len(asked) or not size:
        return None
    return round(sum(samples) * sum(shard.size for shard in shards) / size)


def _from_stats(path: str) -> Sidecar:
    name = os.path.basename(path)
    with files.opened(path) as file:
        content = file.read(_LARGEST_STATS + 1)
    if len(content) > _LARGEST_STATS:
        return Sidecar(name, None, f"more than {_LARGEST_STATS} bytes")
    try:
        fields = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return Sidecar(name, None, f"not json: {error}")
    samples = fields.get("successes") if isinstance(fields, dict) else None
    if not isinstance(samples, int) or isinstance(samples, bool) or not 0 <= samples <= _MOST_SAMPLES:
        return Sidecar(name, None, "no 'successes' that counts samples")
    return Sidecar(name, samples)


def _from_footer(shard: Shard) -> Sidecar | None:
    import pyarrow.parquet as pq

    from coreset.sources.broken_tables import BROKEN_TABLE, raise_the_machines

    try:
        return Sidecar(os.path.basename(shard.location), int(pq.read_metadata(files.readable(shard.location)).num_rows))
    except BROKEN_TABLE as error:
        raise_the_machines(error)
        return None


def _from_parquet(path: str) -> Sidecar | None:
    # pyarrow takes 200 ms to import, and most shards have a _stats.json.
    import pyarrow.parquet as pq

    from coreset.sources.broken_tables import BROKEN_TABLE, first_line, raise_the_machines

    name = os.path.basename(path)
    try:
        with pq.ParquetFile(files.readable(path)) as table:
            if "status" not in table.schema_arrow.names:
                return None
            column = (batch.column(0) for batch in table.iter_batches(columns=["status"]))
            return Sidecar(name, sum(status.as_py() == "success" for array in column for status in array))
    except BROKEN_TABLE as error:
        raise_the_machines(error)
        return Sidecar(name, None, f"not a Parquet file: {first_line(error)}")
