"""The disk of this machine: folders made, removed and flushed, names of what is not committed, errors as sentences.

A file is written under a temporary name in its own folder, flushed to the disk, then renamed, and the folder
is flushed. Whoever looks sees the old file, the new one or none. A temporary name that is left is garbage.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coreset.engine.errors import ResourceError, UnwritableError
from coreset.engine.faults import pass_point

TEMPORARY = ".tmp."
"""Stands in the name of every file that is not committed yet."""

_TEMPORARY_NAME = re.compile(r".+\.tmp\.\d+\.[0-9a-f]{8}", re.DOTALL)


def make_folder(path: Path) -> None:
    """Create a folder with its parents, and flush what they lie in; one that exists is fine."""
    with disk_errors(str(path)):
        if path.is_dir():
            return
        if path.parent != path:
            make_folder(path.parent)
        pass_point("folder")
        path.mkdir(exist_ok=True)
        flush_folder(str(path.parent))


def remove(path: Path) -> None:
    """Remove a file or a whole folder, and flush the folder that it lay in; nothing there is fine.

    A folder gets a temporary name first: nobody ever finds half of it.
    """
    with disk_errors(str(path)):
        if path.is_dir() and not path.is_symlink():
            if not is_temporary(path.name):
                pass_point("rename")
                path = path.replace(temporary_name(str(path)))
                flush_folder(str(path.parent))
            remove_folder(path)
        elif os.path.lexists(path):
            pass_point("remove")
            path.unlink(missing_ok=True)
        else:
            return
        flush_folder(str(path.parent))


def remove_folder(path: Path) -> None:
    """Remove a folder name by name."""
    for entry in list(os.scandir(path)):
        if entry.is_dir(follow_symlinks=False):
            remove_folder(Path(entry.path))
        else:
            pass_point("remove")
            os.unlink(entry.path)
    pass_point("remove")
    path.rmdir()


def remove_folder_quietly(folder: str) -> None:
    """Remove a folder under a temporary name; what cannot be removed now is swept at the next start."""
    shutil.rmtree(folder, ignore_errors=True)


def write_all(file: io.RawIOBase, content: bytes) -> None:
    """Write all bytes to an unbuffered file."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) or 0 :]


def temporary_name(location: str) -> str:
    """A new name beside a location for what is not committed, or not any more."""
    return f"{location}{TEMPORARY}{os.getpid()}.{uuid.uuid4().hex[:8]}"


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that a writer gives before the file is committed."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


def flush_folder(folder: str) -> None:
    """Make what was named and removed in a folder durable."""
    pass_point("flush")
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def disk_errors(location: str) -> Iterator[None]:
    """Turn a full, read-only or vanished disk into one sentence.

    Raises:
        ResourceError: No space is left, the quota is used up, the disk is broken, or the folder vanished.
        UnwritableError: The folder may not be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise ResourceError(
                f"No space left to write {location}; free some and run the same command again, it continues."
            ) from error
        if error.errno == errno.EIO:
            raise ResourceError(
                f"{location} cannot be written: {error.strerror}; see whether the disk is sound, and run the same "
                f"command again, it continues."
            ) from error
        if error.errno in {errno.ENOENT, errno.ESTALE}:
            raise ResourceError(
                f"{location} was removed or moved away while it was written; run the same command again, it continues."
            ) from error
        if error.errno in {errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST}:
            raise UnwritableError(f"{location} cannot be written: {error.strerror}; choose another --run.") from error
        raise
