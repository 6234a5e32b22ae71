"""What Arrow raises for a Parquet file that is damaged, told from what the disk or the memory is to blame for."""

from __future__ import annotations

import pyarrow as pa

BROKEN_TABLE = (pa.ArrowException, ValueError, KeyError, OSError)
"""All that reading a damaged Parquet file was seen to raise; some of it may be the machine's fault."""


def raise_the_machines(error: BaseException) -> None:
    """Raise again what is the disk's fault or the memory's, and no damage; Arrow's own errors have no number."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
        raise error


def first_line(error: BaseException) -> str:
    """What an error says, in one line.

    Example:
        >>> first_line(KeyError())
        'KeyError'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
