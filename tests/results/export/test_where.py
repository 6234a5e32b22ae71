"""Rows of any fate, in the order in which rows are drawn."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
import xxhash
from command import check_refused, contents, coreset, done
from synthetic import random_given, selected_from

import coreset as package
from coreset.dedup import DedupParams
from coreset.engine.local import in_process
from coreset.engine.stage import complete
from coreset.results.export.chosen import chosen_stage, listed_rows, listing_of, tallied
from coreset.results.export.where import STEPS, fates_of
from coreset.results.fate import decided, rows_with_fate
from coreset.sample import FATES, SampleParams

STEP_OF_FUNNEL = ("unlike", "text rank", "centroid rank", "coreset")


def listed_keys(place: Path, *where: str) -> list[str]:
    """The ids of an export of some fates, which is verified."""
    flags = [flag for word in where for flag in ("--where", word)]
    done("export", "llava", "out", "--overwrite", *flags, cwd=place)
    done("verify", "out", cwd=place)
    return [entry["id"] for entry in json.loads((place / "out" / "coreset.json").read_text())]


def test_steps_are_those_of_the_funnel(finished: Path) -> None:
    counted = {step.name: step.rows for step in package.funnel(str(finished / "run"))}
    fates = Counter(rows_with_fate(str(finished / "run"))["fate"].to_pylist())
    for step in STEP_OF_FUNNEL:
        assert sum(fates[fate] for fate in STEPS[step]) == counted[step]
        assert len(listed_keys(finished, step)) == counted[step]


def test_rows_of_one_fate(finished: Path) -> None:
    table = rows_with_fate(str(finished / "run")).to_pylist()
    duplicates = {row["key"] for row in table if row["fate"] == "duplicate"}
    assert set(listed_keys(finished, "duplicate")) == duplicates
    assert set(listed_keys(finished, "duplicate", "kept")) >= duplicates
    check_refused(coreset("export", "llava", "x", "--where", "dupe", cwd=finished), 2, "'dupe' is no fate", "duplicate")
    check_refused(coreset("export", "llava", "x", "--where", "no caption", cwd=finished), 3, "no row whose fate")


def test_words_that_mean_the_same_are_one_plan(finished: Path) -> None:
    done("export", "llava", "out", "--where", "centroid rank", cwd=finished)
    said = done("export", "llava", "out", "--where", "not sampled,kept", cwd=finished)
    assert "complete already" in said.err


@pytest.mark.parametrize("scope", ["global", "cluster"])
@pytest.mark.parametrize("where", [("kept",), ("embedded",), ("duplicate", "text rank too low"), ("centroid rank",)])
def test_the_order_is_that_of_seeded_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str, where: tuple[str, ...]
) -> None:
    params = SampleParams(n=3, text_rank=(0, 80), centroid_rank=(10, 100), rank_scope=scope, seed=7, allow_fewer=True)
    selected_from(tmp_path, random_given(11), DedupParams(), params, parts=3)
    monkeypatch.setattr("coreset.results.export.chosen.FILE_ROWS", 4)
    by, meant = decided(str(tmp_path)), fates_of(where)
    count = tallied(by, meant, in_process).rows
    stage = chosen_stage(f"{tmp_path}/chosen", by, meant, count, in_process, 1 << 28)
    listing = listing_of(complete(stage, in_process))
    assert listing.rows == count
    assert all(found == 4 for found in listing.counts[:-1])
    expected = [(row["key"], row["fate"]) for row in rows_with_fate(str(tmp_path)).to_pylist() if row["fate"] in meant]
    expected.sort(key=lambda found: xxhash.xxh3_64_intdigest(found[0].encode(), 7))
    for start, stop in ((0, count), (1, count - 1), (3, 6)):
        found = listed_rows(listing.pieces(start, stop)) if start < min(stop, count) else pa.table({"key": []})
        assert found["key"].to_pylist() == [key for key, _ in expected[start:stop]]
        assert found.num_rows == 0 or found["fate"].to_pylist() == [fate for _, fate in expected[start:stop]]


def test_every_fate_is_in_a_step() -> None:
    assert set(STEPS["embedded"]) == set(FATES)
    assert all(set(STEPS[later]) <= set(STEPS[step]) for step, later in pairwise(STEP_OF_FUNNEL))


def test_kept_rows_are_the_coreset_in_its_order(finished: Path) -> None:
    rows = package.open_run(str(finished / "run")).coreset()["key"].to_pylist()
    assert listed_keys(finished, "kept") == rows
    assert not (finished / "out" / ".coreset" / "chosen").exists()
    whole = contents(finished / "out")
    listed_keys(finished, "coreset")
    assert contents(finished / "out") == whole
