"""Which files belong together: by number, whatever the padding and the order of a listing, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreset.engine.errors import InputError
from coreset.sources.embedding_files import SourceFile, paired

NUMBERS = st.lists(st.integers(0, 2000), min_size=1, max_size=30, unique=True)


def named(prefix: str, numbers: list[int], padding: int, suffix: str) -> list[SourceFile]:
    names = sorted(f"{prefix}{number:0{padding}d}{suffix}" for number in numbers)  # as a listing has them
    return [SourceFile(name, name, 0, 0) for name in names]


def number_of(file: SourceFile, prefix: str, suffix: str) -> int:
    return int(file.name.removeprefix(prefix).removesuffix(suffix))


@given(NUMBERS, st.integers(1, 6), st.integers(1, 6), st.sampled_from(["metadata_", "part-", "v2_m", ""]))
def test_files_pair_by_number(numbers: list[int], left: int, right: int, prefix: str) -> None:
    images, tables = named("img_emb_", numbers, left, ".npy"), named(prefix, numbers, right, ".parquet")
    in_order = sorted(images, key=lambda file: number_of(file, "img_emb_", ".npy"))
    found = paired(in_order, tables)
    assert [number_of(file, prefix, ".parquet") for file in found] == sorted(numbers)


@given(NUMBERS)
def test_a_number_behind_the_one_that_counts_does_no_harm(numbers: list[int]) -> None:
    images, tables = named("", numbers, 5, ".npy"), named("part-", numbers, 5, "-c000.snappy.parquet")
    in_order = sorted(images, key=lambda file: int(file.stem))
    assert [int(file.name[5:10]) for file in paired(in_order, tables)] == sorted(numbers)


@given(NUMBERS, NUMBERS)
def test_other_numbers_on_the_two_sides_are_never_paired(left: list[int], right: list[int]) -> None:
    images, tables = named("a_", left, 1, ".npy"), named("b_", right, 1, ".parquet")
    if set(left) == set(right):
        assert len(paired(images, tables)) == len(left)
        return
    with pytest.raises(InputError, match=r"partner|numbers of their own"):
        paired(images, tables)


@given(st.lists(st.text("0123456789abcdef", min_size=8, max_size=8), min_size=1, max_size=9, unique=True))
def test_equal_names_pair_whatever_numbers_are_in_them(names: list[str]) -> None:
    images, tables = (
        [SourceFile(name + suffix, name + suffix, 0, 0) for name in order]
        for suffix, order in ((".npz", names), (".parquet", names[::-1]))
    )
    assert [file.stem for file in paired(images, tables)] == names
