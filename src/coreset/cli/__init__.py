"""The command line: flags become parameters, errors become one sentence and an exit code.

Nothing else in the package prints. What is heavy is imported inside the commands, so that `coreset --help`
answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from coreset.cli.commands import app
from coreset.engine.errors import CoresetError

INTERRUPTED = 130


def main() -> None:
    """Run a command; a user's mistake gets one sentence on stderr, never a traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(standalone_mode=True)
    except CoresetError as error:
        _say(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _say("interrupted: what is complete stays; run the same command again to continue.")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  the shape of a signal handler
    raise KeyboardInterrupt


def _say(text: str) -> None:
    from coreset.cli.show import plain

    sys.stderr.write(plain(text) + "\n")
