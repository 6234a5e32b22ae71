"""Tars that are put together by hand are those that `tarfile` writes."""

from __future__ import annotations

import io
import string
import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from coreset.engine.outgoing import outgoing
from coreset.results.export import tar_writing
from coreset.results.export.tar_writing import TarWriter, header_of

NAMES = st.text(string.ascii_letters + string.digits + "~-_.", min_size=1, max_size=220) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=60
)
SIZES = st.integers(0, 1 << 20) | st.sampled_from([8**11 - 1, 8**11, 1 << 40])


def as_tarfile_writes(name: str, size: int) -> bytes:
    """The slow way: a plain header where it holds the name and the size, else a pax header before it."""
    member = tarfile.TarInfo(name)
    member.size = size
    fits = len(name) <= 100 and name.isascii() and size < 8**11
    return member.tobuf(tarfile.USTAR_FORMAT if fits else tarfile.PAX_FORMAT)


@given(NAMES, SIZES)
def test_a_header_is_that_of_tarfile(name: str, size: int) -> None:
    assert header_of(name, size) == as_tarfile_writes(name, size)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=12), st.sampled_from([1, 3000, 4 << 20]))
def test_a_tar_is_that_of_tarfile(members: list[tuple[str, bytes]], piece: int) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert written(members, piece) == file.getvalue()


def written(members: list[tuple[str, bytes]], piece: int) -> bytes:
    """The bytes that a TarWriter leaves, whatever it gathers at a time."""
    import tempfile

    before = tar_writing.PIECE
    with tempfile.TemporaryDirectory() as folder:
        tar_writing.PIECE = piece
        try:
            file = outgoing(f"{folder}/a.tar")
            tar = TarWriter(file)
            for name, content in members:
                tar.add(name, content)
            tar.close()
            file.commit()
        finally:
            tar_writing.PIECE = before
        content = Path(f"{folder}/a.tar").read_bytes()
    assert file.seal is not None
    assert file.seal.size == len(content)
    return content
