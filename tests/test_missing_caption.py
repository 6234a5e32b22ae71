"""Pictures without a caption: refused, or kept out of the text rank with a fate of their own."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command import check_equal, check_refused, contents, coreset, done

import coreset as package

LOST = "000001007"
"""The one pair of the shards that has no caption."""
FLAGS = ("--allow-missing-caption", "--max-bad", "10")
WIDE = ("--text-rank", "0", "100", "--centroid-rank", "0", "100", "-n", "100", "--allow-fewer")


@pytest.fixture
def allowed(place: Path) -> Path:
    done("embed", *FLAGS, cwd=place)
    return place


def test_the_row_has_a_vector_and_no_score(allowed: Path, undisturbed: Path) -> None:
    rows = pq.read_table(allowed / "run/rows/00001.parquet")
    row = next(row for row in rows.to_pylist() if row["key"] == LOST)
    assert (row["caption"], row["text_cosine"], row["source_row"]) == (None, None, 7)
    assert rows["text_cosine"].null_count == 1
    refused = pq.read_table(allowed / "run/quarantine/embed-00001.parquet")
    assert refused["reason"].to_pylist() == ["not_a_picture"]
    before = pq.read_table(undisturbed / "run/rows/00001.parquet")
    others = rows.filter(rows["text_cosine"].is_valid())
    assert others.drop(["vector_row", "text_cosine"]).equals(before.drop(["vector_row", "text_cosine"]))


def test_it_has_a_fate_of_its_own_and_the_funnel_counts_it(allowed: Path) -> None:
    done("dedup", "--threshold", "1", *FLAGS[1:], cwd=allowed)  # only exact copies are joined
    said = done("sample", *WIDE, *FLAGS[1:], cwd=allowed)
    assert "captioned" in said.out
    assert "1 without a caption" in said.out
    fates = package.rows_with_fate(str(allowed / "run"))
    named = dict(zip(fates["key"].to_pylist(), fates["fate"].to_pylist(), strict=True))
    assert named.pop(LOST) == "no caption"
    assert set(named.values()) <= {"kept", "duplicate"}
    chosen = pq.read_table(allowed / "run/coreset/coreset-00000-of-00001.parquet")["key"].to_pylist()
    assert sorted(chosen) == sorted(key for key, fate in named.items() if fate == "kept")


def test_two_workers_leave_the_same_bytes(allowed: Path, tmp_path: Path) -> None:
    done("embed", *FLAGS, "--workers", "2", "--run", "other", cwd=allowed)
    check_equal(allowed / "other", contents(allowed / "run"))


def test_a_run_without_such_rows_is_not_one_with_them(finished: Path) -> None:
    check_refused(coreset("embed", *FLAGS, cwd=finished), 7, "allow_missing_caption")
