"""Members of a tar, appended in pieces of some MiB: equal members are equal bytes, whoever writes them when.

A tar of small members costs more in calls than in bytes. So a header is put together from a pattern, and many
members are written, and hashed, by one call.
"""

from __future__ import annotations

import tarfile

from coreset.engine.outgoing import Outgoing
from coreset.sources.bytestream import BLOCK

PIECE = 4 << 20
"""Bytes that are gathered before they are written."""
_BLANK = tarfile.TarInfo().tobuf(tarfile.USTAR_FORMAT)
_MODE, _AFTER_SUM = _BLANK[100:124], _BLANK[156:]
"""What stands behind the name: mode 644, owner 0, group 0; and behind the checksum: a plain file, time 0, no owner."""
_TIME = _BLANK[136:148]
_FIXED_SUM = sum(_MODE) + sum(_TIME) + 8 * ord(" ") + sum(_AFTER_SUM)
_LARGEST = 8**11


def header_of(name: str, size: int) -> bytes:
    """What stands in front of a member: owner 0, mode 644, time 0, as `tarfile` writes it.

    A pax header is only there where the plain one cannot hold the name or the size.

    Example:
        >>> import tarfile
        >>> tarfile.TarInfo.frombuf(header_of("007.jpg", 1503), "ascii", "strict").size
        1503
    """
    if len(name) > tarfile.LENGTH_NAME or size >= _LARGEST or not name.isascii():
        member = tarfile.TarInfo(name)
        member.size = size
        return member.tobuf(tarfile.PAX_FORMAT)
    start, digits = name.encode("ascii"), b"%011o\0" % size
    total = _FIXED_SUM + sum(start) + sum(digits)
    return b"%b%b%b%b%06o\0 %b" % (start.ljust(tarfile.LENGTH_NAME, b"\0"), _MODE, digits, _TIME, total, _AFTER_SUM)


class TarWriter:
    """A tar on its way into a file.

    Args:
        file: that will hold it, from its beginning
    """

    def __init__(self, file: Outgoing) -> None:
        self._file = file
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._written = 0

    def add(self, name: str, content: bytes) -> None:
        """Append a member."""
        header, padding = header_of(name, len(content)), bytes(-len(content) % BLOCK)
        self._pieces += (header, content, padding)
        self._waiting += len(header) + len(content) + len(padding)
        if self._waiting >= PIECE:
            self._write()

    def close(self) -> None:
        """Write the end of the tar, padded to whole records, and close the file."""
        end = self._written + self._waiting + 2 * BLOCK
        self._pieces.append(bytes(2 * BLOCK + -end % tarfile.RECORDSIZE))
        self._write()
        self._file.close()

    def _write(self) -> None:
        self._file.write(b"".join(self._pieces))
        self._written += self._waiting
        self._pieces.clear()
        self._waiting = 0
