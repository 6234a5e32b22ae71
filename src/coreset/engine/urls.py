"""What the text of a location says: a path, a `file://` URL, which is a path too, or an object in a store.

Nothing here touches a disk or a network.
"""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote

from coreset.engine.errors import InputError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SECRET = re.compile(
    r"[?&](?:x-amz-[a-z-]+|x-goog-[a-z-]+|signature|sig|token|access_token|awsaccesskeyid|api[_-]?key|password)=",
    re.IGNORECASE,
)
_PIPE = re.compile(r"pipe:", re.IGNORECASE)


def is_remote(location: str) -> bool:
    """Whether a location is an object in a store, or a folder of them, rather than a path.

    Example:
        >>> is_remote("s3://bucket/run"), is_remote("run"), is_remote("file:///data/run")
        (True, False, False)
    """
    match = _URL.match(location)
    return match is not None and match[1].lower() != "file"


def scheme_of(location: str) -> str:
    """What stands before `://`; empty for a path.

    Example:
        >>> scheme_of("s3://bucket/run"), scheme_of("run")
        ('s3', '')
    """
    match = _URL.match(location)
    return match[1].lower() if match else ""


def path_of(location: str) -> str:
    """The path that a location is, if it is one: `file://` is taken off.

    Raises:
        InputError: It is on another machine.

    Example:
        >>> path_of("file:///data/a%20b"), path_of("run")
        ('/data/a b', 'run')
    """
    match = _URL.match(location)
    if match is None or match[1].lower() != "file":
        return location
    host, slash, rest = match[2].partition("/")
    if host not in {"", "localhost"}:
        raise InputError(f"{location} names another machine, {host}; mount its disk and give the path.")
    return unquote(slash + rest) or "/"


def checked(location: str) -> str:
    """A location as it is used from here on: `file://` is a path, a URL has no slash at its end.

    Raises:
        InputError: It would run a command, chains several stores, or holds a password or a signature.

    Example:
        >>> checked("s3://bucket/run/"), checked("file:///data/run"), checked("run")
        ('s3://bucket/run', '/data/run', 'run')
        >>> checked("s3://me:hunter2@bucket/run")
        Traceback (most recent call last):
        coreset.engine.errors.InputError: s3://…@bucket/run holds a password; take it out: ...
    """
    if _PIPE.match(location):
        raise InputError(
            f"'{location}' would run a command, which coreset never does: name the file or the object itself, "
            f"s3://BUCKET/NAME instead of `pipe:aws s3 cp s3://BUCKET/NAME -`."
        )
    if "::" in location and "://" in location:
        raise InputError(
            f"{redacted(location)} chains stores; name the object itself, without what stands before `::`."
        )
    match = _URL.match(location)
    if match is None:
        return location
    if redacted(location) != location:
        what = "a password" if "@" in _authority(match[2]) else "a signature or a token"
        raise InputError(
            f"{redacted(location)} holds {what}; take it out: credentials come from the environment, the profile or "
            f"the machine's role, and never stand in a name."
        )
    if match[1].lower() == "file":
        return path_of(location)
    if not match[2].strip("/"):
        raise InputError(f"{location} names no bucket; write {match[1].lower()}://BUCKET/FOLDER.")
    return f"{match[1].lower()}://{match[2].rstrip('/')}"


def redacted(text: str) -> str:
    """A URL without what must not be shown: user and password, and all behind a signed query's `?`.

    Example:
        >>> redacted("https://host/a.tar?X-Amz-Signature=0f3a&b=1"), redacted("s3://bucket/a?.tar")
        ('https://host/a.tar?…', 's3://bucket/a?.tar')
    """
    chain, colons, last = text.rpartition("::")
    if colons:
        return f"{chain}::{redacted(last)}" if "://" not in chain else f"…::{redacted(last)}"
    match = _URL.match(text)
    if match is None:
        return text
    authority = _authority(match[2])
    user, at, host = authority.rpartition("@")
    rest = match[2]
    if at and ":" in user:
        rest = f"…@{host}{rest[len(authority) :]}"
    if _SECRET.search(rest):
        rest = rest.partition("?")[0] + "?…"
    return f"{match[1]}://{rest}"


def joined(folder: str, name: str) -> str:
    """A name below a folder; a URL or an absolute path stands for itself.

    Example:
        >>> joined("s3://bucket/run", "rows"), joined("run", "s3://bucket/0.tar")
        ('s3://bucket/run/rows', 's3://bucket/0.tar')
    """
    return name if _URL.match(name) else posixpath.join(folder, name)


def normal(location: str) -> str:
    """A location without `.`, `..` and doubled slashes.

    Example:
        >>> normal("s3://bucket/run/rows/../quarantine"), normal("run/./rows")
        ('s3://bucket/run/quarantine', 'run/rows')
    """
    match = _URL.match(location)
    if match is None:
        return posixpath.normpath(location)
    return f"{match[1]}://{posixpath.normpath(match[2])}" if match[2] else location


def _authority(rest: str) -> str:
    return rest.partition("/")[0]
