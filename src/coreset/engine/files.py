"""Files that appear whole or not at all: the only module that interprets a `Location`.

A file is written under a temporary name in its own folder, flushed to the disk, then renamed, and the folder
is flushed. Whoever looks sees the old file, the new one or none. A temporary name that is left is garbage.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import xxhash

from coreset.engine.errors import InputError, ResourceError, UnwritableError

Location = str
"""A path. Object storage is not read or written by this version: a URL is refused in one sentence."""

JSON = Any
"""What `json.dumps` takes: plans, receipts and summaries are made of it."""

TEMPORARY = ".tmp."
"""Stands in the name of every file that is not committed yet."""

_TEMPORARY_NAME = re.compile(r".+\.tmp\.\d+\.[0-9a-f]{8}", re.DOTALL)

FAULT = "CORESET_FAULT"
"""`point:count:kind` makes the count-th passage of a point fail; for tests of faults."""

POINTS = ("folder", "open", "write", "fsync", "rename", "flush", "remove")
"""All that is done to a disk: make a folder; open, write, flush and name a file; flush its folder; remove it."""

KINDS = ("kill", "eio", "enospc", "short")
"""Ways to fail: the process ends, the disk is broken, the disk is full, half of a block is written to a full disk."""

_passages: dict[str, int] = {}


def join(*names: str) -> Location:
    """A location below a folder.

    Example:
        >>> join("run", "rows", "00000.npy")
        'run/rows/00000.npy'
    """
    return os.path.join(*names)


def local_path(location: Location) -> Path:
    """The path of a location.

    Raises:
        InputError: The location is a URL.
    """
    if "://" in location:
        raise InputError(f"{location}: object storage is not supported yet; copy it to a disk and give its path.")
    return Path(location)


def fingerprint(value: JSON) -> str:
    """A hash of a JSON value that does not depend on the order of its keys: 128 bits as hex.

    Example:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Seal:
    """Size in bytes and xxh3_128 of a file's bytes, as hex."""

    size: int
    hash: str


def sealed(location: Location) -> Seal:
    """The seal of a file on disk, read in blocks of 8 MiB."""
    digest, size = xxhash.xxh3_128(), 0
    with local_path(location).open("rb") as file:
        while block := file.read(8 << 20):
            digest.update(block)
            size += len(block)
    return Seal(size, digest.hexdigest())


def size_of(location: Location) -> int | None:
    """Size of a file in bytes; None where there is no such file."""
    try:
        return local_path(location).stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def names_in(folder: Location) -> list[str]:
    """The sorted names in a folder; none where there is no such folder."""
    path = local_path(folder)
    return sorted(os.listdir(path)) if path.is_dir() else []


def make_folder(folder: Location) -> None:
    """Create a folder with its parents, and flush what they lie in; one that exists is fine."""
    path = local_path(folder)
    with disk_errors(folder):
        if path.is_dir():
            return
        if path.parent != path:
            make_folder(str(path.parent))
        pass_point("folder")
        path.mkdir(exist_ok=True)
        flush_folder(str(path.parent))


def remove(location: Location) -> None:
    """Remove a file or a whole folder, and flush the folder that it lay in; nothing there is fine.

    A folder gets a temporary name first: nobody ever finds half of it.
    """
    path = local_path(location)
    with disk_errors(location):
        if path.is_dir() and not path.is_symlink():
            if not is_temporary(path.name):
                pass_point("rename")
                path = path.replace(temporary_name(location))
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


def remove_folder_quietly(folder: Location) -> None:
    """Remove a folder under a temporary name; what cannot be removed now is swept at the next start."""
    shutil.rmtree(local_path(folder), ignore_errors=True)


def write_all(file: io.RawIOBase, content: bytes) -> None:
    """Write all bytes to an unbuffered file."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) or 0 :]


def temporary_name(location: Location) -> Location:
    """A new name beside a location for what is not committed, or not any more."""
    return f"{location}{TEMPORARY}{os.getpid()}.{uuid.uuid4().hex[:8]}"


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that a writer gives before the file is committed."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


def sweep(folder: Location) -> list[str]:
    """Remove what earlier writers left under temporary names; returns those names."""
    left = [name for name in names_in(folder) if is_temporary(name)]
    for name in left:
        remove(join(folder, name))
    return left


class Outgoing(io.RawIOBase):
    """A binary file under a temporary name, hashed while it is written.

    `close` flushes it to the disk; `commit` gives it its name. A file that was written with `seek` is
    hashed again when it is closed.
    """

    def __init__(self, location: Location) -> None:
        super().__init__()
        self.location = location
        self.seal: Seal | None = None
        self._temporary = temporary_name(location)
        self._digest = xxhash.xxh3_128()
        self._sequential = True
        make_folder(os.path.dirname(location) or ".")
        with disk_errors(location):
            pass_point("open")
            self._file = local_path(self._temporary).open("wb", buffering=1 << 20)

    def writable(self) -> bool:
        """Always: this is what it is for."""
        return True

    def seekable(self) -> bool:
        """Seeking is possible, and costs a second reading when the file is closed."""
        return True

    def write(self, block: Any) -> int:  # noqa: ANN401  anything with a buffer, as io says
        """Append bytes, or overwrite them after a `seek`; returns how many."""
        if self._file.closed:  # discarded: a Parquet writer that is collected later still writes its footer
            return memoryview(block).nbytes
        with disk_errors(self.location):
            try:
                pass_point("write")
            except ShortWriteError:
                whole = memoryview(block).cast("B")
                self._file.write(whole[: len(whole) // 2])
                self._file.flush()
                raise
            written = self._file.write(block)
        if self._sequential:
            self._digest.update(block)
        return written

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset in bytes."""
        self._sequential = False
        with disk_errors(self.location):  # what is buffered is written first
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The offset of the next byte."""
        return self._file.tell()

    def close(self) -> None:
        """Flush the bytes to the disk and fix the seal; a second call does nothing."""
        if self.closed:
            return
        super().close()
        with disk_errors(self.location):
            self._file.flush()
            pass_point("fsync")
            os.fsync(self._file.fileno())
            self._file.close()
        size = local_path(self._temporary).stat().st_size
        if self._sequential:
            self.seal = Seal(size, self._digest.hexdigest())
        else:
            self.seal = sealed(self._temporary)

    def commit(self) -> None:
        """Give the closed file its name, and flush the folder."""
        self.close()
        with disk_errors(self.location):
            pass_point("rename")
            os.replace(self._temporary, self.location)
            flush_folder(os.path.dirname(self.location) or ".")

    def discard(self) -> None:
        """Remove the file if it was not committed."""
        if not self.closed:
            super().close()
        with suppress(OSError):  # a full disk: the buffered bytes cannot be kept, and need not be
            self._file.close()
        local_path(self._temporary).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()


def flush_folder(folder: Location) -> None:
    """Make what was named and removed in a folder durable."""
    pass_point("flush")
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_bytes(location: Location, content: bytes) -> None:
    """Write a small file that appears whole or not at all; nothing of it stays if that fails."""
    file = Outgoing(location)
    try:
        file.write(content)
        file.commit()
    finally:
        file.discard()


def write_json(location: Location, value: JSON) -> None:
    """Write a JSON file that appears whole or not at all; keys sorted, so equal values give equal bytes."""
    write_bytes(location, json_bytes(value))


def json_bytes(value: JSON) -> bytes:
    """A JSON value as `write_json` writes it."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def read_json(location: Location) -> JSON | None:
    """The value of a JSON file; None where there is no such file.

    Raises:
        InputError: The file is not JSON.
    """
    try:
        return json.loads(local_path(location).read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{location} is damaged ({error}); remove it and run the same command again.") from error


@contextmanager
def disk_errors(location: Location) -> Iterator[None]:
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
