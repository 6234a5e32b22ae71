"""`coreset import`: folders that do not fit together are one sentence before any work."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from command import check_refused, coreset
from folders import (
    lists,
    random_vectors,
    write_clip_retrieval,
    write_datacomp,
)
from importing import (
    COUNT,
    IMAGE,
    META,
    TEXT,
    array,
    imported,
    raw,
    remove,
    rename,
    rows_of,
    table,
)

# Folders that cannot be imported


def claimed(content: bytes) -> bytes:
    """A header that claims more rows than any disk holds."""
    return content.replace(b"(50, 16), }" + b" " * 8, b"(9999999999, 16), }")


HARMS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "pickled objects": (array(IMAGE, lambda x: x.astype(object)), [IMAGE, "holds '|O'", "float16, 32 or 64"]),
    "whole numbers": (array(IMAGE, lambda x: x.astype(np.int8)), [IMAGE, "'|i1'"]),
    "one dimension": (array(IMAGE, lambda x: x[0]), [IMAGE, "shape (16,)"]),
    "three dimensions": (array(IMAGE, lambda x: x[None]), [IMAGE, "shape (1, "]),
    "vectors of no numbers": (array(IMAGE, lambda x: x[:, :0]), [IMAGE, ", 0)"]),
    "14 TiB": (raw(IMAGE, claimed), [IMAGE, "50 of the 9,999,999,999"]),
    "cut by one row": (raw(IMAGE, lambda b: b[:-32]), [IMAGE, "is cut: 49 of the 50 rows"]),
    "cut in the header": (raw(IMAGE, lambda b: b[:40]), [IMAGE, "damaged header"]),
    "no bytes": (raw(IMAGE, lambda b: b""), [IMAGE, "has 0 bytes"]),
    "a web page": (raw(IMAGE, lambda b: b"<!DOCTYPE html>" + b), [IMAGE, "begins with b'<!DOCTYP'"]),
    "other dimension": (array(IMAGE, lambda x: x[:, :8]), [TEXT, "16 numbers", IMAGE, "of 8"]),
    "other dimension of both": (
        lambda folder: [array(name, lambda x: x[:, :8])(folder) for name in (IMAGE, TEXT)],
        ["img_emb/img_emb_0.npy has 16 numbers a vector", f"{IMAGE} 8"],
    ),
    "other type": (array(IMAGE, lambda x: x.astype(np.float32)), ["float16", "float32", IMAGE]),
    "fewer rows": (array(IMAGE, lambda x: x[:-1]), [f"{IMAGE} has 49 rows", f"{META} has 50 rows"]),
    "fewer text vectors": (array(TEXT, lambda x: x[:-1]), [f"{TEXT} has 49 rows"]),
    "fewer rows in the table": (table(META, lambda t: t.slice(1)), [f"{META} has 49 rows"]),
    "empty vectors": (array(IMAGE, lambda x: x[:0]), [f"{IMAGE} has 0 rows"]),
    "vectors missing": (remove(IMAGE), ["metadata_1.parquet has no partner", "2 vectors files, 3 beside"]),
    "table missing": (remove(META), [f"{IMAGE} has no partner"]),
    "another number": (rename(META, "metadata/metadata_7.parquet"), [IMAGE, "metadata_7.parquet have no partner"]),
    "one number twice": (
        lambda folder: shutil.copy(folder / META, folder / "metadata/metadata_01.parquet"),
        ["metadata_01.parquet and metadata/metadata_1.parquet have no numbers of their own"],
    ),
    "table that is none": (raw(META, lambda b: b"PAR1" + b[:100]), [META, "no Parquet file, or damaged"]),
    "key column of lists": (
        table(META, lambda t: t.drop_columns("key").append_column("key", lists(np.zeros((50, 1), np.float32)))),
        [META, "list<", "column key"],
    ),
    "similarity of words": (
        table(META, lambda t: t.set_column(3, "similarity", pa.array(["high"] * 50))),
        [META, "string", "similarity"],
    ),
    "other columns": (
        table(META, lambda t: t.drop_columns("caption")),
        ["img_emb_0.npy has key, caption, similarity as its columns", f"{IMAGE} key, similarity"],
    ),
    "a folder for a file": (
        lambda folder: [(folder / IMAGE).unlink(), (folder / IMAGE).mkdir()],
        [IMAGE, "no regular file"],
    ),
    "not of length 1": (array(IMAGE, lambda x: x * np.float16(2)), [f"{IMAGE} row 0", "length 2", "--normalize"]),
    "one not of length 1": (
        array(IMAGE, lambda x: np.concatenate([x[:-1], x[-1:] * np.float16(1.01)])),
        [f"{IMAGE} row 49", "--normalize"],
    ),
    "two tables exchanged": (
        lambda folder: [
            rename(META, "m")(folder),
            rename("metadata/metadata_2.parquet", META)(folder),
            rename("m", "metadata/metadata_2.parquet")(folder),
        ],
        ["rows"],
    ),
    "shuffled table": (
        table(META, lambda t: t.take(np.random.default_rng(0).permutation(50))),
        [f"0 to 50 of {IMAGE}", "look shuffled"],
    ),
    "shifted table": (table(META, lambda t: pa.concat_tables([t.slice(1), t.slice(0, 1)])), ["look shuffled"]),
}


@pytest.mark.parametrize(("harm", "parts"), HARMS.values(), ids=HARMS)
def test_a_folder_that_does_not_fit_together_is_refused_before_any_work(
    tmp_path: Path, harm: Callable[[Path], object], parts: list[str]
) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(150))
    harm(tmp_path / "in")
    check_refused(coreset("import", "in", cwd=tmp_path), 3, *parts)
    assert not (tmp_path / "run/rows").exists()


def test_columns_that_only_some_files_have_are_null_elsewhere(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT))
    table(META, lambda t: t.drop_columns(["url", "md5"]))(tmp_path / "in")
    imported(tmp_path)
    assert rows_of(tmp_path)["url"].null_count == 50


@pytest.mark.parametrize("command", [["import", "in"], ["run", "in.toml"]])
def test_neither_text_vectors_nor_similarity_is_said_before_work(tmp_path: Path, command: list[str]) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT), texts=False, similarity=None)
    (tmp_path / "in.toml").write_text('input = ["in"]')
    check_refused(
        coreset(*command, cwd=tmp_path), 3, "neither text vectors nor a column", "text rank", "--text-embeddings"
    )


WRONG: dict[str, tuple[list[str], int, list[str]]] = {
    "no folder": (["import"], 2, ["No folder of vectors was named"]),
    "nowhere": (["import", "nowhere"], 3, ["nowhere is no folder"]),
    "a file": (["import", "in/img_emb/img_emb_0.npy"], 3, ["is no folder"]),
    "a url": (["import", "s3://me:pw@bucket/in"], 3, ["s3://…@bucket/in holds a password"]),
    "format unknown": (["import", "in", "--format", "hdf5"], 2, ["--format hdf5 is not known", "clip-retrieval"]),
    "format not there": (["import", "in", "--format", "datacomp"], 3, ["no .npz files"]),
    "cosine unknown": (["import", "in", "--text-cosine", "both"], 2, ["--text-cosine both is not known"]),
    "features unknown": (["import", "in", "--features", "h14"], 2, ["--features h14 is not known"]),
    "tars": (["import", "tars"], 3, ["holds no vectors", "name its tars"]),
    "nothing": (["import", "none"], 3, ["holds no vectors"]),
    "metadata nowhere": (["import", "in", "--metadata", "nowhere"], 3, ["nowhere is no folder"]),
    "embed": (["embed", "in"], 3, ["is a folder"]),
    "not there yet": (["dedup"], 3, ["run/rows is not there"]),
}


@pytest.mark.parametrize(("arguments", "code", "parts"), WRONG.values(), ids=WRONG)
def test_wrong_use_is_refused(tmp_path: Path, arguments: list[str], code: int, parts: list[str]) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(30))
    for name in ("tars", "none"):
        (tmp_path / name).mkdir()
    (tmp_path / "tars/0.tar").touch()
    check_refused(coreset(*arguments, cwd=tmp_path), code, *parts)


ZIPS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda b: b[: len(b) // 2],
    "no zip": lambda b: b"hello",
    "damaged member": lambda b: b[:600] + bytes(400) + b[1000:],
}


@pytest.mark.parametrize("harm", ZIPS.values(), ids=ZIPS)
def test_a_damaged_npz_is_one_sentence(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    write_datacomp(tmp_path / "in", random_vectors(COUNT), parts=1)
    path = next((tmp_path / "in").glob("*.npz"))
    path.write_bytes(harm(path.read_bytes()))
    check_refused(coreset("import", "in", "--features", "b32", cwd=tmp_path), 3, path.name, "fetch it again")


def test_datacomps_files_pair_by_their_whole_names(tmp_path: Path) -> None:
    write_datacomp(tmp_path / "in", random_vectors(COUNT), parts=1)
    path = next((tmp_path / "in").glob("*.npz"))
    path.rename(path.with_stem("f" + path.stem))
    check_refused(coreset("import", "in", cwd=tmp_path), 3, f"f{path.name} has no f{path.stem}.parquet beside it")


def test_an_npz_without_the_arrays_says_what_it_has(tmp_path: Path) -> None:
    write_datacomp(tmp_path / "in", random_vectors(COUNT), parts=1)
    path = next((tmp_path / "in").glob("*.npz"))
    np.savez(path, x=np.zeros((COUNT, 4), np.float16))
    check_refused(coreset("import", "in", cwd=tmp_path), 3, "no array l14_img, only x")
