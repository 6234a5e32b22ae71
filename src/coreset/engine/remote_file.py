"""An object read like an open file, by ranges, as the object that it was when it was opened."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from coreset.engine import remote
from coreset.engine.errors import InputError
from coreset.engine.stores import Found, store_of
from coreset.engine.urls import redacted

LEAST = 64 << 10
"""Bytes of the first request: enough for the first headers of a tar, and for most footers of a Parquet."""
AHEAD = 8 << 20
"""Most bytes of one request where an object is read from its beginning on."""


class RemoteFile(io.RawIOBase):
    """An object, opened for reading; seekable.

    Args:
        location: its URL
        found: its size and etag, if they are known: saves a request
        ahead: read it as a stream: requests grow up to `AHEAD`, and `read` may give less than is asked for, as a pipe
            does; otherwise exactly what is asked for is fetched

    Raises:
        InputError: It is not there; or, from any call, it is not the object any more that was opened.
    """

    def __init__(self, location: str, found: Found | None = None, ahead: bool = False) -> None:
        super().__init__()
        said = found or remote.stat(location)
        if said is None:
            raise FileNotFoundError(2, os.strerror(2), redacted(location))
        self.location, self.found, self.name = location, said, redacted(location)
        self._ahead, self._step = ahead, LEAST
        self._at = 0
        self._start, self._held = 0, b""
        self._ranges: list[tuple[int, bytes]] = []

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self.found.size

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always; nothing is fetched."""
        return True

    def tell(self) -> int:
        """The offset of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to an offset in bytes."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, count: int | None = -1) -> bytes:
        """The next bytes; none at the end."""
        left = max(0, self.size - self._at)
        count = left if count is None or count < 0 else min(count, left)
        if not count:
            return b""
        for start, content in self._ranges:
            if start <= self._at and self._at + count <= start + len(content):
                self._at += count
                return content[self._at - count - start : self._at - start]
        begin = self._at - self._start
        if not 0 <= begin < len(self._held) or (not self._ahead and begin + count > len(self._held)):
            self._fetch(count)
            begin = 0
        found = self._held[begin : begin + count]
        self._at += len(found)
        return found

    def hold(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Fetch ranges that are going to be read, several at a time, and let go of those that were held."""
        self._ranges = []
        inside = [(max(0, start), min(stop, self.size)) for start, stop in ranges]
        asked = [(start, stop) for start, stop in inside if start < stop]
        read = partial(remote.read, self.location, etag=self.found.etag)
        contents = remote.many(lambda span: read(*span), asked)
        self._ranges = [(start, content) for (start, _), content in zip(asked, contents, strict=True)]

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  anything with a buffer, as io says
        """Fill a buffer with the next bytes; returns how many."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        """All bytes that are left."""
        pieces = []
        while piece := self.read():
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Done; where the store's reads cannot tell, asks whether the object is still the one that was opened."""
        if not self.closed:
            super().close()
            self._held, self._ranges = b"", []
            self.check()

    def __del__(self) -> None:
        """A file that nobody closed asks nothing any more."""

    def check(self) -> None:
        """Raise unless the object is still the one that was opened, where its reads have not made sure of that."""
        if store_of(self.location).checks_reads and self.found.etag:
            return
        now = remote.stat(self.location)
        if now != self.found:
            state = "was removed" if now is None else "changed"
            raise InputError(
                f"{redacted(self.location)} {state} while it was read; wait until nobody writes it, and run the same "
                f"command again."
            )

    def _fetch(self, count: int) -> None:
        if self._ahead:
            end = self._start + len(self._held)
            follows = bool(self._held) and end <= self._at <= end + self._step
            self._step = min(AHEAD, 4 * self._step) if follows else LEAST
            stop = self._at + self._step
        else:
            stop = self._at + max(count, LEAST)
        self._held = remote.read(self.location, self._at, min(stop, self.size), self.found.etag)
        self._start = self._at
