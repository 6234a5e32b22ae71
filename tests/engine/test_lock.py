"""One run directory, one writer; a dead one lets go."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Started, wait_until
from engine_tasks import hold_folder

from coreset.engine.errors import InputError, InUseError
from coreset.engine.lock import NAME, sole_writer, undisturbed


def test_the_lock_is_free_again_after_the_block(tmp_path: Path) -> None:
    for _ in range(2):
        with sole_writer(str(tmp_path / "run")):
            pass


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), sole_writer(str(tmp_path)):
        raise ZeroDivisionError
    with sole_writer(str(tmp_path)):
        pass


def test_a_second_writer_is_told_who_the_first_one_is(tmp_path: Path) -> None:
    holder = Started(hold_folder, str(tmp_path), cwd=tmp_path)
    wait_until((tmp_path / "held").exists)
    with pytest.raises(InUseError, match=f"process {holder.pid} on .* since 2") as error, sole_writer(str(tmp_path)):
        pass
    assert error.value.exit_code == 6
    holder.kill()
    holder.wait()


def test_the_second_writer_leaves_the_first_ones_name(tmp_path: Path) -> None:
    with sole_writer(str(tmp_path)):
        with pytest.raises(InUseError), sole_writer(str(tmp_path)):
            pass
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()


def test_the_lock_is_released_by_kill_9(tmp_path: Path) -> None:
    holder = Started(hold_folder, str(tmp_path), cwd=tmp_path)
    wait_until((tmp_path / "held").exists)
    holder.kill(signal.SIGKILL)
    assert holder.wait() == -signal.SIGKILL
    with sole_writer(str(tmp_path)):
        pass


@pytest.mark.parametrize("hold", [sole_writer, undisturbed])
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EIO])
def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, hold: Callable[[str], Any], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / NAME).touch()
    monkeypatch.setattr(fcntl, "flock", unable)
    with pytest.raises(InputError, match=f"cannot be locked .{os.strerror(number)}.*another disk"), hold(str(tmp_path)):
        pass


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_lock_file_that_says_nothing_still_holds(tmp_path: Path, left: bytes) -> None:
    with sole_writer(str(tmp_path)):
        (tmp_path / NAME).write_bytes(left)
        with pytest.raises(InUseError, match="another process"), sole_writer(str(tmp_path)):
            pass


def test_what_a_killed_writer_left_in_the_folder_is_swept(tmp_path: Path) -> None:
    (tmp_path / "run.json.tmp.1.0123abcd").write_text("{")
    with sole_writer(str(tmp_path)):
        assert [name for name in os.listdir(tmp_path) if ".tmp." in name] == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="cannot be written"), sole_writer(str(tmp_path / "run")):
        pass


def test_one_of_many_threads_gets_the_lock(tmp_path: Path) -> None:
    got, refused, everyone_tried = [], [], threading.Barrier(8)

    def write() -> None:
        try:
            with sole_writer(str(tmp_path)):
                got.append(1)
                everyone_tried.wait()
        except InUseError:
            refused.append(1)
            everyone_tried.wait()

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
