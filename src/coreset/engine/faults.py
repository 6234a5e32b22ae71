"""Points at which a disk may fail, and how a test makes it fail there."""

from __future__ import annotations

import errno
import os
import signal

FAULT = "CORESET_FAULT"
"""`point:count:kind` makes the count-th passage of a point fail; for tests of faults."""

POINTS = ("folder", "open", "write", "fsync", "rename", "flush", "remove")
"""All that is done to a disk: make a folder; open, write, flush and name a file; flush its folder; remove it."""

KINDS = ("kill", "eio", "enospc", "short")
"""Ways to fail: the process ends, the disk is broken, the disk is full, half of a block is written to a full disk."""

_passages: dict[str, int] = {}


class ShortWriteError(OSError):
    """Stands for a disk that took only a half of a block; for tests of faults."""


def pass_point(point: str) -> None:
    """Count a passage of a fault point, and fail there if a test asks for it.

    Raises:
        OSError: As `FAULT` asks. The point `any` counts the passages of all.
    """
    wanted = os.environ.get(FAULT)
    if wanted is None:
        return
    name, count, kind = wanted.split(":")
    _passages[point] = _passages.get(point, 0) + 1
    passed = {point: _passages[point], "any": sum(_passages.values())}.get(name)
    if passed != int(count) or (kind == "short" and point != "write"):
        return
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    number = errno.EIO if kind == "eio" else errno.ENOSPC
    raise (ShortWriteError if kind == "short" else OSError)(number, os.strerror(number))
