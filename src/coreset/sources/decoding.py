"""Pictures decoded in processes of their own: what makes a decoder crash costs one picture, not the run.

What such a process does stands in `coreset.sources.decoding_process`. It ends when its input does, so that none
outlives the process that started it, however that one ends.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
from typing import IO, cast

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from coreset.engine.errors import ResourceError
from coreset.sources.decoding_process import ANSWER, QUESTION
from coreset.sources.fitting import Fit
from coreset.sources.pictures import MAX_PIXELS, BadPictureError

_PROGRAM = "import sys; from coreset.sources.decoding_process import serve; serve(sys.stdin.buffer, sys.stdout.buffer)"
COMMAND = (sys.executable, "-P", "-c", _PROGRAM)
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
"""Of the C library: memory of one picture is kept for the next, and not given back and fetched anew each time."""
DEADLINE = 300.0
"""Seconds without an answer after which a decoder counts as stuck."""
ATTEMPTS = 2
"""How often a picture whose decoder dies is tried, each time in a fresh process."""

Pixels = UInt8[np.ndarray, "height width 3"]


class DecoderDiedError(Exception):
    """The process that decodes ended, or was ended, before it answered: its exit code, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


class Decoder:
    """A process that decodes pictures, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603  our own module
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**KEPT, **os.environ},
            stderr=subprocess.DEVNULL,  # what a C library says while it dies
            start_new_session=True,  # Ctrl-C is for the command
        )
        self._pipes = cast("tuple[IO[bytes], IO[bytes]]", (self._process.stdin, self._process.stdout))

    def pixels(self, content: bytes, max_pixels: int, fit: Fit | None, draft: bool) -> Pixels:
        """The pixels of `coreset.sources.pictures.decoded`.

        Raises:
            BadPictureError: The picture cannot be used.
            DecoderDiedError: The process died of it, or did not answer; it is gone.
        """
        stdin, stdout = self._pipes
        try:
            how = fit.to_json() if fit else b""
            stdin.write(QUESTION.pack(len(content), max_pixels, len(how), draft) + how)
            stdin.write(content)
            stdin.flush()
            readable, _, _ = select.select([stdout], [], [], DEADLINE)
            header = stdout.read(ANSWER.size) if readable else b""
            if len(header) < ANSWER.size:
                raise EOFError
            is_picture, width, height, length = ANSWER.unpack(header)
            answer = bytearray(length)
            if cast("io.BufferedReader", stdout).readinto(answer) < length:
                raise EOFError
        except (EOFError, BrokenPipeError) as error:
            raise DecoderDiedError(self._ended()) from error
        if not is_picture:
            raise BadPictureError(*json.loads(answer))
        return np.frombuffer(answer, np.uint8).reshape(height, width, 3)

    def _ended(self) -> int:
        """The exit code; a process that is stuck is killed by a signal that says so."""
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = -signal.SIGALRM
        self.close()
        return code

    def close(self) -> None:
        """Let the process end."""
        for pipe in self._pipes:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()


_idle: list[Decoder] = []
os.register_at_fork(after_in_child=_idle.clear)  # those belong to the other process


def decoded_apart(content: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """As `coreset.sources.pictures.decoded`, but in another process, which may crash; see `pixels_apart`."""
    return Image.fromarray(pixels_apart(content, max_pixels))


def pixels_apart(content: bytes, max_pixels: int = MAX_PIXELS, fit: Fit | None = None, draft: bool = False) -> Pixels:
    """The pixels of `coreset.sources.pictures.decoded`, decoded in another process, which may crash.

    As many processes are started as threads call this at the same time, and they are kept for the next picture.

    Raises:
        BadPictureError: As there, or `decoder_crash`: it died of this picture alone, twice, or did not answer.
        ResourceError: It was killed from outside, or could not get the memory.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (2, 1), (1, 2, 3)).save(file, "PNG")
        >>> pixels_apart(file.getvalue()).tolist()
        [[[1, 2, 3], [1, 2, 3]]]
    """
    for attempt in range(1, ATTEMPTS + 1):
        decoder = _taken(fresh=attempt > 1)
        try:
            pixels = decoder.pixels(content, max_pixels, fit, draft)
        except BadPictureError:
            _idle.append(decoder)
            raise
        except DecoderDiedError as died:
            if attempt == ATTEMPTS:
                raise _explained(died.code) from died
        else:
            _idle.append(decoder)
            return pixels
    raise AssertionError("unreachable")


def _taken(*, fresh: bool) -> Decoder:
    with contextlib.suppress(IndexError):
        if not fresh:
            return _idle.pop()
    return Decoder()


def _explained(code: int) -> Exception:
    if code == -signal.SIGALRM:
        return BadPictureError("decoder_crash", f"the decoder did not answer within {DEADLINE:.0f} s")
    if code in {-signal.SIGKILL, -signal.SIGTERM} or code >= 0:
        what = f"signal {-code}" if code < 0 else f"exit code {code}"
        return ResourceError(
            f"A process that decodes pictures was ended twice ({what}): most often the memory is short."
        )
    return BadPictureError("decoder_crash", f"the decoder died of {signal.Signals(-code).name}")


@atexit.register
def _close_idle() -> None:
    while _idle:
        _idle.pop().close()
