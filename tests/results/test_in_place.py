"""A trainer that reads the original tars gets the chosen rows, all of them and no other sample."""

from __future__ import annotations

import logging
import pickle
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import webdataset
from command import done
from hypothesis import given, settings
from hypothesis import strategies as st
from shards import good_pairs, recipe, write_shard
from torch.utils.data import DataLoader

import coreset
from coreset import rows
from coreset.results.in_place import Shards

Samples = list[dict[str, Any]]


def streamed(folder: Path, where: Any = "kept", urls: Sequence[str] | None = None) -> Samples:
    """What webdataset and a filter make of the shards of a folder."""
    shards = urls or sorted(str(path) for path in (folder / "shards").rglob("*.tar"))
    pipeline = webdataset.WebDataset(list(shards), shardshuffle=False)
    return list(pipeline.compose(coreset.filter(f"{folder}/run", where)))


def expected(folder: Path, *fates: str) -> dict[str, str]:
    """The keys of the rows with some fates, and their captions."""
    table = coreset.rows_with_fate(str(folder / "run"))
    found = table.filter(pc.is_in(table["fate"], pc.cast(list(fates), "string") if False else _array(fates)))
    return dict(zip(found["key"].to_pylist(), found["caption"].to_pylist(), strict=True))


def _array(values: Sequence[str]) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.string())


def captions(samples: Samples) -> dict[str, str]:
    assert len({sample["__key__"] for sample in samples}) == len(samples)
    return {sample["__key__"]: sample["txt"].decode() for sample in samples}


@pytest.mark.parametrize(
    ("where", "fates"),
    [
        ("kept", ["kept"]),
        ("duplicate", ["duplicate"]),
        ("centroid rank", ["kept", "not sampled"]),
        (["kept", "duplicate"], ["kept", "duplicate"]),
        ("embedded", list(coreset.sample.FATES) if False else None),
    ],
)
def test_chosen_rows_pass(undisturbed: Path, where: Any, fates: list[str] | None) -> None:
    from coreset.sample import FATES

    assert captions(streamed(undisturbed, where)) == expected(undisturbed, *(fates or FATES))


def test_it_says_how_many_passed(undisturbed: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = coreset.filter(f"{undisturbed}/run/")
    samples = [{"__key__": f"{number:09d}"} for number in range(24)]
    with caplog.at_level(logging.INFO, "coreset"):
        passed = list(stage(samples))
    assert (stage.seen, stage.passed) == (24, len(passed))
    assert f"{len(passed)} of 24 samples passed, {len(stage)} rows are meant" in caplog.text
    assert list(stage([{"__key__": "stranger"}])) == []
    assert "are these the shards of" in caplog.text
    again = pickle.loads(pickle.dumps(stage))  # noqa: S301  ours
    assert len(pickle.dumps(stage)) < 300
    assert list(again(samples)) == passed
