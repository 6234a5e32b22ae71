"""The books of a run: what came in equals what stays, what was dropped and what was quarantined.

`run.json` notes what may differ between equal runs: times, hosts, roots, versions, peak memory.
"""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import pyarrow as pa
import pyarrow.compute as pc

from coreset import rows
from coreset.engine import disk, files
from coreset.engine.errors import InvariantError
from coreset.engine.files import JSON, Location, join
from coreset.engine.stage import Parts, open_parts

VERSIONS = ("coreset", "faiss-cpu", "numpy", "open_clip_torch", "pillow", "pyarrow", "torch")


@dataclass(frozen=True)
class Step:
    """One line of the funnel.

    Attributes:
        name: what the rows are
        rows: how many there are
        note: why the others are not
    """

    name: str
    rows: int
    note: str


def check_sums(run: Location, stage: str, parts: Parts) -> None:
    """Count a stage again from its files, and compare with what it says and with the stage before.

    Raises:
        InvariantError: The counts do not add up.
    """
    if stage != "centroids":
        counted = "edges" if stage == "forest" else "rows"
        found = sum(rows.count_rows(location) for location in parts.locations())
        _equal(stage, f"{counted} on disk", found, counted, parts.counts[counted])
    if stage == "rows":
        open_parts(parts.folder)  # a file that was taken away before or meanwhile is no bug, and is said by its name
        refused = sum(refusals(run, shown=0).rows.values())
        _equal(stage, "quarantined rows on disk", refused, "quarantined", parts.counts["quarantined"])
        total = parts.counts["rows"] + parts.counts["quarantined"]
        _equal(stage, "rows + quarantined", total, "samples", parts.counts["samples"])
    before = {"clusters": "rows", "dedup": "clusters", "forest": "clusters"}.get(stage)
    if before and (source := open_parts(join(run, before))):
        total = parts.counts["rows"] + parts.counts.get("excluded", 0)
        _equal(stage, f"rows of {before}/", source.counts["rows"], "rows + excluded", total)
    if stage == "dedup":
        total = parts.counts["kept"] + parts.counts["duplicates"]
        _equal(stage, "kept + duplicates", total, "rows", parts.counts["rows"])
    if stage == "coreset":
        _equal(stage, "sampled", parts.facts["sampled"], "rows", parts.counts["rows"])


def _equal(stage: str, left: str, a: int, right: str, b: int) -> None:
    if a != b:
        raise InvariantError(
            f"{stage}/: {left} is {a:,}, but {right} is {b:,}; please report this with {stage}/stage.json."
        )


def quarantined(run: Location) -> list[dict[str, JSON]]:
    """Every quarantined entry of a run: source, key, source_row, reason, detail, rows; all are held at once."""
    return [entry for table in quarantine_tables(run) for entry in table.to_pylist()]


def quarantine_tables(run: Location) -> Iterator[pa.Table]:
    """The quarantined entries of a run in pieces, in the order of the files."""
    folder = join(run, "quarantine")
    for name in files.names_in(folder):
        if name.endswith(".parquet") and disk.TEMPORARY not in name:
            yield from rows.table_batches(join(folder, name), rows.QUARANTINE.names, rows.BATCH_ROWS)


@dataclass(frozen=True)
class Refusals:
    """What stands in quarantine, in numbers.

    Attributes:
        rows: how many samples were refused for each reason
        first: the first entries of each reason
    """

    rows: Mapping[str, int]
    first: Mapping[str, Sequence[Mapping[str, JSON]]]


def refusals(run: Location, shown: int) -> Refusals:
    """What stands in quarantine, counted a piece at a time, with the first `shown` entries of each reason."""
    counts: dict[str, int] = {}
    first: dict[str, list[dict[str, JSON]]] = {}
    for table in quarantine_tables(run):
        for found in table.group_by("reason").aggregate([("rows", "sum")]).to_pylist():
            reason = found["reason"]
            counts[reason] = counts.get(reason, 0) + found["rows_sum"]
            entries = first.setdefault(reason, [])
            if missing := shown - len(entries):
                entries += table.filter(pc.equal(table["reason"], reason)).slice(0, missing).to_pylist()
    return Refusals(counts, first)


def funnel(run: Location) -> list[Step]:
    """The steps of a selection as far as it has come, with exact counts; nothing that is out of date."""
    found = current({name: parts for name in FUNNEL if (parts := open_parts(join(run, name)))})
    steps: list[Step] = []
    if embedded := found.get("rows"):
        counts = embedded.counts
        steps.append(Step("samples", counts["samples"], _input_note(counts)))
        steps.append(Step("embedded", counts["rows"], f"{counts['quarantined']:,} quarantined"))
    clustered = found.get("clusters")
    if clustered and clustered.counts["excluded"]:
        steps.append(Step("allowed", clustered.counts["rows"], f"{clustered.counts['excluded']:,} excluded by a list"))
    if deduplicated := found.get("dedup"):
        steps.append(
            Step("unlike", deduplicated.counts["kept"], f"{deduplicated.counts['duplicates']:,} near-duplicates")
        )
    if coreset := found.get("coreset"):
        facts = coreset.facts
        if without := facts.get("without_caption", 0):
            steps.append(Step("captioned", facts["survivors"] - without, f"{without:,} without a caption"))
        steps.append(Step("text rank", facts["in_text_window"], "in the window of text cosine"))
        steps.append(Step("centroid rank", facts["in_both_windows"], "in the window of centroid cosine"))
        steps.append(Step("coreset", facts["sampled"], "drawn at random"))
    return steps


def _input_note(counts: Mapping[str, int]) -> str:
    incomplete = counts.get("incomplete", 0)
    return f"{incomplete} source(s) cut short, rows unknown" if incomplete else "in the input"


@contextmanager
def journal(run: Location, stage: str) -> Iterator[None]:
    """Note in `run.json` what a stage took that `note_begun` has noted before."""
    begun = time.monotonic()
    yield
    said = files.read_json(join(run, "run.json")) or {}
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    took = {"seconds": round(time.monotonic() - begun, 3), "peak_resident_bytes": 1024 * max(own, children)}
    stages = said.get("stages", {})
    versions = {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}
    _note(run, versions=versions, stages={**stages, stage: {**stages.get(stage, {}), **took}})


def note_begun(run: Location, stage: str, workers: int, parts: int) -> None:
    """Note in `run.json` that a stage begins, and what of it is known before it ends."""
    begun = {
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": platform.node(),
        "workers": workers,
        "parts": parts,
    }
    stages = (files.read_json(join(run, "run.json")) or {}).get("stages", {})
    _note(run, stages={**stages, stage: begun})


def note_root(run: Location, root: str) -> None:
    """Note in `run.json` the folder that the names of the sources start from; it may move between two commands."""
    _note(run, root=root)


def note_times(run: Location, times: Mapping[str, int | str]) -> None:
    """Note in `run.json` when files that the run reads where they lie were last written, in ns, or objects' etags."""
    _note(run, times=dict(times))


def _note(run: Location, **values: JSON) -> None:
    location = join(run, "run.json")
    said = files.read_json(location) or {"stages": {}}
    noted = {**said, **{name: value for name, value in values.items() if value or name in said}}
    if said != noted:
        files.write_json(location, noted)


def noted_times(run: Location) -> dict[str, int | str]:
    """When files that the run reads where they lie were last written, as `run.json` says."""
    times: dict[str, int | str] = (files.read_json(join(run, "run.json")) or {}).get("times", {})
    return times


BEFORE = {
    "rows": (),
    "centroids": ("rows",),
    "clusters": ("rows", "centroids"),
    "forest": ("clusters",),
    "dedup": ("clusters",),
    "coreset": ("dedup",),
}
"""The stages that each stage is made from."""


FUNNEL = ("rows", "centroids", "clusters", "dedup", "coreset")
"""The stages that a selection goes through, in order."""


def current(found: Mapping[str, Parts]) -> dict[str, Parts]:
    """Those of some complete stages that were made from the stages before them as they are now."""
    good: dict[str, Parts] = {}
    for name, before in BEFORE.items():
        parts, sources = found.get(name), [good[source].hash for source in before if source in good]
        if parts is not None and len(sources) == len(before) and parts.source == source_hash(sources):
            good[name] = parts
    return good


def source_hash(hashes: list[str]) -> str | None:
    """What a stage that is made from stages with these hashes says of them.

    Example:
        >>> source_hash([]), source_hash(["1f"])
        (None, '1f')
    """
    return files.fingerprint(hashes) if len(hashes) > 1 else next(iter(hashes), None)
