"""Trying again what a store may answer the next time: time-outs, 5xx, 429, lost connections, short answers.

One call has one deadline for all its attempts. What another attempt cannot change, a 403 or a 404, is never repeated.
The clients below do not repeat on their own (see `stores`), so that delays do not multiply.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from coreset.engine.errors import ResourceError

T = TypeVar("T")
DEADLINE = "CORESET_REMOTE_DEADLINE"
"""Seconds that one call to a store may take with all its attempts."""
TIMEOUT = "CORESET_REMOTE_TIMEOUT"
"""Seconds that a store may be silent before an attempt is given up."""
FIRST, LONGEST = 0.2, 20.0
"""Seconds of the first pause, at most, and of any pause; each may be twice as long as the one before."""

FIRST_CONTACT = 20.0
"""Seconds after which a store that never answered in this process counts as misnamed."""
_reached: set[str] = set()

_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 509})
_CODES = frozenset({"SlowDown", "InternalError", "RequestTimeout", "ServiceUnavailable", "OperationAborted"})
_CLASSES = frozenset(
    {
        *("TimeoutError", "ConnectionError", "HTTPClientError", "IncompleteReadError", "ResponseParserError"),
        *("ClientConnectionError", "ClientPayloadError", "ProtocolError", "TransportError", "ChunkedEncodingError"),
        *("IncompleteRead", "FlexibleChecksumError", "ChecksumError", "ContentTypeError", "ShortReadError"),
    }
)
"""Names of the classes of errors of connections, in all the clients that fsspec's backends use."""


class ShortReadError(OSError):
    """A store sent fewer bytes than were asked for."""


def deadline() -> float:
    """Seconds that one call may take with all its attempts; 180 unless the environment says otherwise."""
    return float(os.environ.get(DEADLINE, "180"))


def patience() -> float:
    """Seconds of silence after which an attempt is given up; 30 unless the environment says otherwise."""
    return float(os.environ.get(TIMEOUT, "30"))


def persistent(call: Callable[[], T], what: str) -> T:
    """What a call returns, tried again while it fails as a store fails that is busy or out of reach.

    Args:
        call: may be made any number of times
        what: for the message: the location

    Raises:
        ResourceError: It failed until the deadline.
        Exception: What the call raises, if another attempt would not change it.

    Example:
        >>> answers = iter([TimeoutError(), 7])
        >>> def asked():
        ...     answer = next(answers)
        ...     if isinstance(answer, Exception):
        ...         raise answer
        ...     return answer
        >>> persistent(asked, "s3://bucket/0.tar")
        7
    """
    begun, attempts, store = time.monotonic(), 0, what.partition("://")[0]
    while True:
        try:
            found = call()
            _reached.add(store)
            return found
        except Exception as error:
            attempts += 1
            if not is_transient(error):
                raise
            pause = random.uniform(0, min(LONGEST, FIRST * 2**attempts))  # noqa: S311  no secret depends on it
            waited = time.monotonic() - begun
            is_unknown = store not in _reached and status_of(error) is None
            if waited + pause > (min(FIRST_CONTACT, deadline()) if is_unknown else deadline()):
                raise ResourceError(
                    f"{what} could not be reached within {waited:.0f} s and {attempts} attempt(s) ({reason(error)}); "
                    f"see whether the storage is well, and run the same command again, it continues."
                ) from error
            time.sleep(pause)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error stands for, whichever client it comes from; None if it has none."""
    for found in causes(error):
        response = getattr(found, "response", None)
        if isinstance(response, dict):  # botocore
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            status = getattr(response, "status_code", None)  # requests, httpx
        for value in (status, getattr(found, "status", None), getattr(found, "code", None)):
            if isinstance(value, int | str) and str(value).isdigit():
                return int(value)
    return None


def code_of(error: BaseException) -> str | None:
    """S3's word for an error, such as `SlowDown`; None if there is none."""
    for found in causes(error):
        response = getattr(found, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code") or "") or None
    return None


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a little later.

    Example:
        >>> is_transient(TimeoutError()), is_transient(FileNotFoundError())
        (True, False)
    """
    names = {kind.__name__ for found in causes(error) for kind in type(found).__mro__}
    return not names.isdisjoint(_CLASSES) or status_of(error) in _STATUS or code_of(error) in _CODES


def reason(error: BaseException) -> str:
    """Status and code of an error, or the name of its class: never its text, which may hold a signed URL.

    Example:
        >>> reason(TimeoutError("https://host/?X-Amz-Signature=0f3a"))
        'TimeoutError'
    """
    status, code = status_of(error), code_of(error)
    said = [str(status)] if status is not None else []
    said += [code] if code and code != str(status) else []
    return " ".join(said) or type(error).__name__
