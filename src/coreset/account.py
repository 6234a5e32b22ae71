"""The books of a run: what came in equals what stays, what was dropped and what was quarantined.

`run.json` notes what may differ between equal runs: times, hosts, roots, versions, peak memory.
"""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

from coreset import rows
from coreset.engine import files
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
        refused = sum(entry["rows"] for entry in quarantined(run))
        open_parts(parts.folder)  # a file that was taken away before or meanwhile is no bug, and is said by its name
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
    """Every quarantined entry of a run: source, key, source_row, reason, detail, rows."""
    folder = join(run, "quarantine")
    names = [name for name in files.names_in(folder) if name.endswith(".parquet") and files.TEMPORARY not in name]
    return [entry for name in names for entry in rows.read_table(join(folder, name)).to_pylist()]


def funnel(run: Location) -> list[Step]:
    """The steps of a selection as far as it has come, with exact counts; nothing that is out of date."""
    steps: list[Step] = []
    if embedded := open_parts(join(run, "rows")):
        counts = embedded.counts
        steps.append(Step("samples", counts["samples"], _input_note(counts)))
        steps.append(Step("embedded", counts["rows"], f"{counts['quarantined']:,} quarantined"))
    clustered = open_parts(join(run, "clusters"))
    if clustered and clustered.counts["excluded"] and is_current(run, "clusters", clustered):
        steps.append(Step("allowed", clustered.counts["rows"], f"{clustered.counts['excluded']:,} excluded by a list"))
    deduplicated, coreset = open_parts(join(run, "dedup")), open_parts(join(run, "coreset"))
    if deduplicated and is_current(run, "dedup", deduplicated):
        steps.append(
            Step("unlike", deduplicated.counts["kept"], f"{deduplicated.counts['duplicates']:,} near-duplicates")
        )
    if coreset and is_current(run, "coreset", coreset):
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
def journal(run: Location, stage: str, workers: int) -> Iterator[None]:
    """Note in `run.json` what a stage took."""
    begun = time.time()
    yield
    location = join(run, "run.json")
    said = files.read_json(location) or {"stages": {}}
    said["versions"] = {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    said["stages"][stage] = {
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(begun)),
        "seconds": round(time.time() - begun, 3),
        "host": platform.node(),
        "workers": workers,
        "peak_resident_bytes": 1024 * max(own, children),
    }
    files.write_json(location, said)


def note_root(run: Location, root: str) -> None:
    """Note in `run.json` the folder that the names of the sources start from; it may move between two commands."""
    _note(run, root=root)


def note_times(run: Location, times: Mapping[str, int]) -> None:
    """Note in `run.json` when files that the run reads where they lie were last written, in nanoseconds."""
    _note(run, times=dict(times))


def _note(run: Location, **values: JSON) -> None:
    location = join(run, "run.json")
    said = files.read_json(location) or {"stages": {}}
    noted = {**said, **{name: value for name, value in values.items() if value or name in said}}
    if said != noted:
        files.write_json(location, noted)


def noted_times(run: Location) -> dict[str, int]:
    """When files that the run reads where they lie were last written, as `run.json` says."""
    times: dict[str, int] = (files.read_json(join(run, "run.json")) or {}).get("times", {})
    return times


@dataclass(frozen=True)
class StageState:
    """A stage as it stands on disk.

    Attributes:
        name: its folder
        state: `complete`, `incomplete`, `out of date` (made from something that changed since) or `-`
        parts: committed ones
        rows: of a complete stage
        note: counts worth saying
        is_planned: whether it was begun
    """

    name: str
    state: str
    parts: int
    rows: int | None
    note: str
    is_planned: bool


def stage_state(run: Location, name: str) -> StageState:
    """How a stage stands, without its lock: what another process is writing is `incomplete`."""
    folder = join(run, name)
    present = files.names_in(folder)
    committed = [entry for entry in present if entry.endswith(".parquet") and files.TEMPORARY not in entry]
    parts = open_parts(folder)
    if parts is None:
        planned = "plan.json" in present
        return StageState(name, "incomplete" if planned else "-", len(committed), None, "", planned)
    state = "complete" if is_current(run, name, parts) else "out of date"
    wanted = ("quarantined", "excluded", "clusters", "edges", "kept", "duplicates")
    said = [f"{parts.counts[key]:,} {key}" for key in wanted if parts.counts.get(key)]
    return StageState(name, state, len(parts.names), parts.counts.get("rows"), ", ".join(said), True)


BEFORE = {
    "rows": (),
    "centroids": ("rows",),
    "clusters": ("rows", "centroids"),
    "forest": ("clusters",),
    "dedup": ("clusters",),
    "coreset": ("dedup",),
}
"""The stages that each stage is made from."""


def is_current(run: Location, name: str, parts: Parts) -> bool:
    """Whether a complete stage was made from the stages before it as they are now."""
    sources = [open_parts(join(run, source)) for source in BEFORE[name]]
    found = [source for source in sources if source is not None]
    if len(found) < len(sources) or parts.source != source_hash([source.hash for source in found]):
        return False
    return all(is_current(run, before, source) for before, source in zip(BEFORE[name], found, strict=True))


def source_hash(hashes: list[str]) -> str | None:
    """What a stage that is made from stages with these hashes says of them.

    Example:
        >>> source_hash([]), source_hash(["1f"])
        (None, '1f')
    """
    return files.fingerprint(hashes) if len(hashes) > 1 else next(iter(hashes), None)
