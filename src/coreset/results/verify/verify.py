"""A run directory checked from end to end: files against what was written, contents against what they must be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cached_property

from coreset.account import BEFORE, check_sums, source_hash
from coreset.dedup import DedupParams
from coreset.engine import files
from coreset.engine.errors import CoresetError, InputError
from coreset.engine.files import Location
from coreset.engine.local import in_process
from coreset.engine.lock import undisturbed
from coreset.engine.progress import Progress, quiet
from coreset.engine.stage import Execute, Needs, Parts
from coreset.results.inspect.found import Found, damaged, wrong
from coreset.results.verify import check_dedup, check_files, check_rows
from coreset.results.verify.check_files import Said
from coreset.results.verify.verdict import StageVerified, Verified
from coreset.sample import SampleParams


def verify(
    run: Location,
    execute: Execute = in_process,
    memory: int = 1 << 30,
    full: bool = False,
    progress: Progress = quiet,
) -> Verified:
    """Check everything that a run directory holds; writes nothing.

    Args:
        run: the run directory
        execute: the engine
        memory: bytes that one task may use
        full: compare every row with its centroid and every cluster with its components, instead of some of each part
        progress: told what is done

    Returns:
        What is wrong, stage by stage. A stage that is incomplete or out of date is not wrong.

    Raises:
        InputError: There is no run.
        InUseError: A process writes it.
    """
    run = files.normal(run)
    with undisturbed(run):
        return _Verification(run, execute, memory, full, progress).result()


class _Verification:
    """The checks of one run, stage by stage."""

    def __init__(self, run: Location, execute: Execute, memory: int, full: bool, progress: Progress) -> None:
        self.run, self.execute, self.memory, self.full, self.progress = run, execute, memory, full, progress
        self.began, self.hashing, self.files, self.notes = time.monotonic(), 0.0, 0, list[str]()
        self.found: dict[str, Found] = {}
        self.unsaid: set[str] = set()  # stages whose plan.json or stage.json is damaged: what is theirs is not known
        self.said: dict[str, Said] = {}
        for name in BEFORE:
            self.said[name], self.found[name] = check_files.read_said(run, name)

    def result(self) -> Verified:
        if all(said.plan is None and said.stage is None and not said.names for said in self.said.values()):
            raise InputError(f"{self.run} holds no run; name it with --run.")
        states = {name: self.state(name) for name in BEFORE}
        stages = list(self.said.values())
        self.notes += check_files.notes_of(self.run, stages)
        for name, strange in check_files.strangers(self.run, stages).items():
            self.found[name] += strange if name not in self.unsaid else Found()
        verified = []
        for name, found in self.found.items():
            parts = len((self.said[name].stage or {"parts": ()})["parts"])
            state = "wrong" if found.count else states[name]
            counted = (found.rows, found.compared, found.bytes, found.count, found.wrong)
            verified.append(StageVerified(name, state, parts, *counted))
        read = sum(stage.bytes for stage in verified)
        seconds = time.monotonic() - self.began
        return Verified(
            self.run, tuple(verified), tuple(self.notes), self.files, read, self.hashing, seconds, self.full
        )

    def state(self, name: str) -> str:
        """Check a stage as far as it can be; how it stands if nothing is wrong."""
        said = self.said[name]
        if not said.names and said.plan is None and said.stage is None:
            return "-"
        if said.stage is None:
            if not self.is_fine(name):
                self.unsaid.add(name)
            self.add(name, check_files.unfinished_found(said))
            if said.plan is not None:
                self.add(name, self.ran(f"hash {name}", check_files.unfinished_calls(said)))
            return "incomplete"
        self.add(name, check_files.said_found(said))
        if not self.is_fine(name):
            self.unsaid.add(name)
            return "wrong"
        self.add(name, self.ran(f"hash {name}", check_files.file_calls(said), are_files=True))
        if self.is_fine(name):
            self.add(name, self.ran(f"receipts {name}", check_files.receipt_calls(said)))
        if name not in self.current:
            return "out of date"
        if not self.is_fine(name) or not all(self.is_fine(before) for before in self.upstream(name)):
            return "not compared"
        self.add(name, self.contents(name))
        return "ok"

    def contents(self, name: str) -> Found:
        """Check what a complete stage holds, with the stages before it."""
        try:
            found: Found = getattr(self, f"_{name}")()
            if not found.count:
                check_sums(self.run, name, self.parts(name))
        except CoresetError as error:
            return wrong(f"{self.run}/{name}", str(error).partition(";")[0])
        return found

    def _rows(self) -> Found:
        stage = self.parts("rows")
        lent = self.lent(stage)
        calls = check_rows.rows_calls(stage, self.listed("rows"), lent)
        found = self.ran("check rows", calls) + self.ran("check keys", check_rows.collision_calls(stage))
        self.vectors = found.vectors if lent else None
        return found

    def lent(self, stage: Parts) -> bool:
        """Check the user's files that the run uses where they lie; whether they are all there as they were imported."""
        try:
            found = self.ran("hash the imported files", check_rows.lent_calls(self.run, stage), are_files=True)
        except InputError as error:
            found = damaged(f"{self.run}/run.json", "does not say where the imported files lie", str(error))
        if found.count and "clusters" in self.current:
            first = found.wrong[0]
            self.notes.append(f"{first.place} {first.what}; clusters/ holds its vectors, so it is not needed any more")
        self.add("rows", Found(bytes=found.bytes) if "clusters" in self.current else found)
        return not found.count

    def _centroids(self) -> Found:
        return self.ran("check centroids", check_rows.centroids_calls(self.parts("centroids")))

    def _clusters(self) -> Found:
        stage, rows = self.parts("clusters"), self.found["rows"]
        calls = check_rows.clusters_calls(
            stage, self.listed("clusters"), self.parts("centroids"), self.full, self.memory
        )
        found = self.ran("check clusters", calls)
        if found.count:
            return found
        if (found.rows, found.digest) != (rows.rows, rows.digest):
            found += wrong(stage.folder, "does not hold the rows of rows/, each once and with the same columns")
        elif not stage.counts.get("excluded") and self.vectors not in {None, found.vectors}:
            found += wrong(stage.folder, "does not hold the vectors of rows/, each with its row")
        return found

    def _forest(self) -> Found:
        floor = float(self.parts("forest").facts["floor"])
        calls = check_dedup.forest_calls(self.parts("forest"), self.parts("clusters"), floor, self.full, self.memory)
        return self.ran("check forest", calls)

    def _dedup(self) -> Found:
        stage, clusters = self.parts("dedup"), self.parts("clusters")
        params = DedupParams(**(self.said["dedup"].plan or {})["params"])
        calls = check_dedup.dedup_calls(stage, clusters, self.parts("centroids"), params, self.full, self.memory)
        found = self.ran("check dedup", calls)
        if not found.count and (found.rows, found.clustered) != (
            clusters.counts["rows"],
            self.found["clusters"].clustered,
        ):
            found += wrong(stage.folder, "does not hold the rows of clusters/, each once and with the same columns")
        return found

    def _coreset(self) -> Found:
        params = SampleParams(**(self.said["coreset"].plan or {})["params"])
        calls = check_dedup.coreset_calls(self.parts("coreset"), self.parts("dedup"), params, self.execute)
        return self.ran("check coreset", calls)

    @cached_property
    def current(self) -> set[str]:
        """The complete stages that were made from the stages before them as they are now."""
        found: set[str] = set()
        for name, before in BEFORE.items():
            stage = self.said[name].stage
            if stage is not None and found.issuperset(before):
                hashes = [(self.said[source].stage or {}).get("hash", "") for source in before]
                found |= {name} if stage.get("source") == source_hash(hashes) else set()
        return found

    def upstream(self, name: str) -> set[str]:
        """The stages that a stage is made from, directly or not."""
        return set(BEFORE[name]).union(*(self.upstream(before) for before in BEFORE[name]))

    def parts(self, name: str) -> Parts:
        return self.said[name].parts

    def listed(self, name: str) -> dict[str, dict[str, object]]:
        """What `stage.json` says of each part."""
        found: dict[str, dict[str, object]] = (self.said[name].stage or {})["parts"]
        return found

    def is_fine(self, name: str) -> bool:
        return not self.found[name].count

    def add(self, name: str, found: Found) -> None:
        self.found[name] += found

    def ran(self, title: str, calls: Iterable[Callable[[], Found]], are_files: bool = False) -> Found:
        """The sum of what some calls find."""
        every = list(calls)
        if not every:
            return Found()
        self.files += len(every) if are_files else 0
        self.progress.start(title, len(every), 0)
        began, found = time.monotonic(), Found()
        for one in self.execute(every, Needs(self.memory)):
            found += one
            self.progress.advance({})
        self.hashing += time.monotonic() - began if are_files else 0.0
        if found.rows:
            self.progress.finish({"rows": found.rows})
        return found
