"""The bytes of a plain or gzipped file in order, and the one exception for what is wrong with them."""

from __future__ import annotations

import io
import zlib
from abc import ABC, abstractmethod

from coreset.engine.errors import InputError

CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
BLOCK = 512


class BrokenShardError(InputError):
    """From here on the bytes of a shard mean nothing.

    Attributes:
        reason: The code that the quarantine shows.
        detail: The same for people.
        whole: Whether every sample that has begun is known to be complete all the same.
    """

    def __init__(self, reason: str, detail: str, whole: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.whole = whole


class ByteStream(ABC):
    """Bytes taken or skipped in order, never more than asked for plus one chunk in memory.

    Attributes:
        compressed: Whether `position` counts unpacked bytes, which then are nowhere in the file.
    """

    compressed: bool

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self._buffer = b""
        self._at = 0  # where in the buffer the next byte is
        self._start = 0  # position of the buffer's first byte

    @property
    def position(self) -> int:
        """How many bytes lie before the next one."""
        return self._start + self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes; fewer only at the end of the file."""
        end = self._at + count
        if end <= len(self._buffer):
            piece = self._buffer[self._at : end]
            self._at = end
            return piece
        return self._gather(count)

    def skip(self, count: int) -> int:
        """Leave out the next `count` bytes; returns how many there were."""
        left = count
        while left > 0:
            step = min(left, len(self._buffer) - self._at)
            self._at += step
            left -= step
            if left and not self._refill():
                break
        return count - left

    @abstractmethod
    def left(self) -> int | None:
        """How many bytes are left, None if only reading them would tell."""

    @abstractmethod
    def _more(self) -> bytes:
        """Some more bytes, none at the end."""

    def _refill(self) -> bool:
        self._start += len(self._buffer)
        self._at = 0
        self._buffer = b""
        self._buffer = self._more()
        return bool(self._buffer)

    def _gather(self, count: int) -> bytes:
        pieces = [self._buffer[self._at :]]
        missing = count - len(pieces[0])
        while missing > 0 and self._refill():
            pieces.append(self._buffer[:missing])
            missing -= len(pieces[-1])
            self._at = len(pieces[-1])
        return b"".join(pieces)


class PlainStream(ByteStream):
    """The bytes of a file as they are; what is skipped is not read."""

    compressed = False

    def __init__(self, file: io.RawIOBase) -> None:
        super().__init__(file)
        here = file.tell()
        self._size = file.seek(0, io.SEEK_END)
        file.seek(here)

    def left(self) -> int:
        """How many bytes are left."""
        return max(0, self._size - self.position)

    def skip(self, count: int) -> int:
        """Leave out the next `count` bytes; returns how many there were."""
        if self._at + count <= len(self._buffer):
            self._at += count
            return count
        skipped = min(count, self.left())
        self._start = self._file.seek(self.position + skipped)
        self._buffer = b""
        self._at = 0
        return skipped

    def _more(self) -> bytes:
        return self._file.read(CHUNK) or b""


class GzipStream(ByteStream):
    """What a gzip file unpacks to, one chunk at a time, up to a bound on what it may expand to.

    Several gzip members in a row are one stream, as `gzip` itself reads them. Zeros behind the last are
    padding.
    """

    compressed = True

    def __init__(self, file: io.RawIOBase, ratio: int, allowance: int) -> None:
        super().__init__(file)
        self._ratio = ratio
        self._allowance = allowance
        self._inflate = zlib.decompressobj(wbits=31)
        self._packed = b""
        self._packed_count = 0
        self._unpacked_count = 0

    def left(self) -> None:
        """Unknown: gzip stores the unpacked size modulo 4 GiB, and nobody checks it before the end."""
        return

    def _more(self) -> bytes:
        while True:
            if self._inflate.eof and not self._next_member():
                return b""
            unpacked = self._unpack()
            if unpacked:
                return unpacked
            if not self._inflate.eof and not self._packed and not self._read_packed():
                raise BrokenShardError("truncated_shard", "the gzip stream ends early")

    def _unpack(self) -> bytes:
        if self._unpacked_count > self._allowance + self._ratio * self._packed_count:
            limit = f"{self._ratio} times its size and {self._allowance} bytes"
            raise BrokenShardError("expansion_limit", f"the gzip stream unpacks to more than {limit}")
        try:
            unpacked = self._inflate.decompress(self._packed, CHUNK)
        except zlib.error as error:
            raise BrokenShardError("damaged_shard", f"the gzip stream is damaged: {error}") from error
        self._packed = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        self._unpacked_count += len(unpacked)
        return unpacked

    def _read_packed(self) -> bool:
        more = self._file.read(CHUNK // 4) or b""
        self._packed += more
        self._packed_count += len(more)
        return bool(more)

    def _next_member(self) -> bool:
        self._packed = self._packed.lstrip(b"\0")
        while len(self._packed) < len(GZIP_MAGIC) and self._read_packed():
            self._packed = self._packed.lstrip(b"\0")
        if not self._packed:
            return False
        if not self._packed.startswith(GZIP_MAGIC):
            raise BrokenShardError("data_after_end", "bytes that are not gzip follow the gzip stream")
        self._inflate = zlib.decompressobj(wbits=31)
        return True


def open_stream(file: io.RawIOBase, ratio: int, allowance: int) -> ByteStream:
    """The bytes of an open file from its beginning, unpacked if they start like gzip, whatever its name says.

    Args:
        file: Opened for reading, unbuffered; the stream does not close it.
        ratio: How many times its packed size a gzip stream may grow ...
        allowance: ... on top of this many bytes, which every stream may have.
    """
    packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    return GzipStream(file, ratio, allowance) if packed else PlainStream(file)
