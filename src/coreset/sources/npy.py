"""The header of a `.npy` file, read strictly, and its rows, read in order.

What is believed: versions 1 to 3, float16, 32 or 64 of either byte order, two dimensions, C or Fortran order, and no
more rows than the file has bytes for. Nothing is allocated, and no object decoded, because a header says so.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
import xxhash

from coreset.engine import files
from coreset.engine.errors import InputError

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000
"""Bytes of a header's text that are read: numpy's own limit."""
_DTYPES = {f"{order}f{size}" for order in "<>" for size in (2, 4, 8)}
_MOST = 2**48


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What a `.npy` file holds, as its header says and its size allows.

    Attributes:
        rows: Vectors; may be 0.
        dimension: Numbers of each, at least 1.
        dtype: Such as `<f2`.
        fortran: Whether the numbers of a column are neighbours, not those of a row.
        offset: Bytes before the first number.
        size: Bytes of the file.
    """

    rows: int
    dimension: int
    dtype: str
    fortran: bool
    offset: int
    size: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one vector."""
        return self.dimension * np.dtype(self.dtype).itemsize

    @property
    def trailing(self) -> int:
        """Bytes behind the last number, which nothing reads."""
        return self.size - self.offset - self.rows * self.row_bytes

    @property
    def as_stored(self) -> bool:
        """Whether a run can use the file as it stands: float16, little-endian, C order."""
        return self.dtype == "<f2" and not self.fortran


def read_npy_header(file: BinaryIO, name: str, size: int) -> NpyHeader:
    """The header of an open file, which is left at the first number.

    Args:
        file: At its first byte.
        name: For messages.
        size: Bytes of the file.

    Raises:
        InputError: It is no `.npy` file of vectors, or shorter than its header claims.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> np.save(file, np.zeros((3, 2), np.float16))
        >>> header = read_npy_header(io.BytesIO(file.getvalue()), "a.npy", len(file.getvalue()))
        >>> header.rows, header.dimension, header.dtype, header.as_stored
        (3, 2, '<f2', True)
    """
    start = file.read(8)
    if start[:6] != MAGIC or len(start) < 8:
        shown = f"begins with {start!r}" if start else "has 0 bytes"
        raise InputError(f"{name} {shown} and is no .npy file: fetch it again, or leave it out")
    width = {1: 2, 2: 4, 3: 4}.get(start[6])
    if width is None:
        raise InputError(f"{name} is a .npy file of version {start[6]}, and 1 to 3 are known: save it again with numpy")
    length = int.from_bytes(file.read(width), "little")
    text = file.read(min(length, LONGEST_HEADER))
    if len(text) < length:
        raise InputError(f"{name} has a damaged header ({length:,} bytes long, it says): fetch it again")
    dtype, fortran, (rows, dimension) = _checked_fields(_fields(text, name), name)
    header = NpyHeader(rows, dimension, dtype, fortran, 8 + width + length, size)
    if header.trailing < 0:
        present = max(0, size - header.offset) // header.row_bytes
        raise InputError(f"{name} is cut: {present:,} of the {rows:,} rows that its header claims: fetch it again")
    return header


def _fields(text: bytes, name: str) -> dict[Any, Any]:
    try:
        fields = ast.literal_eval(text.decode("utf-8").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise InputError(f"{name} has a damaged header ({text[:40]!r}): fetch it again") from error
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise InputError(f"{name} has a damaged header ({text[:40]!r}): fetch it again")
    return fields


def _checked_fields(fields: dict[Any, Any], name: str) -> tuple[str, bool, tuple[int, int]]:
    dtype, fortran, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise InputError(
            f"{name} holds {str(dtype)[:40]!r}, and vectors are float16, 32 or 64: save them as one of these"
        )
    good = isinstance(shape, tuple) and all(type(count) is int and 0 <= count <= _MOST for count in shape)
    if not good or len(shape) != 2 or shape[1] < 1:
        raise InputError(f"{name} holds an array of shape {str(shape)[:60]}, and vectors need (rows, numbers of each)")
    if not isinstance(fortran, bool):
        raise InputError(f"{name} has a damaged header (fortran_order {str(fortran)[:40]}): fetch it again")
    return dtype, fortran, shape


class Rows(Protocol):
    """Vectors of one file, taken in order."""

    header: NpyHeader

    def take(self, count: int) -> np.ndarray[Any, Any]:
        """The next `count` vectors, (count, d), of the file's dtype; the caller knows that there are so many."""
        ...

    def skip(self, count: int) -> None:
        """Leave out the next `count` vectors."""
        ...


class StreamedRows:
    """Vectors in C order from a file or a member of a zip, read once, in order.

    Args:
        file: At its first byte.
        name: For messages.
        size: Bytes of the file.
        digest: Fed with every byte that is taken, the header's too, if the file is to be hashed meanwhile.

    Raises:
        InputError: As `read_npy_header`.
    """

    def __init__(self, file: BinaryIO, name: str, size: int, digest: xxhash.xxh3_128 | None = None) -> None:
        self._file, self._name, self._digest = file, name, digest
        self.header = read_npy_header(file, name, size)
        if digest is not None:
            file.seek(0)
            digest.update(file.read(self.header.offset))

    def take(self, count: int) -> np.ndarray[Any, Any]:
        """The next vectors."""
        block = np.empty((count, self.header.dimension), self.header.dtype)
        view = memoryview(block.data).cast("B") if block.size else memoryview(b"")
        filled = 0
        while filled < len(view):
            step = self._file.readinto(view[filled:])  # type: ignore[attr-defined]
            if not step:
                raise InputError(f"{self._name} became shorter while it was read: wait until it is complete")
            filled += step
        if self._digest is not None:
            self._digest.update(view)
        return block

    def skip(self, count: int) -> None:
        """Leave out vectors: a file is not read there, a zip is."""
        self._file.seek(count * self.header.row_bytes, os.SEEK_CUR)

    def rest(self) -> None:
        """Read what is left, for the hash."""
        while block := self._file.read(1 << 20):
            if self._digest is not None:
                self._digest.update(block)


class ColumnMajorRows:
    """Vectors of a `.npy` file in Fortran order, picked from a memory map; an object is copied to this machine first.

    Args:
        location: The file.
        header: What it holds.
    """

    def __init__(self, location: str, header: NpyHeader) -> None:
        self.header, self._at = header, 0
        shape = (header.dimension, header.rows)
        is_empty = header.rows == 0
        mapped: Callable[..., np.ndarray[Any, Any]] = np.memmap
        there = files.copied(location) if files.is_remote(location) and not is_empty else location
        self._columns = (
            np.empty(shape, header.dtype) if is_empty else mapped(there, header.dtype, "r", header.offset, shape)
        )

    def take(self, count: int) -> np.ndarray[Any, Any]:
        """The next vectors."""
        self._at += count
        return np.ascontiguousarray(self._columns[:, self._at - count : self._at].T)

    def skip(self, count: int) -> None:
        """Leave out vectors."""
        self._at += count
