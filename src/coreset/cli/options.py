"""Options that several commands share, and the help page's defaults, which stand in the stages' params only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from coreset.cli.complete import run_folders

if TYPE_CHECKING:
    from coreset.engine.stage import Execute
    from coreset.pipeline import Run
    from coreset.recipe import Recipe


def run_location(text: str) -> str:
    """A run directory as a person names it: a path, or the URL of a folder in a store that can hold a run."""
    if ":" not in text:
        return text
    from coreset.engine.files import located_run

    return located_run(text)


def place_location(text: str | None) -> str | None:
    """A file or folder as a person names it: a path or a URL."""
    if text is None or ":" not in text:
        return text
    from coreset.engine.files import located

    return located(text)


RunFolder = Annotated[
    str,
    typer.Option(
        "--run",
        envvar="CORESET_RUN",
        help="The run directory: a path, or a URL such as s3://BUCKET/RUN.",
        autocompletion=run_folders,
        callback=run_location,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes; changes no byte of the result. [default: 1; with --ray, the cluster's processors]",
        show_default=False,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        envvar="CORESET_RAY",
        help="Work on the Ray cluster at this address, such as auto or HOST:6379; `local` starts one here.",
        show_default=False,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        help="Budget of all processes, such as 8GiB; default: 4/5 of this machine's, or container's.",
        show_default=False,
    ),
]
MaxBad = Annotated[float, typer.Option("--max-bad", min=0, max=100, help="Percent quarantined above which to exit 4.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make anew what was made with other parameters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
Json = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class HelpWithDefaults(typer.core.TyperCommand):
    """Fills in, when help is asked for, meaning and default of every option named after a parameter."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  typer carries its own click
        """Write the help page."""
        from coreset.recipe import STAGES, toml_value

        for option in self.params:
            stage, _, name = (getattr(option, "help", None) or "").partition(".")
            if stage == "export":
                from coreset.results.export.formats import option_help

                option.help = option_help(name)  # type: ignore[attr-defined]
            if stage in STAGES and name in STAGES[stage].__dataclass_fields__:
                found = STAGES[stage].__dataclass_fields__[name]
                meaning = str(found.metadata["help"])
                shown = toml_value(found.default) or "none"
                option.help = f"{meaning[0].upper()}{meaning[1:]}. [{stage}.{name}, default {shown}]"  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


def bytes_of(text: str) -> int:
    """The number of bytes that a size such as `8GiB`, `500MB` or `1e9` names.

    Raises:
        UsageError: It names none.

    Example:
        >>> bytes_of("8GiB"), bytes_of("1.5 kB")
        (8589934592, 1500)
    """
    from coreset.engine.errors import UsageError

    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?)b?\s*", text.lower())
    try:
        if match is None or match[2] not in _UNITS:
            raise ValueError(text)
        return int(float(match[1]) * _UNITS[match[2]])
    except (ValueError, OverflowError) as error:  # the latter for 1e400, which is infinite
        raise UsageError(f"--memory {text} is not a size; write it like 8GiB or 500MB.") from error


@dataclass(frozen=True)
class CommonOptions:
    """What every command takes besides its own flags."""

    run: str = "run"
    workers: int | None = None
    memory: str | None = None
    overwrite: bool = False
    quiet: bool = False
    as_json: bool = False
    max_bad: float = 1.0
    ray: str | None = None

    @contextmanager
    def writing(self) -> Iterator[Run]:
        """The run directory, held for writing, with an engine and a progress display."""
        from coreset.engine.lock import sole_writer

        with sole_writer(self.run), self.reading() as run:
            yield run

    @contextmanager
    def reading(self) -> Iterator[Run]:
        """The run directory with an engine and a progress display."""
        from coreset.cli.show import display
        from coreset.pipeline import Run

        with display(self.quiet or self.as_json) as progress, self.engine() as (execute, workers, memory):
            yield Run(self.run.rstrip("/"), workers, execute, memory, progress, self.overwrite)

    @contextmanager
    def engine(self) -> Iterator[tuple[Execute, int, int]]:
        """The engine that the flags ask for, its workers, and the memory that they share."""
        from coreset.engine.local import in_process, on_processes
        from coreset.pipeline import SHARE, default_memory

        asked = bytes_of(self.memory) if self.memory else None
        if self.ray is not None:
            from coreset.engine.on_ray import on_ray

            with closing(on_ray(self.ray, self.workers)) as cluster:
                yield cluster, cluster.workers, asked or int(cluster.memory * SHARE)
        elif self.workers in {None, 1}:
            yield in_process, 1, asked or default_memory()
        else:
            with closing(on_processes(self.workers)) as processes:
                yield processes, self.workers, asked or default_memory()

    def show_funnel(self, after: str) -> None:
        """Print how many rows each step left, where the result lies and what to do next.

        Raises:
            TooManyBadError: More than `max_bad` percent of the samples are in quarantine.
        """
        from coreset.cli.funnel import funnel_result

        funnel_result(self.run.rstrip("/"), after, self.as_json, self.max_bad)

    def show_status(self) -> None:
        """Print the stages of the run."""
        from coreset.cli.status import status_result

        status_result(self.run.rstrip("/"), self.as_json)

    def show_plan(self, recipe: Recipe, names: tuple[str, ...]) -> None:
        """Print what would be done."""
        from coreset.cli.plan import plan_result

        plan_result(self.run.rstrip("/"), recipe, names, self.as_json)
