"""Which files the words on a command line stand for, and what is said when they stand for none."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from braceexpand import braceexpand
from hypothesis import given
from hypothesis import strategies as st
from strategies_tars import END, good, member, written

from coreset.engine.errors import InputError
from coreset.sources.patterns import expanded_braces
from coreset.sources.tars import Shard, check_shard, find_shards, input_root


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Two folders of tars, with sidecars, a list and a link between them."""
    for name in (
        "cats/1.tar",
        "cats/2.tar",
        "cats/10.tar",
        "dogs/00000.tar",
        "dogs/00001.TAR",
        "dogs/x{1}.tgz",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(good("a") + END)
    (tmp_path / "cats/1_stats.json").write_text("{}")
    (tmp_path / "list.txt").write_text("# all dogs\n\ndogs/0000{0..0}.tar\n  cats/*0.tar \n")
    (tmp_path / "again.tar").symlink_to(tmp_path / "cats/1.tar")
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["cats/*.tar"], ["1.tar", "2.tar", "10.tar"]),
        (["cats/{1,2,10}.tar"], ["1.tar", "2.tar", "10.tar"]),
        (["cats/{1..2}.tar", "dogs/00000.tar"], ["cats/1.tar", "cats/2.tar", "dogs/00000.tar"]),
        (["dogs/00000.tar"], ["00000.tar"]),
        (["dogs/0*"], ["00000.tar", "00001.TAR"]),
        (["dogs/x{1}.tgz"], ["x{1}.tgz"]),
        (["list.txt"], ["dogs/00000.tar", "cats/10.tar"]),
        (["list.txt", "cats/1.tar"], ["dogs/00000.tar", "cats/10.tar", "cats/1.tar"]),
        (["cats/2.tar", "cats/*.tar"], ["2.tar", "1.tar", "10.tar"]),
        (["cats/./1.tar", "cats/../cats/1.tar"], ["1.tar"]),
        (["cats/1.tar", "again.tar"], ["1.tar"]),
        (["**/1*.tar"], ["1.tar", "10.tar"]),
        (["{cats,dogs}/{1,00000}.tar"], []),
    ],
)
def test_patterns(base: Path, patterns: list[str], names: list[str]) -> None:
    if not names:
        with pytest.raises(InputError, match="no such file"):
            find_shards(patterns, str(base))
        return
    found = find_shards(patterns, str(base))
    assert [shard.name for shard in found] == names
    for shard in found:
        assert os.path.join(input_root(found), shard.name) == shard.location
        assert os.path.isabs(shard.location)
        assert shard.size == os.path.getsize(shard.location)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ([], "no input is given"),
        (["birds/1.tar"], r"no such file: .*birds/1\.tar \(1 of 1 are missing\)"),
        (["cats/{0..9}.tar"], r"cats/4\.tar and 5 more \(8 of 10 are missing\)"),
        (["birds/*.tar"], r"no file matches 'birds/\*\.tar'"),
        (["cats"], r"is a folder: name its tars, '.*cats/\*\.tar'"),
        (["cats/*"], r"1_stats\.json is not named like a tar"),
        (["pipe:aws s3 cp s3://b/0.tar -"], "never does"),
        (["s3://me:pw@b/0.tar"], "holds a password"),
        (["cats/1.tar", "https://x.org/{0..9}.tar"], "do not lie in one bucket"),
        (["empty.txt"], "names no file"),
        (["nested.txt"], "lists another list"),
        (["latin.txt"], "cannot be read"),
        (["missing.txt"], r"no such file: .*missing\.txt"),
        (["dangling.tar"], "check the link"),
        (["pipe.tar"], "is no regular file"),
        (["cats/{000000..999999}{0..9}.tar"], "more than 1000000 files"),
    ],
)
def test_one_sentence_for_what_cannot_be(base: Path, patterns: list[str], message: str) -> None:
    (base / "empty.txt").write_text("# nothing\n")
    (base / "nested.txt").write_text("list.txt\n")
    (base / "latin.txt").write_bytes(b"caf\xe9.tar\n")
    (base / "dangling.tar").symlink_to(base / "nowhere")
    os.mkfifo(base / "pipe.tar")
    with pytest.raises(InputError, match=message) as caught:
        find_shards(patterns, str(base))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_natural_order_of_many_patterns_is_stable(base: Path) -> None:
    once = find_shards(["cats/*.tar", "dogs/*"], str(base))
    assert once == find_shards(["cats/*.tar", "dogs/*"], str(base))
    assert once == find_shards([shard.location for shard in once], "/")


@pytest.mark.parametrize(
    "pattern",
    ["{00..10}", "{8..12}", "{3..1}", "{0..10..4}", "{a,b{1,2}}", "{a}", "{}", "{,x}", "{a,b}{1..2}",
     "{{1..2},{7..8}}x", "{{1,2}}", "{0001..3}", "{-1..2}", "{1..b}", "a{b}c{d,e}"],
)  # fmt: skip
def test_braces_are_webdatasets(pattern: str) -> None:
    assert expanded_braces(pattern) == list(braceexpand(pattern))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{", ["{"]),
        ("}", ["}"]),
        ("a{b", ["a{b"]),
        ("a}b{c,d}", ["a}bc", "a}bd"]),
        ("x{1..2}{", ["x1{", "x2{"]),
    ],
)
def test_braces_without_a_partner_stay(pattern: str, words: list[str]) -> None:
    assert expanded_braces(pattern) == words


@given(st.text("{},.01a", max_size=14))
def test_braces_of_any_shape_end(pattern: str) -> None:
    words = expanded_braces(pattern)
    assert words
    assert "{" in pattern or words == [pattern]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes"),
        (bytes(10240), "is an empty tar"),
        (bytes(512), "is an empty tar"),
        (gzip.compress(bytes(10240)), "is an empty tar"),
        (b"<!DOCTYPE html><title>403", r"look like HTML or XML \(b'<!DOCTYPE ht'\)"),
        (b"\n<html>" + b" " * 1000, "look like HTML"),
        (b'{"error": "denied"}', "look like json"),
        (b"PK\x03\x04" + bytes(600), "look like zip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
        (b"\xff\xd8\xff" * 400, "are no tar header"),
        (gzip.compress(b"hello"), "is gzip without a tar"),
        (b"\x1f\x8b garbage", "is gzip without a tar"),
    ],
)
def test_first_look_refuses_what_is_no_tar(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_shard(written(tmp_path, content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (good("a") + END, "a"),
        (member("cats/", kind=b"5") + member("README") + good("cats/a") + END, "cats/a"),
        (good("a")[:600], "a"),
        (member("README") + END, None),
        (b"X" + good("a")[1:], None),
        (member("README") + b"garbage " * 64, None),
        (member("README") * 200 + good("a") + END, None),
    ],
)
def test_first_look_leaves_the_rest_to_the_reader(content: bytes, key: str | None, tmp_path: Path) -> None:
    assert check_shard(written(tmp_path, content)) == key


def test_first_look_takes_an_empty_tar_that_should_be(tmp_path: Path) -> None:
    assert check_shard(written(tmp_path, END, successes=0)) is None


def test_file_that_is_gone_or_changed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="reading the shard"):
        check_shard(Shard("0.tar", str(tmp_path / "0.tar"), 1))
    shard = written(tmp_path, good("a") + END)
    with pytest.raises(InputError, match="wait until it is complete"):
        check_shard(Shard(shard.name, shard.location, shard.size - 1))
