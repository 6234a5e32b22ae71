"""An export checked: every listed picture is there and decodes, lists and captions are what they must be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import CoresetError, InputError, InvariantError
from coreset.engine.files import JSON, Location, join
from coreset.engine.local import in_process
from coreset.engine.lock import undisturbed
from coreset.engine.outgoing import Seal
from coreset.engine.progress import Progress, quiet
from coreset.engine.stage import PARQUET, Execute, Needs, file_of, open_parts
from coreset.results.export.checks import check_chosen, check_part, check_seal, hash_of, remedy_of
from coreset.results.export.chosen import listed_rows, listing_of
from coreset.results.export.contents import CONTENTS, Entry, written_entries
from coreset.results.export.format import HIDDEN, Finished, Format
from coreset.results.export.formats import FORMATS
from coreset.results.export.target import recorded_plan, stage_folder
from coreset.results.inspect.found import Found, Wrong, damaged, first_wrong, total, wrong


@dataclass(frozen=True)
class VerifiedExport:
    """What was found of an export.

    Attributes:
        out: its folder
        format: its name
        rows: that were chosen
        pictures: that were read and decoded
        notes: what is worth knowing and not wrong
        count: of what is wrong
        wrong: the first few, by place
    """

    out: Location
    format: str
    rows: int
    pictures: int
    notes: tuple[str, ...]
    count: int
    wrong: tuple[Wrong, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.count

    @property
    def error(self) -> CoresetError | None:
        """What is wrong first: of the input if bytes changed, of coreset if they did not."""
        others = f" ({self.count - 1:,} more of the kind)" if self.count > 1 else ""
        for entry in sorted(self.wrong, key=lambda entry: not entry.is_damage):
            if entry.is_damage:
                return InputError(f"{entry.place} {entry.what}{others}; {entry.remedy}.")
            return InvariantError(f"{entry.place}: {entry.what}{others}; it was written so: please report it.")
        return None


def is_export(folder: Location) -> bool:
    """Whether a folder is an export, finished or not."""
    return files.size_of(join(stage_folder(folder), "plan.json")) is not None


def verify_export(
    out: Location, run: Location, execute: Execute = in_process, memory: int = 1 << 30, progress: Progress = quiet
) -> VerifiedExport:
    """Check an export by reading it as its trainer does; writes nothing.

    Args:
        out: the export's folder
        run: the run that it was made from: captions are compared with it, if it is that one
        execute: the engine
        memory: bytes that one task may use
        progress: told what is done

    Raises:
        InputError: It is no export, or not finished.
        InUseError: A process writes it.
    """
    out = files.normal(out)
    with undisturbed(join(out, HIDDEN)):
        plan, said = recorded_plan(out), files.read_json(join(stage_folder(out), "stage.json"))
        if plan is None or said is None:
            raise InputError(f"{out} is not finished; run the same `coreset export` again, it continues.")
        form = next((found for found in FORMATS.values() if found.params.stage == plan["stage"]), None)
        if form is None:
            raise InputError(f"{out} was made by another version of coreset: {plan['stage']} is not known.")
        return _Verification(out, run, form, plan, said, Needs(memory), execute, progress).result()


class _Verification:
    """The checks of one export."""

    def __init__(
        self,
        out: Location,
        run: Location,
        form: Format[Any],
        plan: dict[str, JSON],
        said: dict[str, JSON],
        needs: Needs,
        execute: Execute,
        progress: Progress,
    ) -> None:
        self.out, self.run, self.form, self.said = out, run, form, said
        self.needs, self.execute, self.progress = needs, execute, progress
        self.source = plan["source"]
        params = {name: tuple(value) if isinstance(value, list) else value for name, value in plan["params"].items()}
        self.params = form.params(**params)
        self.parts = tuple(join(stage_folder(out), name + PARQUET) for name in said["parts"])

    def result(self) -> VerifiedExport:
        found, notes = self.ran("hash", self.seal_calls()), list[str]()
        is_listed = not found.count and all({*CONTENTS.names} <= {*rows.columns_of(part)} for part in self.parts)
        if is_listed:
            found += self.ran("decode", (partial(check_part, self.out, part) for part in self.parts))
            found += self.check_keys() + self.check_reading() + self.check_captions(notes)
        chosen = int(self.said["counts"]["chosen"])
        return VerifiedExport(self.out, self.form.name, chosen, found.compared, tuple(notes), found.count, found.wrong)

    def seal_calls(self) -> Iterator[Callable[[], Found]]:
        """Every file that the stage or a part names has the bytes that were written."""
        folder = stage_folder(self.out)
        for name, part in self.said["parts"].items():
            for suffix, seal in part["files"].items():
                yield partial(check_seal, file_of(folder, name, suffix), Seal(**seal), self.remedy(name))
        for name, seal in self.said["facts"]["files"].items():
            yield partial(check_seal, join(self.out, name), Seal(**seal), self.remedy(None))

    def remedy(self, part: str | None) -> str:
        return remedy_of(self.out, part)

    def check_keys(self) -> Found:
        """No key and no name stands twice."""
        place, found = stage_folder(self.out), Found()
        for column in ("key", "name"):
            texts = chain.from_iterable(
                table[column].drop_null().to_pylist()
                for part in self.parts
                for table in rows.table_batches(part, [column], rows.BATCH_ROWS)
            )
            hashes = np.sort(np.fromiter(map(hash_of, texts), np.uint64))
            found += first_wrong(place, 0, hashes[1:] == hashes[:-1], f"its {column} stands twice")
        return found

    def check_reading(self) -> Found:
        """The files that hold all parts say, read as a loader does, what the parts do."""
        if self.form.read is None:
            return Found()
        done = Finished(self.run, self.out, self.params, self.parts, self.said["counts"])
        entries = ((part, entry) for part in self.parts for entry in written_entries([part]))
        found = []
        for number, (read, of_part) in enumerate(zip_longest(self.form.read(done), entries)):
            place = f"{self.out} pair {number:,}"
            if read is None or of_part is None:
                found.append(wrong(place, "is one too many or too few"))
                continue
            part, entry = of_part
            if (read.key or entry.key, read.file, read.caption) != (entry.key, entry.file, entry.caption):
                found.append(self.changed(place, f"is not that of key {entry.key}", part))
        return total(found)

    def changed(self, place: str, what: str, part: Location) -> Found:
        """A pair that is not as its part says: damage, unless it is in a file whose bytes are those written."""
        if self.said["facts"]["files"]:
            return wrong(place, what)
        return damaged(place, what, self.remedy(os.path.basename(part).removesuffix(PARQUET)))

    def check_captions(self, notes: list[str]) -> Found:
        """Keys and captions are those of the run, in its order."""
        coreset = open_parts(join(self.run, "coreset")) if files.is_folder(self.run) else None
        if coreset is None or coreset.hash != self.source:
            notes.append(f"captions were not compared: {self.run} is not the run of this export; name it with --run")
            return Found()
        kept = self.params.where == ("kept",)
        parts = coreset if kept else open_parts(join(self.out, HIDDEN, "chosen"))
        if parts is None:
            notes.append("captions were not compared: the list of chosen rows was removed")
            return Found()
        listing, start, found = listing_of(parts), 0, []
        for part in self.parts:
            table = rows.read_table(part, CONTENTS.names)
            table_rows = table.to_pylist()
            chosen = listed_rows(listing.pieces(start, start + len(table_rows))).to_pylist()
            start += len(table_rows)
            found.append(check_chosen(part, [Entry(**row) for row in table_rows], chosen))
        if start != listing.rows:
            found.append(wrong(stage_folder(self.out), f"has {start:,} rows; {listing.rows:,} were chosen"))
        return total(found)

    def ran(self, title: str, calls: Iterable[Callable[[], Found]]) -> Found:
        """The sum of what some calls find."""
        every = list(calls)
        self.progress.start(title, len(every), 0)
        found = Found()
        for one in self.execute(every, self.needs):
            found += one
            self.progress.advance({})
        return found
