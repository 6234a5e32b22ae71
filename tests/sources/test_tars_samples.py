"""Samples that cannot be pairs, each with its reason, and odd ones that can; neighbours are untouched."""

from __future__ import annotations

from pathlib import Path

import pytest
from strategies_tars import (
    END,
    Case,
    check,
    extension,
    good,
    header,
    member,
    padded,
    parts_of,
    patched,
    pax,
    sample,
    sealed,
    told,
    written,
)

from coreset.sources.tars import Limits, Pair, read_pairs

JPG, TXT = b"picture", b"a caption"
BINARY_SIZE = b"\x80" + bytes(10) + b"\x07"
DEEP = b"[" * 100_000
LIMITS = Limits(member=4096, caption=64, metadata=512, key=40)


def amid(name: str, content: bytes, *outcomes: str, ignored: int = 0) -> Case:
    """Something between two good samples."""
    notes = ["ignored_members 0"] * ignored
    return Case(name, good("a") + content + good("z") + END, ["a", *outcomes, "z", *notes])


def both(key: str = "b", **parts: bytes) -> bytes:
    """A sample with a picture and a caption, unless told otherwise."""
    return sample(key, **({"jpg": JPG, "txt": TXT} | parts))


SPARSE = patched(header("b.jpg", 7, b"S"), 482, b"\1")
SPARSE_MORE = bytes(504) + b"\1" + bytes(7) + bytes(512)

SAMPLES = [
    amid("no picture", sample("b", txt=TXT), "b no_image"),
    amid("no picture but metadata", sample("b", json=b"{}"), "b no_image"),
    amid("no caption", sample("b", jpg=JPG), "b no_caption"),
    amid("no caption in the json either", sample("b", jpg=JPG, json=b'{"caption": null}'), "b no_caption"),
    amid("a caption that is a list", sample("b", jpg=JPG, json=b'{"caption": ["x"]}'), "b no_caption"),
    amid("empty caption", both(txt=b""), "b no_caption"),
    amid("blank caption", both(txt=b" \n\t "), "b no_caption"),
    amid("blank beyond ASCII", both(txt="\u2003\u00a0".encode()), "b no_caption"),
    amid("both captions blank", both(txt=b"", json=b'{"caption": " "}'), "b no_caption"),
    amid("caption in Latin-1", both(txt=b"caf\xe9"), "b caption_not_utf8"),
    amid("caption in UTF-16", both(txt="cat".encode("utf-16")), "b caption_not_utf8"),
    amid("caption too long", both(txt=b"x" * 65), "b caption_too_long"),
    amid(
        "json caption too long",
        sample("b", jpg=JPG, json=b'{"caption": "%s"}' % (b"x" * 65)),
        "b caption_too_long",
    ),
    amid(
        "half a surrogate in the caption",
        sample("b", jpg=JPG, json=b'{"caption": "\\ud83d"}'),
        "b caption_not_utf8",
    ),
    amid("half a surrogate in the url", both(json=b'{"url": "\\ud83d"}'), "b bad_json"),
    amid("json cut", both(json=b'{"url": '), "b bad_json"),
    amid("json empty", both(json=b""), "b bad_json"),
    amid("json not UTF-8", both(json=b'{"url": "\xff"}'), "b bad_json"),
    amid("json in UTF-16", both(json='{"url": "x"}'.encode("utf-16")), "b bad_json"),
    amid("json with a mark in front", both(json="\ufeff{}".encode()), "b bad_json"),
    amid("json a list", both(json=b"[]"), "b bad_json"),
    amid("json with an endless number", both(json=b'{"width": %s}' % (b"9" * 4400)), "b member_too_large"),
    amid("json too large", both(json=b" " * 513), "b member_too_large"),
    amid("picture empty", both(jpg=b""), "b empty_image"),
    amid("picture too large", both(jpg=b"x" * 4097), "b member_too_large"),
    amid("two pictures", both(png=JPG), "b several_images"),
    amid("two pictures of one kind", both(left__jpg=JPG), "b several_images"),
    amid("two captions", both(alt__txt=TXT), "b several_captions"),
    amid("two jsons", both(json=b"{}", meta__json=b"{}"), "b several_jsons"),
    amid("one name twice", both() + sample("b", txt=TXT), "b duplicate_member"),
    amid("one name in two cases", both() + member("b.TXT", TXT), "b duplicate_member"),
    amid("picture twice", both() + sample("b", jpg=JPG), "b duplicate_member"),
    amid("many faults at once", both(png=JPG, gif=JPG, txt=b"\xff") + sample("b", jpg=JPG), "b several_images"),
    amid("key too long", both("k" * 41), "k" * 41 + " bad_key"),
    amid("key with a line feed", both("b\nc"), "b\nc bad_key"),
    amid("key with an escape", both("b\x1b]0;c"), "b\x1b]0;c bad_key"),
    amid("key not UTF-8", member(b"b\xff.jpg", JPG) + member(b"b\xff.txt", TXT), "b\\xff bad_key"),
    amid("key with a zero byte", pax({"path": b"b\0c.jpg"}) + member("x.jpg", JPG), "b\0c bad_key"),
    amid("picture is a symbolic link", member("b.jpg", kind=b"2") + sample("b", txt=TXT), "b no_image"),
    amid("picture is a hard link", sample("b", txt=TXT) + member("b.jpg", kind=b"1"), "b no_image"),
    amid(
        "picture is a link that states a size",
        header("b.jpg", 600, b"1") + sample("b", txt=TXT),
        "b no_image",
    ),
    amid("picture is a device", member("b.jpg", kind=b"3") + sample("b", txt=TXT), "b no_image"),
    amid("picture is a pipe", member("b.jpg", kind=b"6") + sample("b", txt=TXT), "b no_image"),
    amid("picture is a folder", member("b.jpg", kind=b"5") + sample("b", txt=TXT), "b no_image"),
    amid("picture is of no known kind", member("b.jpg", JPG, kind=b"Z") + sample("b", txt=TXT), "b no_image"),
    amid("picture is sparse", member("b.jpg", JPG, kind=b"S") + sample("b", txt=TXT), "b no_image"),
    amid(
        "picture is sparse in three headers",
        SPARSE + SPARSE_MORE + padded(JPG) + sample("b", txt=TXT),
        "b no_image",
    ),
    amid(
        "picture is sparse by pax",
        pax({"GNU.sparse.name": "b.jpg", "GNU.sparse.major": "1"}) + member("x/0", JPG) + sample("b", txt=TXT),
        "b no_image",
    ),
    amid("caption is a link", sample("b", jpg=JPG) + member("b.txt", kind=b"2"), "b no_caption"),
    amid("json is a link", both() + member("b.json", kind=b"2"), "b bad_json"),
    amid(
        "members not adjacent",
        sample("b", jpg=JPG) + sample("c", jpg=JPG) + sample("b", txt=TXT) + sample("c", txt=TXT),
        "b no_caption",
        "c no_caption",
        "b split_sample",
        "c split_sample",
    ),
    amid("json comes late", both("b") + both("c") + sample("b", json=b"{}"), "b", "c", "b split_sample"),
    amid("key comes again", both("b") + both("c") + both("b"), "b", "c", "b duplicate_key"),
    amid(
        "key comes a third time",
        both("b") + both("c") + both("b") + both("d") + both("b"),
        "b",
        "c",
        "b duplicate_key",
        "d",
        "b duplicate_key",
    ),
    amid(
        "a stranger splits a sample",
        sample("b", jpg=JPG) + member("README.md") + sample("b", txt=TXT),
        "b no_caption",
        "b split_sample",
        ignored=1,
    ),
]

ODD = [
    amid("size in binary", patched(header("b.jpg"), 124, BINARY_SIZE) + padded(JPG) + sample("b", txt=TXT), "b"),
    amid("size without digits", patched(header("b.md"), 124, bytes(12)) + both(), "b", ignored=1),
    amid(
        "size with blanks around",
        patched(header("b.jpg", 7), 124, b"         7 \0") + padded(JPG) + sample("b", txt=TXT),
        "b",
    ),
    amid(
        "signed checksum",
        sealed(member("b\xe4.jpg".encode(), JPG)[:512], signed=True) + padded(JPG) + member("b\xe4.txt", TXT),
        "b\xe4",
    ),
    amid(
        "oldest dialect",
        patched(header("b.jpg", 7, b"\0"), 257, bytes(8)) + padded(JPG) + sample("b", txt=TXT),
        "b",
    ),
    amid("contiguous file", header("b.jpg", 7, b"7") + padded(JPG) + sample("b", txt=TXT), "b"),
    amid("long name", extension(b"L", b"b.jpg\0") + member("x", JPG) + sample("b", txt=TXT), "b"),
    amid(
        "pax name before long name",
        extension(b"L", b"c.jpg\0") + pax({"path": "b.jpg"}) + member("x", JPG) + sample("b", txt=TXT),
        "b",
    ),
    amid("pax size", pax({"size": "7"}) + header("b.jpg", 0) + padded(JPG) + sample("b", txt=TXT), "b"),
    amid("pax for all, of no use", pax({"comment": "x"}, b"g") * 3 + both(), "b"),
    amid("Solaris' pax", pax({"path": "b.jpg"}, b"X") + member("x", JPG) + sample("b", txt=TXT), "b"),
    amid("long link name", extension(b"K", b"t" * 200) + member("c", kind=b"2") + both(), "b", ignored=1),
    amid("upper case", member("b.JPG", JPG) + member("b.TXT", TXT), "b"),
    amid("path upwards is only a key", both("../../etc/b"), "../../etc/b"),
    amid("absolute path is only a key", both("/etc/b"), "/etc/b"),
    amid("zero byte in a caption", both(txt=b"a\0b"), "b"),
    amid("markup in a caption", both(txt=b"[red]<script>"), "b"),
    amid("NaN in the json", both(json=b'{"width": NaN, "similarity": NaN, "url": NaN}'), "b"),
    amid("odd sizes in the json", both(json=b'{"width": -1, "height": 1e9, "md5": "?"}'), "b"),
    amid("GIF and BMP", sample("b", gif=JPG, txt=TXT) + sample("c", bmp=JPG, txt=TXT), "b", "c"),
]


@pytest.mark.parametrize("case", [*SAMPLES, *ODD], ids=lambda case: case.name)
def test_flaw_costs_one_sample(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path, LIMITS)


def test_whole_samples_around_a_flaw_are_untouched(tmp_path: Path) -> None:
    for case in SAMPLES:
        kept = [one for one in read_pairs(written(tmp_path, case.content), LIMITS) if isinstance(one, Pair)]
        for pair in (kept[0], kept[-1]):
            assert (pair.image, pair.caption.encode()) == (
                parts_of(pair.key)["jpg"],
                parts_of(pair.key)["txt"],
            )


def test_json_is_read_without_trust(tmp_path: Path) -> None:
    many = b'{"width": %s}' % (b"9" * 5000)
    content = both("a", json=DEEP) + both("b", json=many) + both("c", json=b'{"a":' * 50_000) + END
    assert [told(one) for one in read_pairs(written(tmp_path, content))] == [
        "a bad_json",
        "b bad_json",
        "c bad_json",
    ]
