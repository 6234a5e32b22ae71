"""The command line: in this process where that shows it, in a process of its own where it is to be killed."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coreset.cli import main

PRELOADED = ["coreset.cli", "coreset.pipeline", "coreset.encoder", "faiss", "pyarrow.parquet", "rich.table", "pytest"]
LIMIT = 120.0
"""Seconds after which a process counts as stuck."""
VARYING = {"run.json", ".lock"}
"""Files of a run directory that differ between equal runs."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


def coreset(*arguments: str, cwd: Path) -> Said:
    """Run a command here, as the console script does."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    argv, sys.argv = sys.argv, ["coreset", *arguments]
    code = 0
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = argv
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Said(code, out.getvalue(), err.getvalue())


def done(*arguments: str, cwd: Path) -> Said:
    """Run a command that must succeed."""
    said = coreset(*arguments, cwd=cwd)
    assert said.code == 0, said.err
    return said


def check_refused(said: Said, code: int, *parts: str) -> None:
    """One sentence on stderr that holds all parts, and the exit code."""
    assert said.code == code, said.err
    assert "Traceback" not in said.err
    last = said.err.splitlines()[-1]
    assert last.startswith("error: "), said.err
    for part in parts:
        assert part in last, last


class Started:
    """A process with a log of what it prints; the leader of its own process group."""

    def __init__(self, call: Callable[..., object], *arguments: object, cwd: Path, **environment: str) -> None:
        self.log = cwd / "log.txt"
        own = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "CORESET_"))}
        given = (call, arguments, str(cwd), str(self.log), own | environment)
        self.process = _context.Process(target=_called, args=given)
        self.process.start()
        self.pid: int = self.process.pid or 0

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        self.process.join(LIMIT)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(f"stuck: {self.text}")
        return self.process.exitcode

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to its whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    @property
    def text(self) -> str:
        """What it printed so far."""
        return self.log.read_text() if self.log.exists() else ""


def started(*arguments: str, cwd: Path, fault: str = "") -> Started:
    """A command in a process of its own, forked from one that has everything imported."""
    environment = {"CORESET_FAULT": fault} if fault else {}
    return Started(_command, *arguments, cwd=cwd, **environment)


def wait_until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for something that must come true."""
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run directory that equal runs share, by its name."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in VARYING)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def check_equal(run: Path, expected: dict[str, bytes]) -> None:
    """Two run directories hold the same files with the same bytes."""
    found = contents(run)
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []


def _called(
    call: Callable[..., object], arguments: tuple[object, ...], cwd: str, log: str, environment: dict[str, str]
) -> None:
    os.setpgid(0, 0)
    number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(number, stream)
    os.chdir(cwd)
    os.environ.update(environment)
    call(*arguments)


def _command(*arguments: str) -> None:
    sys.argv = ["coreset", *arguments]
    main()
