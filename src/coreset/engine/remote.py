"""Objects of a store by their locations: each call is repeated while that can help, and its errors are sentences.

What `files` does with a path it does here with a URL. An object appears whole or not at all; there are no temporary
names and nothing to rename. What commits a part is put only if it is not there yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from threading import Lock
from typing import IO, TypeVar

from coreset.engine.errors import InputError
from coreset.engine.retries import ShortReadError, code_of, persistent, reason, status_of
from coreset.engine.stores import PUT_BYTES, ChangedError, Found, entries_below, store_of
from coreset.engine.urls import redacted, scheme_of

S = TypeVar("S")
T = TypeVar("T")
AT_ONCE = 16
"""Requests of one command that are under way at a time where many objects are asked for one by one."""
_DENIED = frozenset({401, 403})
_CREDENTIALS = frozenset(
    {
        *("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "ProfileNotFound"),
        *("CredentialRetrievalError", "UnauthorizedSSOTokenError", "DefaultCredentialsError", "RefreshError"),
    }
)
_PLACES = {
    "s3": "the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE), the files in ~/.aws, and the machine's role",
    "gs": "the environment (GOOGLE_APPLICATION_CREDENTIALS), gcloud's login, and the machine's service account",
    "hf": "the environment (HF_TOKEN) and `hf auth login`",
}
_looking = Lock()
_looked: ContextVar[dict[str, dict[str, Found]] | None] = ContextVar("_looked", default=None)


def stat(location: str) -> Found | None:
    """Size and etag of an object; None where there is none.

    Inside `one_look`, the answer is taken from one listing of its folder.

    Raises:
        InputError: The store does not let us look.
        ResourceError: It cannot be reached.
    """
    seen = _looked.get()
    if seen is None:
        return _asked(location, lambda: store_of(location).stat(location))
    folder, _, name = location.rpartition("/")
    with _looking:
        if folder not in seen:
            seen[folder] = {name: found for name, found in listed(folder).items() if found is not None}
    return seen[folder].get(name)


@contextmanager
def one_look() -> Iterator[None]:
    """Ask for each folder once, instead of once for each of its objects, until the block ends."""
    if _looked.get() is not None:
        yield
        return
    before = _looked.set({})
    try:
        yield
    finally:
        _looked.reset(before)


def listed(folder: str, deep: bool = False) -> dict[str, Found | None]:
    """What lies below a folder, by its path from there; folders themselves are None, if not `deep`."""
    return _asked(folder, lambda: store_of(folder).listed(folder, deep)) or {}


def names_in(folder: str) -> list[str]:
    """The sorted names in a folder, those of folders too; none where there is nothing."""
    return entries_below(listed(folder))


def read(location: str, start: int, stop: int, etag: str = "") -> bytes:
    """Bytes `start` to `stop` of an object, all of them.

    Args:
        location: of the object
        start: first byte
        stop: one past the last, which must be there
        etag: that it must have; empty for any

    Raises:
        InputError: It is gone, has another etag, or may not be read.
        ResourceError: The store cannot be reached, or sends too little again and again.
    """

    def once() -> bytes:
        content = store_of(location).read(location, start, stop, etag)
        if len(content) != stop - start:
            raise ShortReadError(f"{len(content)} of {stop - start} bytes")
        return content

    content = _asked(location, once)
    if content is None:
        raise InputError(f"{redacted(location)} is not there; check the name, and whether somebody removed it.")
    return content


def read_all(location: str) -> bytes | None:
    """All bytes of a small object; None where there is none."""
    return _asked(location, lambda: store_of(location).read_whole(location))


def put_bytes(location: str, content: bytes, new: bool = False) -> None:
    """Make an object of some bytes, in place of the one that is there.

    Raises:
        FileExistsError: It must be `new`, and is there. It may be ours, if an answer was lost.
        InputError: The bucket is not there, or may not be written to.
        ResourceError: The store cannot be reached.
    """
    _written(location, lambda: store_of(location).put_bytes(location, content, new))


def put_file(location: str, file: IO[bytes], size: int, new: bool = False) -> None:
    """Make an object of a local file's bytes; as `put_bytes`, in parts where it is large."""
    if size <= PUT_BYTES:
        put_bytes(location, os.pread(file.fileno(), size, 0), new)
    else:
        _written(location, lambda: store_of(location).put_file(location, file, size, new))


def _written(location: str, call: Callable[[], None]) -> None:
    def once() -> bool:
        call()
        return True

    if _asked(location, once) is None:
        raise InputError(
            f"{redacted(location)} cannot be written: there is no such bucket; create it, or check its name."
        )


def replace(location: str, content: bytes, etag: str) -> str | None:
    """Put an object in place of the one with this etag; returns the new etag, None if that one is gone."""
    return _asked(location, lambda: store_of(location).replace(location, content, etag))


def delete(locations: Sequence[str]) -> None:
    """Remove objects; one that is not there is fine."""
    if locations:
        _asked(locations[0], lambda: store_of(locations[0]).delete(locations))


def remove(location: str) -> None:
    """Remove an object, or a whole folder: what says that it is complete first, its plan last."""
    below = listed(location, deep=True)

    def rank(name: str) -> tuple[bool, bool]:
        return not name.endswith("stage.json"), name.endswith("plan.json")

    names = sorted(below, key=lambda name: (*rank(name), name))
    firsts = [name for name in names if name.endswith("stage.json")]
    lasts = [name for name in names if name.endswith("plan.json")]
    middle = [name for name in names if name not in {*firsts, *lasts}]
    for some in (firsts, middle, lasts):
        delete([f"{location}/{name}" for name in some])
    if not below:
        delete([location])


def many(call: Callable[[S], T], values: Sequence[S]) -> list[T]:
    """What a call says of each value, several at a time."""
    if len(values) < 2:
        return [call(value) for value in values]
    with ThreadPoolExecutor(min(AT_ONCE, len(values))) as pool:
        contexts = [copy_context() for _ in values]  # of `one_look`
        return list(pool.map(lambda context, value: context.run(call, value), contexts, values))


def _asked(location: str, call: Callable[[], T]) -> T | None:
    """What a call says, repeated while that can help; None where the object, or its bucket, is not there."""
    try:
        return persistent(call, redacted(location))
    except FileNotFoundError:
        return None
    except ChangedError as error:
        raise InputError(
            f"{redacted(location)} changed while it was read; wait until nobody writes it, and run the same command "
            f"again."
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, FileExistsError):
            raise
        raise _sentence(location, error) from error
    except Exception as error:  # each client has exceptions of its own
        if not _is_of_a_client(error):
            raise
        raise _sentence(location, error) from error


def _is_of_a_client(error: Exception) -> bool:
    ours = {"botocore", "aiobotocore", "aiohttp", "requests", "google", "gcsfs", "httpx", "huggingface_hub", "s3fs"}
    return type(error).__module__.partition(".")[0] in ours


def _sentence(location: str, error: Exception) -> InputError:
    names = {kind.__name__ for kind in type(error).__mro__}
    code = code_of(error)
    if status_of(error) in _DENIED or isinstance(error, PermissionError) or names & _CREDENTIALS:
        places = _PLACES.get(scheme_of(location).replace("s3a", "s3").replace("gcs", "gs"))
        looked = (
            f"credentials are looked for in {places}; check them, and what they may do there"
            if places
            else "check who may"
        )
        return InputError(f"{redacted(location)} may not be used ({reason(error)}): {looked}.")
    if status_of(error) == 404 or code == "NoSuchBucket":
        return InputError(f"{redacted(location)} is not there; check the name.")
    return InputError(
        f"{redacted(location)} cannot be used ({reason(error)}); check the name, and what the store allows."
    )
