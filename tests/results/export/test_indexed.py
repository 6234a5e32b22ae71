"""Formats that copy no picture, opened by those who read them."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import check_refused, coreset, done
from embedding_reader import EmbeddingReader
from folders import random_vectors, write_clip_retrieval, write_datacomp
from package_index import fetched
from shards import good_pairs, recipe, write_shard

import coreset as package
from coreset.engine.local import in_process
from coreset.results.export.exporting import export

FOLDERS = ("img_emb", "text_emb")
SAMPLE = ("-n", "20", "--text-rank", "0", "100", "--centroid-rank", "0", "100")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of four rows, so that every export has several."""
    monkeypatch.setattr("coreset.results.export.indexed.MOST_ROWS", 4)


def rows_of(run: Path) -> list[dict[str, Any]]:
    return package.open_run(str(run)).coreset().to_pylist()


def exported(run: Path, form: str, out: Path, **params: object) -> Any:
    return export(str(run), form, str(out), in_process, **params)


@pytest.fixture(scope="module")
def uids(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """A run whose keys are uids."""
    folder = tmp_path_factory.mktemp("uids")
    draw = np.random.default_rng(0)
    samples = good_pairs(0)
    for sample in samples:
        sample["__key__"] = draw.bytes(16).hex()
    write_shard(folder / "shards" / "0.tar", samples)
    (folder / "coreset.toml").write_text(recipe(clip, n=9))
    done("run", cwd=folder)
    return folder / "run"


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of DataComp's own metadata."""
    folder = tmp_path_factory.mktemp("metadata")
    write_datacomp(folder / "in", random_vectors(60))
    done("import", "in", "--features", "l14", cwd=folder)
    done("dedup", "--clusters", "3", "--threshold", "0.9", cwd=folder)
    done("sample", "-n", "9", *SAMPLE[2:], cwd=folder)
    return folder / "run"


@pytest.mark.parametrize("kind", ["tars", "metadata"])
def test_datacomp(kind: str, uids: Path, metadata: Path, tmp_path: Path) -> None:
    """The subset is what DataComp's tools exchange: uids in two halves, sorted, to be searched in a mapped file."""
    uids = uids if kind == "tars" else metadata
    found = exported(uids, "datacomp", tmp_path / "out")
    subset = np.load(tmp_path / "out" / "coreset.npy", allow_pickle=False)
    assert subset.dtype == np.dtype("u8,u8")
    assert subset.shape == (9,)
    assert np.array_equal(np.sort(subset), subset)
    assert {f"{high:016x}{low:016x}" for high, low in subset.tolist()} == {row["key"] for row in rows_of(uids)}
    mapped = np.load(tmp_path / "out" / "coreset.npy", mmap_mode="r")
    for row in package.open_run(str(uids)).fates().to_pylist():
        halves = np.array([(int(row["key"][:16], 16), int(row["key"][16:], 16))], subset.dtype)[0]
        low, high = (int(np.searchsorted(mapped, halves, side)) for side in ("left", "right"))
        assert high - low == (row["fate"] == "kept")
    assert found.counts["written"] == 9
    assert len(found.names) == 3


def test_datacomp_needs_uids(undisturbed: Path, tmp_path: Path) -> None:
    said = coreset("export", "datacomp", f"{tmp_path}/out", "--run", f"{undisturbed}/run", cwd=tmp_path)
    check_refused(said, 3, "is no uid of DataComp", "coreset export keys")
    assert not (tmp_path / "out").exists()


def test_keys_of_each_tar(undisturbed: Path, tmp_path: Path) -> None:
    rows = rows_of(undisturbed / "run")
    done("export", "keys", f"{tmp_path}/table", "--run", f"{undisturbed}/run", "--index-only", cwd=tmp_path)
    table = pq.read_table(tmp_path / "table" / "keys.parquet").to_pylist()
    expected = [
        {name: row[name] for name in ("source", "source_row", "key")} | {"source_key": row["key"]} for row in rows
    ]
    assert table == sorted(expected, key=lambda row: (row["source"], row["source_row"]))
    done("export", "keys", f"{tmp_path}/texts", "--run", f"{undisturbed}/run", "--lists", "text", cwd=tmp_path)
    texts = {path.name: path.read_text() for path in (tmp_path / "texts" / "keys").iterdir()}
    assert texts == {
        f"{source}.txt": "".join(f"{row['key']}\n" for row in table if row["source"] == source)
        for source in {row["source"] for row in rows}
    }


def test_keys_are_those_in_the_tar(uids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(uids.parent, tmp_path / "place")
    toml = tmp_path / "place" / "coreset.toml"
    toml.write_text(toml.read_text().replace("[embed]", "[embed]\nprefix_keys = true"))
    done("run", "--overwrite", cwd=tmp_path / "place")
    monkeypatch.setattr("coreset.results.export.key_lists.PASS_ROWS", 2)
    exported(tmp_path / "place" / "run", "keys", tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "keys.parquet").to_pylist()
    assert [row["key"] for row in table] == [f"0.tar/{row['source_key']}" for row in table]
    in_tar = {row["key"] for row in rows_of(uids)}
    assert len(in_tar & {row["source_key"] for row in table}) > 0


@pytest.fixture(scope="module")
def hashed(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """A run with hashes of all pictures, and one row without a url."""
    folder = tmp_path_factory.mktemp("hashed")
    samples = good_pairs(0)
    for number, sample in enumerate(samples):
        said = json.loads(sample["json"]) | {"sha256": f"{number:064x}"}
        if number == 3:
            del said["url"]
        sample["json"] = json.dumps(said).encode()
    write_shard(folder / "shards" / "0.tar", samples)
    (folder / "coreset.toml").write_text(recipe(clip))
    done("run", cwd=folder)
    return folder / "run"


@pytest.fixture(scope="session")
def img2dataset_reader(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """img2dataset's own class, from its file: the package wants another webdataset, and its `__init__` many others."""
    location = fetched("img2dataset>=1.47", tmp_path_factory.mktemp("img2dataset")) / "img2dataset" / "reader.py"
    found = importlib.util.spec_from_file_location("img2dataset_reader", location)
    assert found
    assert found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.Reader


def urls_of(run: Path) -> list[tuple[str, str, str, str]]:
    """Key, caption, hash and url of every row that has a url."""
    rows = package.open_run(str(run)).fates().to_pylist()
    return sorted((row["key"], row["caption"], row["sha256"], row["url"]) for row in rows if row["url"])


def test_urls(hashed: Path, tmp_path: Path) -> None:
    where = ("--where", "embedded", "--run", str(hashed))
    said = done("export", "urls", "out", *where, cwd=tmp_path)
    assert "1 left out: without a url" in said.out
    line = said.out.splitlines()[-1].strip()
    words = dict(zip(shlex.split(line)[1::2], shlex.split(line)[2::2], strict=True))
    assert words == {
        "--url_list": "out/urls",
        "--input_format": "parquet",
        "--url_col": "url",
        "--caption_col": "caption",
        "--save_additional_columns": '["coreset_key"]',
        "--compute_hash": "sha256",
        "--verify_hash": '["sha256","sha256"]',
        "--output_format": "webdataset",
        "--output_folder": "FOLDER",
    }
    names = ["coreset_key", "caption", "sha256", "url"]
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out" / "urls").iterdir())]
    assert sorted(pa.concat_tables(tables).select(names).to_pydict()["coreset_key"]) == [
        row[0] for row in urls_of(hashed)
    ]
    script = tmp_path / "out" / "img2dataset.sh"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "img2dataset").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "bin" / "img2dataset").chmod(0o755)
    told = _shell(f"PATH={tmp_path}/bin:$PATH sh '{script}' 'my pictures'")
    expected = shlex.split(line.replace("out/urls", f"{tmp_path}/out/urls").replace("FOLDER", "'my pictures'"))[1:]
    assert told.splitlines() == expected


def _shell(line: str) -> str:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout


def test_img2dataset_reads_the_urls(
    hashed: Path, tmp_path: Path, img2dataset_reader: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(hashed, "urls", tmp_path / "out", where=("embedded",))
    (tmp_path / "feather").mkdir()
    given = (str(tmp_path / "out" / "urls"), "parquet", "url", "caption", "sha256", "sha256", ["coreset_key"])
    shards = list(img2dataset_reader(*given, 3, set(), str(tmp_path / "feather")))
    tables = [pa.ipc.open_file(location).read_all() for _, location in shards]
    assert tables[0].column_names == ["coreset_key", "caption", "sha256", "url"]
    assert sorted(tuple(row.values()) for table in tables for row in table.to_pylist()) == urls_of(hashed)


def test_without_hashes_nothing_is_verified(undisturbed: Path, tmp_path: Path) -> None:
    exported(undisturbed / "run", "urls", tmp_path / "out")
    assert "verify_hash" not in (tmp_path / "out" / "img2dataset.sh").read_text()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of vectors that lie in a folder of the user's."""
    folder = tmp_path_factory.mktemp("imported")
    write_clip_retrieval(folder / "in", random_vectors(60), parts=3)
    done("import", "in", cwd=folder)
    done("dedup", "--clusters", "3", "--threshold", "0.9", cwd=folder)
    done("sample", *SAMPLE, cwd=folder)
    return folder / "run"


@pytest.mark.parametrize("kind", ["imported", "embedded"])
def test_clip_retrieval(kind: str, imported: Path, undisturbed: Path, tmp_path: Path) -> None:
    run = imported if kind == "imported" else undisturbed / "run"
    exported(run, "clip-retrieval", tmp_path / "out")
    keys = [row["key"] for row in rows_of(run)]
    vectors = dict(stored_vectors(run))
    reader = EmbeddingReader(
        str(tmp_path / "out" / "img_emb"),
        file_format="parquet_npy",
        metadata_folder=str(tmp_path / "out" / "metadata"),
        meta_columns=["image_path", "caption", "similarity"],
    )
    assert reader.count == len(keys)
    pieces = list(reader(batch_size=3, show_progress=False))
    assert [key for _, said in pieces for key in said["image_path"]] == keys
    assert np.array_equal(np.concatenate([piece for piece, _ in pieces]), np.array([vectors[key] for key in keys]))
    assert {np.load(path).dtype for path in (tmp_path / "out" / "img_emb").iterdir()} == {np.dtype("<f2")}
    done("import", "out", "--run", "again", cwd=tmp_path)
    again = dict(stored_vectors(tmp_path / "again"))
    assert list(again) == keys
    assert all(np.array_equal(again[key], vectors[key]) for key in keys)
    table = pq.read_table(sorted((tmp_path / "again" / "rows").glob("*.parquet")), columns=["caption", "text_cosine"])
    expected = [(row["caption"], row["text_cosine"]) for row in rows_of(run)]
    assert list(zip(*table.to_pydict().values(), strict=True)) == expected


@pytest.fixture(scope="module")
def with_texts(tmp_path_factory: pytest.TempPathFactory, pristine: Path) -> Path:
    """A run that keeps the vectors of captions, one of which is missing."""
    folder = shutil.copytree(pristine, tmp_path_factory.mktemp("texts") / "place")
    toml = folder / "coreset.toml"
    toml.write_text(
        toml.read_text().replace("[embed]", "[embed]\nkeep_text_vectors = true\nallow_missing_caption = true")
    )
    done("run", "--max-bad", "10", cwd=folder)
    return folder / "run"


@pytest.mark.parametrize("where", [("kept",), ("not sampled", "no caption")])
def test_text_vectors_stand_beside_the_others(with_texts: Path, where: tuple[str, ...], tmp_path: Path) -> None:
    """The chosen rows' text vectors are those that were embedded, row by row; a row without a caption has zeros."""
    given = [word for fate in where for word in ("--where", fate)]
    said = done("export", "clip-retrieval", "out", "--run", str(with_texts), *given, cwd=tmp_path).out
    assert "text_emb" not in said
    expected = {}
    for path in sorted((with_texts / "rows").glob("*.parquet")):
        table = pq.read_table(path, columns=["key", "caption", "vector_row"]).to_pylist()
        texts = np.load(path.with_suffix(".text.npy"))
        expected |= {row["key"]: (row["caption"], texts[row["vector_row"]]) for row in table}
    reader = EmbeddingReader(
        str(tmp_path / "out" / "text_emb"),
        file_format="parquet_npy",
        metadata_folder=str(tmp_path / "out" / "metadata"),
        meta_columns=["image_path"],
    )
    pieces = list(reader(batch_size=3, show_progress=False))
    keys = [key for _, found in pieces for key in found["image_path"]]
    exported_keys = [
        key
        for path in sorted((tmp_path / "out" / "metadata").iterdir())
        for key in pq.read_table(path)["key"].to_pylist()
    ]
    assert keys == exported_keys
    assert keys
    for key, vector in zip(keys, np.concatenate([piece for piece, _ in pieces]), strict=True):
        caption, text = expected[key]
        assert np.array_equal(vector, text)
        assert bool(vector.any()) == (caption is not None)
    assert any(expected[key][0] is None for key in keys) == ("no caption" in where)
    names = {folder: sorted(path.name for path in (tmp_path / "out" / folder).iterdir()) for folder in FOLDERS}
    assert [name.replace("img_emb", "text_emb") for name in names["img_emb"]] == names["text_emb"]
    assert ": ok" in done("verify", "out", "--run", str(with_texts), cwd=tmp_path).out
    damaged = tmp_path / "out" / "text_emb" / names["text_emb"][0]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    check_refused(coreset("verify", "out", "--run", str(with_texts), cwd=tmp_path), 3, "other bytes")


def test_without_text_vectors_it_is_said_how_to_get_them(undisturbed: Path, tmp_path: Path) -> None:
    said = done("export", "clip-retrieval", "out", "--run", f"{undisturbed}/run", cwd=tmp_path).out
    assert said.count("no text_emb/: this run keeps no vectors") == 1
    assert not (tmp_path / "out" / "text_emb").exists()


def stored_vectors(run: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Every row's key and its vector, the slow way."""
    from coreset.vectors import row_vectors

    for path in sorted((run / "rows").glob("*.parquet")):
        keys = pq.read_table(path, columns=["key"])["key"].to_pylist()
        yield from zip(keys, np.asarray(row_vectors(str(path))[0 : len(keys)]), strict=True)


def test_files_of_numbers_sort_as_they_count(imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coreset.results.export.indexed.MOST_ROWS", 1)
    exported(imported, "clip-retrieval", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "img_emb").iterdir())
    assert names == [f"img_emb_{number:02d}.npy" for number in range(20)]


@pytest.mark.parametrize("form", ["keys", "urls", "clip-retrieval", "hf"])
def test_odd_keys_and_shards_of_all_kinds(form: str, mixed_once: Path, tmp_path: Path) -> None:
    run = ("--run", f"{mixed_once}/run")
    told = json.loads(done("export", form, "out", "--where", "embedded", "--json", *run, cwd=tmp_path).out)
    assert told["counts"]["written"] > 20
    assert ": ok" in done("verify", "out", *run, cwd=tmp_path).out


@pytest.mark.parametrize("form", ["keys", "urls", "clip-retrieval"])
def test_an_index_is_verified(form: str, undisturbed: Path, tmp_path: Path) -> None:
    run = ("--run", f"{undisturbed}/run")
    done("export", form, "out", *run, cwd=tmp_path)
    assert "5 chosen rows, 0 pictures decoded: ok" in done("verify", "out", *run, cwd=tmp_path).out
    largest = max(
        (path for path in (tmp_path / "out").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    content = largest.read_bytes()
    largest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    check_refused(coreset("verify", "out", *run, cwd=tmp_path), 3, "other bytes")


@pytest.mark.parametrize("form", ["llava", "webdataset", "hf", "bigvision"])
def test_index_only_is_for_indices(form: str, undisturbed: Path, tmp_path: Path) -> None:
    said = coreset("export", form, "out", "--index-only", "--run", f"{undisturbed}/run", cwd=tmp_path)
    check_refused(said, 2, f"what reads {form}", "keys, urls, datacomp, clip-retrieval", "coreset.filter")
    assert re.search(r"--lists best is not known", coreset("export", "keys", "o", "--lists", "best", cwd=tmp_path).err)
