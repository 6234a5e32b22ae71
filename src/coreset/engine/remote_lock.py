"""One run directory in a store, one writer: an object that says who writes, rewritten while that process lives.

The object is put only if it is not there. Its owner rewrites it every `BEAT` seconds; nobody else touches it while it
does. It is taken over at once where its process is known to be dead, on the same machine; else when its time is older
than `STALE` and it did not change for two more beats, so that clocks which differ do no harm. Where the store can
replace an object only if it has a given etag (S3), two who take over at once cannot both get it. Elsewhere both look
again after a pause, and the earlier one gives way.
"""

from __future__ import annotations

import _thread
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coreset.engine import remote
from coreset.engine.errors import InUseError, ResourceError
from coreset.engine.files import json_bytes

BEAT = 20.0
"""Seconds between two signs of life."""
STALE = 120.0
"""Seconds after which an owner without a sign of life counts as dead."""
PAUSE = 2.0
"""Seconds after which one who took a lock over looks whether somebody else did, too."""


@dataclass(frozen=True)
class Said:
    """What a lock says.

    Attributes:
        owner: host, pid, since, and what tells machines and processes apart
        beat: when it was written last, in the owner's seconds
        etag: of the object
    """

    owner: dict[str, Any]
    beat: float
    etag: str

    @property
    def is_dead(self) -> bool:
        """Whether its process ran on this machine and does not any more."""
        return self.owner.get("machine") == _machine() and _began(self.owner.get("pid")) != self.owner.get("began")

    @property
    def is_stale(self) -> bool:
        """Whether its last sign of life is so old that it counts as dead."""
        return self.is_dead or time.time() - self.beat > STALE


class Held:
    """A lock that this process has, kept alive by a thread."""

    def __init__(self, location: str, owner: dict[str, Any], etag: str) -> None:
        self._location, self._owner, self._etag = location, owner, etag
        self._done = threading.Event()
        self.is_lost = False
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let go."""
        self._done.set()
        self._thread.join()
        found = None if self.is_lost else said_of(self._location)
        if found is not None and found.owner == self._owner:
            remote.delete([self._location])

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._done.wait(BEAT):
            try:
                etag = remote.replace(self._location, _content(self._owner), self._etag)
            except ResourceError:  # whoever writes will say that the store is out of reach
                if time.monotonic() - last < STALE:
                    continue
                etag = None
            if etag is None:
                found = said_of(self._location)  # an answer that was lost leaves our own, with another etag
                etag = found.etag if found is not None and found.owner == self._owner else None
            if etag is None:
                self.is_lost = True
                _thread.interrupt_main()
                return
            self._etag, last = etag, time.monotonic()


@contextmanager
def sole_writer(folder: str, location: str, then: str) -> Iterator[None]:
    """Hold a folder in a store for writing until the block ends.

    Args:
        folder: the run
        location: of the lock
        then: what to do if another process holds it, for the message

    Raises:
        InUseError: Another process holds it, or took it over because this one gave no sign of life for too long.
    """
    held = _taken(folder, location, then)
    try:
        yield
    except KeyboardInterrupt as error:
        if held.is_lost:
            raise InUseError(
                f"{folder} was taken over by another process, since this one gave no sign of life for "
                f"{STALE:.0f} s; {then}"
            ) from error
        raise
    finally:
        held.release()


def said_of(location: str) -> Said | None:
    """What a lock says; None if nobody holds it."""
    found = remote.stat(location)
    content = None if found is None else remote.read_all(location)
    if found is None or content is None:
        return None
    try:
        said = json.loads(content)
        return Said(dict(said["owner"]), float(said["beat"]), found.etag)
    except (ValueError, KeyError, TypeError):
        return Said({}, 0.0, found.etag)  # a lock of a disk, copied with its run


def _taken(folder: str, location: str, then: str) -> Held:
    owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": _machine(),
        "began": _began(os.getpid()),
    }
    found = None
    try:
        remote.put_bytes(location, _content(owner), new=True)
    except FileExistsError:
        found = said_of(location)
    if found is not None and found.owner != owner:
        _take_over(folder, location, then, found, owner)
    now = said_of(location)
    if now is None or now.owner != owner:
        raise InUseError(f"{folder} is being written by {_named(now)}; {then}")
    return Held(location, owner, now.etag)


def _take_over(folder: str, location: str, then: str, found: Said, owner: dict[str, Any]) -> None:
    live = InUseError(
        f"{folder} is being written by {_named(found)}; {then} If that process is dead, its lock ends by itself "
        f"{STALE:.0f} s after its last sign of life; {location} is the lock."
    )
    if not found.is_stale:
        raise live
    if not found.is_dead:  # its clock may be wrong: see whether it changes
        time.sleep(2 * BEAT)
    if remote.replace(location, _content(owner), found.etag) is None:
        raise live
    time.sleep(0 if found.is_dead else PAUSE)


def _named(said: Said | None) -> str:
    owner = said.owner if said is not None else {}
    return f"process {owner['pid']} on {owner['host']} since {owner['since']}" if "pid" in owner else "another process"


def _content(owner: dict[str, Any]) -> bytes:
    return json_bytes({"owner": owner, "beat": time.time()})


def _machine() -> str:
    """Tells machines and containers apart: pids mean the same wherever this is the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"unknown {socket.gethostname()} {os.getpid()}"


def _began(pid: Any) -> str | None:  # noqa: ANN401  what a lock says may be anything
    """When a process of this machine began, in ticks since it was booted; None if there is none."""
    try:
        stat = Path(f"/proc/{int(pid)}/stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError, TypeError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
