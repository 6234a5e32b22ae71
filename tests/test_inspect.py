"""`coreset inspect`: every format is recognised and every problem told, and nothing is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import check_refused, coreset, done
from folders import WRITERS, random_vectors, write_clip_retrieval, write_lists
from importing import FLAGS, IMAGE, META, TEXT, array, raw, remove, table
from shards import good_pairs, write_shard

from coreset import inspect as coreset_inspect
from coreset.results.inspect.estimate import LARGEST, SELECT_SECONDS_A_ROW, estimated

COUNT, DIMENSION = 150, 16
BROKEN = {
    "clip-retrieval": (IMAGE, "is cut"),
    "npy": ("vectors/1.npy", "is cut"),
    "parquet": ("001.parquet", "no Parquet file, or damaged"),
    "parquet_npy": ("embeddings/part-00001.npy", "is cut"),
    "datacomp": ("*.npz", ""),
}


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def inspected(folder: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What `--json` says; nothing may be written."""
    before = files_of(folder)
    said = coreset("inspect", *arguments, "--json", cwd=folder)
    assert said.code == code, said.err
    assert files_of(folder) == before
    found: dict[str, Any] = json.loads(said.out)
    assert found["ready"] is (code == 0)
    assert bool(found["problems"]) is (code == 3)
    return found


def tars(folder: Path, counted: int = 2) -> Path:
    """Two tars, as img2dataset leaves them; `counted` of them with what it noted."""
    for number in range(2):
        write_shard(folder / f"{number:05d}.tar", good_pairs(100 * number, 5 + number))
        if number < counted:
            (folder / f"{number:05d}_stats.json").write_text(json.dumps({"successes": 5 + number}))
    return folder


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_of_vectors_is_known_by_its_headers(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "in", random_vectors(COUNT))
    place = FLAGS.get(kind, ("in",))
    found = inspected(tmp_path, *place)
    assert (found["format"], found["parts"], found["rows"]) == (kind, 3, COUNT)
    assert (found["dimension"], found["dtype"], found["complete"]) == (DIMENSION, "float16", True)
    assert found["bytes"] == sum(path.stat().st_size for path in (tmp_path / "in").rglob("*") if path.is_file())
    assert found["estimate"]["basis"] == "estimate, on 2 cores"
    lent = kind in {"clip-retrieval", "npy", "parquet_npy"}
    assert found["estimate"]["disk"] == COUNT * DIMENSION * 2 * (1 if lent else 2)
    assert found["next"] == " ".join(["coreset import", *place])
    done(*found["next"].split()[1:], cwd=tmp_path)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_broken_folder_of_vectors_is_exit_3_with_what_import_says(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "in", random_vectors(COUNT))
    pattern, sentence = BROKEN[kind]
    path = sorted((tmp_path / "in").glob(pattern))[0]
    path.write_bytes(path.read_bytes()[:-40])
    place = FLAGS.get(kind, ("in",))
    found = inspected(tmp_path, *place, code=3)
    assert (found["format"], found["rows"], found["complete"], found["estimate"]) == (kind, None, False, None)
    [problem] = found["problems"]
    assert path.name in problem
    assert sentence in problem
    check_refused(coreset("import", *place, cwd=tmp_path), 3, problem.rstrip("."))


def test_all_problems_are_told_not_only_the_first(tmp_path: Path) -> None:
    folder = write_clip_retrieval(tmp_path / "in", random_vectors(COUNT))
    raw("img_emb/img_emb_0.npy", lambda content: content[:40])(folder)
    array(TEXT, lambda x: x[:, :8])(folder)
    table("metadata/metadata_2.parquet", lambda t: t.slice(1))(folder)
    problems = inspected(tmp_path, "in", code=3)["problems"]
    assert len(problems) == 3
    for part, problem in zip(["damaged header", "not of one model", "has 74 rows"], problems, strict=True):
        assert part in problem
    said = coreset("inspect", "in", cwd=tmp_path)
    check_refused(said, 3, "3 problem(s) with in", "damaged header")
    assert [line for line in said.out.splitlines() if line.startswith("problem: ")] == [
        f"problem: {p}" for p in problems
    ]
    assert said.out.splitlines()[-1] == "when that is mended: coreset inspect in"


def test_each_part_that_differs_is_told(tmp_path: Path) -> None:
    folder = write_clip_retrieval(tmp_path / "in", random_vectors(COUNT))
    for number in (1, 2):
        array(f"img_emb/img_emb_{number}.npy", lambda x: x.astype(np.float32))(folder)
    problems = inspected(tmp_path, "in", code=3)["problems"]
    assert [("img_emb_1.npy float32" in p, "img_emb_2.npy float32" in p) for p in problems] == [
        (True, False),
        (False, True),
    ]


def test_files_without_partner_leave_the_format_known(tmp_path: Path) -> None:
    remove(META)(write_clip_retrieval(tmp_path / "in", random_vectors(COUNT)))
    found = inspected(tmp_path, "in", code=3)
    assert (found["format"], found["parts"]) == ("clip-retrieval", 0)
    assert "has no partner" in found["problems"][0]


def test_flags_of_import_are_heeded_and_go_into_the_next_command(tmp_path: Path) -> None:
    write_lists(tmp_path / "in", random_vectors(COUNT), key=lambda made: ["a"] * len(made["key"]))
    first = inspected(tmp_path, "in", code=3)
    assert ["--prefix-keys" in problem for problem in first["problems"]] == [True, True]
    assert inspected(tmp_path, "in", "--prefix-keys")["next"] == "coreset import in --prefix-keys"


@pytest.mark.parametrize(
    "typed", [("in",), ("in/*.tar",), ("in/{00000..00001}.tar",), ("in/00000.tar", "in/00001.tar")]
)
def test_tars_are_counted_by_their_sidecars(tmp_path: Path, typed: tuple[str, ...]) -> None:
    tars(tmp_path / "in")
    write_lists(tmp_path, random_vectors(9), parts=1)
    shutil.move(tmp_path / "000.parquet", tmp_path / "in/00000.parquet")
    found = inspected(tmp_path, *typed)
    assert (found["format"], found["parts"], found["rows"], found["complete"]) == ("tars", 2, 11, None)
    assert found["bytes"] == sum(path.stat().st_size for path in (tmp_path / "in").glob("*.tar"))
    assert found["estimate"]["import_seconds"] is None
    assert found["next"].startswith("coreset embed ")
    assert found["trial"] == f"coreset embed {tmp_path}/in/00000.tar --run trial"
    shown = done("inspect", *typed, cwd=tmp_path).out
    assert "embedding not known" in shown
    assert f"`{found['trial']}` measures it, 2 times that is all" in shown


def test_tars_in_folders_below_are_found(tmp_path: Path) -> None:
    tars(tmp_path / "in/cats")
    found = inspected(tmp_path, "in")
    assert (found["parts"], found["next"]) == (2, "coreset embed 'in/**/*.tar'")


def test_rows_of_tars_that_nothing_counts_are_not_known(tmp_path: Path) -> None:
    tars(tmp_path / "in", counted=1)
    found = inspected(tmp_path, "in")
    assert (found["rows"], found["estimate"]) == (None, None)
    assert found["rows_from"].startswith("1 of 2 files have no _stats.json")
    (tmp_path / "in/00001_stats.json").write_text("{")
    assert "not json" in inspected(tmp_path, "in")["notes"][0]
    assert "rows: not known (1 of 2 files" in done("inspect", "in", cwd=tmp_path).out


def test_all_broken_tars_are_told(tmp_path: Path) -> None:
    tars(tmp_path / "in")
    (tmp_path / "in/00002.tar").write_bytes(b"")
    (tmp_path / "in/00003.tar").write_bytes(b"<html>" * 200)
    shutil.copy(tmp_path / "in/00000.tar", tmp_path / "in/00004.tar")
    problems = inspected(tmp_path, "in", code=3)["problems"]
    assert len(problems) == 3
    for part, problem in zip(["has 0 bytes", "HTML", "Key 000000000 is in 00000.tar and again"], problems, strict=True):
        assert part in problem


def test_a_run_directory_is_told_from_vectors(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT))
    done("import", "in", cwd=tmp_path)
    found = inspected(tmp_path, "run")
    assert (found["format"], found["parts"], found["rows"], found["complete"]) == ("run", 3, COUNT, False)
    assert found["next"] == "coreset status --run run"
    (tmp_path / "run/rows/stage.json").write_text("{")
    assert coreset("inspect", "run", cwd=tmp_path).code == coreset("status", cwd=tmp_path).code


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("nothing", "no such file"),
        ("empty", "holds no vectors"),
        ("pipe:cat x", "would run a command"),
        ("*.tar", "no file matches"),
    ],
)
def test_what_is_nothing_is_exit_3(tmp_path: Path, typed: str, sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    found = inspected(tmp_path, typed, code=3)
    assert (found["format"], found["parts"]) == ("unknown", 0)
    assert sentence in found["problems"][0]


def test_a_password_is_not_repeated(tmp_path: Path) -> None:
    for typed in (["s3://me:hunter2@a/b"], ["nothing", "s3://me:hunter2@a/0.tar"]):
        said = coreset("inspect", *typed, "--json", cwd=tmp_path)
        check_refused(said, 3, "holds a password")
        assert "hunter2" not in said.out + said.err


def test_no_path_is_a_usage_error(tmp_path: Path) -> None:
    assert coreset("inspect", cwd=tmp_path).code == 2
    check_refused(coreset("inspect", "in", "--format", "csv", cwd=tmp_path), 2, "--format csv")


def test_what_is_shown(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT))
    lines = done("inspect", "in", cwd=tmp_path).out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "format",
        "files",
        "rows",
        "vectors",
        "complete",
        "estimate, on 2 cores",
        "next",
    ]
    assert "16 float16 numbers" in lines[3]


def test_estimates_are_the_measurements_they_come_from() -> None:
    largest = estimated(LARGEST, 768, None, 0)
    assert largest.select_seconds == pytest.approx(3 + LARGEST * SELECT_SECONDS_A_ROW)
    assert not largest.extrapolated
    laion = estimated(2_053_332_591, 768, None, 0)
    assert laion.extrapolated
    assert laion.memory / 2**30 == pytest.approx(77.9, abs=0.1)
    assert laion.select_seconds / 3600 == pytest.approx(887 / 2, rel=0.15)


def test_a_disk_that_is_too_small_is_a_note(tmp_path: Path) -> None:
    """More rows than a signed number of 32 bits can count, by what a sidecar says."""
    tars(tmp_path / "in")
    free = inspected(tmp_path, "in")["disk_free"]
    assert 0 < free < 2**50
    rows = 2**40 - 6
    (tmp_path / "in/00000_stats.json").write_text(json.dumps({"successes": rows}))
    found = inspected(tmp_path, "in")
    assert found["rows"] == 2**40
    assert found["estimate"]["disk"] == 2 * 2**40 * 1536  # in rows/ and in clusters/
    [note] = found["notes"]
    assert note.startswith("a run needs 3460300.80 GiB of disk for its vectors, and the disk here has ")
    assert "use a --run on a larger disk" in note


def test_parquets_of_pictures_are_counted_by_their_footers(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([{"bytes": b"x", "path": None}] * 3), "text": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "0.parquet")
    found = coreset_inspect([str(tmp_path / "0.parquet")])
    assert (found.format, found.parts, found.rows, found.rows_from) == ("image_parquet", 1, 3, "footers")
    assert found.ready
    assert found.next.startswith("coreset embed ")
    folder = coreset_inspect([str(tmp_path)])
    assert (folder.format, folder.rows, folder.next) == ("image_parquet", 3, f"coreset embed '{tmp_path}/*.parquet'")
