"""The queue of calls: how many run at a time, in which order, with how many threads, and what an error does."""

import dataclasses
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch
from models import needs_products

from coreset.demo import FOLDER, demo_choice
from coreset.embed_rows import How, embedded_pairs
from coreset.encoder import as_array, drop, loaded_encoder
from coreset.encoder.calls import Calls, Pending, side_by_side
from coreset.sources.pictures import MAX_PIXELS
from coreset.sources.tars import Pair, find_shards, read_pairs


class Watched:
    """A call that notes when it began, how many ran beside it, and torch's threads."""

    lock = threading.Lock()

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.running, self.most = 0, 0
        self.threads: set[int] = set()

    def call(self, number: int) -> torch.Tensor:
        """Its number, after a while."""
        with self.lock:
            self.begun.append(number)
            self.running += 1
            self.most = max(self.most, self.running)
            self.threads.add(torch.get_num_threads())
        time.sleep(0.01)  # so that others can begin
        with self.lock:
            self.running -= 1
        return torch.tensor([[number]])


@pytest.mark.parametrize(("together", "threads"), [(1, 1), (1, 3), (2, 2), (2, 4), (4, 4)])
def test_calls_begin_in_their_order_and_only_so_many_run(together: int, threads: int) -> None:
    calls, watched = Calls(together, threads), Watched()
    before = torch.get_num_threads()
    first = calls.begun([lambda n=n: watched.call(n) for n in range(6)])
    second = calls.begun([lambda n=n: watched.call(n) for n in range(6, 9)])
    assert as_array(second).ravel().tolist() == [6, 7, 8]
    assert as_array(first).ravel().tolist() == [0, 1, 2, 3, 4, 5]
    assert watched.most == together
    assert watched.threads == {threads // together}
    assert torch.get_num_threads() == before
    for at, number in enumerate(watched.begun):
        assert abs(at - number) < together


def test_threads_that_come_later_have_all_of_torchs_threads_again() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        as_array(Calls(2, 2).begun([lambda: torch.zeros(1)] * 4))
        found: list[int] = []
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert found == [3]
    finally:
        torch.set_num_threads(before)


def test_an_error_of_a_call_is_raised_where_its_vectors_are_asked_for() -> None:
    calls = Calls(2, 2)
    before = torch.get_num_threads()

    def failing() -> torch.Tensor:
        raise RuntimeError("no")

    pending = calls.begun([lambda: torch.zeros(1), failing, lambda: torch.zeros(1)])
    with pytest.raises(RuntimeError, match="no"):
        as_array(pending)
    assert as_array(calls.begun([lambda: torch.ones(1)])).tolist() == [1]
    assert torch.get_num_threads() == before


def test_vectors_come_in_the_order_that_is_asked_for() -> None:
    order = np.array([2, 0, 3, 1])
    parts = [torch.tensor([20, 0]), torch.tensor([30, 10])]
    found = Calls(2, 2).begun([lambda part=part: part for part in parts]).placed(order)
    assert as_array(found).tolist() == [0, 10, 20, 30]


def test_what_is_dropped_is_not_begun() -> None:
    calls, before = Calls(2, 2), torch.get_num_threads()
    begun: list[int] = []
    both, goes_on = threading.Barrier(3), threading.Event()

    def held(number: int) -> torch.Tensor:
        begun.append(number)
        both.wait(20)
        goes_on.wait(20)
        return torch.zeros(1)

    first = calls.begun([lambda: held(0), lambda: held(1)])
    later = calls.begun([lambda: held(2), lambda: held(3)])
    both.wait(20)
    drop(later)
    goes_on.set()
    as_array(first)
    with pytest.raises(CancelledError):
        as_array(later)
    assert sorted(begun) == [0, 1]
    assert as_array(calls.begun([lambda: torch.ones(1)])).tolist() == [1]
    assert torch.get_num_threads() == before


@needs_products
def test_an_interrupt_drops_what_the_model_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of captions may take minutes, and is not waited for."""
    encoder = loaded_encoder(dataclasses.replace(demo_choice(), precision="bfloat16", batch_size=64, threads=2))
    (shard,) = find_shards([f"{FOLDER}/shards/noto-emoji/*.tar"])[:1]
    pairs = [pair for pair in read_pairs(shard) if isinstance(pair, Pair)][:40]
    dropped: list[Pending] = []

    def noted(pending: Pending) -> None:
        dropped.append(pending)

    def interrupted(_: Pending) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pending, "drop", noted)
    monkeypatch.setattr(Pending, "array", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(embedded_pairs(pairs, encoder, How(64, 2, MAX_PIXELS), []))
    assert len(dropped) == 2


@pytest.mark.parametrize("threads", range(1, 33))
def test_no_thread_is_left_over(threads: int) -> None:
    for calls in range(1, 9):
        many = side_by_side(threads, calls)
        assert many <= calls
        assert threads % many == 0
        assert not [more for more in range(many + 1, calls + 1) if threads % more == 0]
