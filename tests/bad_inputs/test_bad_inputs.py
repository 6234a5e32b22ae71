"""Every bad input gets what the index says: a reason in quarantine, one sentence, or its place among the rows.

Never a traceback, a hang, boundless memory, a lost sample or half of one. The whole samples around a bad one always
come through with the vectors and captions that they have without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from bad_inputs import (
    cases_captions,
    cases_embeddings,
    cases_encoders,
    cases_image_parquet,
    cases_parameters,
    cases_pictures,
    cases_tars,
    index,
)
from bad_inputs.case import CommandCase, ShardCase, VectorsCase, caption
from bad_inputs.running import Ended, bounded, timed
from command import Said, check_refused, contents
from folders import random_vectors, write_clip_retrieval
from importing import rows_of

from coreset.demo import MODEL
from coreset.vectors import row_vectors

SHARDS: tuple[ShardCase, ...] = (
    *cases_tars.SHARDS,
    *cases_pictures.SHARDS,
    *cases_captions.SHARDS,
    *cases_image_parquet.SHARDS,
)
REFUSED: tuple[CommandCase, ...] = (
    *cases_parameters.NO_SHARDS,
    *cases_parameters.RECIPES,
    *cases_image_parquet.REFUSED,
    *cases_embeddings.FOLDERS,
    *(case for case in cases_parameters.MODELS if case.command[0] == "embed"),
    *cases_encoders.MODELS,
    *cases_encoders.REUSED,
)
"""What begins with an empty folder."""
VALUES: tuple[CommandCase, ...] = (
    *cases_parameters.VALUES,
    *(case for case in cases_parameters.MODELS if case.command[0] != "embed"),
)
"""What begins with a finished run."""
RECIPE = f"""
input = PATTERNS
[embed]
model = "{MODEL}"
precision = "float32"
batch_size = 4
threads = 1
"""
MOST_MEMORY = 900 << 20
"""Bytes by which memory may grow: the model, one sample of at most 64 MiB of each shard, pictures of 64 megapixels."""
MOST_ALONE = 700 << 20
"""The same where nothing is embedded; the largest is a model that is made and then not filled."""
NEAR = 2e-3
"""How far two vectors of one picture may be apart: a unit in the last place of float16."""


@dataclass(frozen=True)
class Books:
    """What one command made of some tars.

    Attributes:
        ended: How it went.
        folder: In which it ran.
        rows: Of each tar, by the last letter of the key; with the vector.
        refused: Of each tar.
    """

    ended: Ended
    folder: Path
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    refused: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """What the stage says of itself."""
        found: Mapping[str, int] = json.loads((self.folder / "run/rows/stage.json").read_text())["counts"]
        return found


def embedded(folder: Path, cases: tuple[ShardCase, ...]) -> Books:
    """Embed the files of some cases by one command."""
    (folder / "shards").mkdir()
    for case in cases:
        case.write(folder / "shards")
    patterns = json.dumps(sorted({f"shards/*{case.ending}" for case in cases}))
    (folder / "coreset.toml").write_text(RECIPE.replace("PATTERNS", patterns))
    books = Books(bounded("embed", "--max-bad", "100", cwd=folder, deadline=300), folder)
    for path in sorted((folder / "run/rows").glob("*.parquet")):
        for row, vector in zip(pq.read_table(path).to_pylist(), np.asarray(row_vectors(str(path))[0:]), strict=True):
            books.rows.setdefault(row["source"], {})[row["key"][-1]] = {**row, "vector": vector.astype(np.float32)}
    for path in sorted((folder / "run/quarantine").glob("embed-*.parquet")):
        for entry in pq.read_table(path).to_pylist():
            books.refused.setdefault(entry["source"], []).append(entry)
    return books


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """All tars at once; where that breaks, each alone, so that the culprit is the one that fails."""
    return embedded(tmp_path_factory.mktemp("all"), SHARDS)


@pytest.fixture(scope="module")
def whole(books: Books, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The rows of whole samples, embedded where nothing bad is near."""
    alone = books
    if SHARDS:
        alone = embedded(tmp_path_factory.mktemp("whole"), SHARDS[:1])
    return alone.rows[SHARDS[0].source]


@pytest.mark.parametrize("case", SHARDS, ids=lambda case: case.file)
def test_a_shard(case: ShardCase, books: Books, whole: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    if books.ended.said.code:
        books = embedded(tmp_path, (case,))
        assert books.ended.said.code == 0, books.ended.said.err
    assert "Traceback" not in books.ended.said.err
    source = case.source
    rows, refused = books.rows.get(source, {}), books.refused.get(source, [])
    told = [f"{(entry['key'] or '')[-1:]} {entry['reason']}" for entry in refused if entry["source_row"] is not None]
    assert told == list(case.refuses), refused
    about = [f"{entry['reason']} {entry['rows']}" for entry in refused if entry["source_row"] is None]
    assert about == list(case.shard), refused
    assert "".join(rows) == case.keeps
    assert len(rows) + sum(entry["rows"] for entry in refused) == case.samples
    for letter in {"a", "z"} & rows.keys():
        assert rows[letter]["caption"] == caption(letter)
        assert np.abs(rows[letter]["vector"] - whole[letter]["vector"]).max() <= NEAR
        assert abs(rows[letter]["text_cosine"] - whole[letter]["text_cosine"]) <= NEAR
    if case.like:
        one, other = (rows[letter]["vector"] for letter in case.like)
        assert np.abs(one - other).max() <= NEAR
    if case.unlike:
        one, other = (rows[letter]["vector"] for letter in case.unlike)
        assert np.abs(one - other).max() > 10 * NEAR
    if case.check:
        case.check(rows, books.folder)


def test_the_books_of_all_shards_add_up(books: Books) -> None:
    counts = books.counts
    assert counts["samples"] == counts["rows"] + counts["quarantined"] == sum(case.samples for case in SHARDS)
    assert counts["rows"] == sum(len(case.keeps) for case in SHARDS)


def test_no_shard_takes_memory_because_it_says_so(books: Books) -> None:
    assert books.ended.grown < MOST_MEMORY


def check_ended(case: CommandCase, said: Said) -> None:
    """The exit code, one sentence that says why, and no traceback."""
    if case.code in {0, 4}:
        assert said.code == case.code, said.err
        assert "Traceback" not in said.err
        assert all(word in said.err for word in case.words), said.err
    elif said.code == 2 and "Usage: " in said.err:  # typer's own, which stands in a box
        assert case.code == 2
        assert "Traceback" not in said.err
        assert all(word in said.err for word in case.words), said.err
    else:
        check_refused(said, case.code, *case.words)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_an_input_that_cannot_be_meant(case: CommandCase, tmp_path: Path) -> None:
    case.build(tmp_path)
    before = contents(tmp_path)
    if case.alone:
        ended = bounded(*case.command, cwd=tmp_path)
        check_ended(case, ended.said)
        assert ended.grown < MOST_ALONE
    else:
        check_ended(case, timed(*case.command, cwd=tmp_path))
    after = {name: content for name, content in contents(tmp_path).items() if name not in {"log.txt", "peak.txt"}}
    assert case.writes or after.keys() == before.keys()
    assert case.writes or after == before
    if case.check:
        case.check(tmp_path)


@pytest.mark.parametrize("case", cases_encoders.OWN, ids=lambda case: case.name)
def test_an_encoder_of_ones_own(case: CommandCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / cases_encoders.SITE))
    try:
        case.build(tmp_path)
        check_ended(case, timed(*case.command, cwd=tmp_path))
    finally:
        cases_encoders.forget()
    assert case.writes or not (tmp_path / "run/rows/plan.json").exists()
    if case.check:
        case.check(tmp_path)


@pytest.mark.parametrize("case", VALUES, ids=lambda case: case.name)
def test_a_value_that_cannot_be_meant(case: CommandCase, finished: Path) -> None:
    case.build(finished)
    before = contents(finished / "run")
    check_ended(case, (bounded(*case.command, cwd=finished).said if case.alone else timed(*case.command, cwd=finished)))
    assert contents(finished / "run") == before
    if case.check:
        case.check(finished)


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The rows of a good folder of vectors, by key."""
    folder = tmp_path_factory.mktemp("unharmed")
    write_clip_retrieval(folder / "in", random_vectors(cases_embeddings.ROWS))
    assert timed("import", "in", cwd=folder).code == 0
    return by_key(folder)


def by_key(folder: Path) -> dict[str, dict[str, Any]]:
    names = ["key", "caption", "text_cosine", "vector"]
    return {row["key"]: row for row in rows_of(folder).select(names).to_pylist()}


@pytest.mark.parametrize("case", cases_embeddings.VECTORS, ids=lambda case: case.name)
def test_a_folder_of_vectors(case: VectorsCase, unharmed: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(cases_embeddings.ROWS))
    case.harm(tmp_path / "in")
    said = timed("import", "in", "--max-bad", "100", *case.flags, cwd=tmp_path)
    assert said.code == 0, said.err
    assert all(word in said.err for word in case.words), said.err
    rows = by_key(tmp_path)
    entries = [pq.read_table(path).to_pylist() for path in sorted((tmp_path / "run/quarantine").glob("*.parquet"))]
    refused = [entry for part in entries for entry in part]
    assert [f"{entry['source_row'] + cases_embeddings.FIRST} {entry['reason']}" for entry in refused] == list(
        case.refuses
    )
    lost = {f"{int(told.split()[0]):09d}" for told in case.refuses}
    assert rows.keys() == unharmed.keys() - lost
    if case.new:
        lengths = np.linalg.norm([row["vector"] for row in rows.values()], axis=1)
        assert np.abs(lengths - 1).max() < 1.5e-3
    else:
        assert all(rows[key] == unharmed[key] for key in rows)
    if case.check:
        case.check(rows_of(tmp_path))


def test_the_index_is_current() -> None:
    assert index.PAGE.read_text() == index.page(), "run `python tests/bad_inputs/index.py`"
    names = [case.name for case in (*SHARDS, *REFUSED, *VALUES, *cases_embeddings.VECTORS, *cases_encoders.OWN)]
    assert len(names) == len(set(names))
