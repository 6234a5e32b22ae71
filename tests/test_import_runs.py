"""Runs of vectors that lie where the user has them: nothing changes unnoticed, and the source decides no byte."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import Said, check_equal, check_refused, contents, coreset, done
from folders import (
    WRITERS,
    Vectors,
    keys_of,
    random_vectors,
    unit,
    write_clip_retrieval,
    write_lists,
    write_npy_only,
    write_parquet_npy,
)
from importing import (
    BAD,
    COUNT,
    IMAGE,
    META,
    TEXT,
    array,
    harmed,
    imported,
    raw,
    refused,
)
from synthetic import Given, selected_from

from coreset.dedup import DedupParams
from coreset.sample import SampleParams

# A run of vectors where they lie


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of vectors, `in/`, and a run of them."""
    harmed(tmp_path / "in")
    imported(tmp_path, "", *BAD)
    return tmp_path


def clustered(folder: Path, *flags: str) -> Said:
    return coreset("dedup", "--clusters", "2", *BAD, *flags, cwd=folder)


FILE = "in/img_emb/img_emb_0.npy"


def test_few_rows_for_each_cluster_are_one_line(place: Path) -> None:
    lines = clustered(place).err.splitlines()
    assert lines.count("warning: 47 rows are few for 2 clusters; FAISS advises 39 for each") == 1
    assert "FAISS" not in coreset("dedup", "--clusters", "1", *BAD, "--overwrite", cwd=place).err
    assert not [line for line in lines if "WARNING" in line]


def test_a_file_that_is_gone_is_noticed_before_its_vectors_are_read(place: Path) -> None:
    (place / FILE).rename(place / "away.npy")
    check_refused(clustered(place), 3, "img_emb_0.npy is gone", "coreset import FOLDER")
    (place / "away.npy").rename(place / FILE)
    assert clustered(place).code == 0


def test_a_file_of_another_size_is_noticed(place: Path) -> None:
    raw(FILE, lambda b: b + b"x")(place)
    check_refused(clustered(place), 3, "img_emb_0.npy has 2,049 bytes, and 2,048 were imported")
    check_refused(coreset("import", "in", cwd=place), 7, "img_emb_0.npy", "--overwrite")


def test_other_bytes_of_the_same_size_are_noticed_and_can_be_imported_anew(place: Path) -> None:
    array(FILE, lambda x: x[::-1])(place)
    check_refused(clustered(place), 3, "img_emb_0.npy has other bytes than when it was imported", "--overwrite")
    check_refused(coreset("import", "in", *BAD, cwd=place), 3, "img_emb_0.npy has other bytes")
    imported(place, "", *BAD, "--overwrite")
    assert [row for _, row, reason in refused(place) if reason == "zero_norm"] == [56]
    assert clustered(place).code == 0


def test_a_file_that_was_only_touched_or_copied_is_the_same(place: Path) -> None:
    os.utime(place / FILE, (1, 1))
    assert clustered(place).code == 0
    assert json.loads((place / "run/run.json").read_text())["times"]["img_emb/img_emb_0.npy"] == 10**9


def test_the_folder_may_move(place: Path) -> None:
    before = contents(place / "run")
    (place / "in").rename(place / "moved")
    check_refused(clustered(place), 3, "is gone", "name its new place")
    done("import", "moved", *BAD, cwd=place)
    check_equal(place / "run", before)
    assert clustered(place).code == 0


def test_once_clustered_the_folder_is_no_longer_needed(place: Path) -> None:
    assert clustered(place).code == 0
    shutil.rmtree(place / "in")
    done("dedup", "--threshold", "0.5", *BAD, cwd=place)
    done("sample", "-n", "1", *BAD, cwd=place)


def test_a_run_that_does_not_know_where_its_input_lies_says_so(place: Path) -> None:
    (place / "run/run.json").unlink()
    check_refused(clustered(place), 3, "does not say where img_emb/img_emb_0.npy lies", "coreset import FOLDER")


def test_files_that_are_added_are_imported_alone(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    write_clip_retrieval(tmp_path / "all", vectors, parts=12)
    shutil.copytree(tmp_path / "all", tmp_path / "in", ignore=shutil.ignore_patterns("*_2.*", "*_0.*"))
    imported(tmp_path)
    before = contents(tmp_path / "run")
    shutil.copytree(tmp_path / "all", tmp_path / "in", dirs_exist_ok=True)
    assert "12 part(s), 10 found complete" in imported(tmp_path).err
    after = contents(tmp_path / "run")
    assert all(after[name] == before[name] for name in before if name.startswith("rows/0"))
    assert "rows: complete already" in imported(tmp_path).err


def test_a_file_taken_away_is_refused(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT))
    imported(tmp_path)
    for name in (IMAGE, TEXT, META):
        (tmp_path / "in" / name).unlink()
    check_refused(coreset("import", "in", cwd=tmp_path), 7, IMAGE, "--overwrite")
    imported(tmp_path, "", "--overwrite")
    assert sorted(path.name for path in (tmp_path / "run/rows").glob("*.parquet")) == ["00000.parquet", "00001.parquet"]


@pytest.mark.parametrize("kind", ["clip-retrieval", "datacomp"])
def test_two_workers_leave_what_one_leaves(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "in", random_vectors(COUNT))
    imported(tmp_path, kind)
    imported(tmp_path, kind, "--workers", "2", "--run", "other")
    check_equal(tmp_path / "run", contents(tmp_path / "other"))


def test_embedded_rows_are_not_mixed_with_imported_ones(finished: Path) -> None:
    write_clip_retrieval(finished / "in", random_vectors(60))
    said = coreset("import", "in", cwd=finished)
    check_refused(said, 7, "stage = embed", "import is asked for", "--overwrite")
    done("import", "in", "--overwrite", cwd=finished)
    assert not list((finished / "run/quarantine").glob("embed-*"))
    done("embed", "--overwrite", "--max-bad", "10", cwd=finished)
    assert not list((finished / "run/quarantine").glob("import-*"))


# The same vectors, however they come


@pytest.mark.parametrize("seed", range(4))
def test_imported_rows_lead_to_the_same_bytes_as_rows_of_ones_own(tmp_path: Path, seed: int) -> None:
    vectors = random_vectors(COUNT, seed=seed)
    draw = np.random.default_rng(seed)
    centroids = (draw.integers(-1, 2, (3, 16)) / 4).astype(np.float32)
    np.save(tmp_path / "centroids.npy", centroids)
    given = Given(keys_of(COUNT), vectors.images, vectors.cosines, centroids)
    windows = SampleParams(n=5, text_rank=(10, 90), centroid_rank=(10, 90))
    selected_from(tmp_path / "given", given, DedupParams(threshold=0.9), windows, parts=1)
    write_clip_retrieval(tmp_path / "in", vectors, parts=1)
    done("import", "in", cwd=tmp_path)
    done("dedup", "--threshold", "0.9", "--centroids", "centroids.npy", cwd=tmp_path)
    done("sample", "-n", "5", "--text-rank", "10", "90", "--centroid-rank", "10", "90", cwd=tmp_path)
    for name in ("clusters/00000.npy", "clusters/00000.offsets.npy", "centroids/centroids.npy"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "given" / name).read_bytes()
    for name in ("clusters/00000.parquet", "dedup/00000.parquet", "coreset/coreset-00000-of-00001.parquet"):
        ours, theirs = (pq.read_table(tmp_path / run / name) for run in ("run", "given"))
        said = [column for column in ours.column_names if theirs[column].null_count == 0 and column != "source"]
        assert ours.select(said).equals(theirs.select(said)), name


def test_layouts_lead_to_the_same_selection(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    np.save(tmp_path / "c.npy", np.eye(3, 16, dtype=np.float32) / 2)
    write_clip_retrieval(tmp_path / "in-a", vectors, parts=2)
    write_parquet_npy(tmp_path / "in-b", Vectors(vectors.images.astype(np.float32), vectors.texts), parts=3)
    write_lists(tmp_path / "in-c", vectors, parts=1)
    found = []
    for name in "abc":
        run = ("--run", name)
        done("import", f"in-{name}", *run, cwd=tmp_path)
        done("dedup", "--centroids", "c.npy", *run, cwd=tmp_path)
        done("sample", "-n", "4", "--text-rank", "0", "100", "--centroid-rank", "0", "100", *run, cwd=tmp_path)
        assert (tmp_path / name / "clusters/00000.npy").read_bytes() == (tmp_path / "a/clusters/00000.npy").read_bytes()
        table = pq.read_table(tmp_path / name / "coreset/coreset-00000-of-00001.parquet")
        found.append(table.drop_columns(["source", "source_row"]))
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


# Recipes


def test_a_recipe_whose_input_is_a_folder_imports_it(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT))
    assert "3 file(s) of vectors" in done("init", "in", cwd=tmp_path).out
    recipe = tmp_path / "coreset.toml"
    recipe.write_text(recipe.read_text().replace("n = 2000000", "n = 5").replace("[40, 60]", "[10, 90]"))
    assert "input: 3 file(s) of vectors" in done("run", "--dry-run", cwd=tmp_path).out
    assert not (tmp_path / "run").exists()
    done("run", cwd=tmp_path)
    done("import", cwd=tmp_path)
    told = json.loads(done("import", "--dry-run", "--json", cwd=tmp_path).out)
    assert told["params"]["rows"]["columns"].startswith("key = key, url = url")


def test_folders_in_a_recipe_start_from_its_own(tmp_path: Path) -> None:
    write_npy_only(tmp_path / "far/in", random_vectors(COUNT))
    text = 'input = "in/vectors"\n[import]\ntext_embeddings = "in/texts"\n[cluster]\nclusters = 2\n[sample]\nn = 2'
    (tmp_path / "far/mine.toml").write_text(text)
    done("run", "far/mine.toml", cwd=tmp_path)


def test_what_was_found_is_said_before_work(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", Vectors(*(unit(v) for v in (np.eye(40), np.eye(40)))), parts=1)
    said = imported(tmp_path).err.splitlines()
    assert said[0] == "in: clip-retrieval, 1 file(s), 40 rows of 40 float16 numbers, used where they lie"
    assert said[1].startswith("columns: key = key, url = url, caption = caption, text_cosine = similarity")
