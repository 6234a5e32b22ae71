"""Lists of what must not be used: every form of list, the sums, and what is reused when a list changes."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import Said, check_equal, check_refused, contents, coreset, done, started
from folders import WRITERS, keys_of, random_vectors

import coreset as package

COUNT = 150
KEYS = keys_of(COUNT)
SELECT = ("--text-rank", "0", "100", "--centroid-rank", "0", "100", "-n", "9", "--allow-fewer")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `in/` and an imported run, not to be written to."""
    folder = tmp_path_factory.mktemp("imported")
    WRITERS["clip-retrieval"](folder / "in", random_vectors(COUNT))
    done("import", "in", cwd=folder)
    return folder


@pytest.fixture
def place(imported: Path, tmp_path: Path) -> Path:
    """The same folder, of one's own; the times of its files are kept, by which imported vectors are known."""
    return shutil.copytree(imported, tmp_path / "place")


def dedup(folder: Path, *flags: str) -> Said:
    return coreset("dedup", "--clusters", "2", *flags, cwd=folder)


def excluded(folder: Path) -> dict[str, str]:
    """Keys of the excluded rows with the column that was listed."""
    tables = [pq.read_table(path) for path in sorted((folder / "run/excluded").glob("*.parquet"))]
    table = pa.concat_tables(tables)
    return dict(zip(table["key"].to_pylist(), table["matched"].to_pylist(), strict=True))


def text(path: Path, *entries: str) -> None:
    path.write_text("".join(f"{entry}\n" for entry in entries), encoding="utf-8")


def table(path: Path, **columns: Sequence[object]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


URL = "http://example.org/{}.jpg".format
LISTS: dict[str, tuple[str, Callable[[Path], None], dict[str, str]]] = {
    "keys, a line each": ("list.txt", lambda path: text(path, KEYS[3], KEYS[70]), {KEYS[3]: "key", KEYS[70]: "key"}),
    "urls, keys and hashes in one text": (
        "takedown",
        lambda path: text(path, URL(KEYS[5]), "", f"  {KEYS[6]} ", f"{10:032X}", "f" * 64, "never seen"),
        {KEYS[5]: "url", KEYS[6]: "key", KEYS[10]: "md5"},
    ),
    "a line that ends as on Windows": ("list.txt", lambda path: text(path, KEYS[4] + "\r"), {KEYS[4]: "key"}),
    "csv with a column": ("list.csv", lambda path: table(path, key=[KEYS[1], "x"]), {KEYS[1]: "key"}),
    "csv whose keys look like numbers, and another column": (
        "list.CSV",
        lambda path: table(path, why=["a", "b"], key=[KEYS[7], KEYS[8]]),
        {KEYS[7]: "key", KEYS[8]: "key"},
    ),
    "parquet with nulls and two columns": (
        "list.parquet",
        lambda path: table(path, url=[URL(KEYS[0]), None], md5=[None, f"{KEYS.index(KEYS[9]):032X}"]),
        {KEYS[0]: "url", KEYS[9]: "md5"},
    ),
    "a key in the column of urls is no key": (
        "list.csv",
        lambda path: table(path, url=[KEYS[1], URL(KEYS[2])]),
        {KEYS[2]: "url"},
    ),
}


@pytest.mark.parametrize("case", LISTS)
def test_what_a_list_names_is_in_no_cluster_and_has_a_fate(case: str, place: Path) -> None:
    name, write, expected = LISTS[case]
    write(place / name)
    said = dedup(place, "--exclude", name)
    assert said.code == 0, said.err
    assert excluded(place) == expected
    clusters = pa.concat_tables([pq.read_table(path) for path in sorted((place / "run/clusters").glob("*.parquet"))])
    assert sorted(clusters["key"].to_pylist()) == sorted(set(KEYS) - set(expected))
    done("sample", *SELECT, cwd=place)
    fates = package.rows_with_fate(str(place / "run"))
    named = [
        key for key, fate in zip(fates["key"].to_pylist(), fates["fate"].to_pylist(), strict=True) if fate == "excluded"
    ]
    assert sorted(named) == sorted(expected)
    assert sorted(fates["key"].to_pylist()) == KEYS


def test_the_funnel_says_how_many_a_list_excluded(place: Path) -> None:
    text(place / "list", *KEYS[:3])
    said = dedup(place, "--exclude", "list")
    assert "3 excluded by a list" in said.out
    state = json.loads(done("status", "--json", cwd=place).out)
    assert "3 excluded" in json.dumps(state)


def test_another_list_reuses_rows_and_centroids(place: Path) -> None:
    assert dedup(place).code == 0
    before = contents(place / "run")
    text(place / "list", *KEYS[:3])
    said = dedup(place, "--exclude", "list")
    assert said.code == 0, said.err
    after = contents(place / "run")
    kept = [name for name in before if name.startswith(("rows/", "centroids/", "quarantine/"))]
    assert kept
    assert [name for name in kept if after[name] != before[name]] == []
    text(place / "list", *KEYS[:3], KEYS[90])  # another content under the same name
    assert dedup(place, "--exclude", "list").code == 0
    assert set(excluded(place)) == {*KEYS[:3], KEYS[90]}
    again = dedup(place)  # without the flag the list is no longer honoured
    assert again.code == 0, again.err
    check_equal(place / "run", before)


def test_the_same_list_under_another_name_changes_nothing(place: Path) -> None:
    text(place / "list", *KEYS[:3])
    assert dedup(place, "--exclude", "list").code == 0
    before = {path: path.stat().st_mtime_ns for path in (place / "run/clusters").iterdir()}
    (place / "list").rename(place / "other")
    assert dedup(place, "--exclude", "other").code == 0
    assert {path: path.stat().st_mtime_ns for path in (place / "run/clusters").iterdir()} == before


def test_a_killed_run_and_two_workers_leave_the_same_bytes(place: Path) -> None:
    text(place / "list", *KEYS[20:60])
    assert dedup(place, "--exclude", "list", "--run", "wanted").code == 3  # there are no rows in that run
    shutil.copytree(place / "run", place / "wanted", dirs_exist_ok=True)
    assert dedup(place, "--exclude", "list", "--run", "wanted").code == 0
    arguments = ("dedup", "--clusters", "2", "--exclude", "list")
    rename = 0
    while rename < 40:
        rename += 3
        if started(*arguments, cwd=place, fault=f"rename:{rename}:kill").wait() == 0:
            break
    done(*arguments, "--workers", "2", cwd=place)
    check_equal(place / "run", contents(place / "wanted"))


def test_a_list_that_names_nothing_is_a_warning(place: Path) -> None:
    text(place / "list", "never seen")
    said = dedup(place, "--exclude", "list")
    assert said.code == 0
    assert "warning: no row has a key, url or hash that list lists" in said.err
    assert not list((place / "run").glob("excluded/*"))


def test_a_list_that_names_everything_is_refused(place: Path) -> None:
    text(place / "list", *KEYS)
    check_refused(dedup(place, "--exclude", "list"), 3, "list excludes all 150 rows")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list", None, "list does not exist"),
        ("list", b"\n \n", "list has no entry"),
        ("list", b"\xff\xfe", "list cannot be read"),
        ("list.csv", b"", "list.csv cannot be read"),
        ("list.csv", b"name\na\n", "list.csv has none of the columns key, url, sha256, md5"),
        ("list.parquet", b"PAR1", "list.parquet"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused_before_any_work(
    place: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (place / name).write_bytes(content)
    before = contents(place / "run")
    check_refused(dedup(place, "--exclude", name), 3, said)
    left = contents(place / "run")
    assert {key: left[key] for key in before} == before
    assert not (place / "run/clusters/stage.json").exists()


def test_a_recipe_names_a_list_that_lies_beside_it(place: Path) -> None:
    text(place / "list", KEYS[0])
    (place / "coreset.toml").write_text('[cluster]\nexclude = "list"\nclusters = 2\n')
    done("dedup", cwd=place)
    assert excluded(place) == {KEYS[0]: "key"}
