"""Files by their locations: a path is looked up on this machine (`disk`), a URL in a store (`remote`)."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from coreset.engine import disk, remote
from coreset.engine.disk import is_temporary
from coreset.engine.errors import InputError
from coreset.engine.outgoing import Seal, outgoing, seal_of
from coreset.engine.stores import WITHOUT_CREATE, Found
from coreset.engine.urls import checked, is_remote, joined, normal, path_of, redacted, scheme_of

__all__ = ["is_remote", "normal", "redacted"]

if TYPE_CHECKING:
    from coreset.engine.remote_file import RemoteFile

S = TypeVar("S")
T = TypeVar("T")

Location = str
"""A path, or the URL of an object or of a folder of objects in a store that fsspec knows."""

JSON = Any
"""What `json.dumps` takes: plans, receipts and summaries are made of it."""


def join(*names: str) -> Location:
    """A location below a folder; a URL stands for itself, as an absolute path does.

    Example:
        >>> join("run", "rows", "00000.npy")
        'run/rows/00000.npy'
        >>> join("s3://bucket/run", "rows")
        's3://bucket/run/rows'
    """
    return reduce(joined, names)


def local_path(location: Location) -> Path:
    """The path of a location.

    Raises:
        InputError: The location is a URL, and this needs a file of this machine.
    """
    if is_remote(location):
        raise InputError(
            f"{redacted(location)} is an object, and this needs a file; copy it to a disk and give its path."
        )
    return Path(path_of(location))


def located(text: str) -> Location:
    """A location as a person wrote it, as it is used from here on: `file://` is a path, nothing secret is in it.

    Raises:
        InputError: It would run a command, or holds a password or a signature, or names nothing.

    Example:
        >>> located("file:///data/run"), located("S3://bucket/run/"), located("run")
        ('/data/run', 's3://bucket/run', 'run')
    """
    return checked(text)


def located_run(text: str) -> Location:
    """As `located`, for a run directory.

    Raises:
        InputError: It lies in a store in which two writers could destroy it.
    """
    location = located(text)
    if scheme_of(location) in WITHOUT_CREATE:
        raise InputError(
            f"{location} cannot hold a run: {scheme_of(location)}:// cannot refuse to replace an object, and two "
            f"writers would destroy it; it is for inputs and exports, so use a --run on a disk or in s3:// or gs://."
        )
    return location


def opened(location: Location) -> BinaryIO:
    """A file opened for reading by position, unbuffered: an object by ranges of exactly what is read.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if is_remote(location):
        from coreset.engine.remote_file import RemoteFile

        return cast("BinaryIO", RemoteFile(location))
    return cast("BinaryIO", local_path(location).open("rb", buffering=0))


def readable(location: Location) -> Path | BinaryIO:
    """What a library reads a file from: its path, or an object opened for reading.

    Raises:
        FileNotFoundError: There is no such object.
    """
    return opened(location) if is_remote(location) else local_path(location)


def read_bytes(location: Location) -> bytes:
    """All bytes of a file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not is_remote(location):
        return local_path(location).read_bytes()
    content = remote.read_all(location)
    if content is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location)
    return content


def mark_of(location: Location) -> int | str:
    """What changes when a file is written again: its time in nanoseconds, or the etag of an object.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not is_remote(location):
        return os.stat(local_path(location)).st_mtime_ns
    found = remote.stat(location)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location)
    return found.etag


def absolute(location: Location) -> Location:
    """A location that does not depend on the folder one is in."""
    return location if is_remote(location) else os.path.abspath(local_path(location))


def is_file(location: Location) -> bool:
    """Whether there is a file, or an object."""
    return remote.stat(location) is not None if is_remote(location) else local_path(location).is_file()


def size_and_etag(location: Location) -> tuple[int, str] | None:
    """Of an object, from one request; None where there is none."""
    found = remote.stat(location)
    return None if found is None else (found.size, found.etag)


def opened_as(location: Location, size: int, etag: str, ahead: bool) -> RemoteFile:
    """An object that was listed with this size and etag, opened for reading.

    Args:
        location: its URL
        size: bytes
        etag: as listed; empty if it is not known: then it is looked up, and the size compared
        ahead: see `RemoteFile`

    Raises:
        InputError: It is gone, or has another size; later, from any reading, it changed.
    """
    from coreset.engine.remote_file import RemoteFile

    found = Found(size, etag) if etag else remote.stat(location)
    if found is None or found.size != size:
        state = "is gone" if found is None else f"has {found.size} now"
        raise InputError(
            f"{location} had {size} bytes when it was listed and {state}: wait until it is complete, then start again"
        )
    return RemoteFile(location, found, ahead)


def folder_of(location: Location) -> Location:
    """The folder that a file lies in, independent of the folder one is in.

    Example:
        >>> folder_of("s3://bucket/recipes/coreset.toml"), folder_of("/data/coreset.toml")
        ('s3://bucket/recipes', '/data')
    """
    return location.rpartition("/")[0] if is_remote(location) else str(local_path(location).resolve().parent)


def opened_here(location: Location) -> BinaryIO:
    """A file of this machine opened for reading, unbuffered; of an object, a copy without a name.

    Raises:
        FileNotFoundError: There is no such file.
        ResourceError: There is no room for the copy.
    """
    if not is_remote(location):
        return opened(location)
    copy = copied(location)
    copy.seek(0)
    return copy


def copied(location: Location) -> BinaryIO:
    """A local file without a name that holds an object's bytes."""
    from coreset.engine.spool import new_spool, spool_errors

    target = new_spool()
    with opened(location) as file, spool_errors():
        while block := file.read(8 << 20):
            target.write(block)
        target.flush()
    return target


def unnamed(folder: Location) -> BinaryIO:
    """A local file without a name, on the disk of a folder; for a folder in a store on that of the spool."""
    if is_remote(folder):
        from coreset.engine.spool import new_spool

        return new_spool()
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))


def read_lines(location: Location) -> Iterator[str]:
    """The lines of a text file in ASCII, each with its end, one in memory at a time."""
    with io.TextIOWrapper(io.BufferedReader(cast("Any", opened(location)), 1 << 20), encoding="ascii") as file:
        yield from file


def glob_objects(pattern: str) -> list[Location]:
    """The objects that a pattern stands for."""
    from coreset.engine.listing import globbed

    return globbed(pattern)


LISTED = 16
"""Objects that are asked for one by one; of more, their folders are listed."""


def many(call: Callable[[S], T], values: Sequence[S]) -> list[T]:
    """What a call says of each value, several at a time: for calls that wait for a store.

    Where there are more than `LISTED`, they are told sizes from one listing of each folder.
    """
    with remote.one_look() if len(values) > LISTED else nullcontext():
        return remote.many(call, values)


def bytes_below(folder: Location) -> int:
    """Bytes of all files of a folder, in folders of any depth."""
    if is_remote(folder):
        return sum(found.size for found in remote.listed(folder, deep=True).values() if found)
    every = (os.path.join(place, name) for place, _, names in os.walk(local_path(folder)) for name in names)
    return sum(os.path.getsize(file) for file in every if os.path.isfile(file))


def is_folder(location: Location) -> bool:
    """Whether there is a folder: in a store, whether anything lies below it."""
    return bool(remote.listed(location)) if is_remote(location) else local_path(location).is_dir()


def one_look(locations: Location) -> AbstractContextManager[None]:
    """Until the block ends, sizes of objects below a folder come from one listing, if it is in a store."""
    return remote.one_look() if is_remote(locations) else nullcontext()


def fingerprint(value: JSON) -> str:
    """A hash of a JSON value that does not depend on the order of its keys: 128 bits as hex.

    Example:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def sealed(location: Location) -> Seal:
    """The seal of a file, by reading it."""
    with opened(location) as file:
        return seal_of(file)


def size_of(location: Location) -> int | None:
    """Size of a file in bytes; None where there is no such file."""
    if is_remote(location):
        found = remote.stat(location)
        return None if found is None else found.size
    try:
        return local_path(location).stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def names_in(folder: Location) -> list[str]:
    """The sorted names in a folder; none where there is no such folder."""
    if is_remote(folder):
        return remote.names_in(folder)
    path = local_path(folder)
    return sorted(os.listdir(path)) if path.is_dir() else []


def make_folder(folder: Location) -> None:
    """Create a folder with its parents, and flush what they lie in; one that exists is fine. Stores need none."""
    if not is_remote(folder):
        disk.make_folder(local_path(folder))


def remove(location: Location) -> None:
    """Remove a file or a whole folder, and flush the folder that it lay in; nothing there is fine.

    Nobody ever finds half of a folder on a disk. Of one in a store, `stage.json` goes first, `plan.json` last: what is
    left is never taken for complete, nor for somebody else's.
    """
    if is_remote(location):
        remote.remove(location)
    else:
        disk.remove(local_path(location))


def sweep(folder: Location) -> list[str]:
    """Remove what earlier writers left under temporary names; returns those names. In a store there are none."""
    if is_remote(folder):
        return []
    left = [name for name in names_in(folder) if is_temporary(name)]
    for name in left:
        remove(join(folder, name))
    return left


def write_bytes(location: Location, content: bytes) -> None:
    """Write a small file that appears whole or not at all; nothing of it stays if that fails."""
    if is_remote(location):
        remote.put_bytes(location, content)
        return
    file = outgoing(location)
    try:
        file.write(content)
        file.commit()
    finally:
        file.discard()


def write_json(location: Location, value: JSON) -> None:
    """Write a JSON file that appears whole or not at all; keys sorted, so equal values give equal bytes."""
    write_bytes(location, json_bytes(value))


def json_bytes(value: JSON) -> bytes:
    """A JSON value as `write_json` writes it."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def read_json(location: Location, hook: Callable[[dict[str, JSON]], JSON] | None = None) -> JSON | None:
    """The value of a JSON file; None where there is no such file.

    Args:
        location: the file
        hook: gives what stands for each object, to hold less of it

    Raises:
        InputError: The file is not JSON.
    """
    try:
        return json.loads(read_bytes(location), object_hook=hook)
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{location} is damaged ({error}); remove it and run the same command again.") from error
