"""Many small files that appear together: a part's pictures.

They are written into one folder under a temporary name, flushed with one call, and get their own names when the
part is committed. A flush of each file and of its folder costs milliseconds each, and there are millions of
them. The part's Parquet, which is committed after them, says which files there are. For a store the folder is one
of this machine.
"""

from __future__ import annotations

import ctypes
import os

from coreset.engine import disk, files, remote
from coreset.engine.faults import pass_point
from coreset.engine.files import Location
from coreset.engine.spool import spool_folder

_LIBC = ctypes.CDLL(None, use_errno=True)


class Bundle:
    """Small files on their way; nothing has its name before `commit`."""

    def __init__(self, location: Location) -> None:
        self._is_remote = files.is_remote(location)
        self._folder = disk.temporary_name(os.path.join(spool_folder(), "pictures") if self._is_remote else location)
        self._places: list[Location] = []
        self._is_flushed = False

    def write(self, place: Location, content: bytes) -> None:
        """Write a file that will stand at a place on the same disk."""
        if not self._places:
            files.make_folder(self._folder)
        with disk.disk_errors(place):
            pass_point("open")
            with open(self._waiting(len(self._places)), "wb", buffering=0) as file:
                pass_point("write")
                disk.write_all(file, content)
        self._places.append(place)

    def close(self) -> None:
        """Flush all files to the disk."""
        if self._places and not self._is_remote:
            with disk.disk_errors(self._places[0]):
                pass_point("fsync")
                flush_disk(self._folder)
        self._is_flushed = True

    def commit(self) -> None:
        """Give all files their names, and flush the folders that they lie in."""
        if not self._is_flushed:
            self.close()
        if self._is_remote:
            self._put()
            self.discard()
            return
        folders = {os.path.dirname(place) or "." for place in self._places}
        for folder in sorted(folders):
            files.make_folder(folder)
        for number, place in enumerate(self._places):
            with disk.disk_errors(place):
                pass_point("rename")
                os.replace(self._waiting(number), place)
        for folder in sorted(folders):
            with disk.disk_errors(folder):
                disk.flush_folder(folder)
        self.discard()

    def discard(self) -> None:
        """Remove what has no name of its own yet."""
        if self._places:
            disk.remove_folder_quietly(self._folder)

    def _put(self) -> None:
        """Put all files into the store, several at a time."""
        remote.many(self._put_one, range(len(self._places)))

    def _put_one(self, number: int) -> None:
        with open(self._waiting(number), "rb") as file:
            remote.put_bytes(self._places[number], file.read())

    def _waiting(self, number: int) -> str:
        return os.path.join(self._folder, str(number))


def flush_disk(folder: Location) -> None:
    """Make everything durable that was written to the disk on which a folder lies.

    Raises:
        OSError: Something could not be written.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _LIBC.syncfs(number):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(number)
