"""An object on its way: written to an unnamed local file, hashed meanwhile, then put with one request.

The local file has no name: whatever kills the process, nothing of it stays, here or in the store.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from coreset.engine.errors import ResourceError

SPOOL = "CORESET_SPOOL"
"""The folder of this machine in which objects are written before they are put; else the one for temporary files."""


def spool_folder() -> str:
    """Where objects are written before they are put."""
    return os.environ.get(SPOOL) or tempfile.gettempdir()


def new_spool() -> BinaryIO:
    """A local file without a name.

    Raises:
        ResourceError: The folder is not there, or has no room.
    """
    with spool_errors():
        return cast("BinaryIO", tempfile.TemporaryFile(dir=spool_folder(), buffering=1 << 20))


@contextmanager
def spool_errors() -> Iterator[None]:
    """Turn a full or missing disk for what is on its way into one sentence.

    Raises:
        ResourceError: It is full, or not there.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        state = "is full" if full else f"cannot be written ({error.strerror})"
        raise ResourceError(
            f"The disk under {spool_folder()}, where objects are written before they are put, {state}; name another "
            f"folder with {SPOOL}, and run the same command again, it continues."
        ) from error
