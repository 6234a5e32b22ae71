"""Files appear whole or not at all, and a fault at any point leaves the old file or the new one."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from pathlib import Path

import pytest
import xxhash
from command import Started
from hypothesis import given
from hypothesis import strategies as st

from coreset.engine import disk, files
from coreset.engine.errors import InputError, ResourceError
from coreset.engine.outgoing import Seal, outgoing

POINTS = ("write", "fsync", "rename")
OLD, NEW = b"old " * 1000, b"new bytes " * 5000


def put(location: str, content: bytes) -> Seal | None:
    with outgoing(location) as file:
        file.write(content)
    file.commit()
    return file.seal


def put_half(location: str) -> None:
    with outgoing(location) as file:
        file.write(NEW)
        raise ZeroDivisionError


def put_in_pieces(location: str) -> None:
    with outgoing(location) as file:
        for start in range(0, len(NEW), 10_000):
            file.write(NEW[start : start + 10_000])
    file.commit()


def put_beyond_the_limit(location: str) -> None:
    """Write more than this process may: the kernel says EFBIG, as a full quota says EDQUOT."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        put(location, bytes(1 << 22))
    except ResourceError as error:
        Path(location + ".said").write_text(str(error))


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_a_seal_is_size_and_hash_of_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    location = str(tmp_path_factory.mktemp("seal") / "file")
    with outgoing(location) as file:
        for piece in pieces:
            assert file.write(piece) == len(piece)
            assert file.tell() <= sum(map(len, pieces))
    file.commit()
    whole = b"".join(pieces)
    assert Path(location).read_bytes() == whole
    assert file.seal == files.sealed(location) == Seal(len(whole), xxhash.xxh3_128_hexdigest(whole))


def test_a_file_that_was_written_again_at_its_start_is_hashed_as_it_stands(tmp_path: Path) -> None:
    location = str(tmp_path / "file")
    with outgoing(location) as file:
        file.write(b"....body")
        file.seek(0)
        file.write(b"head")
    file.commit()
    assert Path(location).read_bytes() == b"headbody"
    assert file.seal == files.sealed(location)


def test_nothing_has_the_name_before_the_commit(tmp_path: Path) -> None:
    location = str(tmp_path / "file")
    with outgoing(location) as file:
        file.write(b"x")
        assert not os.path.exists(location)
    assert not os.path.exists(location)
    file.commit()
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    location = str(tmp_path / "file")
    put(location, OLD)
    with pytest.raises(ZeroDivisionError):
        put_half(location)
    assert Path(location).read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_a_discarded_file_leaves_nothing(tmp_path: Path) -> None:
    file = outgoing(str(tmp_path / "file"))
    file.write(b"x")
    file.discard()
    file.discard()
    assert file.write(b"late") == 4
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("before", [None, OLD])
@pytest.mark.parametrize(("point", "passages"), [("write", 5), ("fsync", 1), ("rename", 1)])
def test_kill_9_at_any_point_leaves_the_old_file_or_none(
    tmp_path: Path, point: str, passages: int, before: bytes | None
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    location = str(folder / "file")
    if before is not None:
        put(location, before)
    for count in range(1, passages + 1):
        writer = Started(put_in_pieces, location, cwd=tmp_path, CORESET_FAULT=f"{point}:{count}:kill")
        assert writer.wait() == -signal.SIGKILL
        assert (Path(location).read_bytes() if os.path.exists(location) else None) == before
    assert len(files.sweep(str(folder))) == passages
    assert os.listdir(folder) == (["file"] if before else [])
    unharmed = Started(put_in_pieces, location, cwd=tmp_path, CORESET_FAULT=f"{point}:{passages + 1}:kill")
    assert unharmed.wait() == 0
    assert Path(location).read_bytes() == NEW


def test_sweeping_takes_temporary_names_only(tmp_path: Path) -> None:
    for name in ("00000.npy", "00000.npy.tmp.7.ab12cd34", "notes.tmp.txt", "plan.json"):
        (tmp_path / name).touch()
    assert files.sweep(str(tmp_path)) == ["00000.npy.tmp.7.ab12cd34"]
    assert files.names_in(str(tmp_path)) == ["00000.npy", "notes.tmp.txt", "plan.json"]
    assert files.sweep(str(tmp_path / "nowhere")) == []


def test_a_disk_that_is_full_is_one_sentence(tmp_path: Path) -> None:
    location = str(tmp_path / "file")
    writer = Started(put_beyond_the_limit, location, cwd=tmp_path)
    assert writer.wait() == 0, writer.text
    assert "No space left to write" in Path(location + ".said").read_text()
    assert not os.path.exists(location)
    assert [name for name in os.listdir(tmp_path) if ".tmp." in name] == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, ResourceError),
        (errno.EDQUOT, ResourceError),
        (errno.EFBIG, ResourceError),
        (errno.EACCES, InputError),
        (errno.EROFS, InputError),
        (errno.ENOTDIR, InputError),
        (errno.EIO, ResourceError),
        (errno.ENOENT, ResourceError),
        (errno.EMFILE, OSError),
    ],
)
def test_errors_of_the_disk_become_sentences(number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind), disk.disk_errors("run/rows/00000.npy"):
        raise OSError(number, os.strerror(number))


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match="choose another --run"):
        files.make_folder(str(tmp_path / "run"))
    with pytest.raises(InputError, match="choose another --run"):
        outgoing(str(tmp_path / "run" / "rows" / "00000.npy"))


@pytest.mark.parametrize("location", ["s3://bucket/run", "hf://datasets/x"])
def test_an_object_where_a_file_must_be_is_refused_in_one_sentence(location: str) -> None:
    with pytest.raises(InputError, match="is an object, and this needs a file"):
        files.local_path(location)


def test_json_comes_back_and_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    one, other = str(tmp_path / "one.json"), str(tmp_path / "other.json")
    files.write_json(one, {"b": [1, None, "é"], "a": {"y": 1.5, "x": True}})
    files.write_json(other, {"a": {"x": True, "y": 1.5}, "b": [1, None, "é"]})
    assert Path(one).read_bytes() == Path(other).read_bytes()
    assert files.read_json(one) == {"a": {"x": True, "y": 1.5}, "b": [1, None, "é"]}
    assert files.read_json(str(tmp_path / "nowhere.json")) is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": }'])
def test_json_that_is_damaged_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=r"plan\.json is damaged"):
        files.read_json(str(tmp_path / "plan.json"))


def test_sizes_and_names_of_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert files.size_of(str(tmp_path / "file")) == 3
    assert files.size_of(str(tmp_path / "nowhere")) is None
    assert files.size_of(str(tmp_path / "file" / "below")) is None
    assert files.names_in(str(tmp_path / "file")) == files.names_in(str(tmp_path / "nowhere")) == []


def test_removing_takes_files_folders_and_nothing_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "link").symlink_to("folder")
    files.remove(str(tmp_path / "link"))
    assert (tmp_path / "folder" / "file").exists()
    for name in ("folder", "folder", "nowhere"):
        files.remove(str(tmp_path / name))
    assert os.listdir(tmp_path) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_a_fingerprint_knows_values_and_not_their_order(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))
    assert files.fingerprint(value) == files.fingerprint(backwards) == files.fingerprint(json.loads(json.dumps(value)))
    assert files.fingerprint(value) != files.fingerprint({"value": value})


def test_hints_change_no_byte(tmp_path: Path) -> None:
    pieces = [bytes([number]) * 3_000_001 for number in range(5)]
    location = str(tmp_path / "file")
    with outgoing(location) as file:
        for piece in pieces:
            file.write(piece)
        file.seek(1_000_000)
        file.write(b"changed")
    file.commit()
    whole = bytearray(b"".join(pieces))
    whole[1_000_000:1_000_007] = b"changed"
    assert Path(location).read_bytes() == whole
    assert file.seal == Seal(len(whole), xxhash.xxh3_128_hexdigest(bytes(whole)))
