"""A folder for the Hub, opened by `datasets` and by mlcroissant."""

from __future__ import annotations

import hashlib
import io
import json
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from command import check_equal, check_refused, contents, coreset, done, started
from PIL import Image

import coreset as package


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, undisturbed: Path) -> Path:
    folder = tmp_path_factory.mktemp("hf")
    flags = ("--where", "text rank", "--samples-per-shard", "8", "--run", f"{undisturbed}/run")
    done("export", "hf", "out", *flags, cwd=folder)
    return folder / "out"


@pytest.fixture(scope="module")
def pictures(undisturbed: Path) -> dict[str, bytes]:
    """The pictures that must be there, by key."""
    run = package.open_run(f"{undisturbed}/run")
    fates = ("kept", "not sampled", "centroid rank too high", "centroid rank too low")
    return {row["key"]: run.picture(row) for row in run.fates().to_pylist() if row["fate"] in fates}


def test_datasets_opens_it(out: Path, pictures: dict[str, bytes], tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    found = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path))
    assert isinstance(found.features["image"], datasets.Image)
    assert found.features["text_cosine"] == datasets.Value("float32")
    assert {row["key"] for row in found} == set(pictures)
    for row in found:
        expected = Image.open(io.BytesIO(pictures[row["key"]]))
        assert row["image"].tobytes() == expected.tobytes()
    as_stored = found.cast_column("image", datasets.Image(decode=False))
    assert {row["key"]: row["image"]["bytes"] for row in as_stored} == pictures


def test_small_row_groups(out: Path, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    shards = sorted((out / "data").iterdir())
    count = -(-len(pictures) // 8)
    assert [path.name for path in shards] == [f"train-{n:05d}-of-{count:05d}.parquet" for n in range(count)]
    assert sum(pq.read_metadata(path).num_rows for path in shards) == len(pictures)
    said = json.loads(pq.read_schema(shards[0]).metadata[b"huggingface"])
    assert said["info"]["features"]["image"] == {"_type": "Image"}


def test_croissant_is_valid(out: Path, pictures: dict[str, bytes]) -> None:
    import mlcroissant

    found = mlcroissant.Dataset(str(out / "croissant.json"))
    assert not found.metadata.ctx.issues.errors
    records = list(found.records("pairs"))
    assert {record["pairs/key"].decode() for record in records} == set(pictures)
    for record in records:
        expected = Image.open(io.BytesIO(pictures[record["pairs/key"].decode()]))
        assert record["pairs/image"].tobytes() == expected.tobytes()
    for entry in json.loads((out / "croissant.json").read_text())["distribution"]:
        if "sha256" in entry:
            assert hashlib.sha256((out / entry["contentUrl"]).read_bytes()).hexdigest() == entry["sha256"]


def test_the_card_says_what_it_is(out: Path, undisturbed: Path, pictures: dict[str, bytes]) -> None:
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n")
    assert f"{len(pictures):,} pairs, selected by" in card
    for step in package.funnel(f"{undisturbed}/run"):
        assert f"| {step.name} | {step.rows:,} |" in card
    for parameter in ("| dedup | threshold | `0.99` |", "| sample | seed | `0` |", "## Licence", "## Safety"):
        assert parameter in card
    assert str(undisturbed) not in card


def test_the_same_bytes_twice_and_verified(out: Path, undisturbed: Path, tmp_path: Path) -> None:
    flags = ("--run", f"{undisturbed}/run")
    done(
        "export",
        "hf",
        "out",
        "--where",
        "text rank",
        "--samples-per-shard",
        "8",
        *flags,
        "--workers",
        "2",
        cwd=tmp_path,
    )

    def published(folder: Path) -> dict[str, Any]:
        found = [path for path in folder.rglob("*") if path.is_file() and ".coreset" not in path.parts]
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    assert published(tmp_path / "out") == published(out)
    assert "pictures decoded: ok" in done("verify", "out", *flags, cwd=tmp_path).out
    shard = min((tmp_path / "out" / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-9])
    check_refused(coreset("verify", "out", *flags, cwd=tmp_path), 3, "other bytes")


def test_embedding_it_again_gives_the_same_rows(out: Path, undisturbed: Path, tmp_path: Path) -> None:
    toml = (undisturbed / "coreset.toml").read_text().replace("shards/*.tar", f"{out}/data/*.parquet")
    (tmp_path / "coreset.toml").write_text(toml)
    done("embed", cwd=tmp_path)
    found = [row for path in (tmp_path / "run" / "rows").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    before = {row["key"]: row for row in package.rows_with_fate(f"{undisturbed}/run").to_pylist()}
    assert len(found) == sum(pq.read_metadata(path).num_rows for path in (out / "data").iterdir())
    for row in found:
        old = before[row["key"]]
        assert (row["caption"], row["url"], row["image_bytes"]) == (old["caption"], old["url"], old["image_bytes"])


@pytest.mark.parametrize("form", ["hf", "urls"])
def test_what_is_killed_goes_on(form: str, undisturbed: Path, tmp_path: Path) -> None:
    arguments = ("export", form, "out", "--run", f"{undisturbed}/run", "--where", "embedded")
    assert started(*arguments, cwd=tmp_path, fault="rename:3:kill").wait() == -signal.SIGKILL
    done(*arguments, cwd=tmp_path)
    done("export", form, "whole", *arguments[3:], cwd=tmp_path)
    check_equal(tmp_path / "out", contents(tmp_path / "whole"))
