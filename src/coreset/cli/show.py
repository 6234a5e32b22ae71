"""What a person sees: the result on stdout, progress on stderr. Text from the input never controls a terminal."""

from __future__ import annotations

import dataclasses
import json
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from coreset.engine.errors import InputError, TooManyBadError
from coreset.engine.files import names_in, read_json
from coreset.engine.progress import Progress, quiet

if TYPE_CHECKING:
    from coreset.recipe import Recipe
    from coreset.results.report import Report

FOLDERS = ("rows", "centroids", "clusters", "dedup", "coreset")
EXAMPLES = 5
BAR = 40


def plain(text: str) -> str:
    r"""Text without control and formatting characters, which could move the cursor or hide text.

    Example:
        >>> plain("a\x1b[31mb\u202ec")
        'a[31mbc'
    """
    return "".join(char for char in text if unicodedata.category(char) not in {"Cc", "Cf", "Cs"} or char == "\n")


def one_line(text: str, most: int) -> str:
    r"""Text of the input as one plain line; of a longer one the beginning, and how long it is.

    Example:
        >>> one_line("a\n\x1b[2Jb", 10), one_line("abcdef", 3)
        ('a [2Jb', 'abc… (6 characters)')
    """
    line = " ".join(plain(text[: 8 * most]).split())
    return line if len(line) <= most and len(text) <= 8 * most else f"{line[:most]}… ({len(text):,} characters)"


def out(text: str) -> None:
    """Print a line to stdout."""
    sys.stdout.write(plain(text) + "\n")


def print_json(value: Any) -> None:  # noqa: ANN401  any JSON value
    """Print a value as JSON to stdout."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def console() -> Console:
    """stdout, as wide as the terminal; no colour where it is a file."""
    return Console(highlight=False, markup=False, emoji=False)


@contextmanager
def display(silent: bool) -> Iterator[Progress]:
    """A progress display for a run: bars on a terminal, log lines elsewhere."""
    if silent:
        yield quiet
        return
    from coreset.cli.progress import Bars, Lines

    shown = Bars() if sys.stderr.isatty() else Lines()
    try:
        yield shown
    finally:
        shown.close()


def funnel_result(run: str, after: str, as_json: bool, max_bad: float) -> None:
    """Show the funnel, the quarantine and the next step."""
    from coreset.account import funnel, quarantined

    steps, refused = funnel(run), quarantined(run)
    reasons = reason_counts(refused)
    if as_json:
        result = {
            "run": run,
            "funnel": [dataclasses.asdict(step) for step in steps],
            "quarantined": reasons,
            "coreset": coreset_files(run),
        }
        print_json(result)
    else:
        show_funnel(steps)
        show_quarantine(run, refused)
        for line in next_steps(run, after):
            out(line)
    samples = steps[0].rows if steps else 0
    bad = sum(reasons.values())
    if samples and 100 * bad > max_bad * samples:
        raise TooManyBadError(
            f"{bad:,} of {samples:,} samples are in quarantine, more than --max-bad {max_bad:g} %; "
            f"see {run}/quarantine."
        )


def show_funnel(steps: Sequence[Any]) -> None:
    """The funnel as a table, with the share of the input and of the step before."""
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for name, justify in (("", "left"), ("rows", "right"), ("of input", "right"), ("of step before", "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("", style="dim")
    for number, step in enumerate(steps):
        before = steps[number - 1].rows if number else step.rows
        table.add_row(
            step.name, f"{step.rows:,}", percent(step.rows, steps[0].rows), percent(step.rows, before), step.note
        )
    console().print(table)


def percent(part: int, whole: int) -> str:
    """A share in percent; a dash of nothing.

    Example:
        >>> percent(1, 3)
        '33.3 %'
    """
    return f"{100 * part / whole:.1f} %" if whole else "-"


def show_quarantine(run: str, refused: Sequence[Mapping[str, Any]]) -> None:
    """What was quarantined, by reason, with the first few."""
    if not refused:
        return
    out("")
    for reason, count in sorted(reason_counts(refused).items()):
        out(f"quarantined: {count:,} {reason}")
        for entry in [entry for entry in refused if entry["reason"] == reason][:EXAMPLES]:
            out(f"  {entry['source']} {entry['key'] or ''}: {entry['detail']}")
    out(f"  all of them: {run}/quarantine/")


def reason_counts(refused: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Quarantined rows by reason."""
    counts: dict[str, int] = {}
    for entry in refused:
        counts[entry["reason"]] = counts.get(entry["reason"], 0) + entry["rows"]
    return counts


def coreset_files(run: str) -> list[str]:
    """The Parquet files of the coreset, if it is complete."""
    names = names_in(f"{run}/coreset")
    return [f"{run}/coreset/{name}" for name in names if name.endswith(".parquet")] if "stage.json" in names else []


def next_steps(run: str, after: str) -> list[str]:
    """Where the result lies, and what to type next."""
    flag = "" if run == "run" else f" --run {run}"
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


def sweep_result(thresholds: Sequence[float], kept: Sequence[int], total: int, as_json: bool) -> None:
    """Show how many rows each threshold keeps, with a bar for its share."""
    if as_json:
        print_json([{"threshold": t, "kept": k, "fraction": k / total} for t, k in zip(thresholds, kept, strict=True)])
        return
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for name, justify in (("threshold", "left"), ("kept", "right"), ("of all", "right"), ("", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for threshold, count in zip(thresholds, kept, strict=True):
        table.add_row(f"{threshold:g}", f"{count:,}", percent(count, total), "█" * round(BAR * count / total))
    console().print(table)


def fates_result(location: str, counts: Mapping[str, int], as_json: bool) -> None:
    """Show how many samples have each fate, and where they are written."""
    if as_json:
        print_json({"file": location, "fates": dict(counts)})
        return
    table = Table(box=None, pad_edge=False, show_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right")
    total = sum(counts.values())
    for fate, count in sorted(counts.items(), key=lambda entry: -entry[1]):
        table.add_row(fate, f"{count:,}", percent(count, total))
    table.add_row("in all", f"{total:,}", percent(total, total))
    console().print(table)
    out(location)


def report_result(found: Report, as_json: bool) -> None:
    """Say where a report lies."""
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    without = f", {found.without:,} without" if found.without else ""
    out(f"{found.bytes / 1e6:.1f} MB, {found.pictures:,} rows with a picture{without}; every number: {found.numbers}")
    out(found.page)


def status_result(run: str, as_json: bool) -> None:
    """Show the stages of a run as they stand on disk; works while another process writes."""
    from coreset.account import stage_state

    states = [stage_state(run, name) for name in (*FOLDERS[:3], "forest", *FOLDERS[3:])]
    states = [state for state in states if state.is_planned or state.name in FOLDERS]
    if not any(state.parts or state.is_planned for state in states):
        raise InputError(f"{run} holds no run; make one with `coreset run` or `coreset demo`, or name it with --run.")
    noted = (read_json(f"{run}/run.json") or {"stages": {}})["stages"]
    if as_json:
        print_json({"run": run, "stages": [dataclasses.asdict(state) for state in states], "costs": noted})
        return
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for name, justify in (
        ("stage", "left"),
        ("state", "left"),
        ("parts", "right"),
        ("rows", "right"),
        ("time", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("", style="dim")
    for state in states:
        took = noted.get(state.name, {}).get("seconds")
        rows = "" if state.rows is None else f"{state.rows:,}"
        table.add_row(
            f"{state.name}/", state.state, str(state.parts), rows, "" if took is None else duration(took), state.note
        )
    console().print(table)


def plan_result(run: str, recipe: Recipe, names: Sequence[str], as_json: bool) -> None:
    """Show what a command would do."""
    from coreset.account import stage_state
    from coreset.engine.stage import params_json

    states = {name: stage_state(run, name) for name in names}
    from coreset.pipeline import is_import, listed_embeddings, listed_shards

    imports = "rows" in names and is_import(recipe)
    stage_of = {
        "rows": "import_" if imports else "embed",
        "centroids": "cluster",
        "clusters": "cluster",
        "dedup": "dedup",
        "coreset": "sample",
    }
    plan = {name: params_json(getattr(recipe, stage_of[name])) for name in names}
    shards: list[str] = []
    if imports:
        embeddings, params = listed_embeddings(recipe)
        shards = [part.name for part in embeddings.folder.parts]
        plan["rows"] = params_json(params)
    elif "rows" in names:
        shards = [shard.name for shard in listed_shards(recipe, recipe.embed.prefix_keys)]
    if as_json:
        print_json({"run": run, "shards": shards, "params": plan, "state": {n: s.state for n, s in states.items()}})
        return
    if shards:
        out(f"input: {len(shards):,} {'file(s) of vectors' if imports else 'shard(s)'}, {shards[0]} … {shards[-1]}")
    for name in names:
        out(f"{run}/{name}/: {states[name].state}, {states[name].parts} part(s) there")
        out("  " + ", ".join(f"{key} = {value}" for key, value in plan[name].items() if value not in {"", None}))
    out("nothing was done (--dry-run)")


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Example:
        >>> duration(5.25), duration(75), duration(7300)
        ('5.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
