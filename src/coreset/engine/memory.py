"""What a process holds of the machine's memory with all its descendants, from Linux's `/proc`; elsewhere nothing.

Counted is what must fit the machine: anonymous and shared pages, summed over the processes. Pages of mapped files do
not count, the kernel can drop them. Pages that two processes share count twice, so the sum is never too low.
"""

from __future__ import annotations

from pathlib import Path

COUNTED = ("RssAnon:", "RssShmem:")


def tree_bytes(pid: int) -> int:
    """Anonymous and shared bytes of a process and its descendants; 0 where that is not known.

    Example:
        >>> import os
        >>> tree_bytes(os.getpid()) > 1_000_000
        True
    """
    return sum(map(own_bytes, tree(pid)))


def tree(pid: int) -> list[int]:
    """A process and its descendants, as far as they are alive.

    Example:
        >>> import os
        >>> tree(os.getpid())[0] == os.getpid()
        True
    """
    found = [pid]
    for parent in found:  # grows while it is read
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, proc_text(task).split())
    return found


def own_bytes(pid: int) -> int:
    """Anonymous and shared bytes of one process; 0 once it has ended."""
    lines = proc_text(Path(f"/proc/{pid}/status")).splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(COUNTED))


def proc_text(path: Path) -> str:
    """A file of `/proc`; nothing if its process has ended meanwhile, or there is no `/proc`."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
