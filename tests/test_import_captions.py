"""Imported rows without a caption: refused, or kept out of the text rank with a fate of their own, as in `embed`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from command import check_equal, check_refused, contents, coreset, done
from folders import WRITERS, Vectors, columns_of, random_vectors, write_clip_retrieval, write_lists
from importing import BAD, COUNT, imported, refused, rows_of, vectors_in

import coreset as package

ALLOW = "--allow-missing-caption"
LOST = (3, 70, 71, 149)
BLANK = (None, "", " \u2003\n", None)
WIDE = ("--text-rank", "0", "100", "--centroid-rank", "0", "100", "-n", "1000", "--allow-fewer")


def robbed(columns: dict) -> list[str | None]:
    """Captions of which some are taken away."""
    lost = dict(zip((f"{row:09d}" for row in LOST), BLANK, strict=True))
    return [lost.get(key, caption) for key, caption in zip(columns["key"], columns["caption"], strict=True)]


def check_rows(folder: Path, vectors: Vectors) -> None:
    """The rows named in `LOST` have neither caption nor cosine, and all others what they always have."""
    table = rows_of(folder)
    assert np.array_equal(vectors_in(table), vectors.images)
    cosines = [None if row in LOST else cosine for row, cosine in enumerate(vectors.cosines.tolist())]
    assert table["text_cosine"].to_pylist() == cosines
    captions = columns_of(vectors)["caption"]
    assert table["caption"].to_pylist() == [None if row in LOST else caption for row, caption in enumerate(captions)]
    assert refused(folder) == []


def test_without_the_flag_they_are_refused(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT), parts=1, caption=robbed)
    imported(tmp_path, "", *BAD)
    assert [(row, reason) for _, row, reason in refused(tmp_path)] == [(row, "no_caption") for row in LOST]


@pytest.mark.parametrize("writer", [write_clip_retrieval, write_lists])
@pytest.mark.parametrize("cosine", ["similarity", "embeddings"])
def test_with_it_they_are_rows_without_a_cosine_whatever_the_input_says(
    tmp_path: Path, writer: Callable[..., Path], cosine: str
) -> None:
    vectors = random_vectors(COUNT)
    writer(tmp_path / "in", vectors, caption=robbed)
    imported(tmp_path, "", ALLOW, "--text-cosine", cosine)
    check_rows(tmp_path, vectors)


def test_they_need_no_similarity(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    given = vectors.cosines.astype(object)
    given[list(LOST)] = [None, float("nan"), 77.0, None]
    similarity = pa.array(given, pa.float32(), from_pandas=False)
    write_clip_retrieval(tmp_path / "in", vectors, parts=1, caption=robbed, similarity=similarity)
    imported(tmp_path, "", ALLOW)
    check_rows(tmp_path, vectors)


@pytest.mark.parametrize("flags", [(), ("--normalize",)])
def test_they_need_no_text_vector(tmp_path: Path, flags: tuple[str, ...]) -> None:
    vectors = random_vectors(COUNT)
    texts = vectors.texts.copy()
    texts[LOST[0]], texts[LOST[1]], texts[LOST[2], 3] = 0, 0.5, np.nan
    write_clip_retrieval(tmp_path / "in", Vectors(vectors.images, texts), parts=1, caption=robbed, similarity=None)
    imported(tmp_path, "", ALLOW, *flags)
    if not flags:
        check_rows(tmp_path, vectors)
    table = rows_of(tmp_path)
    assert np.flatnonzero(table["text_cosine"].is_null()).tolist() == list(LOST)


def test_their_similarities_make_no_folder_look_shuffled(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    half = [None if row % 2 else f"caption of {row}" for row in range(COUNT)]
    similarity = np.where(np.arange(COUNT) % 2, np.float32(0), vectors.cosines)
    write_clip_retrieval(tmp_path / "in", vectors, parts=1, caption=half, similarity=similarity)
    check_refused(coreset("import", "in", *BAD, cwd=tmp_path), 3, "look shuffled")
    imported(tmp_path, "", ALLOW)
    assert rows_of(tmp_path)["text_cosine"].null_count == COUNT // 2


def test_captions_that_are_not_utf8_are_no_missing_ones(tmp_path: Path) -> None:
    raw = [None, b"", b"\xff", *(f"caption {row}".encode() for row in range(3, COUNT))]
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT), parts=1, caption=pa.array(raw, pa.binary()))
    imported(tmp_path, "", ALLOW, *BAD)
    assert [(row, reason) for _, row, reason in refused(tmp_path)] == [(2, "caption_not_utf8")]
    assert rows_of(tmp_path)["caption"].to_pylist()[:3] == [None, None, "caption 3"]


def test_a_folder_without_captions_is_ranked_as_before(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    write_clip_retrieval(tmp_path / "in", vectors, caption=None)
    imported(tmp_path, "", ALLOW)
    assert np.array_equal(rows_of(tmp_path)["text_cosine"].to_numpy(), vectors.cosines)


def test_they_are_deduplicated_and_have_a_fate_of_their_own(tmp_path: Path) -> None:
    vectors = random_vectors(COUNT)
    write_clip_retrieval(tmp_path / "in", vectors, caption=robbed)
    imported(tmp_path, "", ALLOW)
    done("dedup", "--clusters", "2", "--threshold", "1", cwd=tmp_path)
    said = done("sample", *WIDE, cwd=tmp_path)
    assert f"{len(LOST)} without a caption" in said.out
    fates = package.rows_with_fate(str(tmp_path / "run"))
    named = dict(zip(fates["key"].to_pylist(), fates["fate"].to_pylist(), strict=True))
    assert {named.pop(f"{row:09d}") for row in LOST} == {"no caption"}
    assert set(named.values()) == {"kept"}
    done("verify", "--full", cwd=tmp_path)


def test_no_worker_changes_a_byte_and_no_flag_is_mixed_in(tmp_path: Path) -> None:
    WRITERS["clip-retrieval"](tmp_path / "in", random_vectors(COUNT))
    write_clip_retrieval(tmp_path / "in", random_vectors(COUNT), caption=robbed)
    imported(tmp_path, "", ALLOW)
    imported(tmp_path, "", ALLOW, "--workers", "2", "--run", "other")
    check_equal(tmp_path / "other", contents(tmp_path / "run"))
    check_refused(coreset("import", "in", *BAD, cwd=tmp_path), 7, "allow_missing_caption")
