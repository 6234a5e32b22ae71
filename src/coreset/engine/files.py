"""Files that appear whole or not at all: the only module that interprets a `Location`.

A file is written under a temporary name in its own folder, flushed to the disk, then renamed, and the folder
is flushed. Whoever looks sees the old file, the new one or none. A temporary name that is left is garbage.

An object in a store is put whole, and what commits something is put only if it is not there: see `remote`.
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
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar, cast

import xxhash

from coreset.engine import remote
from coreset.engine.errors import InputError, ResourceError, UnwritableError
from coreset.engine.stores import WITHOUT_CREATE, Found
from coreset.engine.urls import checked, is_remote, joined, normal, path_of, redacted, scheme_of

__all__ = ["is_remote", "normal", "redacted"]

if TYPE_CHECKING:
    from coreset.engine.remote_file import RemoteFile

S = TypeVar("S")
T = TypeVar("T")

Location = str
"""A path, or the URL of an object or of a folder of objects in a store that fsspec knows."""

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
    """A location below a folder; a URL stands for itself, as an absolute path does.

    Example:
        >>> join("run", "rows", "00000.npy")
        'run/rows/00000.npy'
        >>> join("s3://bucket/run", "rows")
        's3://bucket/run/rows'
    """
    return reduce(joined, names)


def local_path(location: Location) -> Path:
    """The path of a location.

    Raises:
        InputError: The location is a URL, and this needs a file of this machine.
    """
    if is_remote(location):
        raise InputError(
            f"{redacted(location)} is an object, and this needs a file; copy it to a disk and give its path."
        )
    return Path(path_of(location))


def located(text: str) -> Location:
    """A location as a person wrote it, as it is used from here on: `file://` is a path, nothing secret is in it.

    Raises:
        InputError: It would run a command, or holds a password or a signature, or names nothing.

    Example:
        >>> located("file:///data/run"), located("S3://bucket/run/"), located("run")
        ('/data/run', 's3://bucket/run', 'run')
    """
    return checked(text)


def located_run(text: str) -> Location:
    """As `located`, for a run directory.

    Raises:
        InputError: It lies in a store in which two writers could destroy it.
    """
    location = located(text)
    if scheme_of(location) in WITHOUT_CREATE:
        raise InputError(
            f"{location} cannot hold a run: {scheme_of(location)}:// cannot refuse to replace an object, and two "
            f"writers would destroy it; it is for inputs and exports, so use a --run on a disk or in s3:// or gs://."
        )
    return location


def opened(location: Location) -> BinaryIO:
    """A file opened for reading by position, unbuffered: an object by ranges of exactly what is read.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if is_remote(location):
        from coreset.engine.remote_file import RemoteFile

        return cast("BinaryIO", RemoteFile(location))
    return cast("BinaryIO", local_path(location).open("rb", buffering=0))


def readable(location: Location) -> Path | BinaryIO:
    """What a library reads a file from: its path, or an object opened for reading.

    Raises:
        FileNotFoundError: There is no such object.
    """
    return opened(location) if is_remote(location) else local_path(location)


def read_bytes(location: Location) -> bytes:
    """All bytes of a file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not is_remote(location):
        return local_path(location).read_bytes()
    content = remote.read_all(location)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location)
    return content


def mark_of(location: Location) -> int | str:
    """What changes when a file is written again: its time in nanoseconds, or the etag of an object.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not is_remote(location):
        return os.stat(local_path(location)).st_mtime_ns
    found = remote.stat(location)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location)
    return found.etag


def absolute(location: Location) -> Location:
    """A location that does not depend on the folder one is in."""
    return location if is_remote(location) else os.path.abspath(local_path(location))


def is_file(location: Location) -> bool:
    """Whether there is a file, or an object."""
    return remote.stat(location) is not None if is_remote(location) else local_path(location).is_file()


def etag_of(location: Location) -> str:
    """What changes with an object's bytes; empty for a file of this machine, and where there is none."""
    found = remote.stat(location) if is_remote(location) else None
    return found.etag if found else ""


def opened_as(location: Location, size: int, etag: str, ahead: bool) -> RemoteFile:
    """An object that was listed with this size and etag, opened for reading.

    Args:
        location: its URL
        size: bytes
        etag: as listed; empty if it is not known: then it is looked up, and the size compared
        ahead: see `RemoteFile`

    Raises:
        InputError: It is gone, or has another size; later, from any reading, it changed.
    """
    from coreset.engine.remote_file import RemoteFile

    found = Found(size, etag) if etag else remote.stat(location)
    if found is None or found.size != size:
        state = "is gone" if found is None else f"has {found.size} now"
        raise InputError(
            f"{location} had {size} bytes when it was listed and {state}: wait until it is complete, then start again"
        )
    return RemoteFile(location, found, ahead)


def copied(location: Location) -> BinaryIO:
    """A local file without a name that holds an object's bytes."""
    from coreset.engine.spool import new_spool, spool_errors

    target = new_spool()
    with opened(location) as file, spool_errors():
        while block := file.read(8 << 20):
            target.write(block)
        target.flush()
    return target


def unnamed(folder: Location) -> BinaryIO:
    """A local file without a name, on the disk of a folder; for a folder in a store on that of the spool."""
    if is_remote(folder):
        from coreset.engine.spool import new_spool

        return new_spool()
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))


def read_lines(location: Location) -> Iterator[str]:
    """The lines of a text file in ASCII, each with its end, one in memory at a time."""
    with io.TextIOWrapper(io.BufferedReader(cast("Any", opened(location)), 1 << 20), encoding="ascii") as file:
        yield from file


def glob_objects(pattern: str) -> list[Location]:
    """The objects that a pattern stands for."""
    from coreset.engine.listing import globbed

    return globbed(pattern)


LISTED = 16
"""Objects that are asked for one by one; of more, their folders are listed."""


def many(call: Callable[[S], T], values: Sequence[S]) -> list[T]:
    """What a call says of each value, several at a time: for calls that wait for a store.

    Where there are more than `LISTED`, they are told sizes from one listing of each folder.
    """
    with remote.one_look() if len(values) > LISTED else nullcontext():
        return remote.many(call, values)


def bytes_below(folder: Location) -> int:
    """Bytes of all files of a folder, in folders of any depth."""
    if is_remote(folder):
        return sum(found.size for found in remote.listed(folder, deep=True).values() if found)
    every = (os.path.join(place, name) for place, _, names in os.walk(local_path(folder)) for name in names)
    return sum(os.path.getsize(file) for file in every if os.path.isfile(file))


def is_folder(location: Location) -> bool:
    """Whether there is a folder: in a store, whether anything lies below it."""
    return bool(remote.listed(location)) if is_remote(location) else local_path(location).is_dir()


def one_look(locations: Location) -> AbstractContextManager[None]:
    """Until the block ends, sizes of objects below a folder come from one listing, if it is in a store."""
    return remote.one_look() if is_remote(locations) else nullcontext()


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
    with opened(location) as file:
        while block := file.read(8 << 20):
            digest.update(block)
            size += len(block)
    return Seal(size, digest.hexdigest())


def size_of(location: Location) -> int | None:
    """Size of a file in bytes; None where there is no such file."""
    if is_remote(location):
        found = remote.stat(location)
        return None if found is None else found.size
    try:
        return local_path(location).stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def names_in(folder: Location) -> list[str]:
    """The sorted names in a folder; none where there is no such folder."""
    if is_remote(folder):
        return remote.names_in(folder)
    path = local_path(folder)
    return sorted(os.listdir(path)) if path.is_dir() else []


def make_folder(folder: Location) -> None:
    """Create a folder with its parents, and flush what they lie in; one that exists is fine. Stores need none."""
    if is_remote(folder):
        return
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

    A folder gets a temporary name first: nobody ever finds half of it. Of one in a store, `stage.json` goes first and
    `plan.json` last: what is left is never taken for complete, nor for somebody else's.
    """
    if is_remote(location):
        remote.remove(location)
        return
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
    """Remove what earlier writers left under temporary names; returns those names. In a store there are none."""
    if is_remote(folder):
        return []
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


def outgoing(location: Location, new: bool = False) -> Outgoing:
    """A file on its way to a location, which it has when it is committed.

    Args:
        location: a path or a URL
        new: it commits something: an object that is put meanwhile by another writer is not replaced
    """
    if is_remote(location):
        from coreset.engine.outgoing_object import OutgoingObject

        return OutgoingObject(location, new)
    return Outgoing(path_of(location))


def write_bytes(location: Location, content: bytes) -> None:
    """Write a small file that appears whole or not at all; nothing of it stays if that fails."""
    if is_remote(location):
        remote.put_bytes(location, content)
        return
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


def read_json(location: Location, hook: Callable[[dict[str, JSON]], JSON] | None = None) -> JSON | None:
    """The value of a JSON file; None where there is no such file.

    Args:
        location: the file
        hook: gives what stands for each object, to hold less of it

    Raises:
        InputError: The file is not JSON.
    """
    try:
        return json.loads(read_bytes(location), object_hook=hook)
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
