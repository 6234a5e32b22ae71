"""What is said of a shard as a whole: its sidecars, members of no use, files that changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from strategies_tars import END, Case, check, good, member, sample, told, written

from coreset.engine.errors import InputError
from coreset.sources.tars import Limits, Pair, read_pairs

JPG, TXT = b"picture", b"a caption"
ONE, TAIL = good("a"), good("z") + END
LIMITS = Limits(member=4096)


def both(key: str, **parts: bytes) -> bytes:
    """A sample with a picture and a caption, unless told otherwise."""
    return sample(key, **({"jpg": JPG, "txt": TXT} | parts))


SHARDS = [
    Case("no samples", END, ["empty_shard 0"]),
    Case("no samples, as the sidecar says", END, [], successes=0),
    Case("samples missing", good("a", "b") + END, ["a", "b", "missing_samples 2"], successes=4),
    Case(
        "samples missing behind a bad one",
        sample("a", jpg=JPG) + TAIL,
        ["a no_caption", "z", "missing_samples 1"],
        successes=3,
    ),
    Case(
        "split samples hide no missing one",
        sample("a", jpg=JPG) + both("b") + sample("a", txt=TXT) + END,
        ["a no_caption", "b", "a split_sample", "missing_samples 1"],
        successes=3,
    ),
    Case("more than the sidecar counts", good("a", "b") + END, ["a", "b", "sidecar_disagrees 0"], successes=1),
    Case("sidecar without a count", ONE + END, ["a", "bad_sidecar 0"], successes="many"),
    Case("sidecar with a yes for a count", ONE + END, ["a", "bad_sidecar 0"], successes=True),
    Case("sidecar below zero", ONE + END, ["a", "bad_sidecar 0"], successes=-1),
    Case("sidecar beyond reason", ONE + END, ["a", "bad_sidecar 0"], successes=2**70),
    Case(
        "members of no use",
        member("a.cls", b"7") + ONE + member("a.pkl", b"cos") + END,
        ["a", "ignored_members 0"],
    ),
    Case(
        "members without a key",
        member("a/._b.jpg", JPG) + member("README") + ONE + END,
        ["a", "ignored_members 0"],
    ),
    Case(
        "members of no use only",
        member("a.npz", b"7") + member("b.pyd", b"7") + END,
        ["empty_shard 0", "ignored_members 0"],
    ),
    Case("a large member of no use", member("b.mp4", b"7" * 9000) + ONE + END, ["a", "ignored_members 0"]),
    Case("a folder is no loss", member("cats/", kind=b"5") + good("cats/a") + END, ["cats/a"]),
    Case("webdataset's own notes", member("__meta__/x.jpg", JPG) + ONE + END, ["a", "ignored_members 0"]),
]


@pytest.mark.parametrize("case", SHARDS, ids=lambda case: case.name)
def test_shard_as_a_whole(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path, LIMITS)


def test_details_tell_what_a_person_needs(tmp_path: Path) -> None:
    content = both("a", txt=b"caf\xe9 noir") + both("b\x1b", jpg=b"x" * 5000) + good("c")
    found = [one for one in read_pairs(written(tmp_path, content, 9), LIMITS) if not isinstance(one, Pair)]
    assert "e9 20 6e 6f" in found[0].detail
    assert "\\x1b" in found[1].detail
    assert "\x1b" not in found[1].detail
    assert "00000_stats.json counts 9 samples, the tar has 3" in found[-1].detail


def test_parquet_counts_when_there_is_no_stats_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shard = written(tmp_path, good("a", "b") + END)
    table = tmp_path / "00000.parquet"
    status = ["success", "failed_to_download", "success", "success", None]
    pq.write_table(pa.table({"key": list("abcde"), "status": status}), table)
    assert [told(one) for one in read_pairs(shard)] == ["a", "b", "missing_samples 1"]
    pq.write_table(pa.table({"key": ["a"]}), table)
    assert [told(one) for one in read_pairs(shard)] == ["a", "b"]
    table.write_bytes(b"PAR1 and no more")
    assert [told(one) for one in read_pairs(shard)] == ["a", "b", "bad_sidecar 0"]


@pytest.mark.parametrize("stats", [b"", b"{", b"\xff", b"[" * 100_000, b"[1]", json.dumps({}).encode()])
def test_sidecar_that_cannot_be_read(stats: bytes, tmp_path: Path) -> None:
    shard = written(tmp_path, ONE + END)
    (tmp_path / "00000_stats.json").write_bytes(stats)
    assert [told(one) for one in read_pairs(shard)] == ["a", "bad_sidecar 0"]


def test_file_that_changed_is_not_read(tmp_path: Path) -> None:
    shard = written(tmp_path, ONE + END)
    with open(shard.location, "ab") as file:
        file.write(bytes(512))
    with pytest.raises(InputError, match="when it was listed"):
        list(read_pairs(shard))
    os.remove(shard.location)
    with pytest.raises(FileNotFoundError, match=r"while reading the shard 00000\.tar"):
        list(read_pairs(shard))
