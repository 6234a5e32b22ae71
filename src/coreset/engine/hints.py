"""What the system is told about files on a disk, so that the disk works while the processor does: hints and no more.

Neither changes what a file holds, and neither waits. Where the system takes no hints, nothing is done.
"""

from __future__ import annotations

import sys
from contextlib import suppress

if sys.platform == "linux":
    from os import POSIX_FADV_DONTNEED, POSIX_FADV_WILLNEED, posix_fadvise

    def will_read(descriptor: int, offset: int, size: int) -> None:
        """Let the disk fetch bytes that are read soon: many such ranges may be under way at a time."""
        with suppress(OSError):
            posix_fadvise(descriptor, offset, size, POSIX_FADV_WILLNEED)

    def has_written(descriptor: int, offset: int, size: int) -> None:
        """Let the disk begin with bytes that were just written: little is left to wait for when they are flushed.

        They stay in memory; an error is kept for the flush.
        """
        with suppress(OSError):  # what is not yet on the disk is sent there, not dropped
            posix_fadvise(descriptor, offset, size, POSIX_FADV_DONTNEED)

else:

    def will_read(descriptor: int, offset: int, size: int) -> None:
        """Not here."""

    def has_written(descriptor: int, offset: int, size: int) -> None:
        """Not here."""
