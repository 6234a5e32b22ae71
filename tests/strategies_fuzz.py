"""Bytes and text that nearly mean something, for every parser of ours that reads what others wrote."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pyarrow as pa
from hypothesis import strategies as st
from strategies_tars import header, pax

from coreset.engine.errors import InputError, UsageError
from coreset.recipe import parsed_recipe, recipe_text
from coreset.sources import patterns
from coreset.sources.bytestream import BLOCK, BrokenShardError
from coreset.sources.embedding_columns import found_columns, standard_table
from coreset.sources.metadata import BadSampleError, Metadata, read_caption, read_metadata
from coreset.sources.npy import read_npy_header
from coreset.sources.page_headers import BadHeaderError, ShortHeaderError, parsed_page_header
from coreset.sources.samples import role_of, split_name
from coreset.sources.tar_headers import parse_header, parse_number, parse_pax

FEW = 2000
"""Words that a pattern may stand for here."""
SECONDS = 20.0
"""Processor time that one input may take."""


@dataclass(frozen=True)
class Parser:
    """A parser, what to feed it, the errors that it documents, and inputs that once broke it or came near.

    Attributes:
        read: Reads one input; asserts what must hold of what it gives.
        inputs: What to try.
        errors: All that it may raise.
        examples: Tried every time.
    """

    read: Callable[[Any], object]
    inputs: st.SearchStrategy[Any]
    errors: tuple[type[Exception], ...]
    examples: tuple[Any, ...] = ()


def check(parser: Parser, given: object) -> None:
    """Read it: in little time, and with no error but a documented one."""
    began = time.process_time()
    with contextlib.suppress(*parser.errors):
        parser.read(given)
    assert time.process_time() - began < SECONDS


@st.composite
def changed(draw: Callable[..., Any], whole: bytes, most: int = 6) -> bytes:
    """A good input with some bytes replaced, taken out or put in."""
    content = bytearray(whole)
    for at, new, take in draw(
        st.lists(st.tuples(st.integers(0, len(whole)), st.binary(max_size=6), st.integers(0, 6)), max_size=most)
    ):
        content[at : at + take] = new
    return bytes(content)


def read_header(block: bytes) -> None:
    found = parse_header(block[:BLOCK].ljust(BLOCK, b"\0"))
    assert found.size >= 0
    assert len(found.name) <= 256


def read_number(field: bytes) -> None:
    assert 0 <= parse_number(field) < 1 << 8 * len(field)


def read_pax(records: bytes) -> None:
    found = parse_pax(records)
    assert sum(len(key) + len(text) for key, text in found.items()) < len(records) or not found


def read_name(name: bytes) -> None:
    found = split_name(name)
    if found:
        assert found[0] + b"." + found[1] == name
        role_of(found[1])


def read_npy(content: bytes) -> None:
    file = io.BytesIO(content)
    found = read_npy_header(file, "x.npy", len(content))
    assert file.tell() == found.offset
    assert found.offset + found.rows * found.row_bytes + found.trailing == len(content)
    assert min(found.rows, found.trailing) >= 0


def read_json(content: bytes) -> None:
    found = read_metadata(content)
    if found.url is not None:
        found.url.encode()
    for side in (found.width, found.height):
        assert side is None or 0 < side < 2**31


def read_text(given: tuple[bytes | None, str | None]) -> None:
    found = read_caption(given[0], Metadata(caption=given[1]), 100)
    assert found.strip()
    assert len(found.encode()) <= 100


def read_columns(table: pa.Table) -> None:
    columns = found_columns(table.schema, "l14", "x.parquet")
    found = standard_table(table, columns)
    assert found.num_rows == table.num_rows


def read_pattern(pattern: str) -> None:
    with mock.patch.object(patterns, "MOST_FILES", FEW):  # a million words take a second: no time for many of those
        found = patterns.expanded_braces(pattern)
    assert 1 <= len(found) <= FEW
    sorted(found[:50], key=patterns.natural_order)


def read_page(content: bytes) -> None:
    found = parsed_page_header(content)
    assert 0 < found.size <= len(content)
    assert min(found.packed, found.unpacked) >= 0


def npy_of(descr: str, order: str, shape: str) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


_words = st.text("0123456789-+e.()[]{}', TrueFalse<>f|", max_size=30)
_npys = st.one_of(
    changed(npy_of("'<f2'", "False", "(2, 16)")),
    st.builds(
        npy_of, st.sampled_from(["'<f2'", "'>f8'", "'|O'", "[]"]), st.sampled_from(["True", "0", "None"]), _words
    ),
    st.binary(max_size=200).map(lambda content: b"\x93NUMPY\x01\x00" + content),
)
_headers = st.one_of(
    changed(header("cats/007.jpg", 1503)),
    changed(header("cats/007.jpg", 2**33, dialect="gnu")),
    st.binary(max_size=BLOCK),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_fields = st.dictionaries(st.sampled_from(["url", "caption", "width", "height", "md5", "sha256", "x"]), _json)
_jsons = st.one_of(
    _fields.map(lambda fields: json.dumps(fields).encode()),
    _json.map(lambda value: json.dumps(value).encode()),
    changed(b'{"url": "http://x.org/a", "width": 64, "caption": "a \\ud83d\\ude00 lamp"}'),
    st.binary(max_size=60),
)
_kinds = st.sampled_from(
    [
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.int64(),
        pa.uint64(),
        pa.float16(),
        pa.float64(),
        pa.bool_(),
        pa.null(),
    ]
)
_values: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    pa.large_string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    pa.binary(): st.binary(max_size=9),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float16(): st.floats(width=16),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.null(): st.none(),
}
_kinds = st.sampled_from(list(_values))


PAGE = bytes.fromhex("15001528152c15fee9ecac061c15041500150615061c3600280361626418036162631111000000")
"""A header of a page with a checksum and statistics."""


@st.composite
def tables(draw: Callable[..., Any]) -> pa.Table:
    """A table whose columns have names that mean something and types that perhaps do not."""
    names = ["key", "uid", "Caption", "TEXT", "similarity", "clip_score", "width", "HEIGHT", "hash", "md5", "url", "x"]
    count = draw(st.integers(0, 4))
    made = {}
    for name in draw(st.lists(st.sampled_from(names), max_size=6, unique=True)):
        kind = draw(_kinds)
        cells = draw(st.lists(st.none() | _values[kind], min_size=count, max_size=count))
        array = pa.array(cells, kind, from_pandas=False)
        is_text = draw(st.booleans()) and kind == pa.string()
        made[name] = array.dictionary_encode() if is_text else array
    return pa.table(made) if made else pa.table({"x": pa.nulls(count)})


_recipes = st.one_of(
    changed(recipe_text(["a.tar"]).encode(), 3).map(lambda content: content.decode("utf-8", "replace")),
    st.builds(
        "[{}]\n{} = {}\n".format,
        st.sampled_from(["embed", "import", "cluster", "dedup", "sample", "x"]),
        st.sampled_from(["n", "threshold", "text_rank", "model", "seed", "clusters", "batch_size", "format", "keep"]),
        st.one_of(_words, _json.map(json.dumps), st.sampled_from(["nan", "-inf", "1979-05-27", "[[]]", "{}", "0x10"])),
    ),
    st.text(max_size=60),
)
_patterns = st.one_of(
    st.text("{}.,0129-a*", max_size=24),
    st.builds("{}{{{}..{}..{}}}".format, st.text("a{", max_size=3), st.integers(), st.integers(), st.integers()),
)

PARSERS: dict[str, Parser] = {
    "tar header": Parser(read_header, _headers, (BrokenShardError,), (bytes(BLOCK), b"\xff" * BLOCK)),
    "tar number": Parser(
        read_number,
        st.binary(min_size=1, max_size=12),
        (BrokenShardError,),
        (b"\xff" * 12, b"-1", b"1_0", b"\x80", b" "),
    ),
    "pax records": Parser(
        read_pax,
        st.one_of(changed(pax({"path": "cats/7.jpg", "size": "15"})[BLOCK : BLOCK + 30]), st.binary(max_size=60)),
        (BrokenShardError,),
        (b"0 a=b\n", b"\xb2 a=b\n", b"9" * 100_000),
    ),
    "member name": Parser(read_name, st.binary(max_size=40), (), (b"", b".", b"/.", b"a/.b", b"__x__/a.b")),
    "npy header": Parser(
        read_npy,
        _npys,
        (InputError,),
        (npy_of("'<f2'", "False", "(" * 3000), npy_of("'<f2'", "False", "{}"), npy_of("{[]: 1}", "False", "(1, 1)")),
    ),
    "json of a sample": Parser(
        read_json,
        _jsons,
        (BadSampleError,),
        (b"[" * 100_000, b'{"width": ' + b"9" * 5000 + b"}", b'{"url": "\\ud800"}'),
    ),
    "caption": Parser(
        read_text,
        st.tuples(st.none() | st.binary(max_size=120), st.none() | st.text(max_size=60)),
        (BadSampleError,),
        ((None, "\ud800"), (b"\xed\xa0\x80", None), (b" ", "x" * 101)),
    ),
    "page of a Parquet": Parser(
        read_page,
        st.one_of(changed(PAGE), st.binary(max_size=60)),
        (ShortHeaderError, BadHeaderError),
        (
            b"\x1c" * 100_000,
            b"\x15" + b"\xff" * 100_000,
            b"\x19\xf1" + b"\xff" * 9 + b"\x01",
            b"\x18\xff\xff\xff\xff\x7f",
        ),
    ),
    "columns of a table": Parser(read_columns, tables(), (InputError,)),
    "recipe": Parser(parsed_recipe, _recipes, (UsageError,), ("a = " + "[" * 50_000,)),
    "shard pattern": Parser(
        read_pattern,
        _patterns,
        (InputError,),
        ("{" * 500, "{0..9}" * 9, "{1,2}" * 40, "{,}" * 30 + "{0..999999999999999999}"),
    ),
}
