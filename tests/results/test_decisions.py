"""Every sample has one fate, and the fates add up to the funnel."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command import check_refused, coreset, done
from synthetic import random_given, selected_from

import coreset as package
from coreset.dedup import DedupParams
from coreset.results.decisions import DECISIONS, check_counts, write_decisions
from coreset.results.fate import decided, fated_tables
from coreset.sample import SampleParams


def funnel_of(run: Path) -> dict[str, int]:
    return {step.name: step.rows for step in package.funnel(str(run))}


def test_all_samples_have_a_fate(finished: Path) -> None:
    said = done("decisions", "fates.parquet", "--json", cwd=finished)
    table = pq.read_table(finished / "fates.parquet")
    steps, counts = funnel_of(finished / "run"), json.loads(said.out)["fates"]
    assert table.schema.equals(DECISIONS)
    assert sum(table["rows"].to_pylist()) == steps["samples"] == sum(counts.values())
    assert counts == Counter(table["fate"].to_pylist())
    assert counts["kept"] == steps["coreset"]
    assert counts["quarantined"] == steps["samples"] - steps["embedded"]
    assert counts["duplicate"] == steps["embedded"] - steps["unlike"]
    assert counts["text rank too high"] + counts["text rank too low"] == steps["unlike"] - steps["text rank"]
    refused = [row for row in table.to_pylist() if row["fate"] == "quarantined"]
    assert all(row["reason"] and row["source"] and row["cluster"] is None for row in refused)


def test_the_same_bytes_twice(finished: Path) -> None:
    done("decisions", "a.parquet", cwd=finished)
    done("decisions", "b.parquet", cwd=finished)
    assert (finished / "a.parquet").read_bytes() == (finished / "b.parquet").read_bytes()


def test_samples_that_a_shard_lost_count(finished: Path) -> None:
    shard = sorted((finished / "shards").glob("*.tar"))[0]
    shard.with_name(f"{shard.stem}_stats.json").write_text('{"successes": 1000}')
    shutil.rmtree(finished / "run")
    done("run", "--max-bad", "100", cwd=finished)
    counts = write_decisions(str(finished / "run"), str(finished / "d.parquet"))
    assert sum(counts.values()) == funnel_of(finished / "run")["samples"] > 1000
    lost = [row for row in pq.read_table(finished / "d.parquet").to_pylist() if row["reason"] == "missing_samples"]
    assert [row["source"] for row in lost] == [f"{shard.name}"]
    assert lost[0]["rows"] > 900


@pytest.mark.parametrize("scope", ["global", "cluster"])
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_pieces_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str, size: int) -> None:
    given = random_given(11)
    params = SampleParams(n=3, text_rank=(0, 80), centroid_rank=(10, 100), rank_scope=scope, allow_fewer=True)
    selected_from(tmp_path, given, DedupParams(), params)
    whole = package.rows_with_fate(str(tmp_path))
    monkeypatch.setattr("coreset.results.fate.BATCH_ROWS", size)
    tables = list(fated_tables(decided(str(tmp_path)), ["key", "kept_key"]))
    assert [name for table in tables for name in table["key"].to_pylist()] == whole["key"].to_pylist()
    assert [name for table in tables for name in table["fate"].to_pylist()] == whole["fate"].to_pylist()
    assert tables[0].column_names == ["key", "kept_key", "fate"]


def test_counts_that_differ_are_a_bug(finished: Path) -> None:
    run = str(finished / "run")
    counts = write_decisions(run, str(finished / "d.parquet"))
    check_counts(run, counts)
    with pytest.raises(package.CoresetError, match="decisions"):
        check_counts(run, {**counts, "duplicate": counts["duplicate"] + 1})


def test_what_is_refused(finished: Path, tmp_path: Path) -> None:
    check_refused(coreset("decisions", "fates.csv", cwd=finished), 2, "fates.csv must end in .parquet")
    check_refused(coreset("decisions", "d.parquet", "--run", "none", cwd=finished), 3, "coreset dedup")
    (finished / "run" / "coreset" / "stage.json").unlink()
    check_refused(coreset("decisions", "d.parquet", cwd=finished), 3, "run `coreset sample` first")
    assert not (finished / "d.parquet").exists()
