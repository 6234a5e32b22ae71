"""Tars: cut, damaged, hostile, or merely odd."""

from __future__ import annotations

import gzip
import pickle
import zlib
from pathlib import Path
from typing import Any

from bad_inputs.case import MIB, ShardCase, behind, between, caption, good, png, table_bytes
from strategies_tars import BLOCK, END, extension, header, member, patched, pax, sample

CUT = "truncated_shard 0"
DAMAGED = "damaged_shard 0"
UNFINISHED = ("z unfinished_sample",)
TXT = caption("b").encode()


def whole(key: str) -> bytes:
    return sample(key, png=png("b"), txt=TXT)


def broken(name: str, given: str, content: Any, shard: str = DAMAGED) -> ShardCase:
    """Something behind a and z that cannot be believed, and a good sample behind it that cannot be reached.

    Nothing shows that z was over, so it is not kept either.
    """
    tail = lambda key: content(key) + good(key[:-1] + "y") + END  # noqa: E731
    return ShardCase(name, given, behind(tail), "a", UNFINISHED, (shard,))


def packed(content: bytes, beyond: int = 0) -> bytes:
    """A gzip stream, with so many zeros behind the content."""
    squeeze = zlib.compressobj(9, wbits=31)
    pieces = [squeeze.compress(content), *(squeeze.compress(bytes(MIB)) for _ in range(beyond // MIB))]
    return b"".join([*pieces, squeeze.flush()])


class Payload:
    """Unpickled, it writes a file; nobody is to unpickle it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (Path("UNPICKLED"), "x")


def no_payload(rows: dict[str, dict[str, Any]], folder: Path) -> None:
    assert not list(folder.rglob("UNPICKLED"))
    assert not Path("UNPICKLED").exists()


def without_place(rows: dict[str, dict[str, Any]], folder: Path) -> None:
    assert [(row["image_offset"], row["image_bytes"]) for row in rows.values()] == [(None, None)] * 2


def keys_as_written(rows: dict[str, dict[str, Any]], folder: Path) -> None:
    """A key is a name in a table; no file is ever made after it."""
    assert {row["key"].rpartition("/")[0] for row in rows.values()} == {
        "../../../outside-1",
        "/outside-2",
        "names-that-leave-the-folder",
    }
    assert not [path for path in (*folder.parent.rglob("*outside-*"), Path("/outside-2")) if path.exists()]


CUTS = [
    ShardCase(
        "nothing wrong",
        "a whole tar of whole samples",
        lambda k: good(k + "a") + good(k + "b") + good(k + "z") + END,
        "abz",
        effect="all of it is read",
    ),
    ShardCase(
        "cut inside a picture",
        "a tar cut inside a member",
        behind(lambda key: header(key + ".png", 2000) + bytes(900)),
        "az",
        ("b unfinished_sample",),
        (CUT,),
    ),
    ShardCase(
        "cut inside a caption",
        "a tar cut inside the padding of a member",
        behind(lambda key: member(key + ".png", png("b")) + header(key + ".txt", 90) + TXT),
        "az",
        ("b unfinished_sample",),
        (CUT,),
    ),
    ShardCase(
        "cut inside a header",
        "a tar cut inside a header",
        behind(lambda key: header(key + ".png", 2000)[:300]),
        "a",
        UNFINISHED,
        (CUT,),
    ),
    ShardCase(
        "cut between two members",
        "a tar cut at the boundary of two members of a sample",
        behind(lambda key: member(key + ".png", png("b"))),
        "az",
        ("b unfinished_sample",),
        (CUT,),
    ),
    ShardCase(
        "cut between two samples",
        "a tar cut at the boundary of two samples",
        behind(lambda key: b""),
        "a",
        UNFINISHED,
        (CUT,),
    ),
    ShardCase(
        "cut, counted by its sidecar",
        "the same, and `_stats.json` counts 5 samples",
        behind(lambda key: b""),
        "a",
        UNFINISHED,
        ("truncated_shard 3",),
        beside=(("_stats.json", b'{"successes": 5}'),),
    ),
    ShardCase(
        "cut, counted by its Parquet",
        "the same, and the Parquet beside it has 3 rows of status success",
        behind(lambda key: b""),
        "a",
        UNFINISHED,
        ("truncated_shard 1",),
        beside=((".parquet", table_bytes(status=["success"] * 3 + ["failed_to_download"])),),
    ),
    ShardCase(
        "end mark cut",
        "a tar of which only half the end mark is there",
        behind(lambda key: b"", bytes(BLOCK)),
        "az",
        (),
        (CUT,),
        effect="every sample is kept",
    ),
    ShardCase(
        "a hole",
        "a tar whose second half is zeros, as a crash leaves it",
        behind(lambda key: bytes(3 * MIB)),
        "a",
        UNFINISHED,
        (CUT,),
    ),
    ShardCase(
        "fewer than its sidecar",
        "a whole tar of 2 samples where `_stats.json` counts 5",
        behind(lambda key: END),
        "az",
        (),
        ("missing_samples 3",),
        beside=(("_stats.json", b'{"successes": 5}'),),
    ),
    ShardCase(
        "more than its sidecar",
        "a whole tar of 2 samples where `_stats.json` counts 1",
        behind(lambda key: END),
        "az",
        (),
        ("sidecar_disagrees 0",),
        beside=(("_stats.json", b'{"successes": 1}'),),
    ),
    ShardCase(
        "sidecar of garbage",
        "a `_stats.json` that is no JSON",
        behind(lambda key: END),
        "az",
        (),
        ("bad_sidecar 0",),
        beside=(("_stats.json", b"<html>"),),
    ),
    ShardCase(
        "sidecar of a negative count",
        "a `_stats.json` that counts -1 samples",
        behind(lambda key: END),
        "az",
        (),
        ("bad_sidecar 0",),
        beside=(("_stats.json", b'{"successes": -1}'),),
    ),
    ShardCase(
        "sidecar nested deep",
        "a `_stats.json` of 100,000 brackets",
        behind(lambda key: END),
        "az",
        (),
        ("bad_sidecar 0",),
        beside=(("_stats.json", b"[" * 100_000),),
    ),
    ShardCase(
        "sidecar Parquet of garbage",
        "a Parquet beside the tar that is none",
        behind(lambda key: END),
        "az",
        (),
        ("bad_sidecar 0",),
        beside=((".parquet", b"PAR1" + bytes(90) + b"PAR1"),),
    ),
    ShardCase(
        "Parquet of somebody else",
        "a Parquet beside the tar without a column status",
        behind(lambda key: END),
        "az",
        effect="it is no sidecar",
        beside=((".parquet", table_bytes(x=[1])),),
    ),
]

DAMAGE = [
    broken(
        "one flipped bit of a header",
        "a header with a wrong checksum",
        lambda key: bytes([header(key + ".png")[0] ^ 1]) + header(key + ".png")[1:],
    ),
    broken("garbage for a header", "text where a header should be", lambda key: b"garbage " * 64),
    broken(
        "negative size in binary",
        "a size field of -1 in GNU's binary form (CVE-2025-8194)",
        lambda key: patched(header(key + ".png"), 124, b"\xff" * 12),
    ),
    broken(
        "negative size in digits",
        "a size field of -777 in octal digits",
        lambda key: patched(header(key + ".png"), 124, b"-0000000777\0"),
    ),
    broken(
        "size that is no number",
        "a size field with an underscore, which int() would take",
        lambda key: patched(header(key + ".png"), 124, b"000000_0777\0"),
    ),
    ShardCase(
        "8 GB in a small file",
        "a size field of 8 GB in a file of a few KB",
        behind(lambda key: header(key + ".png", 2**33 - 1, dialect="gnu") + bytes(2048)),
        "az",
        ("b unfinished_sample",),
        (CUT,),
    ),
    ShardCase(
        "2 to the 80 bytes",
        "a size field beyond all files",
        behind(lambda key: patched(header(key + ".png"), 124, b"\x80\1" + bytes(10)) + bytes(2048)),
        "az",
        ("b unfinished_sample",),
        (CUT,),
    ),
    broken("pax header of 2 MiB", "a pax header larger than 1 MiB", lambda key: pax({"comment": "x" * 2 * MIB})),
    broken("long name of 2 MiB", "a GNU long name larger than 1 MiB", lambda key: extension(b"L", b"n" * 2 * MIB)),
    broken(
        "pax header of 8 GB",
        "a pax header that claims 8 GB",
        lambda key: header("././@PaxHeader", 2**33 - 1, b"x", "gnu"),
    ),
    broken(
        "pax record of length 0",
        "a pax record that does not move forward",
        lambda key: extension(b"x", b"0 path=b.png\n"),
    ),
    broken("pax record too long", "a pax record longer than its header", lambda key: extension(b"x", b"99 path=b\n")),
    broken("pax size below zero", "a pax header with the size -512", lambda key: pax({"size": "-512"})),
    broken(
        "pax size of 1,000 digits", "a pax header with a size of 1,000 digits", lambda key: pax({"size": "9" * 1000})
    ),
    broken(
        "pax renames all",
        "a global pax header that renames every member behind it",
        lambda key: pax({"path": "b.png"}, b"g"),
    ),
    broken("two long names", "two long names for one member", lambda key: extension(b"L", b"b.png") * 2),
    broken("concatenated tars", "a second tar behind the end of the first", lambda key: END, "data_after_end 0"),
]

GZIP = [
    ShardCase(
        "gzip named tar",
        "a gzipped tar with the name .tar",
        lambda k: packed(good(k + "a") + good(k + "z") + END),
        effect="it is read; `image_offset` is null",
        check=without_place,
    ),
    ShardCase(
        "gzip bomb",
        "a gzipped tar that unpacks to 200 times its size and 64 MiB more",
        lambda k: packed(good(k + "a") + good(k + "z") + header(k + "b.bin", 2**31 - 1), 192 * MIB),
        "az",
        (),
        ("expansion_limit 0", "ignored_members 0"),
    ),
    ShardCase(
        "gzip cut",
        "a gzipped tar that lacks its last bytes",
        lambda k: packed(good(k + "a") + good(k + "z") + END)[:-5],
        "a",
        UNFINISHED,
        (CUT,),
    ),
    ShardCase(
        "gzip with garbage behind",
        "a gzipped tar with other bytes behind it",
        lambda k: packed(good(k + "a") + good(k + "z") + END) + b"garbage",
        "a",
        UNFINISHED,
        ("data_after_end 0",),
    ),
    ShardCase(
        "gzip in two streams",
        "a gzipped tar in two streams, as pigz and cat write it",
        lambda k: gzip.compress(good(k + "a")) + gzip.compress(good(k + "z") + END),
        effect="they are read as one",
    ),
]

MEMBERS = [
    ShardCase(
        "members not adjacent",
        "all pictures first, then all captions",
        lambda k: (
            good(k + "a")
            + member(k + "b.png", png("b"))
            + member(k + "c.png", png("c"))
            + member(k + "b.txt", TXT)
            + member(k + "c.txt", TXT)
            + good(k + "z")
            + END
        ),
        "az",
        ("b no_caption", "c no_caption", "b split_sample", "c split_sample"),
    ),
    ShardCase(
        "one name twice",
        "a sample with one member twice",
        between(lambda key: sample(key, png=png("b")) + sample(key, png=png("b"), txt=TXT)),
        "az",
        ("b duplicate_member",),
    ),
    ShardCase(
        "one key twice",
        "two whole samples with one key",
        between(lambda key: whole(key) + good(key[:-1] + "c") + whole(key)),
        "abcz",
        ("b duplicate_key",),
        effect="the first one stays",
    ),
    ShardCase(
        "two pictures",
        "a sample with a .png and a .jpg",
        between(lambda key: sample(key, png=png("b"), jpg=png("c"), txt=TXT)),
        "az",
        ("b several_images",),
    ),
    ShardCase(
        "two captions",
        "a sample with a .txt and an .en.txt",
        between(lambda key: sample(key, png=png("b"), txt=TXT, en__txt=TXT)),
        "az",
        ("b several_captions",),
    ),
    ShardCase(
        "two jsons",
        "a sample with a .json and an .exif.json",
        between(lambda key: sample(key, png=png("b"), txt=TXT, json=b"{}", exif__json=b"{}")),
        "az",
        ("b several_jsons",),
    ),
    ShardCase(
        "no picture",
        "a sample without a picture",
        between(lambda key: sample(key, txt=TXT, json=b"{}")),
        "az",
        ("b no_image",),
    ),
    ShardCase(
        "names that leave the folder",
        "members named `../../../x.png` and `/x.png`",
        lambda k: good(k + "a") + whole("../../../outside-1/b") + whole("/outside-2/c") + good(k + "z") + END,
        "abcz",
        effect="the key is text in a table; no file is ever named after it",
        check=keys_as_written,
    ),
    *(
        ShardCase(
            f"{what} for a picture",
            f"a picture that is a {what}",
            between(lambda key, kind=kind: header(key + ".png", 0, kind) + member(key + ".txt", TXT)),
            "az",
            ("b no_image",),
        )
        for what, kind in (("symbolic link", b"2"), ("hard link", b"1"), ("device", b"3"), ("pipe", b"6"))
    ),
    ShardCase(
        "link with a size",
        "a symbolic link that states a size and has no content",
        between(lambda key: header(key + ".png", 4096, b"2") + member(key + ".txt", TXT)),
        "az",
        ("b no_image",),
    ),
    ShardCase(
        "sparse picture, GNU",
        "a picture that is a sparse member of GNU tar",
        between(lambda key: header(key + ".png", 0, b"S", "gnu") + member(key + ".txt", TXT)),
        "az",
        ("b no_image",),
    ),
    ShardCase(
        "sparse picture, pax",
        "a picture that is a sparse member in pax form",
        between(
            lambda key: (
                pax({"GNU.sparse.major": "1", "GNU.sparse.name": key + ".png", "GNU.sparse.realsize": "9" * 12})
                + member("GNUSparseFile.0/b", b"1\n0\n9\n")
                + member(key + ".txt", TXT)
            )
        ),
        "az",
        ("b no_image",),
    ),
    ShardCase(
        "folders",
        "folders between the samples",
        between(lambda key: header(key[:-1], 0, b"5")),
        effect="they are no loss, and not counted",
    ),
    ShardCase(
        "dots in a name",
        "members named b.left.png and b.left.txt",
        between(lambda key: sample(key, left__png=png("b"), left__txt=TXT)),
        "abz",
        effect="the key ends at the first dot",
    ),
    ShardCase(
        "upper case",
        "members named b.PNG and b.TXT",
        between(lambda key: sample(key, PNG=png("b"), TXT=TXT)),
        "abz",
        effect="read as in lower case",
    ),
    ShardCase(
        "no ending",
        "a member whose name has no dot",
        between(lambda key: member(key, png("b"))),
        "az",
        (),
        ("ignored_members 0",),
    ),
    ShardCase(
        "unknown ending",
        "a sample whose members have only unknown endings (.heic, .cls)",
        between(lambda key: sample(key, heic=png("b"), cls=b"7")),
        "az",
        (),
        ("ignored_members 0",),
    ),
    ShardCase(
        "hidden files",
        "members named ._b.png, as macOS scatters them",
        between(lambda key: member(key[:-1] + "._b.png", png("b"))),
        "az",
        (),
        ("ignored_members 0",),
    ),
    ShardCase(
        "pickles",
        "members .pkl, .pyd, .pth and .npz that run code when decoded",
        between(lambda key: sample(key, png=png("b"), txt=TXT, **dict.fromkeys(("pkl", "pyd", "pth", "npz"), PICKLED))),
        "abz",
        (),
        ("ignored_members 0",),
        effect="counted, never opened",
        check=no_payload,
    ),
    ShardCase("long key", "a key of 256 bytes", between(lambda key: long_named(key, 256)), "az", ("/ bad_key",)),
    ShardCase(
        "key of 255 bytes", "a key of 255 bytes", between(lambda key: long_named(key, 255)), "abz", effect="kept"
    ),
    ShardCase(
        "line feed in a key",
        "a key with a line feed",
        between(lambda key: whole(key[:-1] + "x\ny/b")),
        "az",
        ("b bad_key",),
    ),
    ShardCase(
        "escape in a key",
        "a key with a terminal's escape sequence",
        between(lambda key: whole(key[:-1] + "\x1b]0;owned\x07/b")),
        "az",
        ("b bad_key",),
    ),
    ShardCase(
        "markup in a key",
        "a key that looks like rich's markup",
        between(lambda key: sample(key[:-1] + "[red]/b", png=b"no", txt=TXT)),
        "az",
        ("b not_a_picture",),
        effect="shown as it stands",
    ),
    ShardCase(
        "key not UTF-8",
        "a key in Latin-1",
        between(
            lambda key: (
                member(key.encode()[:-1] + b"caf\xe9/b.png", png("b"))
                + member(key.encode()[:-1] + b"caf\xe9/b.txt", TXT)
            )
        ),
        "az",
        ("b bad_key",),
    ),
    ShardCase(
        "picture of 65 MiB",
        "a picture larger than 64 MiB",
        between(lambda key: sample(key, png=bytes(65 * MIB), txt=TXT)),
        "az",
        ("b member_too_large",),
    ),
    ShardCase(
        "10,000 members of one key",
        "10,000 members of one key",
        between(lambda key: b"".join(member(f"{key}.{i}.png") for i in range(10_000))),
        "az",
        ("b several_images",),
    ),
]

PICKLED = pickle.dumps(Payload())


def named(key: str, length: int) -> str:
    """The key made so long."""
    return key[:-1] + "n" * (length - len(key) - 1) + "/" + key[-1]


def long_named(key: str, length: int) -> bytes:
    """A whole sample whose key has so many bytes."""
    name = named(key, length)
    return b"".join(
        extension(b"L", f"{name}.{ending}".encode() + b"\0") + member("short." + ending, content)
        for ending, content in (("png", png("b")), ("txt", TXT))
    )


SHARDS = [*CUTS, *DAMAGE, *GZIP, *MEMBERS]
