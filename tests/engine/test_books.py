"""The books of a stage: the values and hashes of plain JSON, in little memory however many parts there are."""

from __future__ import annotations

import dataclasses
import json
import pickle
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from engine_tasks import MadeParams, made_stage
from hypothesis import given, settings
from hypothesis import strategies as st

from coreset.engine import files
from coreset.engine.books import book_bytes, book_hash, book_lines, line_of, read_stage
from coreset.engine.errors import InputError
from coreset.engine.local import in_process
from coreset.engine.names import Numbered, names_held
from coreset.engine.outgoing import Seal
from coreset.engine.stage import PARQUET, Finished, Needs, Stage, Task, complete, finished, open_parts
from coreset.engine.summaries import Summaries

PER_PART = 1024
"""Bytes that a driver may hold of each part."""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
books = st.dictionaries(st.text(), values, max_size=5).filter(lambda said: "parts" not in said)
summaries = st.lists(
    st.dictionaries(st.sampled_from(["rows", "kept", "edges"]), st.integers(0, 2**62), max_size=3), max_size=20
)
part_lists = st.dictionaries(st.text(), values, max_size=5)


@settings(max_examples=30)
@given(books, part_lists)
def test_a_book_is_json_with_a_line_for_each_part(said: dict[str, Any], parts: dict[str, Any]) -> None:
    entries = [(name, line_of(part)) for name, part in parts.items()]
    content = b"".join(book_lines(said, entries))
    assert json.loads(content) == {**said, "parts": parts}
    assert list(json.loads(content)["parts"]) == list(parts)
    assert book_bytes(json.loads(content)) == content


@settings(max_examples=30)
@given(books)
def test_a_book_without_parts_is_json(said: dict[str, Any]) -> None:
    assert json.loads(book_bytes(said)) == said


@settings(max_examples=30)
@given(books, part_lists)
def test_the_hash_is_that_of_the_value(said: dict[str, Any], parts: dict[str, Any]) -> None:
    entries = sorted((name, line_of(part)) for name, part in parts.items())
    assert book_hash(said, entries) == files.fingerprint({**said, "parts": parts})


@settings(max_examples=30)
@given(summaries)
def test_summaries_are_what_they_were(given_: list[dict[str, int]]) -> None:
    held = Summaries()
    for summary in given_:
        held.append(summary)
    for names in (list(Numbered(len(given_))), [f"part {number}" for number in range(len(given_))]):
        expected = dict(zip(names, given_, strict=True))
        assert held.named(names) == expected
        assert {name: held[name] for name in names} == expected
        with pytest.raises(KeyError):
            held["no such part"]
    assert held.sums() == {
        name: sum(summary.get(name, 0) for summary in given_) for summary in given_ for name in summary
    }


def test_numbered_names_are_a_sequence_that_is_small_on_its_way() -> None:
    plain = [f"run/rows/{number:05d}.parquet" for number in range(100_002)]
    names = Numbered(len(plain)).between("run/rows/", ".parquet")
    assert list(names) == plain
    assert (names[0], names[-1], list(names[99_998:])) == (plain[0], plain[-1], plain[99_998:])
    assert plain[7] in names
    assert len(pickle.dumps(names)) < 200
    assert names_held(["00000", "00002"]) == ("00000", "00002")


def test_books_of_earlier_versions_are_read(tmp_path: Path) -> None:
    stage = made_stage(tmp_path)
    parts = complete(stage, in_process)
    for name in ("plan.json", "stage.json"):
        location = str(tmp_path / "made" / name)
        files.write_json(location, json.loads(Path(location).read_bytes()))  # a line for each value, as it was before
    assert len((tmp_path / "made" / "stage.json").read_text().splitlines()) > 30
    assert finished(stage) == parts == open_parts(stage.folder)


@pytest.mark.parametrize(
    "harm",
    [
        lambda said: said["parts"]["001"].pop("summary"),
        lambda said: said["parts"]["001"]["files"].update({".side": 3}),
        lambda said: said["parts"]["001"].update(summary={"rows": "many"}),
        lambda said: said["parts"]["001"].update(summary={"rows": 2**80}),
        lambda said: said.update(parts=[]),
        lambda said: said.pop("parts"),
    ],
)
def test_a_book_that_does_not_say_what_it_must_is_refused(tmp_path: Path, harm: Callable[[Any], object]) -> None:
    complete(made_stage(tmp_path), in_process)
    location = tmp_path / "made" / "stage.json"
    said = json.loads(location.read_text())
    harm(said)
    location.write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"stage\.json is damaged"):
        read_stage(str(location))


def left_empty(calls: Iterable[Callable[[], Any]], needs: Needs) -> Iterator[Any]:
    """An engine that leaves an empty part for each call, as if it had been made."""
    for call in calls:
        assert isinstance(call, partial)
        Path(call.args[0].part + PARQUET).touch()
        yield Finished(call.args[0].part.rpartition("/")[2], {"rows": 10_000}, {PARQUET: Seal(0, "0" * 32)})


def empty_stage(folder: Path, parts: int, asked: list[int]) -> Stage:
    """A stage of empty parts, each of which has an input; notes how often it was asked for all of them."""

    def inputs() -> dict[str, Any]:
        asked.append(parts)
        return {f"{number:06d}.tar": {"size": number, "part": f"{number:05d}"} for number in range(parts)}

    def tasks() -> Iterator[Task]:
        return (Task(f"{folder}/made/{n:05d}", max, (n,), {"name": f"{n:06d}.tar"}) for n in range(parts))

    return Stage(f"{folder}/made", MadeParams(), tasks, None, lambda _: None, inputs=inputs)


def test_a_driver_holds_little_of_each_part_and_looks_at_all_of_them_a_few_times(tmp_path: Path) -> None:
    peaks, looks = [], []
    for parts in (200, 1400):
        asked: list[int] = []
        stage = empty_stage(tmp_path / str(parts), parts, asked)
        tracemalloc.start()
        made = complete(stage, left_empty)
        assert complete(stage, left_empty).hash == made.hash
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        looks.append(len(asked))
        assert made.counts == {"rows": 10_000 * parts}
        assert made.summaries[f"{parts - 1:05d}"] == {"rows": 10_000}
    assert (peaks[1] - peaks[0]) / 1200 < PER_PART
    assert looks[0] == looks[1] < 8


def test_tasks_have_no_dict_of_their_own() -> None:
    assert not hasattr(Task("a", max, ()), "__dict__")
    assert dataclasses.replace(Task("a", max, ()), part="b").part == "b"
