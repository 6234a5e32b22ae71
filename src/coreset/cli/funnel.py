"""What is shown when a command has made something: the funnel, the quarantine, the next step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from coreset.cli.show import bar, one_line, out, percent, print_json
from coreset.cli.table import Column, show_table
from coreset.engine.errors import TooManyBadError
from coreset.engine.files import names_in

if TYPE_CHECKING:
    from coreset.account import Refusals, Step

EXAMPLES = 5
"""Quarantined entries that are shown for each reason."""
LONGEST = 200
"""Characters that are shown of one."""
BAR = 20
COLUMNS = (
    Column(""),
    Column("rows", is_number=True),
    Column("of input", is_number=True, worth=4),
    Column("of step before", is_number=True, worth=3),
    Column("", worth=1),
    Column("", worth=2),
)


def funnel_result(run: str, after: str, as_json: bool, max_bad: float) -> None:
    """Show the funnel, the quarantine and the next step.

    Raises:
        TooManyBadError: More than `max_bad` percent of the samples are in quarantine.
    """
    from coreset.account import funnel, refusals

    steps, refused = funnel(run), refusals(run, EXAMPLES)
    if as_json:
        found = [dataclasses.asdict(step) for step in steps]
        print_json({"run": run, "funnel": found, "quarantined": refused.rows, "coreset": coreset_files(run)})
    else:
        show_funnel(steps)
        show_quarantine(run, refused)
        for line in next_steps(run, after):
            out(line)
    samples, bad = steps[0].rows if steps else 0, sum(refused.rows.values())
    if samples and 100 * bad > max_bad * samples:
        raise TooManyBadError(
            f"{bad:,} of {samples:,} samples are in quarantine, more than --max-bad {max_bad:g} %; "
            f"see {run}/quarantine."
        )


def show_funnel(steps: Sequence[Step]) -> None:
    """A line for each step, with its share of the input and of the step before."""
    rows = []
    for number, step in enumerate(steps):
        before, whole = steps[max(0, number - 1)].rows, steps[0].rows
        shares = (percent(step.rows, whole), percent(step.rows, before), bar(step.rows, whole, BAR))
        rows.append([step.name, f"{step.rows:,}", *shares, step.note])
    show_table(COLUMNS, rows)


def show_quarantine(run: str, refused: Refusals) -> None:
    """What was quarantined, by reason, with the first few."""
    if not refused.rows:
        return
    out("")
    for reason, count in sorted(refused.rows.items()):
        out(f"quarantined: {count:,} {reason}")
        for entry in refused.first[reason]:
            out("  " + one_line(f"{entry['source']} {entry['key'] or ''}: {entry['detail']}", LONGEST))
    out(f"  all of them: {run}/quarantine/")


def coreset_files(run: str) -> list[str]:
    """The Parquet files of the coreset, if it is complete."""
    names = names_in(f"{run}/coreset")
    return [f"{run}/coreset/{name}" for name in names if name.endswith(".parquet")] if "stage.json" in names else []


def next_steps(run: str, after: str) -> list[str]:
    """Where the result lies, and what to type next."""
    flag = run_flag(run)
    if after in {"embed", "import"}:
        return ["", f"vectors and rows: {run}/rows/", f"next: coreset dedup{flag}"]
    if after == "dedup":
        return ["", f"every row with its component: {run}/dedup/", f"next: coreset sample{flag} -n N"]
    lines = ["the coreset:", *(f"  {name}" for name in coreset_files(run))]
    if after != "demo":  # a file is the last word
        return ["", f"what stays, what goes and why: coreset report{flag}", *lines]
    return [
        *("", *lines),
        f"see it:    coreset report{flag}",
        f"try next:  coreset dedup{flag} --threshold 0.9 && coreset sample{flag} -n 20",
        "your own:  coreset init 'shards/*.tar' && coreset run",
    ]


def run_flag(run: str) -> str:
    """The flag that names a run, if it must be typed.

    Example:
        >>> run_flag("run"), run_flag("other")
        ('', ' --run other')
    """
    return "" if run == "run" else f" --run {run}"


def fates_result(location: str, counts: Mapping[str, int], as_json: bool) -> None:
    """Show how many samples have each fate, and where they are written."""
    if as_json:
        print_json({"file": location, "fates": dict(counts)})
        return
    total = sum(counts.values())
    fates = [*sorted(counts.items(), key=lambda entry: -entry[1]), ("in all", total)]
    columns = (Column(""), Column("", is_number=True), Column("", is_number=True), Column("", worth=1))
    show_table(columns, [[fate, f"{n:,}", percent(n, total), bar(n, total, BAR)] for fate, n in fates])
    out(location)
