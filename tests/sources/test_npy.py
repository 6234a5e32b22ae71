"""Headers of `.npy` files: numpy's own are read as numpy reads them, anything else is one sentence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import example, given
from hypothesis import strategies as st

from coreset.engine.errors import InputError
from coreset.sources.npy import ColumnMajorRows, StreamedRows, read_npy_header

DTYPES = ("<f2", ">f2", "<f4", ">f4", "<f8", ">f8")


def saved(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def header_of(content: bytes):
    return read_npy_header(io.BytesIO(content), "a.npy", len(content))


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    shape = (draw(st.integers(0, 40)), draw(st.integers(1, 9)))
    made = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape).astype(draw(st.sampled_from(DTYPES)))
    return np.asfortranarray(made) if draw(st.booleans()) else made


@given(arrays(), st.sampled_from([None, (1, 0), (2, 0), (3, 0)]), st.binary(max_size=9))
def test_what_numpy_writes_is_read_as_numpy_reads_it(
    array: np.ndarray, version: tuple[int, int] | None, behind: bytes
) -> None:
    content = saved(array, version)
    header = header_of(content + behind)
    assert (header.rows, header.dimension) == array.shape
    assert np.dtype(header.dtype) == array.dtype
    assert header.offset == len(content) - array.nbytes
    assert header.trailing == len(behind)
    plain = array.dtype == np.dtype("<f2") and array.flags.c_contiguous
    assert header.as_stored == plain


@given(arrays(), st.lists(st.integers(0, 7), max_size=12), st.booleans())
def test_rows_come_in_order_whatever_is_taken_or_skipped(array: np.ndarray, steps: list[int], hashed: bool) -> None:
    content = saved(np.ascontiguousarray(array)) + b"behind"
    digest = xxhash.xxh3_128() if hashed else None
    rows = StreamedRows(io.BytesIO(content), "a.npy", len(content), digest)
    at = 0
    for number, step in enumerate(steps):
        count = min(step, len(array) - at)
        if number % 2 and not hashed:
            rows.skip(count)
        else:
            assert np.array_equal(rows.take(count), array[at : at + count])
        at += count
    rows.take(len(array) - at)
    rows.rest()
    if digest is not None:
        assert digest.digest() == xxhash.xxh3_128(content).digest()


@given(arrays(), st.lists(st.integers(0, 7), max_size=12))
def test_columns_that_are_neighbours_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, steps: list[int]
) -> None:
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    if np.asfortranarray(array).flags.c_contiguous:
        return
    path.write_bytes(saved(np.asfortranarray(array)))
    rows = ColumnMajorRows(str(path), header_of(path.read_bytes()))
    at = 0
    for number, step in enumerate(steps):
        count = min(step, len(array) - at)
        if number % 2:
            rows.skip(count)
        else:
            assert np.array_equal(rows.take(count), array[at : at + count])
        at += count


def with_text(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


GOOD = "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2)}"


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x93NUMPY")
@example(b"\x93NUMPY\x07\x00")
@example(with_text("[" * 9000))
@example(with_text("(" * 200 + ")" * 200))
@example(with_text(GOOD.replace("(2, 2)", "(-1, 2)")))
@example(with_text(GOOD.replace("(2, 2)", "(2.0, 2)")))
@example(with_text(GOOD.replace("(2, 2)", "(True, 2)")))
@example(with_text(GOOD.replace("(2, 2)", "(10**9, 2)")))
@example(with_text(GOOD.replace("(2, 2)", "(2, 99999999999999999999)")))
@example(with_text(GOOD.replace("'<f2'", "[('a', '<f2')]")))
@example(with_text(GOOD.replace("'<f2'", "'|O'")))
@example(with_text(GOOD.replace("False", "0")))
@example(with_text(GOOD.replace("False", "__import__('os')")))
@example(with_text("{{}: 1}"))
@example(b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(99))
def test_anything_else_is_one_sentence(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^a\.npy ") as error:
        header_of(content)
    assert "\n" not in str(error.value)


@given(arrays(), st.data())
def test_a_header_that_was_harmed_is_refused_or_read_within_the_file(array: np.ndarray, data: st.DataObject) -> None:
    content = bytearray(saved(array))
    at = data.draw(st.integers(0, min(len(content), 127) - 1))
    content[at] = data.draw(st.integers(0, 255))
    try:
        header = header_of(bytes(content))
    except InputError:
        return
    assert header.offset + header.rows * header.row_bytes <= len(content)


def test_a_file_that_is_cut_while_it_is_read_is_one_sentence(tmp_path: Path) -> None:
    content = saved(np.zeros((4, 2), np.float16))
    rows = StreamedRows(io.BytesIO(content[:-2]), "a.npy", len(content))
    with pytest.raises(InputError, match="became shorter while it was read"):
        rows.take(4)
