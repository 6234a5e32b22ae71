"""Parquet files of pictures: footers and pages that lie, columns that cannot be meant, rows that cannot be used."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bad_inputs.case import MIB, CommandCase, ShardCase, caption, png
from bad_inputs.cases_parameters import EMBED, beside_good
from bad_inputs.cases_pictures import halved, noise, saved

HTML = b"<!DOCTYPE html><html><head><title>403 Forbidden</title></head></html>"
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LETTERS = "abz"
Columns = dict[str, Any]
Change = Callable[[Columns], object]


def columns(prefix: str, letters: str = LETTERS) -> Columns:
    """Good rows, as img2dataset writes them."""
    return {
        "key": [prefix + letter for letter in letters],
        "jpg": [png(letter) for letter in letters],
        "caption": [caption(letter) for letter in letters],
        "url": [f"http://example.org/{prefix}{letter}" for letter in letters],
    }


def written(made: Columns | pa.Table, **options: Any) -> bytes:
    """A Parquet in memory, whose pages are as they are given."""
    table = made if isinstance(made, pa.Table) else pa.table(made)
    file = pa.BufferOutputStream()
    settings = {"compression": "none", "use_dictionary": False, "write_page_checksum": True, **options}
    pq.write_table(table, file, **settings)
    return bytes(file.getvalue())


def changed(change: Change, letters: str = LETTERS, **options: Any) -> Callable[[str], bytes]:
    """Makes a Parquet of good rows of which something is changed."""

    def content(prefix: str) -> bytes:
        made = columns(prefix, letters)
        change(made)
        return written(made, **options)

    return content


def value(column: str, content: object, kind: pa.DataType | None = None) -> Change:
    """Puts something into the row in the middle."""

    def change(made: Columns) -> None:
        values = list(made[column])
        if kind is not None and pa.types.is_binary(kind):
            values = [one.encode() if isinstance(one, str) else one for one in values]
        values[1] = content
        made[column] = pa.array(values, kind)

    return change


def case(name: str, given: str, content: Callable[[str], bytes], *refuses: str, **more: Any) -> ShardCase:
    """A Parquet of which all that is whole comes through."""
    keeps = more.pop("keeps", "az" if refuses else LETTERS)
    return ShardCase(f"Parquet, {name}", given, content, keeps, refuses, ending=".parquet", **more)


def row(name: str, given: str, reason: str, column: str, content: object, kind: Any = None) -> ShardCase:
    """A row between two whole ones that cannot be used."""
    is_nameless = column == "key" and not content
    letter = {"key": "" if is_nameless else str(content)[-1:]}.get(column, "b")
    if isinstance(content, bytes) and column == "key":
        letter = "f"  # it is shown as \\xff
    return case(name, given, changed(value(column, content, kind)), f"{letter} {reason}")


def as_struct(middle: object, kind: pa.DataType = STRUCT) -> Change:
    """Hugging Face's layout, with something in the middle."""

    def change(made: Columns) -> None:
        values: list[object] = [{"bytes": one} for one in made.pop("jpg")]
        values[1] = middle
        made["image"] = pa.array(values, kind)

    return change


def encoded(kind: Callable[[pa.Array], pa.Array], *names: str) -> Change:
    """The same values in columns of another type."""
    return lambda made: made.update({name: kind(pa.array(made[name])) for name in names})


def harmed(harm: Callable[[bytearray, Any], object], letters: str = LETTERS, **options: Any) -> Callable[[str], bytes]:
    """A Parquet of which some bytes are changed; the harm knows its footer."""

    def content(prefix: str) -> bytes:
        made = columns(prefix, letters)
        made["jpg"] = made.pop("jpg")  # the pictures are the last column: what is put into it moves no other
        whole = bytearray(written(made, **options))
        harm(whole, pq.read_metadata(pa.BufferReader(bytes(whole))))
        return bytes(whole)

    return content


def varint(number: int) -> bytes:
    """A number as a footer writes it."""
    found, number = b"", (number << 1) ^ (number >> 63)
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def claim(name: str, number: int) -> Callable[[bytearray, Any], None]:
    """Lets the footer say another number of a row group or of the column of pictures in it."""

    def harm(whole: bytearray, footer: Any) -> None:
        group = footer.row_group(0)
        size = int.from_bytes(whole[-8:-4], "little")
        text = bytes(whole[-8 - size : -8])
        chunk = group.column(footer.num_columns - 1)
        if name == "num_rows":
            before = b"\x16" + varint(group.total_byte_size) + b"\x16"
            old, new = before + varint(group.num_rows), before + varint(number)
        elif name == "all counts":
            old, new = b"\x16" + varint(group.num_rows), b"\x16" + varint(number)
        else:
            old, new = varint(getattr(chunk, name)), varint(number)
        assert old in text
        text = text.replace(old, new)
        whole[-8 - size :] = text + len(text).to_bytes(4, "little") + b"PAR1"

    return harm


def page_claims(number: int) -> Callable[[bytearray, Any], None]:
    """Lets the header of the page of pictures say that it unpacks to so many bytes."""

    def harm(whole: bytearray, footer: Any) -> None:
        start = footer.row_group(0).column(footer.num_columns - 1).data_page_offset
        assert whole[start : start + 3] == b"\x15\x00\x15"  # a data page; next comes how large it unpacks
        stop = next(at for at in range(start + 3, start + 13) if whole[at] < 128) + 1
        whole[start + 3 : stop] = varint(number)

    return harm


def in_page(column: int, group: int, change: Callable[[bytearray], bytes]) -> Callable[[bytearray, Any], None]:
    """Changes the end of the pages of a column: their beginnings have statistics, which nobody reads."""

    def harm(whole: bytearray, footer: Any) -> None:
        chunk = footer.row_group(group).column(column)
        stop = chunk.data_page_offset + chunk.total_compressed_size
        whole[stop - 16 : stop] = change(whole[stop - 16 : stop])

    return harm


def twice(name: str) -> Callable[[str], bytes]:
    """A table with two columns of one name."""

    def content(prefix: str) -> bytes:
        made = pa.table(columns(prefix))
        return written(pa.Table.from_arrays([*made.columns, made[name]], names=[*made.column_names, name]))

    return content


def refused(
    name: str, given: str, content: Callable[[str], bytes], *words: str, file: str = "bad.parquet"
) -> CommandCase:
    """A Parquet that is refused before the tars around it are embedded."""
    return CommandCase(
        f"Parquet, {name}",
        given,
        beside_good(file, content("one/")),
        (*EMBED, "good.tar", file),
        3,
        (file, *words),
    )


def only(**made: Any) -> Callable[[str], bytes]:
    """A Parquet of three rows that has captions and the given columns."""
    return lambda prefix: written({"caption": ["a lamp"] * 3, **made})


def stats(successes: int) -> tuple[tuple[str, bytes], ...]:
    return (("_stats.json", json.dumps({"count": successes, "successes": successes}).encode()),)


def zeros(made: Columns) -> None:
    made["jpg"] = [made["jpg"][0], bytes(60 * MIB), bytes(60 * MIB)]


def nothing_to_change(made: Columns) -> None:
    """All rows are good."""


def as_text(values: Sequence[bytes]) -> pa.Array:
    """Bytes that say they are text."""
    raw = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())


def no_width(rows: dict[str, dict[str, Any]], folder: Path) -> None:
    assert {one["width"] for one in rows.values()} == {None}


def empty_group(prefix: str) -> bytes:
    """Three row groups, of which the second has no rows."""
    table = pa.table(columns(prefix))
    file = pa.BufferOutputStream()
    with pq.ParquetWriter(file, table.schema) as writer:
        for start, rows in ((0, 2), (2, 0), (2, 1)):
            writer.write_table(table.slice(start, rows))
    return bytes(file.getvalue())


def no_groups(prefix: str) -> bytes:
    """A Parquet whose footer lists no row group, and counts rows all the same."""
    file = pa.BufferOutputStream()
    with pq.ParquetWriter(file, pa.table(columns(prefix)).schema):
        pass
    whole = bytearray(bytes(file.getvalue()))
    size = int.from_bytes(whole[-8:-4], "little")
    text = bytes(whole[-8 - size : -8])
    old, new = b"\x16\x00\x19", b"\x16\x06\x19"  # the number of rows, and a list follows
    assert text.count(old) == 1
    return bytes(whole[: -8 - size]) + text.replace(old, new) + bytes(whole[-8:])


def no_frame(whole: bytearray, footer: Any) -> None:
    """The compressed pictures of the second row group do not begin as they must."""
    start = whole.index(b"\x28\xb5\x2f\xfd", footer.row_group(1).column(3).data_page_offset)
    whole[start : start + 4] = bytes(4)


def zero_footer(whole: bytearray, footer: Any) -> None:
    size = int.from_bytes(whole[-8:-4], "little")
    whole[-8 - size : -8] = bytes(size)


def noisy_footer(whole: bytearray, footer: Any) -> None:
    size = int.from_bytes(whole[-8:-4], "little")
    whole[-8 - size : -8] = random.Random(1).randbytes(size)


def flip(content: bytearray) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def zero(content: bytearray) -> bytes:
    return bytes(len(content))


ROWS = [
    row("null picture", "a picture that is null, as of a failed download", "no_image", "jpg", None),
    row("picture of no bytes", "a picture of 0 bytes", "empty_image", "jpg", b""),
    row("HTML", "HTML in the column of pictures", "not_a_picture", "jpg", HTML),
    row("JPEG cut", "a JPEG cut in half", "undecodable_picture", "jpg", halved(saved(noise(), "JPEG"))),
    row("EPS", "bytes of another kind of picture", "not_a_picture", "jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
    row("null key in a column", "a key that is null", "no_key", "key", None),
    row("empty key in a column", "an empty key", "no_key", "key", ""),
    row("long key", "a key of 256 bytes", "bad_key", "key", "k" * 256),
    row("control character in a key", "a key with a line feed", "bad_key", "key", "a\nb"),
    row("key not UTF-8", "a key that is not UTF-8, in a column of bytes", "bad_key", "key", b"\xff", pa.binary()),
    row("null caption in a column", "a caption that is null", "no_caption", "caption", None),
    row("blank caption in a column", "a caption of white space", "no_caption", "caption", " \u3000\n"),
    row("caption of 64 KiB and a byte", "a caption of 64 KiB and a byte", "caption_too_long", "caption", "x" * 65537),
    row("caption not UTF-8", "a caption that is not UTF-8", "caption_not_utf8", "caption", b"\xff", pa.binary()),
    case(
        "text not UTF-8",
        "the same in a column that says it is text",
        changed(lambda made: made.update(caption=as_text([caption("a").encode(), b"\xff", caption("z").encode()]))),
        "b caption_not_utf8",
    ),
    case(
        "url not UTF-8",
        "a url that is not UTF-8",
        changed(value("url", b"\xff", pa.binary())),
        effect="its url is null",
    ),
    case(
        "key twice",
        "one key twice in a file",
        lambda prefix: written({**columns(prefix), "key": [prefix + "a", prefix + "a", prefix + "z"]}),
        "a duplicate_key",
    ),
    case("null struct", "`image`, a struct that is null", changed(as_struct(None)), "b no_image"),
    case(
        "path alone",
        "`image`, a struct of a path and no bytes",
        changed(as_struct({"bytes": None, "path": "/etc/passwd"})),
        "b no_image",
        effect="no file is opened for it",
    ),
]
KINDS = [
    case(
        "struct",
        "`image`, a struct of bytes and path",
        changed(as_struct({"bytes": png("b"), "path": None})),
        effect="read",
    ),
    case(
        "struct without path",
        "`image`, a struct of bytes alone",
        changed(as_struct({"bytes": png("b")}, pa.struct([("bytes", pa.large_binary())]))),
        effect="read",
    ),
    case(
        "dictionary",
        "pictures and captions with a dictionary in their type",
        changed(encoded(pa.Array.dictionary_encode, "jpg", "caption")),
        effect="read",
    ),
    case(
        "views",
        "columns of views",
        changed(
            lambda made: made.update(
                jpg=pa.array(made["jpg"]).cast(pa.binary_view()),
                caption=pa.array(made["caption"]).cast(pa.string_view()),
            )
        ),
        effect="read",
    ),
    case(
        "dictionary pages",
        "pages with dictionaries, zstd",
        changed(nothing_to_change, use_dictionary=True, compression="zstd"),
        effect="read",
    ),
    case(
        "pages of version 2",
        "data pages of version 2",
        changed(nothing_to_change, data_page_version="2.0", compression="zstd"),
        effect="read",
    ),
    case(
        "image of whole numbers",
        "a column `image` of whole numbers beside `jpg`",
        changed(lambda made: made.update(image=[1, 2, 3])),
        effect="`jpg` is taken",
    ),
    case(
        "image of paths",
        "a column `image` of paths beside `jpg`",
        changed(lambda made: made.update(image=["/etc/passwd"] * 3)),
        effect="`jpg` is taken",
    ),
    case(
        "dot in a name",
        "a column `jpg.old` beside `jpg`",
        changed(lambda made: made.update({"jpg.old": [HTML] * 3})),
        effect="`jpg` is taken",
    ),
    case(
        "sizes that are none",
        "widths of NaN, 1e300 and -1",
        changed(lambda made: made.update(width=[float("nan"), 1e300, -1.0])),
        effect="null",
        check=no_width,
    ),
    case("no rows in a row group", "a row group without rows between others", empty_group, effect="read"),
    case(
        "list in the struct",
        "`image`, a struct of bytes and a list",
        changed(
            as_struct(
                {"bytes": png("b"), "path": ["a", "b"]},
                pa.struct([("bytes", pa.binary()), ("path", pa.list_(pa.string()))]),
            )
        ),
        effect="read",
    ),
    case(
        "nested beside",
        "columns of lists and maps that mean nothing",
        changed(lambda made: made.update(exif=[{"a": [1]}, None, {"a": []}])),
        effect="not looked at",
    ),
]
DAMAGE = [
    case(
        "cut in half",
        "a Parquet cut in half",
        lambda prefix: halved(written(columns(prefix))),
        keeps="",
        shard=("truncated_shard 0",),
        effect="nobody knows how many rows it had",
    ),
    case(
        "last byte cut",
        "a Parquet without its last byte, and `_stats.json` counts 3",
        lambda prefix: written(columns(prefix))[:-1],
        keeps="",
        shard=("truncated_shard 3",),
        beside=stats(3),
    ),
    case("footer zeroed", "a Parquet whose footer is zeros", harmed(zero_footer), keeps="", shard=("damaged_shard 0",)),
    case(
        "footer's length",
        "a footer that claims a length of 2 GiB",
        harmed(lambda whole, _: whole.__setitem__(slice(-8, -4), b"\xff\xff\xff\x7f")),
        keeps="",
        shard=("damaged_shard 0",),
    ),
    case(
        "footer of random bytes", "a footer of random bytes", harmed(noisy_footer), keeps="", shard=("damaged_shard 0",)
    ),
    case(
        "page flipped",
        "a page of pictures with one bit changed, which its checksum tells",
        harmed(in_page(3, 1, flip), "abyz", row_group_size=1),
        keeps="ayz",
        shard=("damaged_shard 1",),
        effect="the other row groups are read",
    ),
    case(
        "page zeroed",
        "zeros in a page of captions",
        harmed(in_page(1, 1, zero), "abyz", row_group_size=1),
        keeps="ayz",
        shard=("damaged_shard 1",),
        effect="the other row groups are read",
    ),
    case(
        "compressed page damaged",
        "a damaged page of zstd",
        harmed(no_frame, "abyz", row_group_size=1, compression="zstd", write_page_checksum=False),
        keeps="ayz",
        shard=("damaged_shard 1",),
    ),
    case(
        "page of 2 GiB",
        "a page that claims to unpack to 2 GiB",
        harmed(page_claims(2**31 - 1), compression="zstd"),
        keeps="",
        shard=("damaged_shard 3",),
    ),
    case(
        "page of less than nothing",
        "a page that claims to unpack to -1 bytes",
        harmed(page_claims(-1), compression="zstd"),
        keeps="",
        shard=("damaged_shard 3",),
    ),
    case(
        "row group of 1 TiB",
        "a row group that claims to unpack to 1 TiB",
        harmed(claim("total_uncompressed_size", 2**40), compression="zstd"),
        keeps="",
        shard=("expansion_limit 3",),
    ),
    case(
        "column of 1 TiB",
        "a column that claims to take 1 TiB of the file",
        harmed(claim("total_compressed_size", 2**40)),
        keeps="",
        shard=("damaged_shard 3",),
    ),
    case(
        "place behind the end",
        "a column that claims to begin at 1 TiB",
        harmed(claim("data_page_offset", 2**40)),
        keeps="",
        shard=("damaged_shard 3",),
    ),
    case(
        "place before the start",
        "a column that claims to begin at -1",
        harmed(claim("data_page_offset", -1)),
        keeps="",
        shard=("damaged_shard 3",),
    ),
    case(
        "2^40 rows",
        "a row group that claims 2^40 rows, and has 3",
        harmed(claim("num_rows", 2**40)),
        keeps="",
        shard=("damaged_shard 3",),
    ),
    case(
        "2^40 rows everywhere",
        "a footer that claims 2^40 rows wherever it can",
        harmed(claim("all counts", 2**40)),
        shard=(f"damaged_shard {2**40 - 3}",),
        effect="what the footer counts and nobody finds is counted",
    ),
    case(
        "no row groups", "a footer that counts 3 rows in no row group", no_groups, keeps="", shard=("damaged_shard 3",)
    ),
    case(
        "fewer rows than its pages",
        "a row group that claims 2 rows, and has 3",
        harmed(claim("num_rows", 2)),
        keeps="",
        shard=("damaged_shard 3",),
    ),
    case(
        "-1 rows",
        "a row group that claims -1 rows, and has 3",
        harmed(claim("num_rows", -1)),
        keeps="",
        shard=("damaged_shard 3",),
    ),
    case(
        "bomb",
        "120 MiB of zeros in a row group of 10 KB",
        changed(zeros, compression="zstd"),
        keeps="",
        shard=("expansion_limit 3",),
    ),
]
SHARDS = [*ROWS, *KINDS, *DAMAGE]

REFUSED: list[CommandCase] = [
    refused("two columns of pictures", "two columns named `jpg`", twice("jpg"), "2 columns named jpg"),
    refused("two columns of captions", "two columns named `caption`", twice("caption"), "2 columns named caption"),
    refused(
        "whole numbers as pictures",
        "whole numbers in the only column `image`",
        only(image=[1, 2, 3]),
        "no column of pictures",
    ),
    refused(
        "paths as pictures",
        "paths in the only column `image`",
        only(image=["/etc/passwd"] * 3),
        "no column of pictures",
    ),
    refused(
        "lists of pictures",
        "lists of pictures in the only column `image`",
        only(image=[[png("a")]] * 3),
        "no column of pictures",
    ),
    refused(
        "struct without bytes",
        "structs of a path alone",
        only(image=pa.array([{"path": "/etc/passwd"}] * 3)),
        "no column of pictures",
    ),
    refused("all null", "a column `image` of nulls alone", only(image=pa.nulls(3)), "no column of pictures"),
    refused(
        "bytes of one length",
        "a column `image` of a fixed number of bytes",
        only(image=pa.array([b"abc"] * 3, pa.binary(3))),
        "no column of pictures",
    ),
    refused("vectors", "a Parquet of vectors", only(embedding=[[1.0, 0.0]] * 3), "coreset import"),
    refused(
        "captions of numbers",
        "captions that are whole numbers",
        changed(lambda made: made.update(caption=[1, 2, 3])),
        "cannot be a caption",
    ),
    refused(
        "captions of lists",
        "captions that are lists",
        changed(lambda made: made.update(caption=[["a"]] * 3)),
        "cannot be a caption",
    ),
    refused(
        "captions of times",
        "captions that are times",
        changed(lambda made: made.update(caption=pa.array([1, 2, 3], pa.timestamp("s")))),
        "cannot be a caption",
    ),
    refused(
        "keys of structs",
        "keys that are structs",
        changed(lambda made: made.update(key=[{"a": 1}] * 3)),
        "cannot be a key",
    ),
    refused(
        "urls of numbers",
        "urls that are whole numbers",
        changed(lambda made: made.update(url=[1, 2, 3])),
        "cannot be a url",
    ),
    refused(
        "widths of words",
        "widths that are words",
        changed(lambda made: made.update(width=["a"] * 3)),
        "cannot be a width",
    ),
    refused(
        "zero rows",
        "a Parquet without rows",
        lambda prefix: written(pa.table(columns(prefix)).slice(0, 0)),
        "has no rows",
    ),
    refused("HTML throughout", "HTML named .parquet", lambda prefix: HTML, "is not a Parquet"),
    refused("zero bytes", "0 bytes named .parquet", lambda prefix: b"", "0 bytes"),
    refused(
        "encrypted",
        "a Parquet with an encrypted footer",
        lambda prefix: b"PARE" + bytes(40) + b"PARE",
        "is not a Parquet",
    ),
    refused(
        "beside a tar",
        "a Parquet beside the tar whose name it has",
        lambda prefix: written(columns(prefix)),
        "good.tar",
        file="good.parquet",
    ),
]
