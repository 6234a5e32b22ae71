"""The command line: flags become parameters, errors become one sentence and an exit code.

Nothing else in the package prints. What is heavy is imported inside the commands, so that `coreset --help`
answers at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from types import FrameType

from coreset.cli.commands import app
from coreset.engine.errors import CoresetError, InputError

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Run a command; a user's mistake gets one sentence on stderr, never a traceback."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a caption shows a mark
            stream.reconfigure(errors="replace")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a thread that waits for another leaves its core to decoding
    try:
        app(standalone_mode=True)
    except CoresetError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)
    except SystemExit as end:  # typer turns a KeyboardInterrupt into this
        if end.code == INTERRUPTED:
            _say("interrupted: what is complete stays; run the same command again to continue.")
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        _say(f"error: {error.filename}: {error.strerror}; check the disk and the permissions.")
        sys.exit(InputError.exit_code)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  the shape of a signal handler
    """Stop; a second signal ends the process at once, as kill -9 does."""
    for later in SIGNALS:
        signal.signal(later, signal.SIG_DFL)
    raise KeyboardInterrupt


def _say(text: str) -> None:
    from coreset.cli.show import plain

    sys.stderr.write(plain(text) + "\n")
