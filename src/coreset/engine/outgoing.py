"""Files on their way, hashed while they are written, that appear whole or not at all.

One on a disk is written under a temporary name, flushed and renamed. An object in a store is written to an unnamed
file of this machine and put whole; what commits something is put only if nothing is there.
"""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import xxhash

from coreset.engine import remote
from coreset.engine.disk import disk_errors, flush_folder, make_folder, temporary_name
from coreset.engine.errors import InUseError
from coreset.engine.faults import ShortWriteError, pass_point
from coreset.engine.hints import has_written
from coreset.engine.remote_file import RemoteFile
from coreset.engine.spool import new_spool, spool_errors
from coreset.engine.urls import is_remote, path_of

BLOCK = 8 << 20
"""Bytes that are hashed at a time where a file is read for its seal."""
AHEAD = 4 << 20
"""Bytes after which the disk is let begin with a file that is still being written."""


@dataclass(frozen=True)
class Seal:
    """Size in bytes and xxh3_128 of a file's bytes, as hex."""

    size: int
    hash: str


def seal_of(file: BinaryIO) -> Seal:
    """The seal of what an open file holds from where it stands."""
    digest, size = xxhash.xxh3_128(), 0
    while block := file.read(BLOCK):
        digest.update(block)
        size += len(block)
    return Seal(size, digest.hexdigest())


def outgoing(location: str, new: bool = False) -> Outgoing:
    """A file on its way to a location, which it has when it is committed.

    Args:
        location: a path or a URL
        new: it commits something: an object that is put meanwhile by another writer is not replaced
    """
    return OutgoingObject(location, new) if is_remote(location) else OutgoingFile(path_of(location))


class Outgoing(io.RawIOBase):
    """A binary file that is hashed while it is written; one that was written with `seek` is read again for that.

    `close` fixes its bytes and its seal; `commit` gives it its name.

    Attributes:
        location: where it will stand
        seal: of all its bytes; None until it is closed
    """

    def __init__(self, location: str, errors: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self.location = location
        self.seal: Seal | None = None
        self._errors = errors
        self._digest = xxhash.xxh3_128()
        self._sequential = True
        self._file = self._opened()

    @abstractmethod
    def _opened(self) -> BinaryIO:
        """What is written to."""

    @abstractmethod
    def _fixed(self) -> None:
        """Make what was written the bytes that are committed."""

    @abstractmethod
    def commit(self) -> None:
        """Give the closed file its name."""

    @abstractmethod
    def discard(self) -> None:
        """Remove the file if it was not committed."""

    @abstractmethod
    def _read_again(self) -> Seal:
        """The seal of what was written, by reading it."""

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
        with self._errors():
            written = self._written(block)
        if self._sequential:
            self._digest.update(block)
        return written

    def _written(self, block: Any) -> int:  # noqa: ANN401  see `write`
        return self._file.write(block)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset in bytes."""
        self._sequential = False
        with self._errors():  # what is buffered is written first
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The offset of the next byte."""
        return self._file.tell()

    def close(self) -> None:
        """Fix the bytes and the seal; a second call does nothing."""
        if self.closed:
            return
        super().close()
        with self._errors():
            self._file.flush()
            size = os.fstat(self._file.fileno()).st_size
            self._fixed()
        self.seal = Seal(size, self._digest.hexdigest()) if self._sequential else self._read_again()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()


class OutgoingFile(Outgoing):
    """On a disk: under a temporary name beside its own until it is committed."""

    def __init__(self, path: str) -> None:
        self._temporary = temporary_name(path)
        self._waiting = 0
        super().__init__(path, lambda: disk_errors(path))

    def _opened(self) -> BinaryIO:
        make_folder(Path(os.path.dirname(self.location) or "."))
        with self._errors():
            pass_point("open")
            return Path(self._temporary).open("wb", buffering=1 << 20)

    def _written(self, block: Any) -> int:  # noqa: ANN401  see `write`
        try:
            pass_point("write")
        except ShortWriteError:
            whole = memoryview(block).cast("B")
            self._file.write(whole[: len(whole) // 2])
            self._file.flush()
            raise
        written = self._file.write(block)
        self._waiting += written
        if self._waiting >= AHEAD:
            has_written(self._file.fileno(), self._file.tell() - self._waiting, self._waiting)
            self._waiting = 0
        return written

    def _fixed(self) -> None:
        pass_point("fsync")
        os.fsync(self._file.fileno())
        self._file.close()

    def _read_again(self) -> Seal:
        with Path(self._temporary).open("rb", buffering=0) as file:
            return seal_of(cast("BinaryIO", file))

    def commit(self) -> None:
        """Give the closed file its name, and flush the folder."""
        self.close()
        with self._errors():
            pass_point("rename")
            os.replace(self._temporary, self.location)
            flush_folder(os.path.dirname(self.location) or ".")

    def discard(self) -> None:
        """Remove the file if it was not committed."""
        if not self.closed:
            io.RawIOBase.close(self)
        with suppress(OSError):  # a full disk: the buffered bytes cannot be kept, and need not be
            self._file.close()
        Path(self._temporary).unlink(missing_ok=True)


class OutgoingObject(Outgoing):
    """In a store: in a file of this machine without a name until it is put.

    An object that commits something replaces what was there when its writing began, a leftover of another plan then,
    and nothing else. What another writer put meanwhile must have the same bytes: another attempt at the same part.

    Raises:
        InUseError: From `commit`: somebody else put other bytes meanwhile.
    """

    def __init__(self, url: str, new: bool = False) -> None:
        self._new = new
        self._before = remote.stat(url) if new else None
        super().__init__(url, spool_errors)

    def _opened(self) -> BinaryIO:
        return new_spool()

    def _fixed(self) -> None:
        """Nothing to do: the file without a name is put as it is."""

    def _read_again(self) -> Seal:
        self._file.seek(0)
        return seal_of(self._file)

    def commit(self) -> None:
        """Put the closed file into the store."""
        self.close()
        seal = self.seal or Seal(0, "")
        if self._before is not None:
            remote.delete([self.location])
        try:
            remote.put_file(self.location, self._file, seal.size, self._new)
        except FileExistsError as error:
            with RemoteFile(self.location) as found:
                is_same = seal_of(cast("BinaryIO", found)) == seal
            if not is_same:
                raise InUseError(
                    f"{self.location} was written by another process meanwhile; wait for it, or use another --run."
                ) from error
        finally:
            self._file.close()

    def discard(self) -> None:
        """Forget the file if it was not committed."""
        if not self.closed:
            io.RawIOBase.close(self)
        self._file.close()
