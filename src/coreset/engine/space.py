"""Whether the disk has room for a stage, before it begins."""

from __future__ import annotations

import os

from coreset.engine import files
from coreset.engine.errors import ResourceError
from coreset.engine.files import Location

MARGIN = 10
"""One part in so many is asked for on top of what a stage needs: folders, and tables that pack worse than before."""


def free_bytes(folder: Location) -> int:
    """What the disk under a folder has left for this user; the folder need not be there yet.

    A quota below that is not seen: it ends the run later, like any full disk.
    """
    path = files.local_path(os.path.abspath(folder))
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def held_bytes(folder: Location) -> int:
    """What the files of a folder have: parts that are there already, or make room as new ones take their names."""
    return sum(files.size_of(files.join(folder, name)) or 0 for name in files.names_in(folder))


def with_margin(size: int) -> int:
    """What is asked for where a stage needs so many bytes.

    Example:
        >>> with_margin(1000)
        1100
    """
    return size + size // MARGIN


def check_space(folder: Location, size: int) -> None:
    """Refuse to begin a stage that cannot end.

    Args:
        folder: of the stage
        size: bytes that its files will have together; 0 if nobody knows

    Raises:
        ResourceError: The disk has not that much left; says how much is missing.
    """
    if files.is_remote(folder):  # a store has room; what is on its way is checked when it is written
        return
    needed = with_margin(size) - held_bytes(folder) if size else 0
    if needed > (free := free_bytes(folder)):
        raise ResourceError(
            f"{folder} needs {shown(needed)} more and its disk has {shown(free)} left: free {shown(needed - free)} and "
            f"run the same command again, it continues; or use a --run on a larger disk."
        )


def shown(size: int) -> str:
    """Bytes for a person.

    Example:
        >>> shown(3 << 29), shown(3 << 19), shown(7)
        ('1.50 GiB', '1.50 MiB', '0.01 KiB')
    """
    unit, name = next(
        ((1 << power, name) for power, name in ((30, "G"), (20, "M")) if size >= 1 << power), (1 << 10, "K")
    )
    return f"{size / unit:.2f} {name}iB"
