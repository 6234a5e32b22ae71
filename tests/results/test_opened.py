"""A finished run from Python."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import coreset


def test_a_run_is_opened(undisturbed: Path) -> None:
    run = coreset.open_run(f"{undisturbed}/run/")
    fates, steps = run.fates(), {step.name: step.rows for step in run.funnel()}
    assert fates.num_rows == steps["embedded"]
    assert pa.concat_tables(run.batches(["key"])).equals(fates.select(["key", "fate"]))
    chosen = fates.filter(pa.compute.equal(fates["fate"], "kept"))
    assert sorted(chosen["key"].to_pylist()) == sorted(run.coreset()["key"].to_pylist())
    assert sum(run.quarantined()["rows"].to_pylist()) == steps["samples"] - steps["embedded"]
    row = chosen.to_pylist()[0]
    assert len(run.picture(row)) == row["image_bytes"]


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(coreset.CoresetError, match="coreset dedup"):
        coreset.open_run(str(tmp_path))
