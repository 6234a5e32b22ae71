"""S3 and what speaks its protocol: the calls that fsspec's common ones cannot express.

Conditional reads (`If-Match`), conditional writes (`If-None-Match`, `If-Match`), many deletes in one request. The
client, its credentials and its settings are s3fs's; each call is made once, here and below.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any

from coreset.engine.retries import ShortReadError, patience, persistent, status_of
from coreset.engine.stores import PUT_BYTES, ChangedError, Found, Store

MOST_PARTS = 9000
"""Of one upload; each has `PUT_BYTES`, or more if there would be too many."""
DELETE_MANY = 1000
AT_ONCE = 4


class S3Store(Store):
    """Objects of S3 by their URLs."""

    checks_reads = True

    def __init__(self, filesystem: Any, scheme: str) -> None:  # noqa: ANN401
        super().__init__(filesystem, scheme)
        self.checks_reads = True

    @classmethod
    def connected(cls, scheme: str) -> S3Store:
        """A store with the environment's credentials; a client that never repeats a request by itself."""
        from fsspec.config import conf
        from s3fs import S3FileSystem

        asked = dict(conf.get("s3", {}).get("config_kwargs", {}))
        seconds = {"connect_timeout": min(10.0, patience()), "read_timeout": patience()}
        config = {**seconds, "retries": {"max_attempts": 0}, "max_pool_connections": 32, **asked}
        filesystem = S3FileSystem(config_kwargs=config, use_listings_cache=False, skip_instance_cache=True)
        filesystem.retries = 1
        return cls(filesystem, scheme)

    def stat(self, url: str) -> Found | None:
        """Size and etag of an object; None where there is none."""
        try:
            said = self._call("head_object", url)
        except FileNotFoundError:
            return None
        return Found(int(said["ContentLength"]), said.get("ETag", "").strip('"'))

    def read(self, url: str, start: int, stop: int, etag: str) -> bytes:
        """Bytes `start` to `stop` of an object.

        Raises:
            ChangedError: Its etag is another one.
            FileNotFoundError: It is not there.
        """
        if stop <= start:
            return b""
        condition = {"IfMatch": f'"{etag}"'} if etag else {}
        try:
            return self._fetched(url, Range=f"bytes={start}-{stop - 1}", **condition)
        except OSError as error:
            if status_of(error) == 412:
                raise ChangedError(url) from error
            if status_of(error) == 416:
                return b""
            raise

    def read_whole(self, url: str) -> bytes:
        """All bytes of a small object.

        Raises:
            FileNotFoundError: It is not there.
        """
        return self._fetched(url)

    def _fetched(self, url: str, **asked: str) -> bytes:
        from fsspec.asyn import sync

        bucket, key = _split(url)

        async def fetched() -> bytes:
            said = await self.filesystem._call_s3("get_object", Bucket=bucket, Key=key, **asked)
            async with said["Body"] as body:
                content: bytes = await body.read()
            if len(content) != said["ContentLength"]:
                raise ShortReadError(f"{len(content)} of {said['ContentLength']} bytes")
            return content

        content: bytes = sync(self.filesystem.loop, fetched)
        return content

    def listed(self, folder: str, deep: bool = False) -> dict[str, Found | None]:
        """What lies below a folder, by its path from there; folders themselves are None, if not `deep`."""
        bucket, key = _split(folder)
        root = key.rstrip("/") + "/" if key else ""
        asked: dict[str, Any] = {"Bucket": bucket, "Prefix": root}
        if not deep:
            asked["Delimiter"] = "/"
        found: dict[str, Found | None] = {}
        while True:
            said = persistent(lambda: self.filesystem.call_s3("list_objects_v2", **asked), folder)
            for entry in said.get("Contents", ()):
                name = entry["Key"][len(root) :]
                if name:  # some tools leave an empty object in the place of a folder
                    found[name] = Found(int(entry["Size"]), entry.get("ETag", "").strip('"'))
            for entry in said.get("CommonPrefixes", ()):
                found[entry["Prefix"][len(root) :].rstrip("/")] = None
            if not said.get("IsTruncated"):
                return found
            asked["ContinuationToken"] = said["NextContinuationToken"]

    def put_bytes(self, url: str, content: bytes, new: bool) -> None:
        """Make an object of some bytes.

        Raises:
            FileExistsError: It must be `new`, and is there.
        """
        self._conditional("put_object", url, Body=content, **({"IfNoneMatch": "*"} if new else {}))

    def put_file(self, url: str, file: IO[bytes], size: int, new: bool) -> None:
        """Make an object of the bytes of a large local file, in parts; nothing of it stays if that fails.

        Raises:
            FileExistsError: It must be `new`, and is there.
        """
        begun = self._call("create_multipart_upload", url)["UploadId"]
        step = max(PUT_BYTES, -(-size // MOST_PARTS))

        def uploaded(number: int) -> dict[str, Any]:
            body = os.pread(file.fileno(), step, number * step)
            said = persistent(
                lambda: self._call("upload_part", url, UploadId=begun, PartNumber=number + 1, Body=body), url
            )
            return {"PartNumber": number + 1, "ETag": said["ETag"]}

        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                parts = list(pool.map(uploaded, range(-(-size // step))))
            whole = {"UploadId": begun, "MultipartUpload": {"Parts": parts}}
            self._conditional("complete_multipart_upload", url, **whole, **({"IfNoneMatch": "*"} if new else {}))
        except BaseException:
            with suppress(FileNotFoundError):  # it was completed, and the answer was lost
                persistent(lambda: self._call("abort_multipart_upload", url, UploadId=begun), url)
            raise

    def replace(self, url: str, content: bytes, etag: str) -> str | None:
        """Put an object in place of the one with this etag; returns the new etag, None if that one is not there."""
        try:
            said = self._conditional("put_object", url, Body=content, IfMatch=f'"{etag}"')
        except (FileExistsError, FileNotFoundError):
            return None
        return str(said["ETag"]).strip('"')

    def delete(self, urls: Sequence[str]) -> None:
        """Remove objects, a thousand in a request; one that is not there is fine."""
        if len(urls) == 1:
            self._call("delete_object", urls[0])
            return
        for start in range(0, len(urls), DELETE_MANY):
            some = [_split(url) for url in urls[start : start + DELETE_MANY]]
            names = {"Objects": [{"Key": key} for _, key in some], "Quiet": True}
            said = self.filesystem.call_s3("delete_objects", Bucket=some[0][0], Delete=names)
            if refused := said.get("Errors"):
                kind = PermissionError if refused[0].get("Code") == "AccessDenied" else OSError
                raise kind(f"{len(refused)} object(s) could not be deleted: {refused[0].get('Code')}")

    def _conditional(self, method: str, url: str, **values: Any) -> Any:  # noqa: ANN401
        try:
            return self._call(method, url, **values)
        except OSError as error:
            if status_of(error) == 412:
                raise FileExistsError(url) from error
            raise

    def _call(self, method: str, url: str, **values: Any) -> Any:  # noqa: ANN401
        bucket, key = _split(url)
        return self.filesystem.call_s3(method, Bucket=bucket, Key=key, **values)


def _split(url: str) -> tuple[str, str]:
    """Bucket and key of a URL.

    Example:
        >>> _split("s3://bucket/run/rows/00000.npy")
        ('bucket', 'run/rows/00000.npy')
    """
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key
