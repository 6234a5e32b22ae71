"""Keys as names: safe, different for different keys, and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreset.results.export.captions import MARKERS, neutralised
from coreset.sources.names import LONGEST, key_of, name_of
from coreset.sources.samples import original_key, split_name

KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=90) | st.text(
    "~2E./ocrVG_10K", max_size=30
)


@given(KEYS)
def test_a_name_is_safe_and_gives_its_key_back(key: str) -> None:
    name = name_of(key)
    assert re.fullmatch(r"[A-Za-z0-9_~-]*", name)
    assert len(name) <= LONGEST
    assert "ocr" not in name
    assert "VG_100K" not in name
    assert "~~" in name or key_of(name) == key
    assert original_key(name, key) == key


@given(KEYS, KEYS)
def test_two_keys_have_two_names(one: str, other: str) -> None:
    assert (name_of(one) == name_of(other)) == (one == other)


def test_long_keys_are_told_apart_by_their_ends() -> None:
    one, other = "é" * 200 + "1", "é" * 200 + "2"
    assert name_of(one) != name_of(other)
    assert key_of(name_of(one)) is None
    assert original_key(name_of(one), one) == one


@pytest.mark.parametrize("key", ["..", "a.b/c.d", ".hidden", "__meta__/x", "~2E", "a b"])
def test_readers_of_tars_split_a_name_where_we_do(key: str) -> None:
    name = name_of(key)
    assert split_name(f"{name}.jpg".encode()) == (name.encode(), b"jpg") or key.startswith("__")


@pytest.mark.parametrize("said", [None, "", "other", "cats/8", "cats\x007"])
def test_a_json_that_says_something_else_changes_no_key(said: str | None) -> None:
    assert original_key("cats~2F7", said) == "cats~2F7"


@given(st.lists(st.sampled_from([*MARKERS, "<", ">", " ", "im", "<image", "a"]), max_size=12).map("".join))
def test_no_marker_is_left_and_nothing_else_is_touched(caption: str) -> None:
    text, count = neutralised(caption)
    assert not any(marker in text for marker in MARKERS)
    assert text.replace(" ", "") == caption.replace(" ", "")
    assert (count == 0) == (text == caption) == (not any(marker in caption for marker in MARKERS))
