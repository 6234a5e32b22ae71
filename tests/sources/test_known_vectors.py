"""Vectors by their keys: from a disk and from a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from folders import keys_of, random_vectors, write_clip_retrieval, write_npy
from stores import upload

from coreset.engine.errors import InputError
from coreset.sources.known_vectors import fingerprint_of, known_vectors

URL = "memory://embedded/laion"


def test_those_of_a_store_are_those_of_a_disk(tmp_path: Path) -> None:
    vectors = random_vectors(40)
    write_clip_retrieval(tmp_path / "laion", vectors)
    upload(tmp_path / "laion", URL)
    assert fingerprint_of(URL) == fingerprint_of(str(tmp_path / "laion"))
    here, there = known_vectors(str(tmp_path / "laion")), known_vectors(URL)
    assert len(here) == len(there) == 40
    for number, key in enumerate(keys_of(40)):
        for found in (here, there):
            vector = found.stored(key)
            assert vector is not None
            assert np.array_equal(vector, vectors.images[number])
    assert there.stored("nobody") is None


def test_a_file_that_holds_no_vectors_is_refused(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path, random_vectors(4), parts=1)
    write_npy(tmp_path / "img_emb" / "img_emb_0.npy", np.zeros((4, 2, 2), np.float16))
    with pytest.raises(InputError, match=r"img_emb_0\.npy"):
        known_vectors(str(tmp_path))


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "laion", random_vectors(4), parts=1)
    (tmp_path / "laion" / "plan.json").write_text("{}")
    table = tmp_path / "laion" / "00000.parquet"
    (tmp_path / "laion" / "metadata" / "metadata_0.parquet").rename(table)
    with pytest.raises(InputError, match=r"00000\.npy is missing"):
        fingerprint_of(str(tmp_path / "laion"))
