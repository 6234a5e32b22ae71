"""An export from beginning to end: refuse, choose, check the sources, write the parts, finish."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Any

from coreset import rows
from coreset.engine import files
from coreset.engine.errors import InputError, InvariantError, UnwritableError
from coreset.engine.files import JSON, Location, join
from coreset.engine.local import in_process
from coreset.engine.lock import sole_writer, undisturbed
from coreset.engine.names import part_number
from coreset.engine.progress import Progress, quiet
from coreset.engine.stage import PARQUET, Execute, Needs, Parts, Stage, Summary, Task, complete, finished, fold
from coreset.keys import part_summary
from coreset.results.export.chosen import KEPT_ONLY, Listing, Tally, chosen_stage, listing_of, tallied
from coreset.results.export.contents import CONTENTS, written_entries
from coreset.results.export.format import HIDDEN, ChosenRows, ExportParams, Finished, Format
from coreset.results.export.formats import FORMATS, format_named, params_of
from coreset.results.export.pictures import check_sources, sources_of
from coreset.results.export.target import check_target, clear, stage_folder
from coreset.results.fate import Decided, decided


def export(
    run: Location,
    form: str,
    out: Location,
    execute: Execute = in_process,
    memory: int = 1 << 30,
    progress: Progress = quiet,
    overwrite: bool = False,
    **params: object,
) -> Parts:
    """Write chosen rows of a run in the form that a trainer reads.

    A killed export is continued by the same call; a finished one is left as it is.

    Args:
        run: the run directory
        form: the name of a format
        out: a folder that is new or empty, or one that this call made
        execute: the engine
        memory: bytes that one task may use
        progress: told what is done
        overwrite: replace an export that was made with other parameters
        params: of the format; `where` says which rows

    Returns:
        The finished export: its counts, and in `facts["files"]` the files that hold all parts.

    Raises:
        UsageError: There is no such format, or it has no such parameter.
        InputError: The run is not selected to its end, has no such rows, or its pictures are not where they were;
            or the folder holds something else.
        MismatchError: The folder holds another export.
        ResourceError: No space is left.
    """
    found = format_named(form)
    run, out = files.located(run).rstrip("/"), files.located(out).rstrip("/")
    with undisturbed(run) if files.is_folder(run) else nullcontext():
        exporting = _Exporting(run, out, found, params_of(found, **params), execute, memory, progress)
        must_clear = check_target(out, exporting.stage, overwrite)
        if not must_clear and (whole := finished(exporting.stage)) is not None:
            progress.reuse("export", whole.counts)
            fold((partial(check_there, out, location) for location in whole.locations()), lambda a, b: a + b, execute)
            return whole
        exporting.check()
        with naming_the_folder(out), sole_writer(join(out, HIDDEN), instead="another folder"):
            if must_clear:
                clear(out, FORMATS)
            files.sweep(out)
            return complete(exporting.stage, execute, progress)


@contextmanager
def naming_the_folder(out: Location) -> Iterator[None]:
    """Say what to do about an export's own folder, where it may not be written to: no other run would help.

    Raises:
        InputError: Something in the folder may not be written to.
    """
    try:
        yield
    except UnwritableError as error:
        what = str(error).rpartition("; ")[0]
        raise InputError(
            f"{what}; make it writable and run the same command again, it continues, or give another folder than {out}."
        ) from error


class _Exporting:
    """One export, planned step by step: nothing is looked for before it is needed."""

    def __init__(
        self,
        run: Location,
        out: Location,
        form: Format[Any],
        params: ExportParams,
        execute: Execute,
        memory: int,
        progress: Progress,
    ) -> None:
        self.run, self.out, self.form, self.params = run, out, form, params
        self.execute, self.memory, self.progress = execute, memory, progress
        self.by: Decided = decided(run)
        self.tally = cache(self._tally)
        self.listing = cache(self._listing)
        self.stage = Stage(
            stage_folder(out),
            params,
            self.tasks,
            self.by.coreset.hash,
            rows.receipt_of,
            Needs(memory),
            check=self.check_sums,
            facts=self.facts,
        )

    def _tally(self) -> Tally:
        return tallied(self.by, self.params.where, self.execute)

    def check(self) -> None:
        """Refuse what cannot be exported, before anything is written."""
        self.form.check(self.run, self.params)
        if self.form.has_pictures:
            check_sources(self.run, sources_of(self.run), self.tally().sources)
        self.tally()

    def _listing(self) -> Listing:
        """The chosen rows in order."""
        if self.params.where == KEPT_ONLY:
            return listing_of(self.by.coreset)
        folder = join(self.out, HIDDEN, "chosen")
        stage = chosen_stage(folder, self.by, self.params.where, self.tally().rows, self.execute, self.memory)
        return listing_of(complete(stage, self.execute, self.progress))

    def tasks(self) -> Iterator[Task]:
        """One for each part."""
        listing, size = self.listing(), self.params.part_rows
        parts = -(-listing.rows // size)
        for number in range(parts):
            pieces = listing.pieces(number * size, (number + 1) * size)
            chosen = ChosenRows(self.run, self.out, number, parts, pieces, self.memory)
            name = join(self.stage.folder, part_number(number))
            yield Task(name, self.form.write, (chosen, self.params))

    def parts(self) -> tuple[Location, ...]:
        """The Parquet files of the parts, once all are there."""
        names = [name for name in files.names_in(self.stage.folder) if name.endswith(PARQUET)]
        return tuple(join(self.stage.folder, name) for name in sorted(names, key=lambda name: (len(name), name)))

    def counts(self) -> Summary:
        """Sums of the summaries of all parts."""
        counts: Summary = {}
        for location in self.parts():
            for name, count in part_summary(location).items():
                counts[name] = counts.get(name, 0) + count
        return counts

    def check_sums(self) -> None:
        """Make sure that every chosen row is written, or left out with a reason."""
        counts = self.counts()
        accounted = sum(count for name, count in counts.items() if name == "written" or name.startswith("excluded_"))
        if not counts["chosen"] == self.tally().rows == accounted:
            raise InvariantError(
                f"{self.tally().rows:,} rows are chosen, {counts['chosen']:,} are in the parts of {self.out}, and "
                f"{accounted:,} are written or have a reason; please report this with {self.stage.folder}."
            )

    def facts(self) -> dict[str, JSON]:
        """Write the files that hold all parts, and say their seals."""
        names = self.form.finish(Finished(self.run, self.out, self.params, self.parts(), self.counts()))
        return {"files": {name: seal_json(join(self.out, name)) for name in names}}


def check_there(out: Location, location: Location) -> int:
    """How many pictures of a part are in files, each of which has its size.

    Raises:
        InputError: One was taken away, or cut.
    """
    count = 0
    if rows.columns_of(location) == CONTENTS.names:
        for entry in written_entries([location]):
            place = join(out, entry.file or "")
            if files.size_of(place) != entry.bytes and not place.endswith(".tar"):
                raise InputError(
                    f"{place} is not as it was written; remove {location} and {stage_folder(out)}/stage.json, and run "
                    f"the same command again."
                )
            count += 1
    return count


def seal_json(location: Location) -> JSON:
    """Size and hash of a file that was just written."""
    seal = files.sealed(location)
    return {"size": seal.size, "hash": seal.hash}
