"""A JSON list is read as `json.loads` reads it, piece by piece, and each record's place is that of its bytes."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coreset.engine.errors import InputError
from coreset.mixture import records
from coreset.mixture.records import Number, read_records

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)


def as_read(value: Any) -> Any:
    """A value of `json.loads` with numbers as the file has them."""
    return json.loads(value, parse_int=Number, parse_float=Number)


def found(location: Path) -> list[records.Record]:
    return list(read_records(str(location)))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, max_size=6), st.sampled_from([None, 0, 3]), st.booleans(), st.integers(1, 40), st.booleans())
def test_a_list_is_read_as_json_reads_it(
    tmp_path: Path, values: list[Any], indent: int | None, ascii_only: bool, block: int, mark: bool
) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    content = b"\xef\xbb\xbf" * mark + f" \n{text}\n".encode()
    location = tmp_path / "list.json"
    location.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "BLOCK", block)
        read = found(location)
    assert [record.value for record in read] == as_read(text)
    assert [record.number for record in read] == list(range(len(values)))
    for record in read:
        assert content[record.offset : record.offset + len(record.content)] == record.content
        assert as_read(record.content) == record.value


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_what_is_cut_or_changed_is_refused_as_json_refuses_it(tmp_path: Path, values: list[Any], data: Any) -> None:
    content = bytearray(json.dumps(values, ensure_ascii=False).encode())
    if data.draw(st.booleans(), "cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1), "length")]
    else:
        content[data.draw(st.integers(0, len(content) - 1), "place")] = data.draw(st.integers(0, 255), "byte")
    location = tmp_path / "list.json"
    location.write_bytes(content)
    try:
        expected = as_read(content.decode()) if content[:1] == b"[" else None
    except ValueError:  # not UTF-8, or not JSON
        expected = None
    if any(word in content for word in (b"NaN", b"Infinity")):
        return  # Python's own extension, tested below
    if expected is None:
        with pytest.raises(InputError, match=r"list\.json"):
            found(location)
    else:
        assert [record.value for record in found(location)] == expected


def test_lines(tmp_path: Path) -> None:
    location = tmp_path / "lines.jsonl"
    location.write_text('{"id": 1}\n\n{"id": "é"}\n')
    assert [(record.value, record.offset) for record in found(location)] == [({"id": Number(1)}, 0), ({"id": "é"}, 11)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"<html>", "begins with '<'"),
        (b'"text"', "begins with"),
        (b"[{}, {}", "the file is cut"),
        (b"[{} {}]", "a , or ] is missing"),
        (b"[{},]", "byte 4"),
        (b"[{}] {}", "something follows the list"),
        (b'[{"a": NaN}]', "NaN is no JSON"),
        (b'[{"a": "\xff"}]', "not UTF-8 about byte 8"),
        (b'[{"a": 1}, {"a": "b' + b"c" * 100, "Unterminated string"),
        (b"[" * 100_000, "recursion"),
        (b'{"a": 1}\n{"a"', "record 1"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    location = tmp_path / "list.json"
    location.write_bytes(content)
    with pytest.raises(InputError, match=said.replace("[", r"\[")):
        found(location)


def test_a_mistake_at_the_start_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = tmp_path / "list.json"
    location.write_bytes(b'[{"a" 1}' + b', {"b": 2}' * 10_000)
    monkeypatch.setattr(records, "BLOCK", 100)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"record 0: Expecting ':'"):
        found(location)
    assert tracemalloc.get_traced_memory()[1] < 60_000
    tracemalloc.stop()


def test_a_record_may_not_be_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = tmp_path / "list.json"
    location.write_bytes(b'[{"a": "' + b"x" * 5000 + b'"}]')
    monkeypatch.setattr(records, "BLOCK", 100)
    assert len(found(location)) == 1
    monkeypatch.setattr(records, "MOST", 1000)
    with pytest.raises(InputError, match="a record of more than"):
        found(location)
