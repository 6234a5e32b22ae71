"""Tars of the coreset, read back by webdataset itself."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

import webdataset
from command import done

import coreset


def samples_of(folder: Path) -> list[dict[str, Any]]:
    """What webdataset reads of all tars; it leaves closing them to the collector of garbage."""
    shards = sorted(str(path) for path in folder.glob("*.tar"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        found = list(webdataset.WebDataset(shards, shardshuffle=False))
        gc.collect()
    return found


def test_webdataset_reads_the_coreset(finished: Path) -> None:
    done("export", "webdataset", "out", "--samples-per-shard", "2", cwd=finished)
    found = samples_of(finished / "out")
    assert sorted(path.name for path in (finished / "out").glob("*.tar")) == ["00000.tar", "00001.tar", "00002.tar"]
    run = coreset.open_run(str(finished / "run"))
    rows = run.coreset().to_pylist()
    assert [sample["__key__"] for sample in found] == [row["key"] for row in rows]
    assert [sample["txt"].decode() for sample in found] == [row["caption"] for row in rows]
    assert [sample["png"] for sample in found] == [run.picture(row) for row in rows]
