"""`coreset import`: every layout, where the text cosine comes from, rows and vectors that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from command import check_refused, coreset, done
from folders import (
    WRITERS,
    Vectors,
    columns_of,
    keys_of,
    lists,
    random_vectors,
    write_clip_retrieval,
    write_datacomp,
    write_lists,
    write_npy,
    write_parquet,
)
from importing import (
    BAD,
    COUNT,
    IMAGE,
    harmed,
    imported,
    raw,
    refused,
    rows_of,
    vectors_in,
)

# Layouts


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("explicit", [False, True])
def test_every_layout_gives_the_same_rows(tmp_path: Path, kind: str, explicit: bool) -> None:
    vectors = random_vectors(COUNT)
    WRITERS[kind](tmp_path / "in", vectors)
    said = imported(tmp_path, kind, *(["--format", kind] if explicit else []))
    assert f"{kind}, 3 file(s), {COUNT} rows of 16 float16 numbers" in said.err
    table = rows_of(tmp_path)
    order = np.argsort(table["caption"].to_pylist()) if kind != "npy" else np.arange(COUNT)
    table = table.take(order)
    assert np.array_equal(vectors_in(table), vectors.images)
    assert np.array_equal(table["text_cosine"].to_numpy(), vectors.cosines)
    if kind == "npy":
        assert table["key"].to_pylist()[:2] == ["vectors/0.npy/0", "vectors/0.npy/1"]
        assert table["caption"].null_count == COUNT
        return
    uid = [f"{number:032x}" for number in range(COUNT)]
    assert table["key"].to_pylist() == (uid if kind == "datacomp" else keys_of(COUNT))
    assert table["caption"].to_pylist() == [f"caption of {key}" for key in keys_of(COUNT)]
    assert table["url"].to_pylist() == [f"http://example.org/{key}.jpg" for key in keys_of(COUNT)]
    hashes = table["sha256" if kind == "datacomp" else "md5"].to_pylist()
    assert hashes == [f"{number:0{64 if kind == 'datacomp' else 32}x}" for number in range(COUNT)]


@pytest.mark.parametrize("kind", WRITERS)
def test_float16_in_c_order_is_not_copied(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "in", random_vectors(COUNT))
    imported(tmp_path, kind)
    copies = list((tmp_path / "run/rows").glob("*.npy"))
    assert len(copies) == (3 if kind in {"parquet", "datacomp"} else 0)


@pytest.mark.parametrize("padding", [1, 4])
def test_files_are_paired_by_number_not_as_sorted(tmp_path: Path, padding: int) -> None:
    vectors = random_vectors(400)
    write_clip_retrieval(tmp_path / "in", vectors, parts=12, padding=padding)
    for path in (tmp_path / "in/text_emb").iterdir():  # two tools pad in two ways
        path.rename(path.with_name(f"text_emb_{int(path.stem[9:]):06d}.npy"))
    imported(tmp_path)
    table = rows_of(tmp_path)
    assert table["key"].to_pylist() == keys_of(400)
    assert np.array_equal(vectors_in(table), vectors.images)
    assert set(table["source"].to_pylist()) == {f"img_emb/img_emb_{n:0{padding}d}.npy" for n in range(12)}


def test_metadata_may_lie_in_the_folder_that_laions_mirror_has(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT))
    (tmp_path / "in/metadata").rename(tmp_path / "in/laion2B-en-metadata")
    imported(tmp_path)
    assert rows_of(tmp_path)["key"].to_pylist() == keys_of(COUNT)


def test_an_empty_part_shifts_no_pair(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    write_clip_retrieval(tmp_path / "in", vectors)
    none = Vectors(vectors.images[:0], vectors.texts[:0])
    for folder, name in (("img_emb", "img_emb"), ("text_emb", "text_emb"), ("metadata", "metadata")):
        for number in (2, 1):
            path = next((tmp_path / "in" / folder).glob(f"{name}_{number}.*"))
            path.rename(path.with_stem(f"{name}_{number + 1}"))
    write_npy(tmp_path / "in/img_emb/img_emb_1.npy", none.images)
    write_npy(tmp_path / "in/text_emb/text_emb_1.npy", none.texts)
    write_parquet(tmp_path / "in/metadata/metadata_1.parquet", columns_of(none))
    imported(tmp_path)
    table = rows_of(tmp_path)
    assert np.array_equal(vectors_in(table), vectors.images)
    done("dedup", "--clusters", "2", cwd=tmp_path)


FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x.astype(np.float64),
    "big-endian": lambda x: x.astype(">f2"),
    "big-endian float32": lambda x: x.astype(">f4"),
    "fortran": np.asfortranarray,
    "fortran float32": lambda x: np.asfortranarray(x.astype(np.float32)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_other_forms_of_npy_are_read_right_and_copied(tmp_path: Path, form: Callable[[np.ndarray], np.ndarray]) -> None:
    vectors = random_vectors(COUNT)
    write_clip_retrieval(tmp_path / "in", Vectors(form(vectors.images), form(vectors.texts)), parts=1, similarity=None)
    assert "copied as float16 from 1 file(s)" in imported(tmp_path).err
    table = rows_of(tmp_path)
    assert np.array_equal(vectors_in(table), vectors.images)
    assert np.array_equal(table["text_cosine"].to_numpy(), vectors.cosines)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_lists_of_every_kind_are_read(tmp_path: Path, fixed: bool, dtype: Any) -> None:
    vectors = random_vectors(COUNT)
    wide = Vectors(vectors.images.astype(dtype), vectors.texts.astype(dtype))
    write_lists(tmp_path / "in", wide, fixed=fixed, similarity=None)
    imported(tmp_path)
    assert np.array_equal(vectors_in(rows_of(tmp_path)), vectors.images)
    assert np.array_equal(rows_of(tmp_path)["text_cosine"].to_numpy(), vectors.cosines)


def test_columns_of_vectors_may_have_any_name(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    columns = columns_of(vectors)
    del columns["similarity"]
    write_parquet(tmp_path / "in/0.parquet", {**columns, "x": lists(vectors.images), "t": lists(vectors.texts)})
    check_refused(coreset("import", "in", cwd=tmp_path), 3, "0.parquet", "--embedding-column")
    imported(tmp_path, "", "--embedding-column", "x", "--text-column", "t")
    assert np.array_equal(rows_of(tmp_path)["text_cosine"].to_numpy(), vectors.cosines)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_smaller_of_datacomps_models_can_be_chosen(tmp_path: Path, compressed: bool) -> None:
    write_datacomp(tmp_path / "in", random_vectors(COUNT), compressed=compressed)
    imported(tmp_path, "", "--features", "b32")
    table = rows_of(tmp_path)
    assert vectors_in(table).shape == (COUNT, 4)
    assert set(table["text_cosine"].to_pylist()) == {1.0}


@pytest.mark.parametrize(
    ("alias", "meaning"),
    [("URL", "url"), ("TEXT", "caption"), ("txt", "caption"), ("SAMPLE_ID", "key"), ("uid", "key"), ("KEY", "key")],
)
def test_columns_are_known_by_their_usual_names(tmp_path: Path, alias: str, meaning: str) -> None:
    vectors = random_vectors(COUNT)
    columns = {name: value for name, value in columns_of(vectors).items() if name != "image_path"}
    plain = columns.pop(meaning)
    write_npy(tmp_path / "in/0.npy", vectors.images)
    write_parquet(tmp_path / "in/0.parquet", {**columns, alias: plain})
    imported(tmp_path)
    assert rows_of(tmp_path)[meaning].to_pylist() == list(plain)


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.large_string(), pa.binary()])
def test_keys_may_be_numbers(tmp_path: Path, kind: pa.DataType) -> None:
    keys = pa.array([str(number) for number in range(COUNT)]).cast(kind)
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT), parts=1, image_path=None, key=keys)
    imported(tmp_path)
    assert rows_of(tmp_path)["key"].to_pylist() == [str(number) for number in range(COUNT)]


def test_a_folder_without_keys_gets_source_and_row(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT), parts=2, key=None, image_path=None)
    imported(tmp_path)
    assert rows_of(tmp_path)["key"].to_pylist()[:2] == ["img_emb/img_emb_0.npy/0", "img_emb/img_emb_0.npy/1"]


# The text cosine


def test_the_similarity_column_wins_and_the_vectors_can_be_asked_for(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    rounded = np.round(vectors.cosines, 2)
    write_clip_retrieval(tmp_path / "in", vectors, parts=1, similarity=rounded)
    imported(tmp_path)
    assert np.array_equal(rows_of(tmp_path)["text_cosine"].to_numpy(), rounded)
    imported(tmp_path, "", "--text-cosine", "embeddings", "--overwrite")
    assert np.array_equal(rows_of(tmp_path)["text_cosine"].to_numpy(), vectors.cosines)


def test_text_vectors_may_be_missing_where_there_is_a_similarity(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    write_clip_retrieval(tmp_path / "in", vectors, texts=False)
    imported(tmp_path)
    assert np.array_equal(rows_of(tmp_path)["text_cosine"].to_numpy(), vectors.cosines)


def test_another_models_similarity_is_no_shuffle(tmp_path: Path) -> None:
    vectors = random_vectors(2000)
    noise = np.random.default_rng(1).normal(size=2000).astype(np.float32) * vectors.cosines.std()
    write_clip_retrieval(tmp_path / "in", vectors, parts=1, similarity=vectors.cosines + noise)
    imported(tmp_path)


# Rows that cannot be used


EXPECTED = [
    *[(3, "zero_norm"), (4, "not_finite"), (5, "not_finite"), (10, "no_key"), (11, "no_key"), (12, "bad_key")],
    *[(13, "bad_key"), (14, "duplicate_key"), (20, "no_caption"), (21, "no_caption"), (22, "caption_too_long")],
    *[(30, "no_text_cosine"), (31, "no_text_cosine")],
]


def test_every_bad_row_is_quarantined_with_its_reason_and_adds_up(tmp_path: Path) -> None:
    harmed(tmp_path / "in")
    check_refused(coreset("import", "in", cwd=tmp_path), 4, "13 of 60")
    assert [(row, reason) for _, row, reason in refused(tmp_path)] == EXPECTED
    counts = json.loads((tmp_path / "run/rows/stage.json").read_text())["counts"]
    assert counts == {"samples": 60, "rows": 47, "quarantined": 13}
    table = rows_of(tmp_path)
    assert table["source_row"].to_pylist() == table["vector_row"].to_pylist()
    assert not list((tmp_path / "run/rows").glob("*.npy"))
    done("dedup", "--clusters", "2", *BAD, cwd=tmp_path)
    assert done("sample", "-n", "2", *BAD, cwd=tmp_path).out.count("coreset-00000-of-00001.parquet") == 1


def test_rows_beside_bad_ones_are_the_same_whether_copied_or_not(tmp_path: Path) -> None:
    harmed(tmp_path / "in")
    imported(tmp_path, "", *BAD)
    there = rows_of(tmp_path)
    path = tmp_path / "in/img_emb/img_emb_0.npy"
    write_npy(path, np.load(path).astype(np.float32))
    imported(tmp_path, "", *BAD, "--overwrite")
    copied = rows_of(tmp_path)
    assert copied["vector_row"].to_pylist() == list(range(47))
    assert copied.drop_columns("vector_row").equals(there.drop_columns("vector_row"))


def test_bad_text_vectors_are_quarantined_where_they_are_needed(tmp_path: Path) -> None:
    vectors = random_vectors(50)
    texts = vectors.texts.copy()
    texts[3], texts[4, 1] = 0, np.inf
    write_clip_retrieval(tmp_path / "in", Vectors(vectors.images, texts), parts=1, similarity=None)
    imported(tmp_path, "", *BAD)
    assert [(row, reason) for _, row, reason in refused(tmp_path)] == [(3, "zero_norm"), (4, "not_finite")]


def test_rows_without_a_list_are_quarantined(tmp_path: Path) -> None:
    vectors = random_vectors(50)
    values = vectors.images.astype(np.float32).tolist()
    values[3], values[4] = None, values[4][:5]
    values[6][2] = None
    write_parquet(tmp_path / "in/a.parquet", {**columns_of(vectors), "embedding": values})
    imported(tmp_path, "", *BAD)
    assert [(row, reason) for _, row, reason in refused(tmp_path)] == [
        *[(3, "no_vector"), (4, "no_vector"), (6, "not_finite")]
    ]
    assert np.array_equal(vectors_in(rows_of(tmp_path)), np.delete(vectors.images, [3, 4, 6], axis=0))


def test_text_that_is_not_utf8_is_quarantined(tmp_path: Path) -> None:
    def binary(name: str, row: int) -> Callable[[dict[str, Any]], pa.Array]:
        def made(columns: dict[str, Any]) -> pa.Array:
            raw = pa.array(
                [v.encode() + (b"\xff" if i == row else b"") for i, v in enumerate(columns[name])], pa.binary()
            )
            return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())

        return made

    changes = {"key": binary("key", 1), "caption": binary("caption", 2), "url": binary("url", 3)}
    write_clip_retrieval(tmp_path / "in", random_vectors(50), parts=1, **changes)
    imported(tmp_path, "", *BAD, "--prefix-keys")
    assert [(row, reason) for _, row, reason in refused(tmp_path)] == [(1, "bad_key"), (2, "caption_not_utf8")]
    table = rows_of(tmp_path)
    assert table["url"].null_count == 1
    assert table["key"].to_pylist()[1] == "img_emb/img_emb_0.npy/000000003"


# Lengths


def test_vectors_of_any_length_are_normalised_when_asked_for(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT, dtype=np.float64)
    factors = np.random.default_rng(2).random((COUNT, 1)) * 50 + 1
    long = Vectors((vectors.images * factors).astype(np.float32), (vectors.texts * 7).astype(np.float32))
    write_clip_retrieval(tmp_path / "in", long, similarity=None)
    check_refused(coreset("import", "in", cwd=tmp_path), 3, "img_emb_0.npy row 0: the vector has length", "--normalize")
    imported(tmp_path, "", "--normalize")
    table = rows_of(tmp_path)
    assert np.abs(np.linalg.norm(vectors_in(table).astype(float), axis=1) - 1).max() < 1e-3
    exact = long.images.astype(float)
    assert np.array_equal(vectors_in(table), (exact / np.linalg.norm(exact, axis=1, keepdims=True)).astype(np.float16))
    assert np.allclose(table["text_cosine"].to_numpy(), vectors.cosines, atol=2e-3)


def test_a_length_in_the_middle_of_a_large_part_is_found_too(tmp_path: Path) -> None:
    vectors = random_vectors(20_000, 4)
    vectors.images[9_000] *= np.float16(1.125)
    write_clip_retrieval(tmp_path / "in", vectors, parts=1, similarity=None)
    check_refused(coreset("import", "in", cwd=tmp_path), 3, "img_emb_0.npy row 9,000: the vector has length 1.1")


def test_bytes_behind_the_last_vector_are_said_and_harm_nothing(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT))
    raw(IMAGE, lambda b: b + b"12345")(tmp_path / "in")
    assert f"warning: {IMAGE} has 5 bytes behind its last vector" in imported(tmp_path).err
    imported(tmp_path)


# Keys


def test_keys_of_two_files_are_made_unique_with_prefixes(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    write_clip_retrieval(tmp_path / "in", vectors, image_path=None, key=lambda c: keys_of(len(c["caption"])))
    check_refused(coreset("import", "in", cwd=tmp_path), 3, "Key 000000000", "img_emb_0.npy", "--prefix-keys")
    imported(tmp_path, "", "--prefix-keys")
    assert rows_of(tmp_path)["key"].to_pylist()[25] == "img_emb/img_emb_1.npy/000000000"


def test_keys_that_meet_later_are_found_by_the_full_check(tmp_path: Path) -> None:
    def key(columns: dict[str, Any]) -> list[str]:
        return [columns["key"][0], *keys_of(len(columns["key"]) - 1, 500)]

    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT), image_path=None, key=key)
    check_refused(coreset("import", "in", cwd=tmp_path), 3, "Key 0000005", "--prefix-keys")
    assert "because of a new prefix_keys" in imported(tmp_path, "", "--prefix-keys").err
