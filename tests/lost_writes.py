"""A disk that forgets what was not flushed: the state of a folder that a power cut could leave."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
from pathlib import Path
from typing import Any

from coreset.cli import main

Entries = dict[str, int]
"""Names in a folder and the inodes that they stand for."""


class Disk:
    """A folder, with what of it would outlive a power cut.

    A file's bytes are kept as they were when it was last flushed; its name, and the absence of an old one, as they were
    when its folder was last flushed. All that is there at the start counts as flushed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._fsync = os.fsync
        self._held: dict[int, int] = {}
        self._kept: dict[int, bytes] = {}
        self._entries: dict[int, Entries] = {}
        for folder, _, names in os.walk(root):
            self._note_folder(folder)
            for name in names:
                self._note_file(os.path.join(folder, name))

    def fsync(self, number: int) -> None:
        """Flush a file or a folder, and remember it."""
        self._fsync(number)
        path = os.readlink(f"/proc/self/fd/{number}")
        if not Path(path).is_relative_to(self.root):
            return
        if stat.S_ISDIR(os.fstat(number).st_mode):
            self._note_folder(path)
        else:
            self._note_file(path)

    def lose(self, draw: random.Random | None) -> None:
        """Leave the folder as a power cut would: all that was not flushed is lost, or by lot."""
        after = self.root.with_name(self.root.name + ".after")
        self._leave(os.stat(self.root).st_ino, self.root, after, draw)
        shutil.rmtree(self.root)
        after.rename(self.root)

    def _leave(self, inode: int, now: Path | None, after: Path, draw: random.Random | None) -> None:
        """Write one folder as it could be found."""
        after.mkdir()
        flushed = self._entries.get(inode, {})
        present = {entry.name: entry.inode() for entry in os.scandir(now)} if now else {}
        for name in sorted(flushed.keys() | present.keys()):
            is_kept = draw is None or draw.random() < 0.5
            chosen = (flushed if is_kept else present).get(name)
            if chosen is None:
                continue
            path = now / name if now and present.get(name) == chosen else None
            if chosen in self._entries or (path and path.is_dir()):
                self._leave(chosen, path, after / name, draw)
            else:
                (after / name).write_bytes(self._content(chosen, path, draw))

    def _content(self, inode: int, path: Path | None, draw: random.Random | None) -> bytes:
        """Bytes of a file as they could be found."""
        kept = self._kept.get(inode, b"")
        if draw is None or path is None:
            return kept
        whole = path.read_bytes()
        return draw.choice([kept, whole, whole if whole == kept else whole[: len(whole) // 2]])

    def _note_folder(self, path: str) -> None:
        inode = self._hold(path)
        self._entries[inode] = {entry.name: entry.inode() for entry in os.scandir(path)}

    def _note_file(self, path: str) -> None:
        self._kept[self._hold(path)] = Path(path).read_bytes()

    def _hold(self, path: str) -> int:
        """Keep an inode from being given to another file."""
        inode = os.stat(path).st_ino
        if inode not in self._held:
            self._held[inode] = os.open(path, os.O_PATH)
        return inode


def command_on_a_forgetful_disk(root: str, seed: int, *arguments: str) -> None:
    """A command whose death takes with it what was not flushed: everything for the seed 0, else by lot."""
    import sys

    disk, kill = Disk(Path(root)), os.kill

    def killed(pid: int, number: int) -> None:
        if number == signal.SIGKILL and pid == os.getpid():
            disk.lose(random.Random(seed) if seed else None)
        kill(pid, number)

    changed: Any = os
    changed.fsync, changed.kill = disk.fsync, killed
    sys.argv = ["coreset", *arguments]
    main()
