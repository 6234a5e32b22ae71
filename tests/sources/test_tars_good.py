"""Good tars: every byte comes out, as webdataset reads them, and every picture lies where we say it does."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from PIL import Image
from strategies_tars import (
    END,
    KINDS,
    Sample,
    good,
    header,
    packed,
    padded,
    parts_of,
    sample,
    samples,
    written,
)
from webdataset.tariterators import base_plus_ext, group_by_keys, tar_file_expander

from coreset.sources.samples import split_name
from coreset.sources.tars import Limits, Pair, Shard, check_shard, read_pairs


def pairs_of(shard: Shard) -> list[Pair]:
    found = list(read_pairs(shard))
    return [one for one in found if isinstance(one, Pair)]


def expected(made: list[Sample]) -> list[tuple[str, bytes, bytes]]:
    wanted = []
    for key, parts in made:
        image = next(parts[name] for name in ("jpg", "JPEG", "png", "webp") if name in parts)
        wanted.append((key, image, parts["txt"]))
    return wanted


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8 + shade, 8), (shade, 90, 200)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A shard that webdataset has written, with real JPEGs and keys in folders."""
    path = tmp_path / "pictures.tar"
    with webdataset.TarWriter(str(path), encoder=False, mtime=0) as tar:
        for i in range(30):
            parts = {"JPG": jpeg(i), "txt": f"shade {i} é".encode(), "json": b'{"width": %d}' % (8 + i)}
            tar.write({"__key__": f"set.{i % 3}/{i:05d}", **parts})
    return path


def test_same_as_webdataset(pictures: Path) -> None:
    with open(pictures, "rb") as file:
        theirs = list(group_by_keys(tar_file_expander([{"url": "pictures.tar", "stream": file}])))
    ours = pairs_of(Shard("pictures.tar", str(pictures), pictures.stat().st_size))
    assert [(pair.key, pair.image, pair.caption.encode(), pair.width) for pair in ours] == [
        (one["__key__"], one["jpg"], one["txt"], 8 + i) for i, one in enumerate(theirs)
    ]


def test_picture_lies_where_it_is_said_to(pictures: Path) -> None:
    with open(pictures, "rb") as file:
        for pair in pairs_of(Shard("pictures.tar", str(pictures), pictures.stat().st_size)):
            assert pair.image_offset is not None
            assert os.pread(file.fileno(), pair.image_size, pair.image_offset) == pair.image


@pytest.mark.parametrize("dialect", KINDS)
@settings(deadline=None)  # files are written
@given(made=samples())
def test_round_trip(made: list[Sample], dialect: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = packed(made, dialect)
    found = pairs_of(written(tmp_path_factory.getbasetemp(), content))
    assert [(pair.key, pair.image, pair.caption.encode()) for pair in found] == expected(made)
    for pair in found:
        assert pair.image_offset is not None
        assert content[pair.image_offset : pair.image_offset + pair.image_size] == pair.image
    unpacked = pairs_of(written(tmp_path_factory.getbasetemp(), gzip.compress(content, 1), name="00000.tgz"))
    assert [(pair.key, pair.image, pair.image_offset) for pair in unpacked] == [
        (pair.key, pair.image, None) for pair in found
    ]


def test_members_across_chunks(tmp_path: Path) -> None:
    big = os.urandom(3 << 20)
    content = good("a") + sample("b", jpg=big, txt=b"big") + good("c") + sample("d", txt=b"big", jpg=big[:1048576])
    for packed_content in (content + END, gzip.compress(content + END, 0)):
        found = pairs_of(written(tmp_path, packed_content))
        assert [pair.key for pair in found] == ["a", "b", "c", "d"]
        assert (found[1].image, found[3].image) == (big, big[:1048576])
        assert found[2].image == parts_of("c")["jpg"]


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "a.b.jpg", "x.y/a.b.jpg", "./a.jpg", "/a.jpg", "a", "x/a", "a.", "a..jpg", ".jpg", "x.y/.a.jpg",
     "a.b/c", "__meta__/a.jpg", "__a.jpg", "__a__.jpg", "___/a.jpg", "é.jpg", "a\nb.jpg"],
)  # fmt: skip
def test_keys_are_webdatasets(name: str) -> None:
    skipped = name.startswith("__meta__")  # webdataset leaves these out before it splits names
    theirs = (None, None) if skipped else base_plus_ext(name)
    ours = split_name(name.encode())
    assert ours == (None if theirs == (None, None) else tuple(part.encode() for part in theirs))


def test_what_the_json_says(tmp_path: Path) -> None:
    hashes = b'"sha256": "%s", "md5": "%s"' % (b"A" * 64, b"b" * 32)
    fields = b'{"url": "http://x.org/1", "width": 3, "height": 2, %s}' % hashes
    content = sample("a", jpg=b"x", json=fields, txt=b" kept as it stands \n")
    pair = pairs_of(written(tmp_path, content + END))[0]
    assert (pair.url, pair.width, pair.height) == ("http://x.org/1", 3, 2)
    assert pair.hashes == {"sha256": "a" * 64, "md5": "b" * 32}
    assert pair.caption == " kept as it stands \n"


def test_captions_come_from_txt_before_json(tmp_path: Path) -> None:
    fields = b'{"caption": "from json"}'
    content = sample("a", jpg=b"x", json=fields, txt=b"from txt") + sample("b", jpg=b"x", json=fields)
    content += sample("c", jpg=b"x", json=fields, txt=b" ")
    found = pairs_of(written(tmp_path, content + END))
    assert [pair.caption for pair in found] == ["from txt", "from json", "from json"]


def test_memory_is_one_sample(tmp_path: Path) -> None:
    large = padded(bytes(24 << 20))
    content = header("a.jpg", 24 << 20) + large + header("a.mp4", 24 << 20) + large + sample("a", txt=b"too large")
    shard = written(tmp_path, content + good("b") + END)
    tracemalloc.start()
    try:
        found = list(read_pairs(shard, Limits(member=8 << 20)))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert [one.key for one in found] == ["a", "b", None]


def test_first_key(pictures: Path, tmp_path: Path) -> None:
    assert check_shard(Shard("pictures.tar", str(pictures), pictures.stat().st_size)) == "set.0/00000"
    assert check_shard(written(tmp_path, gzip.compress(good("b") + END))) == "b"
