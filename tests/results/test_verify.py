"""`coreset verify` notices whatever is done to a run, says what to do, and writes nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import check_refused, coreset, done, started, wait_until
from folders import random_vectors, write_clip_retrieval
from synthetic import random_given, selected_from

from coreset import rows, verify
from coreset.dedup import DedupParams
from coreset.engine import files
from coreset.engine.lock import sole_writer
from coreset.engine.stage import open_parts
from coreset.results.inspect.found import total
from coreset.results.verify import check_dedup, check_files
from coreset.results.verify.verdict import Verified
from coreset.sample import SampleParams

BAD = ("--max-bad", "10")
STAGES = ("rows", "centroids", "clusters", "forest", "dedup", "coreset")


@pytest.fixture(scope="module")
def whole(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of every stage; not to be written to."""
    place = shutil.copytree(undisturbed, tmp_path_factory.mktemp("whole") / "place")
    done("sweep", cwd=place)
    return place


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    """The same, of one's own."""
    return shutil.copytree(whole, tmp_path / "place")


def states(found: Verified) -> dict[str, str]:
    return {stage.name: stage.state for stage in found.stages}


def test_a_run_is_as_it_was_written_and_nothing_is_written(place: Path) -> None:
    def standing() -> dict[str, tuple[int, int]]:
        found = (place / "run").rglob("*")
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}

    before = standing()
    found = verify(str(place / "run"), full=True)
    assert found.ok
    assert states(found) == dict.fromkeys(STAGES, "ok")
    said = json.loads(done("verify", "--json", "--workers", "2", cwd=place).out)
    assert said["ok"]
    sizes = [path.stat().st_size for path in (place / "run").rglob("*") if path.is_file()]
    varying = sum((place / "run" / name).stat().st_size for name in (".lock", "run.json"))
    assert found.bytes == said["bytes"] == sum(sizes) - varying
    assert standing() == before


KINDS = (
    *("rows/*.npy", "rows/*.parquet", "rows/plan.json", "rows/stage.json", "quarantine/*.parquet"),
    *("centroids/*.npy", "centroids/*.parquet", "centroids/plan.json", "centroids/stage.json"),
    *(
        "clusters/?????.npy",
        "clusters/*.offsets.npy",
        "clusters/*.parquet",
        "clusters/plan.json",
        "clusters/stage.json",
    ),
    *("forest/*.parquet", "forest/plan.json", "forest/stage.json"),
    *("dedup/*.parquet", "dedup/plan.json", "dedup/stage.json"),
    *("coreset/*.parquet", "coreset/plan.json", "coreset/stage.json"),
)


def chosen(place: Path, kind: str) -> Path:
    return random.Random(kind).choice(sorted((place / "run").glob(kind)))


def test_every_kind_of_file_is_tried(whole: Path) -> None:
    tried = {path for kind in KINDS for path in (whole / "run").glob(kind)}
    every = {path for path in (whole / "run").rglob("*") if path.is_file()}
    assert {path.name for path in every - tried} == {"run.json", ".lock"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_noticed(place: Path, kind: str) -> None:
    path, draw = chosen(place, kind), random.Random(kind)
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    check_noticed(place, path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_noticed(place: Path, kind: str) -> None:
    path = chosen(place, kind)
    path.write_bytes(path.read_bytes()[: random.Random(kind).randrange(path.stat().st_size)])
    check_noticed(place, path)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("stage.json")])
def test_a_removed_file_is_noticed(place: Path, kind: str) -> None:
    path = chosen(place, kind)
    path.unlink()
    check_noticed(place, path)


def check_noticed(place: Path, path: Path) -> None:
    """Exit 3, and one sentence that names the file, or the folder's `stage.json`, and what to do."""
    said = coreset("verify", "-q", cwd=place)
    check_refused(said, 3, f"error: run/{path.parent.name}/")
    last = said.err.splitlines()[-1]
    assert path.name in last or "stage.json" in last
    assert "remove" in last


@pytest.mark.parametrize("stage", STAGES)
def test_without_its_word_a_stage_is_incomplete_and_not_wrong(place: Path, stage: str) -> None:
    (place / "run" / stage / "stage.json").unlink()
    found = verify(str(place / "run"))
    assert found.ok, found.error
    assert states(found)[stage] == "incomplete"
    assert {"incomplete", "ok"} >= set(states(found).values()) - {"out of date"}


def test_what_an_incomplete_stage_would_go_on_with_is_checked(place: Path) -> None:
    (place / "run/rows/stage.json").unlink()
    path = place / "run/rows/00000.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    check_refused(coreset("verify", "-q", cwd=place), 3, "run/rows/00000.npy has other bytes", "`coreset embed`")


@pytest.mark.parametrize("name", ["plan.json", "stage.json"])
@pytest.mark.parametrize("stage", STAGES)
def test_any_flipped_bit_of_what_a_stage_says_is_noticed(place: Path, stage: str, name: str) -> None:
    path, draw = place / "run" / stage / name, random.Random(f"{stage} {name}")
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :])
        said, found = check_files.read_said(str(place / "run"), stage)
        if not found.count:
            found = check_files.said_found(said)
        if not found.count:
            found = sum((call() for call in check_files.receipt_calls(said)), found)
        assert found.count, content[max(0, at - 30) : at + 30]


@pytest.mark.parametrize("folder", [*STAGES, "quarantine"])
def test_a_stranger_is_noticed(place: Path, folder: str) -> None:
    (place / "run" / folder / "copy.parquet").write_bytes(b"x")
    check_refused(coreset("verify", "-q", cwd=place), 3, f"run/{folder}/copy.parquet belongs to no part", "remove it")


def test_what_is_none_of_the_runs_files_is_said(place: Path) -> None:
    (place / "run/notes.txt").write_text("mine")
    assert "note: run/notes.txt is not of the run" in done("verify", "-q", cwd=place).out


@pytest.mark.parametrize("suffixes", [[".npy"], [".parquet"], [".npy", ".parquet"]], ids=str)
def test_swapped_parts_are_noticed(place: Path, suffixes: list[str]) -> None:
    folder = place / "run/rows"
    for suffix in suffixes:
        (folder / f"00000{suffix}").rename(folder / "other")
        (folder / f"00001{suffix}").rename(folder / f"00000{suffix}")
        (folder / "other").rename(folder / f"00001{suffix}")
    check_refused(coreset("verify", "-q", cwd=place), 3, "run/rows/0000")


def test_a_file_of_another_run_is_noticed(place: Path) -> None:
    name = "coreset-00000-of-00001.parquet"
    done("sample", "--seed", "1", *BAD, "--run", str(shutil.copytree(place / "run", place / "other")), cwd=place)
    shutil.copy(place / "other/coreset" / name, place / "run/coreset" / name)
    check_refused(coreset("verify", "-q", cwd=place), 3, f"run/coreset/{name} has ", "`coreset sample`")


def test_a_coreset_of_another_run_is_not_of_this_one(place: Path) -> None:
    other = shutil.copytree(place / "run", place / "other")
    done("dedup", "--threshold", "0.5", *BAD, "--run", "other", cwd=place)
    done("sample", "-n", "1", *BAD, "--run", "other", cwd=place)
    shutil.rmtree(place / "run/coreset")
    shutil.copytree(other / "coreset", place / "run/coreset")
    assert states(verify(str(place / "run")))["coreset"] == "out of date"


def test_a_stage_made_from_what_changed_is_out_of_date_and_not_wrong(place: Path) -> None:
    done("dedup", "--threshold", "0.5", *BAD, cwd=place)
    said = done("verify", "-q", cwd=place)
    assert "out of date" in said.out
    assert states(verify(str(place / "run"))) == {**dict.fromkeys(STAGES, "ok"), "coreset": "out of date"}


@pytest.mark.parametrize("bound", [0.0, 0.4, 0.7])
def test_a_bound_is_checked_too(bound: float, tmp_path: Path) -> None:
    made = DedupParams(0.7, min_kept_cosine=bound)
    clusters, dedup, _ = selected_from(tmp_path, random_given(0, most=60), made, SampleParams(n=1, allow_fewer=True))
    centroids = open_parts(f"{tmp_path}/centroids")
    assert centroids is not None
    for other in (0.0, 0.4, 0.7):
        params = DedupParams(0.7, min_kept_cosine=other)
        calls = check_dedup.dedup_calls(dedup, clusters, centroids, params, full=True, memory=1 << 26)
        assert bool(total(call() for call in calls).count) == (other != bound)


def test_a_run_that_is_being_written_is_left_alone(place: Path) -> None:
    with sole_writer(str(place / "run")):
        check_refused(coreset("verify", "-q", cwd=place), 6, f"process {os.getpid()}", "wait")


def test_no_run_is_said(tmp_path: Path) -> None:
    check_refused(coreset("verify", "-q", cwd=tmp_path), 3, "run holds no run", "--run")


def test_a_killed_run_is_incomplete_and_sound(pristine: Path, tmp_path: Path) -> None:
    place = shutil.copytree(pristine, tmp_path / "place")
    running = started("run", *BAD, cwd=place, fault="rename:4:kill")
    running.wait()
    wait_until((place / "run/rows").exists)
    found = verify(str(place / "run"))
    assert found.ok, found.error
    assert "incomplete" in states(found).values()


# What was written wrong: sealed as if it were right


def write(path: Path, table: pa.Table, receipt: str | None = None) -> None:
    """Write a part's table anew, with the receipt that it has or another one."""
    metadata = rows.metadata_of(str(path))
    with pq.ParquetWriter(path, table.schema) as file:
        file.write_table(table)
        file.add_key_value_metadata(metadata | ({"coreset": receipt} if receipt else {}))


def resealed(folder: Path) -> None:
    """Make `stage.json` say what the files are."""
    said = json.loads((folder / "stage.json").read_text())
    for part, entry in said["parts"].items():
        for suffix in entry["files"]:
            seal = files.sealed(check_files.file_of(str(folder), part, suffix))
            entry["files"][suffix] = {"size": seal.size, "hash": seal.hash}
        path = folder / f"{part}.parquet"
        receipt = json.loads(rows.receipt_of(str(path)) or "")
        sides = {suffix: seal for suffix, seal in entry["files"].items() if suffix != ".parquet"}
        if (receipt["files"], receipt["summary"]) != (sides, entry["summary"]):
            receipt |= {"files": sides, "summary": entry["summary"]}
            write(path, pq.read_table(path), json.dumps(receipt))
            seal = files.sealed(str(path))
            entry["files"][".parquet"] = {"size": seal.size, "hash": seal.hash}
    said["hash"] = files.fingerprint({key: value for key, value in said.items() if key != "hash"})
    files.write_json(str(folder / "stage.json"), said)


def column(name: str, change: Callable[[list], object]) -> Callable[[Path], None]:
    """Write a column anew, the receipt kept."""

    def changed(path: Path) -> None:
        table = pq.read_table(path)
        values = table[name].to_pylist()
        change(values)
        place = table.schema.get_field_index(name)
        field = table.schema.field(name)
        write(path, table.set_column(place, field, pa.array(values, field.type)))

    return changed


def reordered(index: Callable[[int], list[int]]) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        table = pq.read_table(path)
        write(path, table.take(index(table.num_rows)))

    return changed


def array(change: Callable[[np.ndarray], object]) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        values = np.load(path)
        change(values)
        np.save(path, values)

    return changed


def at(index: int, change: Callable[[object], object]) -> Callable[[list], None]:
    def put(values: list) -> None:
        values[index] = change(values[index])

    return put


def swap(values) -> None:
    first = np.copy(values[0]) if isinstance(values, np.ndarray) else values[0]
    values[0], values[-1] = values[-1], first


def ulp(value: object) -> object:
    return float(np.nextafter(np.float32(value), np.float32(2)))


def first_and_last(count: int) -> list[int]:
    return [count - 1, *range(1, count - 1), 0]


LIES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "hash": ("rows/00000.parquet", column("key_hash", at(1, lambda h: h ^ 1)), "not the hash of the key"),
    "vector row": ("rows/00000.parquet", column("vector_row", swap), "vector_row"),
    "vector row beyond": ("rows/00000.parquet", column("vector_row", at(-1, lambda r: r + 1000)), "vector_row"),
    "no cosine": ("rows/00000.parquet", column("text_cosine", at(0, lambda _: float("nan"))), "not finite"),
    "two sources": ("rows/00000.parquet", column("source", at(0, lambda s: s + "x")), "2 sources"),
    "long vector": ("rows/00000.npy", array(lambda x: np.multiply(x[3], 1.01, out=x[3], casting="unsafe")), "row 3"),
    "not a number": ("rows/00000.npy", array(lambda x: x[2].fill(np.nan)), "not finite and of length 1"),
    "off the grid": ("centroids/centroids.npy", array(lambda c: c[0].__setitem__(0, 2**-26)), "2^-24"),
    "length": ("centroids/centroids.parquet", column("length", at(0, ulp)), "length of that centroid"),
    "order": ("clusters/00000.parquet", reordered(first_and_last), "does not come after"),
    "caption": ("clusters/00000.parquet", column("caption", swap), "does not hold the rows of rows/"),
    "cosine": ("clusters/00000.parquet", column("centroid_cosine", at(2, ulp)), "centroid_cosine is not what"),
    "distance": ("clusters/00000.parquet", column("centroid_distance", at(2, ulp)), "centroid_distance is not what"),
    "no cluster": ("clusters/00000.parquet", column("cluster", at(-1, lambda _: 99)), "is not one of the"),
    "offsets": ("clusters/00000.offsets.npy", array(lambda o: o.__setitem__(1, o[1] + 1)), "each cluster"),
    "vectors": ("clusters/00000.npy", array(swap), "not what its vector gives"),
    "kept": ("dedup/00000.parquet", column("kept", at(0, lambda k: not k)), "kept does not say"),
    "kept key": ("dedup/00000.parquet", column("kept_key", swap), "kept"),
    "size": ("dedup/00000.parquet", column("component_size", at(0, lambda s: s + 1)), "another size"),
    "kept cosine": ("dedup/00000.parquet", column("kept_cosine", at(0, ulp)), "is not what the vectors give"),
    "url": ("dedup/00000.parquet", column("url", at(0, lambda _: "x")), "does not hold the rows of clusters/"),
    "weight": ("forest/00000.parquet", column("cosine", at(-1, lambda w: float(np.nextafter(w, 2)))), "forest"),
    "floor": ("forest/00000.parquet", column("cosine", at(-1, lambda _: 0.1)), "above the floor"),
    "ends": ("forest/00000.parquet", column("v", at(0, lambda _: 10**6)), "is no edge"),
    "drawn order": ("coreset/coreset-00000-of-00001.parquet", reordered(first_and_last), "not that of the row"),
    "other cosine": ("coreset/coreset-00000-of-00001.parquet", column("text_cosine", at(0, ulp)), "text_cosine"),
    "refused": ("quarantine/embed-00001.parquet", column("rows", at(0, lambda r: r + 1)), "add up"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_was_written_wrong_is_noticed(place: Path, lie: str) -> None:
    name, change, expected = LIES[lie]
    path = place / "run" / name
    assert path.exists(), sorted(path.parent.iterdir())
    change(path)
    folder = path.parent if path.parent.name != "quarantine" else place / "run/rows"
    resealed(folder)
    said = coreset("verify", "--full", "-q", cwd=place)
    check_refused(said, 1, f"run/{folder.name}/stage.json")
    assert expected in said.out, said.out


def test_a_component_that_was_split_is_noticed(place: Path) -> None:
    path = place / "run/dedup/00000.parquet"
    table = pq.read_table(path)
    columns = table.to_pydict()
    row = columns["kept"].index(False)
    kept = columns["key"].index(columns["kept_key"][row])
    others = [i for i, key in enumerate(columns["kept_key"]) if key == columns["kept_key"][row]]
    for other in others:
        columns["component_size"][other] = len(others) - 1
    columns["kept"][row], columns["kept_key"][row] = True, columns["key"][row]
    columns["component_size"][row], columns["kept_cosine"][row] = 1, columns["kept_cosine"][kept]
    write(path, pa.table(columns, schema=table.schema))
    said = json.loads((place / "run/dedup/stage.json").read_text())
    for counts in (said["counts"], said["parts"]["00000"]["summary"]):
        counts |= {"kept": counts["kept"] + 1, "duplicates": counts["duplicates"] - 1}
    files.write_json(str(place / "run/dedup/stage.json"), said)
    resealed(place / "run/dedup")
    check_refused(coreset("verify", "-q", cwd=place), 1, "component is not what the vectors give")


def test_a_key_that_stands_twice_is_noticed(place: Path) -> None:
    first, other = (place / f"run/rows/{part}.parquet" for part in ("00000", "00001"))
    for name in ("key", "key_hash"):
        value = pq.read_table(first)[name].to_pylist()[0]
        column(name, at(0, lambda _, value=value: value))(other)
    resealed(place / "run/rows")
    check_refused(coreset("verify", "-q", cwd=place), 1, "and again in", "run/rows/stage.json")


@pytest.mark.parametrize("is_resealed", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_edited_counts_are_noticed(place: Path, stage: str, is_resealed: bool) -> None:
    path = place / "run" / stage / "stage.json"
    said = json.loads(path.read_text())
    name = "edges" if stage == "forest" else "clusters" if stage == "centroids" else "rows"
    said["counts"][name] += 1
    if is_resealed:
        said["hash"] = files.fingerprint({key: value for key, value in said.items() if key != "hash"})
    files.write_json(str(path), said)
    said_ = coreset("verify", "-q", cwd=place)
    check_refused(said_, 1 if is_resealed else 3, "stage.json", "sums over the parts" if is_resealed else "was changed")


@pytest.mark.parametrize("fact", ["sampled", "survivors", "cuts"])
def test_edited_facts_are_noticed(place: Path, fact: str) -> None:
    path = place / "run/coreset/stage.json"
    said = json.loads(path.read_text())
    said["facts"][fact] = None if fact == "cuts" else said["facts"][fact] + 1
    files.write_json(str(path), said)
    resealed(place / "run/coreset")
    check_refused(coreset("verify", "-q", cwd=place), 1, "cuts and counts are not those that dedup/ gives")


# Rows that a list excludes, and rows without a caption


@pytest.fixture
def excluded(place: Path) -> Path:
    """A folder with a run of which some rows are excluded."""
    keys = [key for part in ("00000", "00001") for key in pq.read_table(place / f"run/rows/{part}.parquet")["key"][:3]]
    (place / "list.txt").write_text("\n".join(map(str, keys)))
    shutil.rmtree(place / "run/forest")
    done("dedup", "--exclude", "list.txt", *BAD, cwd=place)
    done("sample", "-n", "3", *BAD, cwd=place)
    return place


def test_excluded_rows_are_counted_among_the_rows(excluded: Path) -> None:
    found = verify(str(excluded / "run"), full=True)
    assert found.ok, found.error
    assert states(found) == {**dict.fromkeys(STAGES, "ok"), "forest": "-"}


@pytest.mark.parametrize("name", ["caption", "key_hash"])
def test_excluded_rows_that_are_not_those_of_the_run_are_noticed(excluded: Path, name: str) -> None:
    path = excluded / "run/excluded/clusters-00000.parquet"
    column(name, swap)(path)
    check_refused(coreset("verify", "-q", cwd=excluded), 3, "excluded/clusters-00000.parquet", "`coreset dedup`")
    resealed(excluded / "run/clusters")
    check_refused(coreset("verify", "-q", cwd=excluded), 1, "does not hold the rows of rows/")


def test_rows_without_a_caption_have_no_cosine_and_that_is_right(place: Path) -> None:
    done("embed", "--allow-missing-caption", "--overwrite", *BAD, cwd=place)
    assert pq.read_table(place / "run/rows/00001.parquet")["text_cosine"].null_count == 1
    found = verify(str(place / "run"))
    assert found.ok, found.error


# Vectors that stay where they are

FILE = "in/img_emb/img_emb_0.npy"


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """A folder with vectors in `in/`, and a run of them that is not clustered yet."""
    write_clip_retrieval(tmp_path / "in", random_vectors(150))
    done("import", "in", cwd=tmp_path)
    return tmp_path


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


@pytest.mark.parametrize("harm", [flip, Path.unlink, lambda path: path.write_bytes(b"")], ids=["flip", "gone", "empty"])
def test_an_imported_file_must_stay_until_it_is_clustered(imported: Path, harm: Callable[[Path], object]) -> None:
    found = verify(str(imported / "run"))
    assert found.ok, found.error
    assert found.bytes > sum(path.stat().st_size for path in (imported / "in/img_emb").iterdir())
    harm(imported / FILE)
    check_refused(coreset("verify", "-q", cwd=imported), 3, "img_emb_0.npy", "coreset import FOLDER")


@pytest.mark.parametrize("harm", [flip, Path.unlink], ids=["flip", "gone"])
def test_after_that_it_may_go_and_that_is_said(imported: Path, harm: Callable[[Path], object]) -> None:
    done("dedup", "--clusters", "2", cwd=imported)
    harm(imported / FILE)
    said = done("verify", "-q", cwd=imported)
    assert "img_emb_0.npy" in said.out
    assert "not needed any more" in said.out


def test_without_the_place_of_its_input_an_import_is_not_whole(imported: Path) -> None:
    (imported / "run/run.json").unlink()
    check_refused(coreset("verify", "-q", cwd=imported), 3, "run.json", "coreset import FOLDER")
