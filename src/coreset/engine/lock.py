"""One run directory, one writer."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from coreset.engine import disk, files
from coreset.engine.errors import InputError, InUseError
from coreset.engine.files import Location

NAME = ".lock"
PATIENCE = 0.5
"""Seconds that a writer waits for a lock: whoever looks who writes holds it for a moment."""
PAUSE = 0.05


@dataclass(frozen=True)
class Owner:
    """A process that holds a folder for writing.

    Attributes:
        pid: its number on its host; None if the lock does not say
        host: where it runs
        since: when it began, in the host's time
    """

    pid: int | None = None
    host: str | None = None
    since: str | None = None

    def __str__(self) -> str:
        return "another process" if self.pid is None else f"process {self.pid} on {self.host} since {self.since}"


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
    location = files.join(folder, NAME)
    if files.is_remote(location):
        from coreset.engine.remote_lock import sole_writer as sole_writer_there

        with sole_writer_there(folder, location, f"wait for it, or use {instead}."):
            yield
        return
    files.make_folder(folder)
    with disk.disk_errors(location):
        number = os.open(files.local_path(location), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(number, fcntl.LOCK_EX, folder, f"wait for it, or use {instead}.", PATIENCE)
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
    if files.is_remote(folder):  # a store has no shared locks: writers that begin later are not kept out
        if (owner := writer_of(folder)) is not None:
            raise InUseError(f"{folder} is being written by {owner}; wait for it to end.")
        yield
        return
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


def writer_of(folder: Location) -> Owner | None:
    """Who writes a folder now; None if nobody does. Keeps nobody from beginning, and writes nothing."""
    if files.is_remote(folder):
        from coreset.engine.remote_lock import said_of

        said = said_of(files.join(folder, NAME))
        return None if said is None or said.is_stale else _owner_in(said.owner)
    try:
        number = os.open(files.local_path(files.join(folder, NAME)), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        _lock(number, fcntl.LOCK_SH, 0)
    except BlockingIOError:
        return _owner(number)
    finally:
        os.close(number)
    return None


def _take(number: int, kind: int, folder: Location, then: str, patience: float = 0) -> None:
    """Lock an open file, or say why not."""
    try:
        _lock(number, kind, patience)
    except BlockingIOError as error:
        raise InUseError(f"{folder} is being written by {_owner(number)}; {then}") from error
    except OSError as error:
        raise InputError(
            f"{folder} cannot be locked ({error.strerror}): its file system keeps no locks, and two writers would "
            f"destroy it; use a --run on another disk."
        ) from error


def _lock(number: int, kind: int, patience: float) -> None:
    """Lock an open file, trying so many seconds.

    Raises:
        BlockingIOError: Another process holds it.
    """
    last = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(number, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= last:
                raise
            time.sleep(PAUSE)
        else:
            return


def _owner(number: int) -> Owner:
    """Who the lock file says holds it."""
    try:
        return _owner_in(json.loads(os.pread(number, 4096, 0)))
    except ValueError:
        return Owner()


def _owner_in(said: Mapping[str, Any]) -> Owner:
    """The owner that a lock names."""
    try:
        return Owner(int(said["pid"]), str(said["host"]), str(said["since"]))
    except (ValueError, KeyError, TypeError):
        return Owner()
