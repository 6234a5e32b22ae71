"""The decoding process, with a decoder that has a bug: it dies of, or waits for ever at, what a picture holds."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from coreset.sources import decoding_process
from coreset.sources.pictures import decoded

DEATHS = {b"SEGV": signal.SIGSEGV, b"ABRT": signal.SIGABRT, b"KILL": signal.SIGKILL}


def decoded_or_dead(content: bytes, max_pixels: int, *fitting):
    if b"*WAIT*" in content:
        time.sleep(3600)
    if b"*ONCE*" in content and not (mark := Path(sys.argv[1])).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    for name, number in DEATHS.items():
        if b"*" + name + b"*" in content:
            os.kill(os.getpid(), number)
    if b"*MEMORY*" in content:
        raise MemoryError
    return decoded(content, max_pixels, *fitting)


if __name__ == "__main__":
    decoding_process.decoded = decoded_or_dead
    decoding_process.serve(sys.stdin.buffer, sys.stdout.buffer)
