"""A terminal of a given size, emulated, with a command that runs in it as it would on a real one."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
from pathlib import Path

import pyte
from command import Started

from coreset.cli import main


class Terminal:
    """A command on a terminal."""

    def __init__(self, *arguments: str, cwd: Path, columns: int = 100, lines: int = 30, **environment: str) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        named = {"TERM": "xterm-256color", "COLUMNS": "", "LINES": "", "NO_COLOR": "", **environment}
        self.started = Started(on_terminal, os.ttyname(slave), arguments, cwd=cwd, **named)
        self._slave = slave
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> list[str]:
        """The lines of the screen, without those that are empty."""
        return [line.rstrip() for line in self._screen.display if line.strip()]

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(self.shown)

    @property
    def is_cursor_seen(self) -> bool:
        """Whether the cursor is visible."""
        return not self._screen.cursor.hidden

    def wait(self) -> int:
        """The exit code, once all that was written is on the screen."""
        code = self.started.wait()
        os.close(self._slave)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        while True:
            try:
                block = os.read(self._master, 1 << 16)
            except OSError:  # nobody holds the other end
                return
            self.written += block
            self._stream.feed(block)


def on_terminal(name: str, arguments: tuple[str, ...]) -> None:
    """Run a command with a terminal as its streams."""
    number = os.open(name, os.O_RDWR | os.O_NOCTTY)
    for stream in (0, 1, 2):
        os.dup2(number, stream)
    os.close(number)
    encoding = os.environ.get("PYTHONIOENCODING")
    sys.stdout, sys.stderr = (os.fdopen(os.dup(stream), "w", encoding=encoding) for stream in (1, 2))
    for variable in ("COLUMNS", "LINES", "NO_COLOR"):
        if not os.environ.get(variable):
            os.environ.pop(variable, None)
    sys.argv = ["coreset", *arguments]
    main()
