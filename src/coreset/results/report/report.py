"""The report of a run: one page that shows what was kept and why, and every number of it as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from coreset.engine.errors import UsageError
from coreset.engine.files import Location, join, json_bytes, write_bytes
from coreset.engine.progress import Progress, quiet
from coreset.results.report.map_shown import map_shown
from coreset.results.report.numbers import report_numbers
from coreset.results.report.page import page
from coreset.results.report.pictures import pictures_of

STEPS = 4
"""Numbers, pictures, map, page."""


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        page: the HTML file
        numbers: the JSON file with every number of the page
        bytes: of the page
        pictures: that it shows
        without: rows of it that have no picture to show
    """

    page: Location
    numbers: Location
    bytes: int
    pictures: int
    without: int


def report(
    run: Location,
    out: Location | None = None,
    seed: int = 0,
    pictures: bool = True,
    progress: Progress = quiet,
) -> Report:
    """Write the report of a run that is selected to its end; the same run gives the same bytes.

    Args:
        run: the run directory
        out: the folder of the report; `report` in the run directory if None
        seed: of all that is drawn to be shown
        pictures: whether to show the pictures, which are read from where they were embedded
        progress: told what is done

    Raises:
        InputError: The run is not selected to its end, or a stage is gone since; says which command to run.
        InvariantError: The fates do not add up to the funnel.
        UsageError: The seed is not below 2^64.
    """
    if not 0 <= seed < 2**64:
        raise UsageError(f"--seed {seed} must be at least 0 and below 2^64.")
    run = run.rstrip("/")
    progress.start("report", STEPS, 0)
    numbers = report_numbers(run, seed)
    progress.advance({})
    small = pictures_of(run, numbers.rows) if pictures else None
    progress.advance({})
    mapped = map_shown(run, seed)
    progress.advance({})
    content = page(numbers, small, mapped).encode()
    progress.advance({})
    without = small.absent if small else {}
    folder = out or join(run, "report")
    found = Report(
        join(folder, "index.html"),
        join(folder, "report.json"),
        len(content),
        len(small.by_key) if small else 0,
        sum(without.values()),
    )
    write_bytes(found.numbers, json_bytes({**numbers.json, "map": mapped.points, "pictures_missing": without}))
    write_bytes(found.page, content)
    progress.finish({"rows": numbers.clustered})
    return found
