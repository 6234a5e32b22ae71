"""Tars that break off or are damaged: what came before is kept, half samples never are, the rest is told."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from strategies_tars import END, Case, check, extension, good, header, padded, patched, pax, sample

from coreset.sources.tars import Limits

JPG, TXT = b"picture", b"a caption"
ONE, TAIL = good("a"), good("z") + END
B = header("b.jpg")
LIMITS = Limits(header=2048, gzip_ratio=20, gzip_allowance=65536)


def in_b(name: str, content: bytes) -> Case:
    """Cut within the sample b: a was whole."""
    return Case(name, ONE + content, ["a", "b unfinished_sample", "truncated_shard 0"])


def behind_a(name: str, content: bytes) -> Case:
    """Cut before anything shows that a was over."""
    return Case(name, ONE + content, ["a unfinished_sample", "truncated_shard 0"])


def spoilt(name: str, content: bytes) -> Case:
    """A header behind a that cannot be believed, and a good sample behind it that cannot be reached."""
    return Case(name, ONE + content + TAIL, ["a unfinished_sample", "damaged_shard 0"])


CUTS = [
    Case("cut before the end mark", good("a", "b"), ["a", "b unfinished_sample", "truncated_shard 0"]),
    in_b("cut after half a sample", sample("b", jpg=JPG, txt=TXT)),
    in_b("cut inside a picture", header("b.jpg", 2000) + bytes(900)),
    in_b("cut behind a header", header("b.jpg", 2000)),
    behind_a("cut inside a header", header("b.jpg", 2000)[:300]),
    in_b("cut inside padding", header("b.txt", 3) + b"abc"),
    Case("cut inside an end mark", ONE + bytes(700), ["a", "truncated_shard 0"]),
    Case("one zero block only", ONE + bytes(512), ["a", "truncated_shard 0"]),
    behind_a("zeros that prove nothing", bytes(155)),
    Case("zeros that prove the end", ONE + bytes(156), ["a", "truncated_shard 0"]),
    Case(
        "cut, counted by a sidecar",
        good("a", "b"),
        ["a", "b unfinished_sample", "truncated_shard 3"],
        successes=5,
    ),
    Case("cut, nothing missing", good("a", "b"), ["a", "b unfinished_sample", "truncated_shard 0"], successes=2),
    behind_a("cut inside a long name", extension(b"L", b"n" * 600)[:700]),
    behind_a("cut behind a long name", extension(b"L", b"b.jpg")),
    behind_a("cut inside a sparse header", patched(header("b.jpg", 0, b"S"), 482, b"\1")),
    Case("nothing at all", b"", ["truncated_shard 0"]),
    in_b("size of 8 GiB", header("b.jpg", 2**33 - 1, dialect="gnu") + TAIL),
    in_b("size of 2 ** 80", patched(B, 124, b"\x80\1" + bytes(10)) + TAIL),
]

DAMAGE = [
    spoilt("one bit of a header", bytes([B[0] ^ 1]) + B[1:]),
    spoilt("garbage for a header", b"garbage " * 64),
    Case("html from the start", b"<!DOCTYPE html>" + b" " * 600, ["damaged_shard 0"]),
    spoilt("negative size, octal", patched(B, 124, b"-0000000777\0")),
    spoilt("negative size, binary", patched(B, 124, b"\xff" * 12)),
    spoilt("underscore in a size", patched(B, 124, b"000000_0777\0")),
    spoilt("nine in a size", patched(B, 124, b"00000000009\0")),
    spoilt("nine in a checksum", B[:148] + b"000999\0 " + B[156:]),
    spoilt("checksum beyond all sums", B[:148] + b"7777777\0" + B[156:]),
    Case(
        "size one block too large",
        ONE + header("b.jpg", 513) + padded(JPG) + TAIL,
        ["a", "b unfinished_sample", "damaged_shard 0"],
    ),
    Case(
        "damage counted by a sidecar",
        good("a", "b") + b"x" * 512,
        ["a", "b unfinished_sample", "damaged_shard 7"],
        successes=9,
    ),
    spoilt("long name too long", extension(b"L", b"n" * 3000)),
    spoilt("pax header too long", pax({"comment": "x" * 3000})),
    spoilt("two long names", extension(b"L", b"b.jpg") * 2),
    Case(
        "long name of nothing",
        ONE + extension(b"L", b"b.jpg") + END,
        ["a unfinished_sample", "damaged_shard 0"],
    ),
    spoilt("pax record too short", extension(b"x", b"3 path=b.jpg\n")),
    spoilt("pax record too long", extension(b"x", b"99 path=b.jpg\n")),
    spoilt("pax record of length 0", extension(b"x", b"0 path=b.jpg\n")),
    spoilt("pax record without a key", extension(b"x", b"5 =b\n")),
    spoilt("pax record without a length", extension(b"x", b"path=b.jpg\n")),
    spoilt("pax size below zero", pax({"size": "-512"})),
    spoilt("pax size of many digits", pax({"size": "9" * 1000})),
    spoilt("pax renames all", pax({"path": "b.jpg"}, b"g")),
    spoilt("pax resizes all", pax({"size": "0"}, b"g")),
    Case("two tars in one", ONE + END + TAIL, ["a unfinished_sample", "data_after_end 0"]),
    Case(
        "a byte after the end",
        good("a", "b") + END + bytes(4000) + b"x",
        ["a", "b unfinished_sample", "data_after_end 0"],
    ),
    Case("data after one zero block", ONE + bytes(512) + TAIL, ["a unfinished_sample", "data_after_end 0"]),
    Case(
        "a hole up to the end",
        good("a", "b") + bytes(3 << 20),
        ["a", "b unfinished_sample", "truncated_shard 0"],
    ),
    Case(
        "two tars, counted by a sidecar",
        ONE + END + TAIL,
        ["a unfinished_sample", "data_after_end 1"],
        successes=2,
    ),
]

GZIPPED = gzip.compress(good("a", "b") + END)
BOMB = gzip.compress(ONE + header("b.bin", 2**30) + bytes(2 << 20))
PACKED = [
    Case("gzip", GZIPPED, ["a", "b"]),
    Case("two gzip streams in a row", gzip.compress(ONE) + gzip.compress(TAIL), ["a", "z"]),
    Case("empty gzip streams between", gzip.compress(b"") * 50 + GZIPPED, ["a", "b"]),
    Case("gzip and zeros", GZIPPED + bytes(5000), ["a", "b"]),
    Case("gzip and garbage", GZIPPED + b"garbage", ["a", "b unfinished_sample", "data_after_end 0"]),
    Case("gzip and one byte", GZIPPED + b"\x1f", ["a", "b unfinished_sample", "data_after_end 0"]),
    Case("gzip cut in its last bytes", GZIPPED[:-3], ["a", "b unfinished_sample", "truncated_shard 0"]),
    Case("gzip with a wrong checksum", GZIPPED[:-8] + bytes(4) + GZIPPED[-4:], ["damaged_shard 0"]),
    Case("gzip that expands without end", BOMB, ["a", "expansion_limit 0", "ignored_members 0"]),
    Case("gzip of an empty tar", gzip.compress(END), ["empty_shard 0"]),
    Case("gzip of nothing", gzip.compress(b""), ["truncated_shard 0"]),
    Case("gzip of a cut tar", gzip.compress(good("a", "b")), ["a", "b unfinished_sample", "truncated_shard 0"]),
]


@pytest.mark.parametrize("case", [*CUTS, *DAMAGE, *PACKED], ids=lambda case: case.name)
def test_what_is_broken_is_told(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path, LIMITS)
