"""A trainer that reads the original tars gets the chosen rows, all of them and no other sample."""

from __future__ import annotations

import gc
import logging
import pickle
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from command import done
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shards import good_pairs, recipe, write_shard
from torch.utils.data import DataLoader

import coreset
from coreset.results.in_place.in_place import ChosenKeys, Filter, Shards
from coreset.sample import FATES
from coreset.sources.names import key_of

Samples = list[dict[str, Any]]
COLUMNS = {"key": "__key__", "png": "png", "caption": "txt"}
"""Columns of a Parquet, and the members of a sample that they hold."""


def shards_of(folder: Path) -> list[str]:
    return sorted(str(path) for path in (folder / "shards").rglob("*.tar"))


def streamed(stage: Filter, urls: Sequence[str], **options: Any) -> Samples:
    """What webdataset and a filter make of some shards; webdataset leaves closing them to the collector of garbage."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        found = list(webdataset.WebDataset(list(urls), shardshuffle=False, **options).compose(stage))
        gc.collect()
    return found


def captions(samples: Samples) -> dict[str, str]:
    assert len({sample["__key__"] for sample in samples}) == len(samples)
    return {sample["__key__"]: sample["txt"].decode() for sample in samples}


def expected(folder: Path, fates: Sequence[str]) -> dict[str, str]:
    """The keys of the rows with some fates, and their captions."""
    table = coreset.rows_with_fate(str(folder / "run")).to_pylist()
    return {row["key"]: row["caption"] for row in table if row["fate"] in fates}


@pytest.mark.parametrize(
    ("where", "fates"),
    [
        ("kept", ["kept"]),
        ("duplicate", ["duplicate"]),
        ("centroid rank", ["kept", "not sampled"]),
        (["kept", "duplicate"], ["kept", "duplicate"]),
        ("embedded", FATES),
    ],
)
def test_chosen_rows_pass(undisturbed: Path, where: Any, fates: Sequence[str]) -> None:
    stage = coreset.filter(f"{undisturbed}/run", where)
    assert captions(streamed(stage, shards_of(undisturbed))) == expected(undisturbed, fates)
    assert stage.passed == len(stage) == len(expected(undisturbed, fates))


def test_it_says_how_many_passed(undisturbed: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = coreset.filter(f"{undisturbed}/run/")
    samples = [{"__key__": f"{number:09d}"} for number in range(24)]
    with caplog.at_level(logging.INFO, "coreset"):
        passed = list(stage(samples))
    assert (stage.seen, stage.passed) == (24, len(passed))
    assert f"{len(passed)} of 24 samples passed, {len(stage)} rows are meant" in caplog.text
    assert list(stage([{"__key__": "stranger"}, {"__key__": "\udcff"}])) == []
    assert "are these the shards of" in caplog.text
    again = pickle.loads(pickle.dumps(stage))  # noqa: S301  ours
    assert len(pickle.dumps(stage)) < 300
    assert list(again(samples)) == passed


def test_what_is_refused(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(coreset.CoresetError, match="is no fate and no step"):
        coreset.filter(f"{undisturbed}/run", "best")
    with pytest.raises(coreset.CoresetError, match="coreset dedup"):
        coreset.filter(str(tmp_path))
    with pytest.raises(coreset.CoresetError, match="no row whose fate is no caption"):
        coreset.filter(f"{undisturbed}/run", "no caption")


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """A run of two shards of one name and the same keys, with prefixed keys."""
    folder = tmp_path_factory.mktemp("prefixed")
    for name, first in (("0.tar", 0), ("more/0.tar", 24)):
        samples = good_pairs(first)
        for number, sample in enumerate(samples):
            sample["__key__"] = f"{number:03d}"
        write_shard(folder / "shards" / name, samples)
    toml = recipe(clip, "shards/**/*.tar").replace("[embed]", "[embed]\nprefix_keys = true")
    (folder / "coreset.toml").write_text(toml)
    done("run", cwd=folder)
    return folder


def test_prefixed_keys_are_told_apart_by_their_shards(prefixed: Path) -> None:
    stage = coreset.filter(f"{prefixed}/run")
    found: dict[str, str] = {}
    for name in ("0.tar", "more/0.tar"):
        samples = streamed(stage, [f"{prefixed}/shards/{name}"])
        found |= {f"{name}/{key}": caption for key, caption in captions(samples).items()}
    assert found == expected(prefixed, ["kept"])
    assert list(stage([{"__key__": "000", "__url__": "1.tar"}, {"__key__": "0.tar/000"}])) == []


def test_a_key_that_is_chosen_elsewhere_does_not_pass(tmp_path: Path, clip: Path) -> None:
    """Keys are unique among rows, not among what is refused; and a shard may hold a key twice."""
    first, second = good_pairs(0), good_pairs(100)
    ruined = {**second[0], "__key__": first[0]["__key__"], "png": b"no picture"}
    write_shard(tmp_path / "shards" / "0.tar", [*first, {**first[3], "png": first[5]["png"]}, first[6]])
    write_shard(tmp_path / "shards" / "1.tar", [second[1], ruined, *second[2:]])
    (tmp_path / "coreset.toml").write_text(recipe(clip))
    done("run", "--max-bad", "20", cwd=tmp_path)
    stage = coreset.filter(f"{tmp_path}/run", "embedded")
    samples = streamed(stage, shards_of(tmp_path))
    assert captions(samples) == expected(tmp_path, FATES)
    passed = {sample["__key__"]: sample["png"] for sample in samples}
    assert [passed[sample["__key__"]] for sample in first] == [sample["png"] for sample in first]
    again = streamed(stage, [shards_of(tmp_path)[0]] * 2)  # one stream that reads a shard twice
    assert Counter(sample["png"] for sample in again) == Counter([sample["png"] for sample in first] * 2)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.text("ab", max_size=3)), st.sets(st.text("ab", min_size=1, max_size=3), min_size=1))
def test_equal_hashes_are_told_apart(monkeypatch: pytest.MonkeyPatch, asked: set[str], chosen: set[str]) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("coreset.results.in_place.in_place.key_hash", lambda letters: len(letters) % 2)
        table = pa.table({"key": sorted(chosen), "source": ["0.tar"] * len(chosen)})
        patch.setattr("coreset.results.in_place.in_place.meant_rows", lambda run, where, columns: iter([table]))
        patch.setattr("coreset.results.in_place.in_place.source_names", lambda run: ["0.tar"])
        keys = ChosenKeys("nowhere", "kept")
        assert {key for key in asked | chosen if keys.has(key, "x/0.tar", Counter())} == chosen


def test_an_export_is_filtered_by_the_keys_of_its_rows(tmp_path: Path, clip: Path) -> None:
    """Keys with dots and slashes are escaped in an export, and come back when it is embedded."""
    samples = good_pairs(0)
    for number, sample in enumerate(samples):
        sample["__key__"] = f"v1.{number}" if number % 2 == 1 else f"dir/{number}"
    pq.write_table(
        pa.table({name: [sample[field] for sample in samples] for name, field in COLUMNS.items()}),
        tmp_path / "0.parquet",
    )
    for folder, shards in (("first", "../0.parquet"), ("second", "../out/*.tar")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "coreset.toml").write_text(recipe(clip, shards))
        done("run", cwd=tmp_path / folder)
        if folder == "first":
            done("export", "webdataset", "../out", "--where", "embedded", cwd=tmp_path / folder)
    stage = coreset.filter(f"{tmp_path}/second/run")
    passed = streamed(stage, [str(path) for path in (tmp_path / "out").glob("*.tar")])
    keys = coreset.open_run(f"{tmp_path}/second/run").coreset()["key"].to_pylist()
    assert any("." in key or "/" in key for key in keys)
    assert sorted(key_of(sample["__key__"]) or "" for sample in passed) == sorted(keys)


def test_shards_are_known_by_the_end_of_their_names() -> None:
    shards = Shards(["0.tar", "a/0.tar", "b c/1.tar.gz"])
    names = {
        "/data/0.tar": 0,
        "0.tar": 0,
        "a/0.tar": 1,
        "s3://bucket/x/a/0.tar?version=2": 1,
        "xa/0.tar": 0,
        "/b c/1.tar.gz": 2,
        "pipe:aws s3 cp s3://bucket/a/0.tar -": 1,
        "00.tar": None,
        "": None,
    }
    assert {name: shards.named(name) for name in names} == names


@pytest.fixture
def dataset(undisturbed: Path) -> Iterator[coreset.PictureDataset]:
    found = coreset.PictureDataset(f"{undisturbed}/run", "unlike")
    yield found
    found.close()


def workers(dataset: Any, **options: Any) -> Any:
    """What a DataLoader with two processes gives."""
    return DataLoader(dataset, num_workers=2, multiprocessing_context="forkserver", **options)


def mean(picture: Any) -> float:
    """What a test makes of a picture."""
    import numpy as np

    return float(np.asarray(picture).mean())


def test_pictures_come_by_number(undisturbed: Path, dataset: coreset.PictureDataset) -> None:
    run = coreset.open_run(f"{undisturbed}/run")
    rows = {row["key"]: row for row in run.fates().to_pylist()}
    assert {row["key"] for row in dataset} == {key for key, row in rows.items() if row["fate"] != "duplicate"}
    for row in dataset:
        assert row == {
            "key": row["key"],
            "caption": rows[row["key"]]["caption"],
            "image": run.picture(rows[row["key"]]),
        }
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_torch_reads_in_place_with_workers(undisturbed: Path, dataset: coreset.PictureDataset) -> None:
    """The real DataLoader, two processes: by number with a sampler, and as a stream of tars."""
    seeing = coreset.PictureDataset(f"{undisturbed}/run", "unlike", mean, ["key"])
    sampler = coreset.Sampler(seeing, seed=3)
    batches = list(workers(seeing, batch_size=4, sampler=sampler))
    assert [key for batch in batches for key in batch["key"]] == [dataset[index]["key"] for index in sampler]
    assert all(0 < value < 256 for batch in batches for value in batch["image"].tolist())
    stage = coreset.filter(f"{undisturbed}/run")
    stream = webdataset.WebDataset(shards_of(undisturbed), shardshuffle=False).compose(stage)
    assert captions(list(workers(stream, batch_size=None))) == expected(undisturbed, ["kept"])


def test_pictures_of_a_parquet(tmp_path: Path, clip: Path) -> None:
    pairs = good_pairs(0)
    table = {name: [sample[field] for sample in pairs] for name, field in COLUMNS.items()}
    (tmp_path / "shards").mkdir()
    pq.write_table(pa.table(table), tmp_path / "shards" / "0.parquet", row_group_size=5)
    (tmp_path / "coreset.toml").write_text(recipe(clip, "shards/*.parquet"))
    done("run", cwd=tmp_path)
    found = coreset.PictureDataset(f"{tmp_path}/run", "embedded")
    pictures = {sample["__key__"]: sample["png"] for sample in pairs}
    assert {row["key"]: row["image"] for row in found} == pictures


def test_pictures_that_cannot_be_had(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coreset.results.in_place.picture_dataset.OPEN_FILES", 1)
    done("run", "--max-bad", "10", cwd=finished)  # a copy: its run still names the shards that it was made of
    found = coreset.PictureDataset(f"{finished}/run", "embedded")
    assert len(list(found)) == len(found)
    found.close()
    shard = finished / "shards" / "00001.tar"
    content = shard.read_bytes()
    shard.write_bytes(content[512:] + content[:512])
    with pytest.raises(coreset.CoresetError, match=r"00001\.tar is not the file that was embedded"):
        list(found)
    found.close()
    shard.write_bytes(content[:-512])
    with pytest.raises(coreset.CoresetError, match=r"00001\.tar has [\d,]+ bytes instead of"):
        coreset.PictureDataset(f"{finished}/run")
    shard.unlink()
    with pytest.raises(coreset.CoresetError, match="cannot be read"):
        list(found)
    found.close()


def test_gzipped_tars_are_refused(tmp_path: Path, clip: Path) -> None:
    write_shard(tmp_path / "shards" / "0.tar.gz", good_pairs(0))
    (tmp_path / "coreset.toml").write_text(recipe(clip, "shards/*.tar.gz"))
    done("run", cwd=tmp_path)
    with pytest.raises(coreset.CoresetError, match="coreset export webdataset"):
        coreset.PictureDataset(f"{tmp_path}/run")
    stage = coreset.filter(f"{tmp_path}/run")
    assert captions(streamed(stage, [str(tmp_path / "shards" / "0.tar.gz")])) == expected(tmp_path, ["kept"])


@given(st.integers(0, 40), st.integers(1, 5), st.booleans(), st.booleans(), st.integers(0, 1 << 63))
def test_ranks_share_an_epoch(count: int, world_size: int, shuffle: bool, even: bool, seed: int) -> None:
    samplers = [coreset.Sampler(range(count), seed, rank, world_size, shuffle, even) for rank in range(world_size)]
    parts = [list(sampler) for sampler in samplers]
    assert [len(part) for part in parts] == [len(sampler) for sampler in samplers]
    together = sorted(index for part in parts for index in part)
    assert len(set(together)) == len(together) == (count - count % world_size if even else count)
    if even:
        assert len({len(part) for part in parts}) == 1
    if not shuffle:
        assert together == list(range(len(together)))


def test_every_epoch_has_its_order() -> None:
    sampler = coreset.Sampler(range(1000), seed=1)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(tuple(sampler))
        assert sorted(orders[-1]) == list(range(1000))
    assert len(set(orders)) == 3
    assert orders[0] != tuple(coreset.Sampler(range(1000), seed=2))
    assert orders[0][:5] == (712, 698, 409, 171, 224)
    with pytest.raises(coreset.CoresetError, match="rank 2 of world_size 2"):
        coreset.Sampler(range(4), rank=2, world_size=2)
