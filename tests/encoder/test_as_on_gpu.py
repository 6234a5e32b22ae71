"""The code for GPUs, run on the CPU: every tensor that is meant for one stays here, and what was asked is written down.

What this cannot show: that copies run beside computing, how much memory is taken, and how fast it is.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import check_refused, coreset, done
from torch.overrides import TorchFunctionMode

from coreset.demo import FOLDER, demo_choice
from coreset.embed_rows import How, embedded_pairs
from coreset.encoder import Choice, as_array, loaded_encoder, loading
from coreset.encoder.loading import device_here
from coreset.encoder.open_clip_model import OpenClipEncoder
from coreset.sources.pictures import MAX_PIXELS
from coreset.sources.tars import Pair, find_shards, read_pairs

BATCH = 8
BAD = ("--max-bad", "10")


class Here(TorchFunctionMode):
    """Takes CUDA devices for the CPU, and page-locked memory for memory; notes copies and waits.

    Attributes:
        seen: `pin`, `place` (a copy that is not waited for) and `wait`, of tensors with so many rows, in order
        most: rows of a batch that fit into the memory
    """

    def __init__(self, most: int = 1 << 20) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []
        self.most = most

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if func is torch.device:  # a name is no tensor
            return func(*args, **kwargs)
        if name == "pin_memory":
            self.seen.append(("pin", len(args[0])))
            return args[0].clone()
        if name == "to" and kwargs.get("non_blocking") and any(map(is_cuda, args)):
            self.seen.append(("place", len(args[0])))
            if len(args[0]) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
        if name == "cpu":
            self.seen.append(("wait", len(args[0])))
        args = tuple("cpu" if is_cuda(value) else value for value in args)
        return func(*args, **{key: "cpu" if is_cuda(value) else value for key, value in kwargs.items()})


def is_cuda(value: object) -> bool:
    return isinstance(value, str | torch.device) and str(value).startswith("cuda")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    loading._loaded.cache_clear()
    yield
    loading._loaded.cache_clear()


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    shards = find_shards([f"{FOLDER}/shards/noto-emoji/*.tar"])
    return [pair for pair in read_pairs(shards[0]) if isinstance(pair, Pair)][: 3 * BATCH]


def choice(device: str, precision: str) -> Choice:
    return dataclasses.replace(demo_choice(), batch_size=BATCH, device=device, precision=precision)


def test_batches_go_through_pinned_memory_and_the_next_is_called_first(two_gpus: None, pairs: list[Pair]) -> None:
    with Here() as here:
        encoder = OpenClipEncoder(choice("cuda:1", "float16"))
        here.seen.clear()
        (found,) = embedded_pairs(pairs, encoder, How(BATCH, 1, MAX_PIXELS), [])
    pictures = [what for what, rows in here.seen if rows == BATCH][:9]
    assert pictures == ["pin", "place", "pin", "place", "wait", "pin", "place", "wait", "wait"]
    (exact,) = embedded_pairs(pairs, loaded_encoder(choice("cpu", "float32")), How(BATCH, 1, MAX_PIXELS), [])
    for half, whole in ((found.images, exact.images), (found.texts, exact.texts)):
        assert (half * whole).sum(1).min() > 0.99
        assert np.abs(half - whole).max() > 0


def test_workers_take_the_devices_in_turn(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("MainProcess", "SpawnProcess-1", "SpawnProcess-2", "SpawnProcess-3"):
        monkeypatch.setattr("multiprocessing.current_process", lambda name=name: type("Process", (), {"name": name}))
        found.append(device_here("cuda"))
    assert found == ["cuda:0", "cuda:0", "cuda:1", "cuda:0"]
    with Here():
        assert loaded_encoder(choice("cuda", "float16"))._device == torch.device("cuda:0")


def test_the_command_embeds_as_on_a_gpu(two_gpus: None, place: Path) -> None:
    with Here() as here:
        done("embed", "--device", "cuda", "--precision", "auto", *BAD, cwd=place)
    params = json.loads((place / "run/rows/plan.json").read_text())["params"]
    assert (params["device"], params["precision"]) == ("cuda", "float16")
    assert {what for what, _ in here.seen} == {"pin", "place", "wait"}
    vectors = np.load(place / "run/rows/00000.npy").astype(np.float32)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 2e-3


def test_half_a_batch_is_tried_where_the_memory_is_too_small(two_gpus: None, place: Path) -> None:
    flags = ("embed", "--device", "cuda", "--batch-size", "16", *BAD)
    with Here(most=8):
        said = done(*flags, cwd=place)
    assert "a batch of 16 does not fit into the memory; 8 is tried and recorded" in said.err
    loading._loaded.cache_clear()
    with Here(most=4):
        check_refused(coreset(*flags, "--run", "b", cwd=place), 5, "batch of 8", "cuda", "--batch-size")


def test_a_tensor_of_a_device_is_waited_for_and_becomes_an_array() -> None:
    with Here() as here:
        found = as_array(torch.ones(3, 2))
    assert here.seen == [("wait", 3)]
    assert found.dtype == np.float32
