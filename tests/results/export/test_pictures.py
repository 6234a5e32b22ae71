"""Where pictures lie, and when a disk is told of them."""

from __future__ import annotations

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from coreset.results.export import pictures


@given(st.integers(0, 400))
def test_a_disk_is_told_of_every_picture_once_and_in_time(count: int) -> None:
    ranges = [(1000 * number, number + 1) for number in range(count)]
    told: list[tuple[int, int]] = []
    with mock.patch.object(pictures, "will_read", lambda _, offset, size: told.append((offset, size))):
        for number, found in enumerate(pictures.told_ahead(0, ranges)):
            assert found == ranges[number]
            assert len(told) >= min(count, number + pictures.AHEAD)
            assert len(told) <= number + 2 * pictures.AHEAD
    assert told == ranges
