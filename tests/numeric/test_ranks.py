"""Ranks against sorted lists, with gathering made scarce so that every pass is walked."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreset.numeric.ranks import (
    OrderKey,
    answered,
    between,
    descending,
    group_windows,
    keys_at_ranks,
    merged,
    rows_in_order,
    window_counts,
)

# Few values and bits far apart, so that ties and shared prefixes of every length occur.
WORDS = st.sampled_from([0, 1, 2, 1 << 16, (1 << 16) + 1, 1 << 31, (1 << 32) - 1])
LONG_WORDS = st.one_of(WORDS, st.sampled_from([1 << 32, 1 << 48, (1 << 64) - 1]))


@st.composite
def rows_of_order(draw, words=LONG_WORDS, most=40):
    entries = draw(st.lists(st.tuples(words, LONG_WORDS), min_size=1, max_size=most))
    keys = [str(i).encode() for i in draw(st.permutations(range(len(entries))))]
    order = np.array([order for order, _ in entries], dtype=np.uint64)
    key_hash = np.array([key_hash for _, key_hash in entries], dtype=np.uint64)
    return order, key_hash, keys


def tuples(rows) -> list[OrderKey]:
    order, key_hash, keys = rows
    return [OrderKey(int(o), int(h), k) for o, h, k in zip(order, key_hash, keys, strict=True)]


def lookup(keys):
    return lambda index: [keys[i] for i in index]


@given(rows_of_order(), st.integers(1, 5), st.integers(1, 4))
def test_keys_at_all_ranks_are_those_of_a_sorted_list(rows, gather, parts):
    order, key_hash, keys = rows

    def look(questions):
        answers = None
        for part in range(parts):
            mine = list(range(part, len(keys), parts))
            some = (order[mine], key_hash[mine], lookup([keys[i] for i in mine]))
            found = tuple(answered(question, *some) for question in questions)
            answers = found if answers is None else merged(answers, found)
        return answers

    ranks = list(range(len(keys) + 1))
    assert keys_at_ranks(ranks, len(keys), 64, look, gather) == [*sorted(tuples(rows)), None]


@given(rows_of_order(words=WORDS), st.integers(0, 40), st.integers(1, 3))
def test_orders_of_32_bits_need_no_passes_over_empty_bits(rows, rank, gather):
    passes = []

    def look(questions):
        passes.append(questions)
        return tuple(answered(q, rows[0], rows[1], lookup(rows[2])) for q in questions)

    count = len(rows[2])
    rank = min(rank, count - 1)
    assert keys_at_ranks([rank], count, 32, look, gather) == [sorted(tuples(rows))[rank]]
    assert len(passes) <= 7


def test_rows_that_change_between_passes_are_noticed():
    one = np.zeros(3, np.uint64)
    with pytest.raises(ValueError, match="found 3 where 4"):
        keys_at_ranks([0], 4, 32, lambda qs: tuple(answered(q, one, one, lookup([b"a", b"b", b"c"])) for q in qs))


@pytest.mark.parametrize("rank", [-1, 4])
def test_a_rank_outside_the_rows_is_refused(rank):
    with pytest.raises(ValueError, match="do not all lie"):
        keys_at_ranks([rank], 3, 32, lambda qs: ())


@given(rows_of_order(), st.data())
def test_between_is_the_comparison_of_tuples(rows, data):
    keys = tuples(rows)
    ends = st.one_of(st.none(), st.sampled_from(keys))
    first, end = data.draw(ends), data.draw(ends)
    expected = [first is not None and first <= key and (end is None or key < end) for key in keys]
    assert between(rows[0], rows[1], lookup(rows[2]), first, end).tolist() == expected


@given(rows_of_order())
def test_rows_in_order_is_sorted(rows):
    index = rows_in_order(rows[0], rows[1], lookup(rows[2]))
    keys = tuples(rows)
    assert [keys[i] for i in index] == sorted(keys)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=30))
def test_descending_orders_floats(scores):
    array = np.array(scores, dtype=np.float32)
    order = descending(array)
    for i in range(len(scores)):
        for j in range(len(scores)):
            assert (order[i] < order[j]) == (array[i] > array[j])
            assert (order[i] == order[j]) == (array[i] == array[j])


def test_nan_has_no_rank():
    with pytest.raises(ValueError, match="NaN"):
        descending(np.array([0.5, np.nan], dtype=np.float32))


BOUNDS = st.integers(0, 1000).map(lambda tenths: tenths / 10)


@given(BOUNDS, BOUNDS, st.integers(0, 10**10))
def test_windows_partition_the_rows(a, b, count):
    a, b = sorted((a, b))
    windows = [window_counts(bounds, count) for bounds in ((0, a), (a, b), (b, 100))]
    assert [windows[0][0], windows[-1][1]] == [0, count]
    assert all(left[1] == right[0] for left, right in pairwise(windows))


@given(st.integers(0, 10**10))
def test_window_counts_are_exact(count):
    assert window_counts((40, 60), count) == (4 * count // 10, 6 * count // 10)
    assert window_counts((15, 35), count) == (15 * count // 100, 35 * count // 100)
    assert window_counts((0.1, 33.3), count) == (count // 1000, int(Fraction(333, 1000) * count))


@given(rows_of_order(), st.data(), BOUNDS, BOUNDS)
def test_windows_of_groups_are_windows_of_each_group_alone(rows, data, a, b):
    order, key_hash, keys = rows
    groups = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(keys), max_size=len(keys))))
    percent = tuple(sorted((a, b)))
    side = group_windows(groups, order, key_hash, lookup(keys), percent)
    for group in set(groups.tolist()):
        members = sorted(i for i in range(len(keys)) if groups[i] == group)
        ranked = sorted(members, key=lambda i: tuples(rows)[i])
        low, high = window_counts(percent, len(members))
        assert [int(side[i]) for i in ranked] == [(r >= high) - (r < low) for r in range(len(ranked))]
