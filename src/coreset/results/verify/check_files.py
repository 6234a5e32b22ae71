"""Whether the files of a run are those that were written: names, sizes, hashes, receipts, `stage.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from coreset import rows
from coreset.engine import disk, files
from coreset.engine.books import book_bytes
from coreset.engine.errors import CoresetError
from coreset.engine.files import JSON, Location, join
from coreset.engine.outgoing import Seal
from coreset.engine.stage import PARQUET, Parts, file_of, plan_hash
from coreset.results.inspect.found import Found, damaged, total, wrong

MAKERS = {
    "rows": "embed",
    "centroids": "dedup",
    "clusters": "dedup",
    "forest": "sweep",
    "dedup": "dedup",
    "coreset": "sample",
}
"""The command that makes a stage."""
CENTROIDS = pa.schema([("cluster", pa.int32()), ("length", pa.float64())])
SCHEMAS = {
    "rows": rows.ROWS,
    "centroids": CENTROIDS,
    "clusters": rows.CLUSTERS,
    "forest": rows.FOREST,
    "dedup": rows.DEDUP,
    "coreset": rows.CORESET,
}
OF_RUN = ("run.json", ".lock")
"""Files of a run that differ between equal runs: nothing says what they must hold."""
ASIDE_FOLDERS = {"quarantine": "rows", "excluded": "clusters"}
"""Where stages leave files besides their own folders, and which."""


@dataclass(frozen=True)
class Said:
    """What a stage says of itself.

    Attributes:
        name: of the stage
        folder: where it is
        plan: `plan.json`; None if it is not there or cannot be read
        stage: `stage.json`, likewise
    """

    name: str
    folder: Location
    plan: dict[str, JSON] | None
    stage: dict[str, JSON] | None

    @property
    def names(self) -> list[str]:
        """The committed files in the folder."""
        return [name for name in files.names_in(self.folder) if not disk.is_temporary(name)]

    @property
    def parts(self) -> Parts:
        """The stage as the next one sees it; its files may be wrong."""
        said = self.stage or {}
        summaries = {name: part["summary"] for name, part in said["parts"].items()}
        return Parts(
            self.folder, tuple(said["parts"]), said["counts"], said["hash"], said["source"], said["facts"], summaries
        )

    def maker(self) -> str:
        """The command that makes it."""
        is_import = self.name == "rows" and (self.plan or {}).get("stage") == "import"
        return "coreset import" if is_import else f"coreset {MAKERS[self.name]}"

    def remedy(self, part: str | None = None) -> str:
        """What to do if a part, or the whole folder, is damaged."""
        if part is None:
            return f"remove {self.folder} and run `{self.maker()}` again"
        location = join(self.folder, part + PARQUET)
        return f"remove {location} and {self.folder}/stage.json, and run `{self.maker()}` again"


def read_said(run: Location, name: str) -> tuple[Said, Found]:
    """What a stage says of itself, and whether it says so as it was written."""
    folder, found, values = join(run, name), [], []
    for file in ("plan.json", "stage.json"):
        location = join(folder, file)
        remedy = f"put it back, or remove {folder if file == 'plan.json' else location} and make it again"
        value: JSON = None
        if files.size_of(location) is not None:
            content = files.read_bytes(location)
            found.append(Found(bytes=len(content)))
            try:
                value = json.loads(content)
                is_same = isinstance(value, dict) and content in {book_bytes(value), files.json_bytes(value)}
            except (ValueError, UnicodeDecodeError):
                value, is_same = None, False
            if not is_same:
                found.append(damaged(location, "is not as it was written", remedy))
        values.append(value)
    return Said(name, folder, *values), total(found)


def said_found(said: Said) -> Found:
    """Whether `plan.json` and `stage.json` agree with each other and with themselves."""
    stage, plan, place = said.stage or {}, said.plan, join(said.folder, "stage.json")
    try:
        if stage["hash"] != files.fingerprint({key: value for key, value in stage.items() if key != "hash"}):
            return damaged(place, "does not have the hash that it says: it was changed", said.remedy())
        if plan is None or stage["plan"] != plan_hash(plan) or stage["source"] != plan["source"]:
            return damaged(place, "was made by another plan than plan.json says", said.remedy())
        summaries = [part["summary"] for part in stage["parts"].values()]
        names = {name for summary in summaries for name in summary}
        if stage["counts"] != {name: sum(summary.get(name, 0) for summary in summaries) for name in names}:
            return wrong(place, "the counts are not the sums over the parts")
        listed = {entry["part"] for entry in plan["inputs"].values()}
        if plan["inputs"] and listed != stage["parts"].keys():
            return damaged(join(said.folder, "plan.json"), "its inputs are not the parts", said.remedy())
    except (KeyError, TypeError, AttributeError) as error:
        return damaged(place, f"does not say what it must ({error})", said.remedy())
    return Found()


def file_calls(said: Said) -> Iterator[Callable[[], Found]]:
    """One call for each file that a complete stage names."""
    for name, part in (said.stage or {})["parts"].items():
        for suffix, seal in part["files"].items():
            location = file_of(said.folder, name, suffix)
            yield partial(file_found, location, Seal(**seal), said.remedy(name))


def file_found(location: Location, seal: Seal, remedy: str) -> Found:
    """Whether a file is there with the size and the bytes it was written with."""
    size = files.size_of(location)
    if size is None:
        return damaged(location, "is missing", remedy)
    if size != seal.size:
        return damaged(location, f"has {size:,} bytes instead of {seal.size:,}", remedy)
    try:
        is_same = files.sealed(location).hash == seal.hash
    except OSError as error:
        return damaged(location, f"cannot be read ({error.strerror})", remedy)
    return Found(bytes=size) + (Found() if is_same else damaged(location, "has other bytes than were written", remedy))


def receipt_calls(said: Said) -> Iterator[Callable[[], Found]]:
    """One call for each part of a complete stage."""
    stage, plan = said.stage or {}, said.plan or {}
    inputs = {entry["part"]: (name, entry) for name, entry in plan["inputs"].items()}
    for name, part in stage["parts"].items():
        location = join(said.folder, name + PARQUET)
        entry = inputs.get(name)
        yield partial(receipt_found, location, SCHEMAS[said.name], stage["plan"], part, entry, said.remedy())


def receipt_found(
    location: Location,
    schema: pa.Schema,
    plan: str,
    part: Mapping[str, JSON],
    entry: tuple[str, Mapping[str, JSON]] | None,
    remedy: str,
) -> Found:
    """Whether a part's Parquet has the columns and the rows that it must, and a receipt that agrees with `stage.json`.

    Args:
        location: the Parquet
        schema: that it must have
        plan: the hash of the stage's plan
        part: what `stage.json` says of the part
        entry: the name of the source and what `plan.json` says of it, if it does
        remedy: what to do if `plan.json` is damaged
    """
    try:
        found, text, count = pq.read_schema(location), rows.receipt_of(location), rows.count_rows(location)
    except (CoresetError, pa.ArrowInvalid, OSError) as error:
        return wrong(location, f"cannot be read: {error}")
    receipt = json.loads(text) if text else {}
    sides = {suffix: seal for suffix, seal in part["files"].items() if suffix != PARQUET}
    if not found.equals(schema):
        return wrong(location, f"has the columns {', '.join(found.names)}, of which one is not as documented")
    if receipt.get("plan") != plan or receipt.get("summary") != part["summary"] or receipt.get("files") != sides:
        return wrong(location, "its receipt does not say what stage.json says")
    counted = next(part["summary"][name] for name in ("edges", "rows", "clusters") if name in part["summary"])
    if count != counted:
        return wrong(location, f"has {count:,} rows, and its receipt says {counted:,}")
    if entry is not None and not is_source(receipt["inputs"], *entry):
        plan_json = join(os.path.dirname(location), "plan.json")  # nothing has its hash, and the Parquet's was right
        what = f"says {entry[0]} {entry[1]}, and {location} was made from {receipt['inputs']}"
        return damaged(plan_json, what, remedy)
    return Found()


def is_source(receipt: Mapping[str, JSON], name: str, entry: Mapping[str, JSON]) -> bool:
    """Whether a receipt of `rows/` names the source that `plan.json` names.

    Example:
        >>> is_source({"name": "a.tar", "size": 1}, "a.tar", {"size": 1, "part": "00000"})
        True
    """
    return receipt == entry["files"] if "files" in entry else receipt == {"name": name, "size": entry.get("size")}


def unfinished_found(said: Said) -> Found:
    """Whether a stage that is not complete has the plan that its parts belong to."""
    if said.plan is not None or not said.names or "plan.json" in said.names or "stage.json" in said.names:
        return Found()
    return damaged(join(said.folder, "plan.json"), "is missing", f"put it back, or {said.remedy()}")


def unfinished_calls(said: Said) -> Iterator[Callable[[], Found]]:
    """One call for each file beside a committed part of a stage that is not complete: what the next command keeps."""
    plan = plan_hash(said.plan or {})
    for file in files.names_in(said.folder):
        name = file.removesuffix(PARQUET)
        if name == file:
            continue
        try:
            receipt = json.loads(rows.receipt_of(join(said.folder, file)) or "{}")
        except CoresetError:
            place = join(said.folder, file)
            yield partial(damaged, place, "is damaged", f"remove it and run `{said.maker()}` again")
            continue
        for suffix, seal in receipt.get("files", {}).items() if receipt.get("plan") == plan else ():
            location = file_of(said.folder, name, suffix)
            yield partial(file_found, location, Seal(**seal), said.remedy(name))


def strangers(run: Location, stages: list[Said]) -> dict[str, Found]:
    """By stage: files in the folders of complete stages, or where they leave files aside, that no part names."""
    known = {join(said.folder, name) for said in stages for name in ("plan.json", "stage.json")}
    folders = {said.folder: said.name for said in stages if said.stage is not None}
    for said in stages:
        for name, part in (said.stage or {"parts": {}})["parts"].items():
            known |= {file_of(said.folder, name, suffix) for suffix in part["files"]}
    if all(said.stage is not None or said.plan is None for said in stages):  # an unfinished one may have left some
        folders |= {join(run, folder): owner for folder, owner in ASIDE_FOLDERS.items()}
    found = dict.fromkeys(folders.values(), Found())
    for folder, owner in folders.items():
        for name in files.names_in(folder):
            location = join(folder, name)
            if location not in known and not disk.is_temporary(name):
                remedy = "remove it, or move it to another folder"
                found[owner] += damaged(location, "belongs to no part of this run", remedy)
    return found


def notes_of(run: Location, stages: list[Said]) -> list[str]:
    """What lies in a run and is not looked at."""
    known = {*OF_RUN, *ASIDE_FOLDERS, "report", *(os.path.basename(said.folder) for said in stages)}
    loose = [name for name in files.names_in(run) if name not in known and not disk.is_temporary(name)]
    return [f"{join(run, name)} is not of the run; it was not looked at" for name in loose]
