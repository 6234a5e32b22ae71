"""One run directory, one writer."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from coreset.engine import files
from coreset.engine.errors import InputError, InUseError
from coreset.engine.files import Location

NAME = ".lock"


@contextmanager
def sole_writer(folder: Location, instead: str = "another --run") -> Iterator[None]:
    """Hold a folder for writing until the block ends; the kernel lets go when the process dies, however it dies.

    What a killed writer left under temporary names in the folder itself is swept.

    Args:
        folder: is made if it is not there
        instead: what to use if another process holds it, for the message

    Raises:
        InUseError: Another process holds it; says which, where and since when.
        InputError: Its file system knows no locks.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, sole_writer(folder):
        ...     print("mine")
        mine
    """
    files.make_folder(folder)
    location = files.join(folder, NAME)
    with files.disk_errors(location):
        number = os.open(files.local_path(location), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(number, fcntl.LOCK_EX, folder, f"wait for it, or use {instead}.")
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(number, 0)
        os.pwrite(number, json.dumps(owner).encode(), 0)
        files.sweep(folder)
        yield
    finally:
        os.close(number)


@contextmanager
def undisturbed(folder: Location) -> Iterator[None]:
    """Keep writers out of a folder until the block ends; several readers may do so at a time. Writes nothing.

    Raises:
        InUseError: A process holds it for writing; says which, where and since when.
        InputError: Its file system knows no locks.
    """
    try:
        number = os.open(files.local_path(files.join(folder, NAME)), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # nobody ever wrote here, or the folder was copied without its lock
        yield
        return
    try:
        _take(number, fcntl.LOCK_SH, folder, "wait for it to end.")
        yield
    finally:
        os.close(number)


def _take(number: int, kind: int, folder: Location, then: str) -> None:
    """Lock an open file, or say why not."""
    try:
        fcntl.flock(number, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUseError(f"{folder} is being written by {_owner(number)}; {then}") from error
    except OSError as error:
        raise InputError(
            f"{folder} cannot be locked ({error.strerror}): its file system keeps no locks, and two writers would "
            f"destroy it; use a --run on another disk."
        ) from error


def _owner(number: int) -> str:
    """Who the lock file says holds it."""
    try:
        owner = json.loads(os.pread(number, 4096, 0))
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
