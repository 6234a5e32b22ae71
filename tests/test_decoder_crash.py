"""A picture that makes a decoder crash costs that picture, in a run of one worker too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command import contents, done
from shards import good_pairs, write_shard

from coreset.sources import decoding


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    decoding._close_idle()
    program = str(Path(__file__).with_name("crashing_decoder.py"))
    monkeypatch.setattr(decoding, "COMMAND", (sys.executable, program, str(tmp_path / "mark")))
    yield
    decoding._close_idle()


def test_the_other_pairs_are_embedded_as_if_nothing_had_been(place: Path, crashing: None) -> None:
    runs = {}
    for name, harm in (("crashed", lambda png: png + b"*SEGV*"), ("no picture", lambda png: b"not a picture")):
        samples = good_pairs(0)
        samples[9] = {**samples[9], "png": harm(samples[9]["png"])}
        write_shard(place / "shards/00000.tar", samples)
        done("embed", "--max-bad", "10", "--run", name, cwd=place)
        entries = pq.read_table(place / name / "quarantine/embed-00000.parquet").to_pylist()
        assert [entry["key"] for entry in entries] == ["000000009"]
        runs[name] = entries[0]["reason"], contents(place / name)
    assert runs["crashed"][0] == "decoder_crash"
    crashed, other = runs["crashed"][1], runs["no picture"][1]
    assert crashed["rows/00000.npy"] == other["rows/00000.npy"]
    assert pq.read_table(place / "crashed/rows/00000.parquet")["key"].to_pylist() == [
        f"{number:09d}" for number in range(24) if number != 9
    ]
