"""What an input is, before any work: by names, headers and footers alone. Writes nothing."""

from __future__ import annotations

import dataclasses
import glob
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coreset.engine import files
from coreset.engine.errors import InputError
from coreset.engine.space import free_bytes, shown, with_margin
from coreset.import_ import Embeddings, ImportParams, misfits
from coreset.pipeline import shard_problems
from coreset.results.inspect.estimate import DIMENSION, Estimate, estimated
from coreset.results.states import DAMAGED, stage_states
from coreset.sources.embedding_files import holds_vectors
from coreset.sources.embeddings import AUTO, FORMATS, find_embeddings, found_format, headers_and_problems
from coreset.sources.image_parquet import holds_pictures
from coreset.sources.tars import Shard, find_shards, read_sidecar

RUN, TARS, PICTURES, UNKNOWN = "run", "tars", "image_parquet", "unknown"
STAGES = ("rows", "centroids", "clusters", "dedup", "coreset")
TAR_NAMES = ("*.tar", "*.tar.gz", "*.tgz", "**/*.tar", "**/*.tar.gz", "**/*.tgz")
"""What is looked for in a folder, in this order; deeper folders only if there is nothing at its top."""
_SHALLOW = 3


@dataclass(frozen=True)
class Inspected:
    """What was found.

    Attributes:
        paths: as they were given
        format: one of `coreset.sources.embeddings.FORMATS`, `tars`, `image_parquet`, `run` (a run
            directory) or `unknown`
        parts: files of vectors, shards, or parts of a run's `rows/`
        rows: exact for vectors, Parquets of pictures and runs; for tars what img2dataset counted; None if nothing
            says it
        rows_from: where that number stands, or why there is none
        dimension: numbers of a vector; None for tars and runs
        dtype: of the vectors, such as `float16`; None likewise
        bytes: of all files, those beside the vectors too
        complete: whether nothing is missing; None if nothing says it
        problems: what a run would refuse, in its words
        notes: what is odd and refused by nothing
        estimate: what a run would cost; None where the rows are not known or there are problems
        disk_free: bytes that the disk of the current folder has left, where a run would be; None without an estimate
        trial: the command that embeds the first shard, and so measures how long embedding takes here; empty for vectors
        next: the command to type next
    """

    paths: tuple[str, ...]
    format: str
    parts: int = 0
    rows: int | None = None
    rows_from: str = ""
    dimension: int | None = None
    dtype: str | None = None
    bytes: int = 0
    complete: bool | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    estimate: Estimate | None = None
    disk_free: int | None = None
    trial: str = ""
    next: str = ""

    @property
    def ready(self) -> bool:
        """Whether nothing speaks against the next command."""
        return not self.problems


def inspect(paths: Sequence[str], asked: ImportParams = ImportParams()) -> Inspected:  # noqa: B008  frozen
    """What an input is, whether it is whole, and what to do with it.

    Values of rows are not read: keys, captions, lengths and pictures are checked by `import` and `embed`.

    Args:
        paths: a folder of vectors or of tars, a run directory, or tars as `embed` takes them
        asked: how vectors would be imported; of tars only `prefix_keys` counts

    Raises:
        OSError: The disk cannot be read.

    Example:
        >>> import tempfile
        >>> inspect([tempfile.mkdtemp()]).format
        'unknown'
    """
    given = tuple(paths)
    for path in given:
        if files.redacted(path) != path:  # what is found repeats the paths
            files.located(path)
    alone = os.path.expanduser(given[0]) if len(given) == 1 else ""
    if files.is_remote(alone):
        found = _of_url(given, files.located(alone), asked)
    elif os.path.isdir(alone):
        if any(os.path.isfile(os.path.join(alone, name, "plan.json")) for name in STAGES):
            found = _of_run(given, alone)
        else:
            found = _of_folder(given, alone, asked)
    else:
        found = _of_shards(given, asked)
    if found.problems:
        again = " ".join(["coreset inspect", *map(shlex.quote, given), *_flags(asked)])
        return dataclasses.replace(found, complete=False, estimate=None, next=again)
    return _with_space(found, free_bytes("."))


def _with_space(found: Inspected, free: int) -> Inspected:
    """The same, with what the disk has left; and a note if that is less than a run needs."""
    if found.estimate is None:
        return found
    needed = with_margin(found.estimate.disk)
    note = (
        f"a run needs {shown(needed)} of disk for its vectors, and the disk here has {shown(free)} left: free "
        f"{shown(needed - free)}, or use a --run on a larger disk"
    )
    return dataclasses.replace(found, disk_free=free, notes=found.notes + (note,) * (needed > free))


def _of_run(given: tuple[str, ...], folder: str) -> Inspected:
    """A run directory: `coreset status` says the rest."""
    try:
        states = {state.name: state for state in stage_states(folder, STAGES)}
    except InputError as error:
        return Inspected(given, RUN, problems=(str(error),))
    if problems := tuple(state.note for state in states.values() if state.state == DAMAGED):
        return Inspected(given, RUN, problems=problems)
    rows = states["rows"].rows
    return Inspected(
        given,
        RUN,
        states["rows"].parts,
        rows,
        f"{folder.rstrip('/')}/rows/stage.json" if rows is not None else "rows/ is not complete",
        bytes=files.bytes_below(folder),
        complete=all(state.state == "complete" for state in states.values()),
        next=f"coreset status --run {shlex.quote(given[0])}",
    )


def _of_url(given: tuple[str, ...], url: str, asked: ImportParams) -> Inspected:
    """What lies at a URL: a run, a folder of vectors or of Parquets of pictures, or shards."""
    if any(files.is_file(files.join(url, name, "plan.json")) for name in STAGES):
        return _of_run(given, url)
    if not holds_vectors(url):
        return _of_shards(given, asked)
    kind = found_format(url, asked.metadata) if asked.format == AUTO else asked.format
    tables = files.glob_objects(f"{url}/*.parquet") if kind == "parquet" else []
    if tables and holds_pictures(tables[0]):
        return _of_shards(given, asked)
    return _of_vectors(given, url, kind, asked)


def _of_folder(given: tuple[str, ...], folder: str, asked: ImportParams) -> Inspected:
    """A folder of vectors, of tars, or of Parquets of pictures; beside tars, Parquets are what img2dataset writes."""
    kind, error = asked.format, ""
    if kind == AUTO:
        try:
            kind = found_format(os.path.abspath(folder), asked.metadata)
        except InputError as problem:
            kind, error = UNKNOWN, str(problem)
        patterns = [os.path.join(glob.escape(folder), name) for name in TAR_NAMES]
        for looked in (patterns[:_SHALLOW], patterns[_SHALLOW:] if kind == UNKNOWN else []):
            tars = [pattern for pattern in looked if glob.glob(pattern, recursive=True)]
            if tars and kind in {UNKNOWN, "parquet"}:
                return dataclasses.replace(_of_shards(tuple(tars), asked), paths=given)
        pattern = os.path.join(glob.escape(folder), "*.parquet")
        if kind == "parquet" and (tables := sorted(glob.glob(pattern))) and holds_pictures(tables[0]):
            return dataclasses.replace(_of_shards((pattern,), asked), paths=given)
    return _of_vectors(given, folder, kind, asked) if kind in FORMATS else Inspected(given, kind, problems=(error,))


def _of_vectors(given: tuple[str, ...], folder: str, kind: str, asked: ImportParams) -> Inspected:
    try:
        found = find_embeddings(folder, kind, asked.text_embeddings, asked.metadata)
    except InputError as error:
        return Inspected(given, kind, problems=(str(error),))
    headers, errors = headers_and_problems(found, asked.features, asked.embedding_column, asked.text_column)
    pairs = [(part, header) for part, header in zip(found.parts, headers, strict=True) if header]
    reading = next((header.reading for _, header in pairs if header.rows), None)
    if reading is not None:
        good = dataclasses.replace(found, parts=tuple(part for part, _ in pairs))
        errors += misfits(folder, Embeddings(good, tuple(header for _, header in pairs), reading), asked)
    size = sum(file.size for part in found.parts for file in part.files)
    rows = sum(header.rows for _, header in pairs) if len(pairs) == len(headers) else None
    copied = sum(header.rows for _, header in pairs if not header.as_stored or asked.normalize)
    return Inspected(
        given,
        kind,
        len(found.parts),
        rows,
        "headers" if rows is not None else f"{len(headers) - len(pairs):,} of {len(headers):,} headers cannot be read",
        reading.dimension if reading else None,
        reading.dtype if reading else None,
        size,
        complete=True,
        problems=tuple(str(error) for error in errors),
        notes=tuple(header.note for _, header in pairs if header.note),
        estimate=estimated(rows, reading.dimension, size, copied) if rows and reading else None,
        next=" ".join(["coreset import", shlex.quote(given[0]), *_flags(asked)]),
    )


def _of_shards(given: tuple[str, ...], asked: ImportParams) -> Inspected:
    try:
        shards = find_shards(given)
    except InputError as error:
        return Inspected(given, UNKNOWN, problems=(str(error),))
    counts, notes = _counted(shards)
    unknown = len(shards) - len(counts)
    rows = None if unknown else sum(counts)
    are_tables = all(shard.is_table for shard in shards)
    where = "footers" if are_tables else "_stats.json or .parquet beside each tar"
    if unknown:
        where = f"{unknown:,} of {len(shards):,} files have no _stats.json or .parquet that counts their samples"
        where += f"; the others have {sum(counts):,}" if counts else ""
    flags = ["--prefix-keys"] if asked.prefix_keys else []
    return Inspected(
        given,
        PICTURES if are_tables else TARS,
        len(shards),
        rows,
        where,
        bytes=sum(shard.size for shard in shards),
        problems=tuple(str(error) for error in shard_problems(shards, asked.prefix_keys)),
        notes=tuple(notes),
        estimate=estimated(rows, DIMENSION, None, rows) if rows else None,
        trial=f"coreset embed {shlex.quote(shards[0].location)} --run trial",
        next=" ".join(["coreset embed", *map(shlex.quote, given), *flags]),
    )


def _counted(shards: Sequence[Shard]) -> tuple[list[int], list[str]]:
    """How many samples the sidecars say, where they do; and those that cannot be believed."""
    sidecars = [(shard, sidecar) for shard in shards if (sidecar := read_sidecar(shard)) is not None]
    counts = [sidecar.samples for _, sidecar in sidecars if sidecar.samples is not None]
    return counts, [
        f"{sidecar.name} beside {shard.name}: {sidecar.problem}" for shard, sidecar in sidecars if sidecar.problem
    ]


def _flags(asked: ImportParams) -> Iterator[str]:
    """The flags that differ from the defaults, as they are typed."""
    for entry in dataclasses.fields(asked):
        value = getattr(asked, entry.name)
        if "found" not in entry.metadata and value != entry.default:
            flag = f"--{entry.name.replace('_', '-')}"
            yield flag if value is True else f"{flag} {shlex.quote(str(value))}"
