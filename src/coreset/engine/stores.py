"""The stores that fsspec knows, as a handful of calls on objects: the only module, with `s3`, that imports fsspec.

A call is one request, or as few as the backend allows, and is made once: `retries` repeats it. Its errors are those of
the backend: `remote` turns them into sentences.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from coreset.engine.errors import InputError
from coreset.engine.urls import scheme_of

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "hf": "hf", "http": "http", "https": "http"}
"""The extra that brings the backend of a scheme."""
WITHOUT_CREATE = frozenset({"hf", "http", "https"})
"""Schemes whose stores cannot refuse to replace an object: for inputs, and exports by one writer."""
PUT_BYTES = 64 << 20
"""A larger file is uploaded in parts."""
_ETAGS = ("etag", "ETag", "generation", "md5Hash", "md5", "blob_id", "oid", "content_md5", "mtime", "created")
"""What backends call that which changes with an object's bytes, best first."""


class ChangedError(Exception):
    """An object is not the one any more that was noted."""


@dataclass(frozen=True)
class Found:
    """What a store says of an object.

    Attributes:
        size: bytes
        etag: changes with the bytes; empty if the store has nothing of the kind
    """

    size: int
    etag: str = ""


class Store:
    """Objects by their URLs, through any backend of fsspec.

    Attributes:
        checks_reads: whether `read` itself notices that an object changed
    """

    checks_reads = False

    def __init__(self, filesystem: Any, scheme: str) -> None:  # noqa: ANN401  fsspec has no types
        self.filesystem, self.scheme = filesystem, scheme
        self.checks_reads = scheme in {"gs", "gcs"}

    def stat(self, url: str) -> Found | None:
        """Size and etag of an object; None where there is none."""
        self.filesystem.invalidate_cache()
        try:
            said = self.filesystem.info(url)
        except FileNotFoundError:
            return None
        return None if said.get("type") == "directory" else self.found_of(said)

    def read(self, url: str, start: int, stop: int, etag: str) -> bytes:
        """Bytes `start` to `stop` of an object.

        Raises:
            ChangedError: Its etag is another one, if the store can tell.
            FileNotFoundError: It is not there.
        """
        pinned = {"generation": etag} if self.checks_reads and etag else {}
        try:
            content: bytes = self.filesystem.cat_file(url, start=start, end=stop, **pinned)
        except FileNotFoundError:
            if pinned and self.stat(url) is not None:
                raise ChangedError(url) from None
            raise
        return content

    def read_whole(self, url: str) -> bytes:
        """All bytes of a small object.

        Raises:
            FileNotFoundError: It is not there.
        """
        content: bytes = self.filesystem.cat_file(url)
        return content

    def listed(self, folder: str, deep: bool = False) -> dict[str, Found | None]:
        """What lies below a folder, by its path from there; folders themselves are None, if not `deep`."""
        self.filesystem.invalidate_cache()
        try:
            if deep:
                entries = list(self.filesystem.find(folder, detail=True).values())
            else:
                entries = self.filesystem.ls(folder, detail=True)
        except FileNotFoundError:
            return {}
        root = self.filesystem._strip_protocol(folder).rstrip("/") + "/"
        found: dict[str, Found | None] = {}
        for said in entries:
            name = str(said["name"]).rstrip("/")
            if name.startswith(root):
                found[name[len(root) :]] = None if said.get("type") == "directory" else self.found_of(said)
        return found

    def put_bytes(self, url: str, content: bytes, new: bool) -> None:
        """Make an object of some bytes.

        Raises:
            FileExistsError: It must be `new`, and is there.
        """
        self.filesystem.pipe_file(url, content, **self._mode(url, new))

    def put_file(self, url: str, file: IO[bytes], size: int, new: bool) -> None:  # noqa: ARG002  for those who need it
        """Make an object of the bytes of a large local file.

        Raises:
            FileExistsError: It must be `new`, and is there.
        """
        self.filesystem.put_file(f"/proc/self/fd/{file.fileno()}", url, **self._mode(url, new))

    def _mode(self, url: str, new: bool) -> dict[str, str]:
        if new and self.scheme not in WITHOUT_CREATE:
            return {"mode": "create"}
        if new and self.stat(url) is not None:
            raise FileExistsError(url)
        return {}

    def replace(self, url: str, content: bytes, etag: str) -> str | None:
        """Put an object in place of the one with this etag; returns the new etag, None if that one is not there.

        Here by looking and then putting: of several who do that at once the last one wins, and the others are not told.
        """
        found = self.stat(url)
        if found is None or found.etag != etag:
            return None
        self.put_bytes(url, content, new=False)
        now = self.stat(url)
        return None if now is None else now.etag

    def delete(self, urls: Sequence[str]) -> None:
        """Remove objects, at once where the store can; one that is not there is fine."""
        self.filesystem.invalidate_cache()
        for url in urls:
            try:
                self.filesystem.rm_file(url)
            except FileNotFoundError:
                continue

    def found_of(self, said: Mapping[str, Any]) -> Found:
        """What an entry of a listing says."""
        order = ("generation", *_ETAGS) if self.checks_reads else _ETAGS
        etag = next((said[name] for name in order if said.get(name)), "")
        if isinstance(etag, datetime):  # fsspec's memory:// says a time in two ways
            etag = etag.timestamp()
        return Found(int(said.get("size") or 0), str(etag).strip('"'))


_stores: dict[tuple[str, int], Store] = {}
_lock = threading.Lock()


def store_of(url: str) -> Store:
    """The store that a URL is of; connected at the first call in this process.

    Raises:
        InputError: No backend knows the scheme, or it is not installed; says what brings it.
    """
    scheme = scheme_of(url)
    with _lock:
        key = (scheme, os.getpid())
        if key not in _stores:
            _stores[key] = _connected(scheme)
        return _stores[key]


def _connected(scheme: str) -> Store:
    import fsspec

    try:
        if scheme in {"s3", "s3a"}:
            from coreset.engine.s3 import S3Store

            return S3Store.connected(scheme)
        kind = fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        extra = EXTRAS.get(scheme)
        hint = f"pip install 'coreset[{extra}]'" if extra else f"install the package that fsspec names for it ({error})"
        raise InputError(f"{scheme}:// needs a package that is not installed: {hint}.") from error
    except ValueError as error:
        raise InputError(f"{scheme}:// is no scheme that fsspec knows; see `{_known(fsspec)}`.") from error
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it shows tracebacks of what is repeated or said here
    return Store(kind() if scheme == "memory" else kind(use_listings_cache=False), scheme)


def _known(fsspec: Any) -> str:  # noqa: ANN401
    return ", ".join(
        name for name in ("s3", "gs", "az", "hf", "file", "memory") if name in fsspec.available_protocols()
    )


def entries_below(found: Iterable[str]) -> list[str]:
    """The first parts of some paths, sorted, each once.

    Example:
        >>> entries_below(["rows/0.npy", "rows/1.npy", "run.json"])
        ['rows', 'run.json']
    """
    return sorted({name.partition("/")[0] for name in found})
