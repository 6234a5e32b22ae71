"""The members of a tar in order, or the reason why the rest of it cannot be read.

Strict where the usual readers are lenient: a tar must end with two zero blocks and nothing behind them, a
cut is noticed wherever it falls, and every header moves forward, so no file is read for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from coreset.sources.bytestream import BLOCK, CHUNK, BrokenShardError, ByteStream
from coreset.sources.tar_headers import Header, parse_header, parse_pax, parse_pax_size

FILE = "file"
_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "device",
    b"4": "device",
    b"5": "folder",
    b"6": "pipe",
    b"S": "sparse file",
}
_WITHOUT_CONTENT = frozenset(b"123456")  # some writers state a size for them, none writes content
_EXTENSIONS = frozenset(b"xXLKg")  # the last describes all members behind it, the others only the next
_MOST_PADDING = 2 << 20  # tar pads to 10 KiB, and to 1 MiB where it was asked to write large records


class Member(NamedTuple):
    """One member: its name as bytes, what it is, and where its content lies."""

    name: bytes
    what: str
    size: int
    offset: int


class TarMembers:
    """The members of a tar, in order; `content` reads the current one, the rest is passed over.

    Args:
        stream: The bytes of the tar.
        longest_header: How many bytes a pax header or a long name may have.

    Raises:
        BrokenShardError: While iterating: the tar is cut or damaged here. All members before were whole.

    Example:
        >>> import io, pathlib, tarfile, tempfile
        >>> from coreset.sources.bytestream import open_stream
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "one.tar"
        >>> with tarfile.open(path, "w") as tar:
        ...     member = tarfile.TarInfo("a.txt")
        ...     member.size = 3
        ...     tar.addfile(member, io.BytesIO(b"cat"))
        >>> with open(path, "rb", buffering=0) as file:
        ...     members = TarMembers(open_stream(file, ratio=200, allowance=1024))
        ...     [(member, members.content()) for member in members]
        [(Member(name=b'a.txt', what='file', size=3, offset=512), b'cat')]
    """

    def __init__(self, stream: ByteStream, longest_header: int = 1 << 20) -> None:
        self._stream = stream
        self._longest_header = longest_header
        self._content_left = 0
        self._padding = 0
        self._zeros = 0

    def __iter__(self) -> Iterator[Member]:
        """Members up to the first zero block."""
        while True:
            self._pass_over()
            block = self._stream.take(BLOCK)
            if (not block or block[0] == 0) and self._is_end(block):
                return
            yield self._member(block)

    def content(self) -> bytes:
        """The bytes of the current member, once."""
        size = self._content_left
        left = self._stream.left()
        # A stated size is only believed, and memory only taken, for bytes that are there.
        content = self._stream.take(size) if left is None or size <= left else b""
        if len(content) < size:
            raise _cut()
        self._content_left = 0
        return content

    def check_end(self) -> None:
        """Call when the iteration is over: raises unless two zero blocks end the tar and few zeros follow.

        A hole that a crash left in a file also looks like the end mark, with members hidden in it. It is
        known by what follows: something, or more zeros than any writer pads with.
        """
        zeros = self._zeros
        while chunk := self._stream.take(CHUNK):
            if chunk.count(0) != len(chunk):
                raise BrokenShardError("data_after_end", "bytes follow the end of the tar, as in concatenated tars")
            zeros += len(chunk)
            if zeros > _MOST_PADDING:
                raise BrokenShardError("truncated_shard", f"more than {_MOST_PADDING} zeros follow the last member")
        if zeros < 2 * BLOCK:
            raise BrokenShardError("truncated_shard", f"the end mark has {zeros} of {2 * BLOCK} bytes", whole=True)

    def _is_end(self, block: bytes) -> bool:
        """Whether this block is the end mark, as far as it goes; raises if the tar ends before it."""
        # Byte 148 to 155 of a header hold its checksum in digits: as many zeros cannot be the start of one.
        if len(block) >= 156 and not block.strip(b"\0"):
            self._zeros = len(block)
            return True
        if len(block) < BLOCK:
            raise _cut()
        return False

    def _member(self, block: bytes) -> Member:
        header = self._header(block)
        if header.kind[0] not in _EXTENSIONS:
            return self._placed(header, None, {})
        name: bytes | None = None
        pax: dict[bytes, bytes] = {}
        seen = b""
        while header.kind[0] in _EXTENSIONS:
            if header.kind in seen:
                raise BrokenShardError("damaged_shard", "a member has two extension headers of one kind")
            seen += header.kind if header.kind != b"g" else b""
            text = self._extension(header)
            if header.kind == b"L":
                name = text.partition(b"\0")[0]
            elif header.kind in b"xX":
                pax = parse_pax(text)
            elif header.kind == b"g":
                _check_global(parse_pax(text))
            header = self._header(self._stream.take(BLOCK))
        return self._placed(header, name, pax)

    def _header(self, block: bytes) -> Header:
        if len(block) < BLOCK:
            raise _cut()
        header = parse_header(block)
        goes_on = header.goes_on
        while goes_on:
            more = self._stream.take(BLOCK)
            if len(more) < BLOCK:
                raise _cut()
            goes_on = more[504] != 0
        return header

    def _placed(self, header: Header, name: bytes | None, pax: dict[bytes, bytes]) -> Member:
        """The member that this header and the extensions before it describe, at the current position."""
        size = header.size
        what = _KINDS.get(header.kind) or f"member of kind {header.kind!r}"
        if pax:
            size = parse_pax_size(pax[b"size"]) if b"size" in pax else size
            name = pax.get(b"path", name)
            if any(key.startswith(b"GNU.sparse.") for key in pax):
                what = "sparse file"
                name = pax.get(b"GNU.sparse.name", name)
        if header.kind[0] in _WITHOUT_CONTENT:
            size = 0
        self._content_left = size
        self._padding = -size % BLOCK
        return Member(header.name if name is None else name, what, size, self._stream.position)

    def _extension(self, header: Header) -> bytes:
        if header.size > self._longest_header:
            detail = f"an extension header has {header.size} bytes, more than {self._longest_header}"
            raise BrokenShardError("damaged_shard", detail)
        text = self._stream.take(header.size)
        padding = -header.size % BLOCK
        if len(text) < header.size or self._stream.skip(padding) < padding:
            raise _cut()
        return text

    def _pass_over(self) -> None:
        """Go to the next header."""
        left = self._content_left + self._padding
        self._content_left = 0
        self._padding = 0
        if left and self._stream.skip(left) < left:
            raise _cut()


def _check_global(records: dict[bytes, bytes]) -> None:
    """Refuse a global pax header that would rename or resize every member behind it."""
    for key in records:
        if key in {b"path", b"size"} or key.startswith(b"GNU.sparse."):
            raise BrokenShardError("damaged_shard", f"a global pax header sets {key[:20]!r}")


def _cut() -> BrokenShardError:
    return BrokenShardError("truncated_shard", "the file ends in the middle")


def is_member(block: bytes, size: int) -> bool:
    """Whether a block is the header of a file of that size: what must stand in front of a picture in a tar.

    Example:
        >>> import tarfile
        >>> member = tarfile.TarInfo("007.jpg")
        >>> member.size = 1503
        >>> block = member.tobuf(tarfile.USTAR_FORMAT)
        >>> is_member(block, 1503), is_member(block, 1504), is_member(bytes(512), 0)
        (True, False, False)
    """
    try:
        header = parse_header(block)
    except (BrokenShardError, struct.error):
        return False
    return header.size == size and _KINDS.get(header.kind) == FILE
