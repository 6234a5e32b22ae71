"""A file on its way to a store: `Outgoing` for objects."""

from __future__ import annotations

import os
from typing import Any

import xxhash

from coreset.engine import remote
from coreset.engine.errors import InUseError
from coreset.engine.files import Location, Outgoing, Seal, sealed
from coreset.engine.spool import new_spool, spool_errors


class OutgoingObject(Outgoing):
    """A binary file that is written here, hashed meanwhile, and put into a store when it is committed.

    An object that commits something replaces what was there when its writing began, a leftover of another plan then,
    and nothing else. What another writer put meanwhile must have the same bytes: another attempt at the same part.

    Raises:
        InUseError: From `commit`: somebody else put other bytes meanwhile.
    """

    def __init__(self, location: Location, new: bool = False) -> None:
        super(Outgoing, self).__init__()
        self.location = location
        self.seal: Seal | None = None
        self._new = new
        self._before = remote.stat(location) if new else None
        self._digest = xxhash.xxh3_128()
        self._sequential = True
        self._file = new_spool()

    def write(self, block: Any) -> int:  # noqa: ANN401  anything with a buffer, as io says
        """Append bytes, or overwrite them after a `seek`; returns how many."""
        if self._file.closed:
            return memoryview(block).nbytes
        with spool_errors():
            written = self._file.write(block)
        if self._sequential:
            self._digest.update(block)
        return written

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset in bytes."""
        self._sequential = False
        with spool_errors():
            return self._file.seek(offset, whence)

    def close(self) -> None:
        """Fix the seal; a second call does nothing."""
        if self.closed:
            return
        super(Outgoing, self).close()
        with spool_errors():
            self._file.flush()
        size = os.fstat(self._file.fileno()).st_size
        if not self._sequential:
            self._digest = xxhash.xxh3_128()
            for start in range(0, size, 8 << 20):
                self._digest.update(os.pread(self._file.fileno(), 8 << 20, start))
        self.seal = Seal(size, self._digest.hexdigest())

    def commit(self) -> None:
        """Put the closed file into the store."""
        self.close()
        seal = self.seal or Seal(0, "")
        if self._before is not None:
            remote.delete([self.location])
        try:
            remote.put_file(self.location, self._file, seal.size, self._new)
        except FileExistsError as error:
            if sealed(self.location) != self.seal:
                raise InUseError(
                    f"{self.location} was written by another process meanwhile; wait for it, or use another --run."
                ) from error
        finally:
            self._file.close()

    def discard(self) -> None:
        """Forget the file if it was not committed."""
        if not self.closed:
            super(Outgoing, self).close()
        self._file.close()
