"""Decoding in processes that may die."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from coreset.engine.errors import ResourceError
from coreset.sources import decoding
from coreset.sources.decoding import decoded_apart
from coreset.sources.pictures import BadPictureError, decoded

CRASHING = Path(__file__).parents[1] / "crashing_decoder.py"


def picture(mark: bytes = b"", size: tuple[int, int] = (7, 5)) -> bytes:
    """A PNG, with something behind its end that no decoder looks at."""
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(file, "PNG")
    return file.getvalue() + mark


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Processes whose decoder has a bug, and none of them left behind."""
    decoding._close_idle()
    monkeypatch.setattr(decoding, "COMMAND", (sys.executable, str(CRASHING), str(tmp_path / "mark")))
    yield
    decoding._close_idle()


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]))
@settings(max_examples=30)
def test_the_pixels_are_those_of_decoding_here(size: tuple[int, int], form: str) -> None:
    file = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(file, form)
    assert np.array_equal(decoded_apart(file.getvalue()), decoded(file.getvalue()))


@pytest.mark.parametrize("content", [b"", b"<html>", picture()[:60], b"x" * 70_000])
def test_the_reasons_are_those_of_decoding_here(content: bytes) -> None:
    with pytest.raises(BadPictureError) as here:
        decoded(content)
    with pytest.raises(BadPictureError) as apart:
        decoded_apart(content)
    assert (apart.value.reason, apart.value.detail) == (here.value.reason, here.value.detail)


def test_the_limit_of_pixels_holds_there() -> None:
    with pytest.raises(BadPictureError, match="too_many_pixels"):
        decoded_apart(picture(), 34)
    assert decoded_apart(picture(), 35).size == (7, 5)


def test_processes_are_used_again_and_no_more_than_callers() -> None:
    decoding._close_idle()
    with ThreadPoolExecutor(2) as pool:
        sizes = list(pool.map(lambda side: decoded_apart(picture(size=(side, 3))).size, range(1, 40)))
    assert sizes == [(side, 3) for side in range(1, 40)]
    assert 1 <= len(decoding._idle) <= 2


@pytest.mark.parametrize("death", ["SEGV", "ABRT"])
def test_a_picture_that_kills_its_decoder_costs_that_picture(crashing: None, death: str) -> None:
    with pytest.raises(BadPictureError, match=f"decoder_crash: the decoder died of SIG{death}"):
        decoded_apart(picture(b"*%s*" % death.encode()))
    assert decoded_apart(picture()).size == (7, 5)


def test_a_decoder_that_dies_once_is_no_verdict(crashing: None) -> None:
    assert decoded_apart(picture(b"*ONCE*")).size == (7, 5)


@pytest.mark.parametrize("mark", [b"*KILL*", b"*MEMORY*"])
def test_a_decoder_that_is_killed_says_nothing_of_the_picture(crashing: None, mark: bytes) -> None:
    with pytest.raises(ResourceError, match="decodes pictures was ended twice"):
        decoded_apart(picture(mark))


def test_a_decoder_that_never_answers_is_given_up(crashing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "DEADLINE", 0.3)
    monkeypatch.setattr(decoding, "ATTEMPTS", 1)
    with pytest.raises(BadPictureError, match="decoder_crash: the decoder did not answer"):
        decoded_apart(picture(b"*WAIT*"))


def test_no_process_outlives_the_one_that_was_killed() -> None:
    program = (
        "import sys, time; from coreset.sources import decoding; decoder = decoding.Decoder();"
        "print(decoder._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=os.environ.copy()) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    limit = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit
        time.sleep(0.02)
