"""Random harm: cuts, flipped bits, garbage. Pairs are a prefix of the true ones, what is missing is told."""

from __future__ import annotations

import contextlib
import gzip
import random
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_tars import (
    BLOCK,
    END,
    KINDS,
    Sample,
    extension,
    good,
    member,
    packed,
    parts_of,
    pax,
    samples,
    sealed,
    written,
)

from coreset.engine.errors import InputError
from coreset.sources.tars import Limits, Pair, Reject, check_shard, read_pairs

Told = list[Pair | Reject]
LIMITS = Limits(header=8192, gzip_ratio=20, gzip_allowance=1 << 20)


def read(folder: Path, content: bytes, successes: int | None = None) -> Told:
    return list(read_pairs(written(folder, content, successes), LIMITS))


def true_pairs(made: list[Sample]) -> list[tuple[str, bytes, bytes]]:
    endings = ("jpg", "JPEG", "png", "webp")
    return [(key, next(parts[name] for name in endings if name in parts), parts["txt"]) for key, parts in made]


def check_prefix(found: Told, true: list[tuple[str, bytes, bytes]]) -> None:
    """No pair is altered, half or out of order, and if any is missing a reject says so."""
    pairs = [(one.key, one.image, one.caption.encode()) for one in found if isinstance(one, Pair)]
    assert pairs == true[: len(pairs)]
    rejects = [one for one in found if isinstance(one, Reject) and one.reason != "ignored_members"]
    assert len(pairs) == len(true) or any(one.row is None for one in rejects)


@pytest.mark.parametrize("dialect", KINDS)
@settings(deadline=None)  # files are written
@given(made=samples(), where=st.floats(0, 1))
def test_cut_anywhere(made: list[Sample], where: float, dialect: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = packed(made, dialect)
    cut = content[: int(where * len(content))]
    found = read(folder, cut, len(made))
    check_prefix(found, true_pairs(made))
    check_prefix(read(folder, gzip.compress(content)[: int(where * len(content))]), true_pairs(made))
    seen = sum(1 if isinstance(one, Pair) else one.rows for one in found)
    assert seen == len(made)  # what the sidecar counts is there, kept or told


def test_cut_at_every_byte_of_an_end(tmp_path: Path) -> None:
    content = good("a", "b", "c") + END
    true = [(key, parts_of(key)["jpg"], parts_of(key)["txt"]) for key in "abc"]
    for end in [*range(0, len(content), 97), *range(len(content) - 4 * BLOCK, len(content) + 1, 5)]:
        found = read(tmp_path, content[:end], 3)
        check_prefix(found, true)
        assert sum(1 if isinstance(one, Pair) else one.rows for one in found) == 3
        if end < len(content):
            assert any(one.row is None for one in found)


def test_hole_anywhere_never_makes_a_half_sample(tmp_path: Path) -> None:
    keys = [f"{i:03d}" for i in range(40)]
    content = good(*keys) + END
    for at in range(0, len(content) - 4096, BLOCK):
        harmed = content[:at] + bytes(4096) + content[at + 4096 :]
        for one in read(tmp_path, harmed):
            if isinstance(one, Pair):
                assert one.url == f"http://example.org/{one.key}"  # the json was there too


@settings(max_examples=300, deadline=None)
@given(made=samples(most=3), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=6))
def test_flipped_bits_never_raise(
    made: list[Sample], flips: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    for content in (packed(made, "pax"), gzip.compress(packed(made, "gnu"))):
        harmed = bytearray(content)
        for where, bits in flips:
            harmed[int(where * (len(harmed) - 1))] ^= bits
        calmly_read(tmp_path_factory.getbasetemp(), bytes(harmed))


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=2000), at=st.integers(0, 3000))
def test_garbage_never_raises(content: bytes, at: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = good("a", "b") + END
    for harmed in (
        content,
        whole[:at] + content + whole[at:],
        b"\x1f\x8b\x08" + content,
        gzip.compress(content),
    ):
        calmly_read(tmp_path_factory.getbasetemp(), harmed)


def calmly_read(folder: Path, content: bytes) -> None:
    """Read it twice with one result, in little time, without an error beyond the first look's."""
    shard = written(folder, content)
    began = time.process_time()
    with contextlib.suppress(InputError):
        check_shard(shard)
    found = list(read_pairs(shard, LIMITS))
    assert found == list(read_pairs(shard, LIMITS))
    assert time.process_time() - began < 10
    assert all(one.image for one in found if isinstance(one, Pair))


def test_many_small_tricks_cost_little(tmp_path: Path) -> None:
    tricks = [
        pax({"comment": "x"}, b"g") * 20_000,
        member("a.jpg", b"x") * 20_000,
        b"".join(member(f"a.{i}.jpg") for i in range(2000)),
        b"".join(member(f"{i}.e{i}") for i in range(2000)),
        extension(b"x", b"11 a=bcdef\n" * 700),
        gzip.compress(bytes(100)) * 20_000,
    ]
    for trick in tricks:
        shard = written(tmp_path, trick + END)
        tracemalloc.start()
        began = time.process_time()
        found = list(read_pairs(shard, LIMITS))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(found) <= 3
        assert peak < 8 << 20
        assert time.process_time() - began < 10


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(8))
def test_long_fuzz(seed: int, tmp_path: Path) -> None:
    """40,000 harmed tars; half of them get good checksums again, so that the harm goes deep."""
    rng = random.Random(seed)
    whole = good("a", "b", "c") + END
    for _ in range(5000):
        harmed = bytearray(whole)
        for _ in range(rng.randrange(1, 8)):
            harmed[rng.randrange(len(harmed))] = rng.randrange(256)
        if rng.random() < 0.5:
            for at in range(0, len(harmed) - BLOCK, BLOCK):
                if harmed[at + 257 : at + 262] == b"ustar":
                    harmed[at : at + BLOCK] = sealed(bytes(harmed[at : at + BLOCK]))
        calmly_read(tmp_path, bytes(harmed[: rng.randrange(len(harmed))] if rng.random() < 0.3 else harmed))
