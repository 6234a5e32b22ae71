"""The command line: what works as it is typed, and what is refused with one sentence and which exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import Said, check_equal, check_refused, contents, coreset, done
from shards import good_pairs, pair, write_shard

from coreset.cluster import centroids_stage, resolved
from coreset.engine.errors import ResourceError
from coreset.engine.local import in_process
from coreset.engine.lock import sole_writer
from coreset.engine.stage import Needs, complete, open_parts
from coreset.pipeline import Run, default_memory, selected
from coreset.recipe import Recipe, read_recipe
from coreset.results.fate import picture_bytes

SCRIPT = str(Path(sys.executable).parent / "coreset")
RESULT = "run/coreset/coreset-00000-of-00001.parquet"
BAD = ("--max-bad", "10")
"""The shards hold two bad samples of 48."""
ANY_BAD = ("--max-bad", "100")


def rows_in(folder: Path, location: str) -> int:
    return int(pq.read_metadata(folder / location).num_rows)


def edited(folder: Path, old: str, new: str) -> None:
    """Change the recipe."""
    location = folder / "coreset.toml"
    text = location.read_text()
    assert old in text
    location.write_text(text.replace(old, new))


def without_stages(folder: Path, *names: str) -> Path:
    """A run that has not come so far."""
    for name in names:
        shutil.rmtree(folder / "run" / name)
    return folder


def backwards(calls: Iterable[Callable[[], object]], needs: Needs) -> Iterator[object]:
    """An engine that makes the last call first."""
    return (call() for call in reversed(list(calls)))


# What works as it is typed


def test_the_three_commands_work_where_a_recipe_lies(place: Path, undisturbed: Path) -> None:
    edited(place, "threshold = 0.99", "threshold = 0.99\n# the flag wins")
    assert coreset("embed", *BAD, cwd=place).code == 0
    done("dedup", "--threshold", "0.86", *BAD, cwd=place)
    plan = json.loads((place / "run/dedup/plan.json").read_text())
    assert plan["params"]["threshold"] == 0.86
    check_refused(coreset("sample", "-n", "2000000", cwd=place), 3, "-n 2,000,000 is more than", "rows left")
    assert done("sample", "-n", "2", *BAD, cwd=place).out.rstrip().endswith(RESULT)
    assert rows_in(place, RESULT) == 2


def test_commands_one_by_one_leave_what_run_leaves(place: Path, undisturbed: Path) -> None:
    for command in ("embed", "dedup", "sample"):
        done(command, *BAD, cwd=place)
    check_equal(place / "run", contents(undisturbed / "run"))


def test_two_workers_leave_what_one_leaves(place: Path, undisturbed: Path) -> None:
    done("run", "--workers", "2", *BAD, cwd=place)
    check_equal(place / "run", contents(undisturbed / "run"))


@pytest.mark.campaign
def test_four_workers_leave_what_one_leaves(place: Path, undisturbed: Path) -> None:
    done("run", "--workers", "4", *BAD, cwd=place)
    check_equal(place / "run", contents(undisturbed / "run"))


def test_the_order_of_tasks_changes_no_byte(place: Path, undisturbed: Path) -> None:
    selected(Run(str(place / "run"), execute=backwards), read_recipe(str(place / "coreset.toml")))
    check_equal(place / "run", contents(undisturbed / "run"))


def test_a_finished_run_is_reused_and_says_so(finished: Path) -> None:
    before = contents(finished / "run")
    said = done("run", *BAD, cwd=finished)
    assert said.err.count("complete already") == 5
    check_equal(finished / "run", before)


def test_the_funnel_shows_every_step_the_quarantine_and_the_result(finished: Path) -> None:
    out = done("run", *BAD, cwd=finished).out
    for shown in (
        *("samples", "48", "embedded", "46", "2 quarantined", "near-duplicates", "text rank", "centroid rank"),
        *("1 no_caption", "00001.tar 000001007: no caption", "1 not_a_picture", "00001.tar 000001004", RESULT),
    ):
        assert shown in out, out


def test_what_is_quarantined_has_a_reason_and_adds_up(finished: Path) -> None:
    found = pq.read_table(finished / "run/quarantine/embed-00001.parquet").to_pylist()
    assert [(entry["key"], entry["reason"]) for entry in found] == [
        ("000001004", "not_a_picture"),
        ("000001007", "no_caption"),
    ]
    counts = json.loads((finished / "run/rows/stage.json").read_text())["counts"]
    assert counts["samples"] == counts["rows"] + sum(entry["rows"] for entry in found) == 48


def test_a_shard_of_which_nothing_is_left_stops_nobody(place: Path) -> None:
    write_shard(place / "shards" / "00002.tar", [{**pair("x", 1), "png": b"no"}, {**pair("y", 2), "png": b"no"}])
    said = done("run", "--max-bad", "20", cwd=place)
    assert "not_a_picture" in said.out
    assert rows_in(place, "run/rows/00002.parquet") == 0
    assert rows_in(place, RESULT) == 5


def test_a_run_of_which_nothing_is_left_is_one_sentence(place: Path) -> None:
    shutil.rmtree(place / "shards")
    write_shard(place / "shards" / "00000.tar", [{**pair("x", 1), "png": b"no"}])
    check_refused(coreset("run", cwd=place), 3, "holds no rows: everything was quarantined")


def test_json_is_all_that_stands_on_stdout(finished: Path) -> None:
    said = done("run", "--json", *BAD, cwd=finished)
    assert said.err == ""
    told = json.loads(said.out)
    assert [step["name"] for step in told["funnel"]] == [
        *("samples", "embedded", "unlike", "text rank", "centroid rank", "coreset")
    ]
    assert told["quarantined"] == {"no_caption": 1, "not_a_picture": 1}
    assert told["coreset"] == [RESULT]


def test_quiet_leaves_the_result_only(finished: Path) -> None:
    said = done("sample", "-q", "-n", "3", *BAD, cwd=finished)
    assert said.err == ""
    assert RESULT in said.out


def test_progress_never_stands_on_stdout(place: Path) -> None:
    said = done("embed", *BAD, cwd=place)
    assert "rows: 2 part(s)" in said.err
    assert "part(s)" not in said.out


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", ["run", "embed", "dedup", "sample"])
def test_a_dry_run_says_what_would_be_done_and_does_nothing(place: Path, command: str, as_json: bool) -> None:
    said = done(command, "--dry-run", *(["--json"] if as_json else []), cwd=place)
    assert sorted(os.listdir(place)) == ["coreset.toml", "shards"]
    if as_json:
        assert set(json.loads(said.out)) == {"run", "shards", "params", "state"}
    else:
        assert "nothing was done" in said.out


def test_status_shows_how_far_a_run_has_come(finished: Path) -> None:
    table = done("status", cwd=finished).out
    for shown in ("rows/", "centroids/", "clusters/", "dedup/", "coreset/", "2 quarantined"):
        assert shown in table
    assert table.count("complete") == 5
    without_stages(finished, "coreset")
    told = json.loads(done("status", "--json", cwd=finished).out)
    states = {stage["name"]: stage["state"] for stage in told["stages"]}
    assert states == {**dict.fromkeys(("rows", "centroids", "clusters", "dedup"), "complete"), "coreset": "-"}


def test_status_tells_what_is_out_of_date(finished: Path) -> None:
    done("dedup", "--threshold", "0.5", *BAD, cwd=finished)
    told = json.loads(done("status", "--json", cwd=finished).out)
    states = {stage["name"]: stage["state"] for stage in told["stages"]}
    assert states["dedup"] == "complete"
    assert states["coreset"] == "out of date"
    funnel = json.loads(done("embed", "--json", *BAD, cwd=finished).out)["funnel"]
    assert [step["name"] for step in funnel] == ["samples", "embedded", "unlike"]


def test_init_writes_a_recipe_that_says_the_defaults(tmp_path: Path, pristine: Path) -> None:
    shutil.copytree(pristine / "shards", tmp_path / "shards")
    said = done("init", "shards/{00000..00001}.tar", cwd=tmp_path)
    assert "2 shard(s)" in said.out
    found = read_recipe(str(tmp_path / "coreset.toml"))
    assert found == Recipe(input=("shards/{00000..00001}.tar",), base=str(tmp_path))


def test_init_replaces_a_recipe_only_when_told_to(place: Path) -> None:
    before = (place / "coreset.toml").read_text()
    check_refused(coreset("init", "shards/*.tar", cwd=place), 3, "coreset.toml is here already", "--force")
    assert (place / "coreset.toml").read_text() == before
    done("init", "shards/*.tar", "--force", cwd=place)
    assert (place / "coreset.toml").read_text() != before


def test_the_run_directory_comes_from_the_environment_and_the_flag_wins(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finished / "run").rename(finished / "elsewhere")
    monkeypatch.setenv("CORESET_RUN", "elsewhere")
    assert "elsewhere/coreset/" in done("sample", *BAD, cwd=finished).out
    check_refused(coreset("sample", "--run", "nowhere", cwd=finished), 3, "nowhere/dedup is not there")


@pytest.mark.parametrize("name", ["./run", "run/", "run/../run", ".//run"])
def test_a_run_may_be_named_in_any_way(finished: Path, name: str) -> None:
    done("dedup", "--threshold", "0.5", "--run", name, *BAD, cwd=finished)
    done("sample", "-n", "1", "--run", name, *BAD, cwd=finished)
    done("verify", "--run", name, cwd=finished)
    table = done("status", "--run", name, cwd=finished).out
    assert table.count("complete") == 5


def test_a_recipe_elsewhere_names_its_own_files(place: Path, tmp_path: Path) -> None:
    done("run", str(place / "coreset.toml"), *BAD, cwd=tmp_path)
    assert rows_in(tmp_path, RESULT) == 5


def test_fewer_than_asked_for_are_taken_when_allowed(finished: Path) -> None:
    done("sample", "-n", "1000", "--allow-fewer", *BAD, cwd=finished)
    assert 5 < rows_in(finished, RESULT) < 46


def test_centroids_of_ones_own_are_used(finished: Path, undisturbed: Path) -> None:
    shutil.copy(finished / "run/centroids/centroids.npy", finished / "own.npy")
    without_stages(finished, "centroids", "clusters", "dedup", "coreset")
    edited(finished, "clusters = 3", "")
    done("dedup", "--centroids", "own.npy", *BAD, cwd=finished)
    assert (finished / "run/dedup/00000.parquet").stat().st_size
    own, trained = (np.load(folder / "run/clusters/00000.npy") for folder in (finished, undisturbed))
    assert np.array_equal(own, trained)


# Help


def test_the_default_budget_is_that_of_the_container(tmp_path: Path) -> None:
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text("1000000000\n")
    places = [str(tmp_path / name) for name in ("absent", "max", "limit")]
    assert default_memory(places) == 800_000_000
    assert default_memory(places[:2]) > 800_000_000


def test_a_sweep_says_that_it_does_not_count_with_a_bound(finished: Path) -> None:
    assert "min_kept_cosine" not in done("sweep", cwd=finished).err
    edited(finished, "threshold = 0.99", "threshold = 0.99\nmin_kept_cosine = 0.9")
    assert "min_kept_cosine is not counted with" in done("sweep", cwd=finished).err


def test_help_names_every_command() -> None:
    shown = coreset("--help", cwd=Path.cwd()).out
    for command in ("demo", "init", "run", "embed", "dedup", "sweep", "sample", "status", "explain", "map"):
        assert f"  {command}  " in shown


def test_a_forest_sweeps_the_thresholds_and_changes_no_byte_of_dedup(finished: Path, undisturbed: Path) -> None:
    said = json.loads(done("sweep", "--json", cwd=finished).out)
    assert [line["threshold"] for line in said][:2] == [0.8, 0.81]
    kept = {line["threshold"]: line["kept"] for line in said}
    assert "█" in done("sweep", "--step", "0.05", "--plot", "sweep.svg", cwd=finished).out
    assert "<svg" in (finished / "sweep.svg").read_text()
    check_refused(coreset("sweep", "--plot", "sweep.txt", cwd=finished), 2, ".svg, .png, .pdf")
    assert "edges" in done("status", cwd=finished).out
    done("dedup", *ANY_BAD, "--threshold", "0.9", cwd=finished)
    found = open_parts(f"{finished}/run/dedup")
    assert found is not None
    assert found.counts["kept"] == kept[0.9]
    done("dedup", *ANY_BAD, cwd=finished)
    again, alone = open_parts(f"{finished}/run/dedup"), open_parts(f"{undisturbed}/run/dedup")
    assert again is not None
    assert alone is not None
    assert again.hash == alone.hash


def test_the_threshold_of_a_wanted_fraction_is_printed_so_that_it_can_be_typed(finished: Path) -> None:
    said = done("dedup", *ANY_BAD, "--keep-fraction", "0.9", "--floor", "0.3", cwd=finished)
    threshold = said.err.partition("is --threshold ")[2].split()[0]
    by_fraction = open_parts(f"{finished}/run/dedup")
    done("dedup", *ANY_BAD, "--threshold", "0.95", cwd=finished)
    done("dedup", *ANY_BAD, "--threshold", threshold, cwd=finished)
    by_threshold = open_parts(f"{finished}/run/dedup")
    assert by_fraction is not None
    assert by_threshold is not None
    assert by_threshold.hash == by_fraction.hash
    check_refused(coreset("dedup", "--keep-fraction", "2", cwd=finished), 2, "at most 1")
    check_refused(coreset("dedup", "--keep-fraction", "0.5", "--threshold", "0.9", cwd=finished), 2, "exclude")
    bounded = ("--keep-fraction", "0.5", "--min-kept-cosine", "0.8")
    check_refused(coreset("dedup", *bounded, cwd=finished), 2, "--keep-fraction", "--threshold")
    check_refused(coreset("sweep", "--floor", "86", cwd=finished), 2, "did you mean 0.86")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("dedup", ["[dedup.threshold, default 0.86]", "[cluster.clusters, default 0]"]),
        ("sample", ["[sample.n, default 2000000]", "[sample.text_rank, default [40, 60]]", "[15, 35]"]),
        ("embed", ['[embed.model, default "ViT-L-14"]', '[embed.pretrained, default "openai"]']),
    ],
)
def test_the_help_of_a_command_shows_meaning_and_default(command: str, shown: list[str]) -> None:
    text = " ".join(done(command, "--help", cwd=Path.cwd()).out.split())
    for part in shown:
        assert part in text, text


def test_help_answers_at_once() -> None:
    took = []
    for _ in range(10):
        began = time.perf_counter()
        subprocess.run([SCRIPT, "--help"], check=True, capture_output=True)
        took.append(time.perf_counter() - began)
        if took[-1] < 0.3:
            return
    pytest.fail(f"the best of {len(took)} runs took {min(took):.2f} s")


def test_the_version_is_shown() -> None:
    assert done("--version", cwd=Path.cwd()).out.startswith("coreset 0.")


# Wrong use: one sentence and an exit code

WRONG = {
    "no such file": (["embed", "nowhere.tar"], 3, ["no such file", "nowhere.tar"]),
    "no match": (["embed", "nowhere/*.tar"], 3, ["no file matches"]),
    "a folder": (["embed", "shards"], 3, ["shards is a folder", "/*.tar"]),
    "a url": (["embed", "s3://me:pw@bucket/0.tar"], 3, ["s3://…@bucket/0.tar holds a password"]),
    "no tar": (["embed", "coreset.toml"], 3, ["is not named like a tar"]),
    "no recipe": (["run", "nowhere.toml"], 3, ["nowhere.toml does not exist", "coreset init"]),
    "threshold in percent": (["dedup", "--threshold", "86"], 2, ["--threshold 86", "did you mean 0.86?"]),
    "threshold of nothing": (["dedup", "--threshold", "0"], 2, ["--threshold 0 must be above 0"]),
    "threshold nan": (["dedup", "--threshold", "nan"], 2, ["--threshold nan"]),
    "keep unknown": (["dedup", "--keep", "best"], 2, ["--keep best", "median"]),
    "clusters below nothing": (["dedup", "--clusters", "-1"], 2, ["--clusters -1"]),
    "window backwards": (["sample", "--text-rank", "60", "40"], 2, ["--text-rank 60 40", "low < high"]),
    "window too wide": (["sample", "--centroid-rank", "0", "101"], 2, ["--centroid-rank 0 101"]),
    "window nan": (["sample", "--centroid-rank", "nan", "10"], 2, ["--centroid-rank nan 10"]),
    "n of nothing": (["sample", "-n", "0"], 2, ["-n 0 must be at least 1"]),
    "seed below nothing": (["sample", "--seed", "-1"], 2, ["--seed -1"]),
    "seed beyond 64 bits": (["sample", "--seed", str(2**64)], 2, [f"--seed {2**64}", "below 2^64"]),
    "batch of nothing": (["embed", "--batch-size", "0"], 2, ["--batch-size 0"]),
    "memory unknown": (["embed", "--memory", "lots"], 2, ["--memory lots", "8GiB"]),
    "memory below the floor": (["embed", "--memory", "100MB"], 5, ["0.09 GiB", "0.75 GiB"]),
    "memory for many": (["embed", "--memory", "1GiB", "--workers", "4"], 5, ["3.00 GiB", "4 worker(s)"]),
    "device unknown": (["embed", "--device", "tpu"], 2, ["--device tpu", "cuda"]),
    "precision unknown": (["embed", "--precision", "int3"], 2, ["--precision int3", "float32"]),
    "model unknown": (["embed", "--model", "ViT-L-41"], 3, ["ViT-L-41 is not known", "ViT-L-14"]),
    "tag unknown": (
        ["embed", "--model", "ViT-B-32", "--pretrained", "openia"],
        3,
        ["openia is neither a file nor a tag of ViT-B-32", "did you mean openai"],
    ),
    "weights in a store": (
        ["embed", "--model", "ViT-B-32", "--pretrained", "s3://bucket/weights.pt"],
        3,
        ["s3://bucket/weights.pt is an object", "copy it to a disk"],
    ),
    "model folder in a store": (["embed", "--model", "local-dir:s3://bucket/model"], 3, ["copy it to a disk"]),
    "model folder missing": (["embed", "--model", "local-dir:nowhere"], 3, ["nowhere", "does not exist"]),
    "model folder without model": (["embed", "--model", "local-dir:shards"], 3, ["open_clip_config.json"]),
    "embed not done": (["dedup"], 3, ["run/rows is not there", "coreset embed"]),
    "dedup not done": (["sample"], 3, ["run/dedup is not there", "coreset dedup"]),
    "status of nothing": (["status", "--run", "nowhere"], 3, ["nowhere holds no run"]),
    "run is a file": (["embed", "--run", "coreset.toml"], 3, ["coreset.toml", "choose another --run"]),
    "run below a file": (["embed", "--run", "coreset.toml/run"], 3, ["choose another --run"]),
}


@pytest.mark.parametrize(("arguments", "code", "parts"), WRONG.values(), ids=WRONG)
def test_wrong_use_is_refused(place: Path, arguments: list[str], code: int, parts: list[str]) -> None:
    check_refused(coreset(*arguments, cwd=place), code, *parts)


@pytest.mark.parametrize(
    "arguments",
    [
        ["embed", "--thresold", "1"],
        ["nothing"],
        ["sample", "-n", "many"],
        ["sample", "--text-rank", "40"],
        ["embed", "--workers", "0"],
        ["embed", "--max-bad", "101"],
        ["init"],
    ],
    ids=" ".join,
)
def test_what_the_parser_refuses_exits_2(place: Path, arguments: list[str]) -> None:
    said = coreset(*arguments, cwd=place)
    assert said.code == 2
    assert "Error: " in said.err
    assert "Traceback" not in said.err


TARS = {
    "no bytes": (b"", "has 0 bytes"),
    "no members": (bytes(10240), "empty tar"),
    "a web page": (b"<!DOCTYPE html>" + bytes(1000), "is not a tar"),
    "zip": (b"PK\x03\x04" + bytes(1000), "is not a tar"),
}


@pytest.mark.parametrize(("content", "part"), TARS.values(), ids=TARS)
def test_a_file_that_is_no_tar_is_refused_before_any_work(place: Path, content: bytes, part: str) -> None:
    (place / "shards" / "00002.tar").write_bytes(content)
    check_refused(coreset("embed", cwd=place), 3, "00002.tar", part)
    assert not (place / "run" / "rows").exists()


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="the unreadable file is Linux's")
def test_a_shard_that_the_disk_does_not_give_is_one_sentence(place: Path) -> None:
    (place / "shards" / "00002.tar").symlink_to("/proc/self/mem")
    check_refused(coreset("embed", cwd=place), 3, "00002.tar", "Input/output error")


RECIPES = {
    "unknown key": ("threshold =", "treshold =", ["dedup.treshold is not known", "did you mean threshold?"]),
    "unknown section": ("[dedup]", "[dedupe]", ["dedupe is not known", "did you mean dedup?"]),
    "not toml": ("[dedup]", "[dedup", ["not valid TOML"]),
    "text for a number": ("threshold = 0.99", 'threshold = "0.99"', ["dedup.threshold", "must be"]),
    "one number for two": ("text_rank = [10, 90]", "text_rank = [10]", ["sample.text_rank", "two numbers"]),
    "threshold in percent": ("threshold = 0.99", "threshold = 99", ["threshold 99", "did you mean 0.99?"]),
}


@pytest.mark.parametrize(("old", "new", "parts"), RECIPES.values(), ids=RECIPES)
def test_a_wrong_recipe_is_refused_by_name(place: Path, old: str, new: str, parts: list[str]) -> None:
    edited(place, old, new)
    check_refused(coreset("run", cwd=place), 2, "coreset.toml", *parts)


def test_more_clusters_than_rows_are_refused_with_both_numbers(finished: Path) -> None:
    without_stages(finished, "centroids", "clusters", "dedup", "coreset")
    check_refused(coreset("dedup", "--clusters", "1000", cwd=finished), 3, "1,000", "46 rows")


def test_training_that_does_not_fit_into_memory_is_refused_with_the_number(finished: Path) -> None:
    run = finished / "run"
    without_stages(finished, "centroids")
    embedded = open_parts(str(run / "rows"))
    assert embedded is not None
    params = resolved(read_recipe(str(finished / "coreset.toml")).cluster, embedded, str(run / "centroids"))
    stage = centroids_stage(str(run / "centroids"), embedded, params, None, in_process, memory=1000)
    with pytest.raises(ResourceError, match=r"3 centroids on 46 rows needs .* GiB and --memory allows") as error:
        complete(stage, in_process)
    assert error.value.exit_code == 5
    assert not (run / "centroids").exists()


def test_more_rows_than_are_left_are_refused_and_the_coreset_stays(finished: Path) -> None:
    before = contents(finished / "run")
    said = coreset("sample", "-n", "40", cwd=finished)
    check_refused(said, 3, "-n 40 is more than the 17 rows left", "--allow-fewer")
    check_refused(coreset("sample", "-n", "1", "--text-rank", "0", "0.001", cwd=finished), 3, "0 rows left", "widen")
    check_refused(coreset("sample", "--text-rank", "60", "40", cwd=finished), 2, "60 40")
    check_equal(finished / "run", before)


def test_more_in_quarantine_than_allowed_is_said_after_all_is_done(place: Path) -> None:
    check_refused(coreset("run", cwd=place), 4, "2 of 48", "--max-bad 1 %", "run/quarantine")
    assert rows_in(place, RESULT) == 5


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["embed", "--batch-size", "8"], ["batch_size = 16", "8 is asked for"]),
        (["embed", "--precision", "float16"], ["precision = ", "float16"]),
        (["dedup", "--clusters", "4"], ["clusters = 3", "4 is asked for"]),
    ],
    ids=["embed", "precision", "clusters"],
)
def test_a_run_made_with_other_parameters_is_refused(finished: Path, arguments: list[str], parts: list[str]) -> None:
    before = contents(finished / "run")
    check_refused(coreset(*arguments, cwd=finished), 7, *parts, "--overwrite")
    check_equal(finished / "run", before)


def test_other_shards_under_the_same_name_are_refused(finished: Path) -> None:
    write_shard(finished / "shards" / "00000.tar", good_pairs(0, 6))
    check_refused(coreset("embed", cwd=finished), 7, "00000.tar", "--overwrite")


def test_overwriting_makes_a_stage_anew_and_the_rest_follows(finished: Path) -> None:
    done("embed", "--overwrite", "--batch-size", "8", *BAD, cwd=finished)
    check_refused(coreset("dedup", cwd=finished), 7, "--overwrite")
    done("dedup", "--overwrite", *BAD, cwd=finished)
    done("sample", *BAD, cwd=finished)
    assert rows_in(finished, RESULT) == 5


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["dedup", "--threshold", "0.9"], "threshold"),
        (["dedup", "--keep", "nearest"], "keep"),
        (["dedup", "--min-kept-cosine", "0.9"], "min_kept_cosine"),
        (["sample", "-n", "4"], "n"),
        (["sample", "--seed", "1"], "seed"),
    ],
    ids=["threshold", "keep", "bound", "n", "seed"],
)
def test_other_parameters_of_the_last_stages_are_computed_aloud(
    finished: Path, arguments: list[str], field: str
) -> None:
    before = contents(finished / "run")
    above = {name: before[name] for name in before if name.startswith(("rows", "centroids", "clusters"))}
    said = done(*arguments, *BAD, cwd=finished)
    assert f"computed anew because of a new {field}" in said.err
    after = contents(finished / "run")
    assert {name: after[name] for name in above} == above


def test_shards_that_are_added_are_embedded_alone(finished: Path) -> None:
    before = contents(finished / "run")
    write_shard(finished / "shards" / "00002.tar", good_pairs(5000, 6))
    said = done("embed", *BAD, cwd=finished)
    assert "3 part(s), 2 found complete" in said.err
    after = contents(finished / "run")
    assert all(after[name] == before[name] for name in before if name.startswith("rows/0"))


def test_shards_that_come_first_by_name_and_later_in_time_renumber_nothing(finished: Path) -> None:
    before = contents(finished / "run")
    for number, name in enumerate(("-first.tar", "00001-between.tar")):
        write_shard(finished / "shards" / name, good_pairs(5000 + 100 * number, 6))
        said = done("embed", *BAD, cwd=finished)
        assert f"{3 + number} part(s), {2 + number} found complete" in said.err
        done("embed", *BAD, cwd=finished)
    after = contents(finished / "run")
    assert all(after[name] == before[name] for name in before if name.startswith("rows/0"))


def test_counts_that_do_not_add_up_are_never_a_shrug(finished: Path) -> None:
    location = finished / "run/rows/stage.json"
    location.write_text(location.read_text().replace('"samples": 48', '"samples": 49'))
    check_refused(coreset("embed", cwd=finished), 1, "rows + quarantined is 48, but samples is 49", "report")


def test_pictures_are_found_where_the_input_lies_now(finished: Path) -> None:
    (finished / "run/run.json").unlink()  # as a kill before its first writing leaves it
    (finished / "shards").rename(finished / "moved")
    done("embed", "moved/*.tar", *BAD, cwd=finished)
    row = pq.read_table(finished / RESULT).to_pylist()[0]
    place = (row["source"], row["image_offset"], row["image_bytes"])
    assert picture_bytes(str(finished / "run"), *place).startswith(b"\x89PNG")


def test_a_second_writer_is_refused(finished: Path) -> None:
    with sole_writer(str(finished / "run")):
        check_refused(coreset("sample", cwd=finished), 6, f"process {os.getpid()}", "another --run")
        assert "complete" in done("status", cwd=finished).out


# Damage on disk

FILES = {
    "rows/00000.parquet": "embed",
    "rows/00001.npy": "embed",
    "quarantine/embed-00001.parquet": "embed",
    "centroids/centroids.npy": "dedup",
    "clusters/00000.npy": "dedup",
    "clusters/00000.offsets.npy": "dedup",
    "clusters/00000.parquet": "dedup",
    "dedup/00000.parquet": "sample",
    "coreset/coreset-00000-of-00001.parquet": "sample",
}


@pytest.mark.parametrize(("name", "command"), FILES.items(), ids=FILES)
@pytest.mark.parametrize("is_complete", [True, False], ids=["complete", "incomplete"])
def test_a_part_that_was_cut_is_refused_and_the_advice_helps(
    finished: Path, name: str, command: str, is_complete: bool
) -> None:
    run = finished / "run"
    before = contents(run)
    folder = run / ("rows" if name.startswith("quarantine") else Path(name).parts[0])
    if not is_complete:
        (folder / "stage.json").unlink()
    (run / name).write_bytes(before[name][: len(before[name]) // 2])
    maker = {"clusters": "dedup", "centroids": "dedup", "dedup": "dedup"}.get(folder.name, command)
    check_refused(coreset(command if is_complete else maker, cwd=finished), 3, name, "remove", "stage.json")
    (folder / "stage.json").unlink(missing_ok=True)
    part = Path(name).name.split(".")[0].removeprefix("embed-")
    (folder / f"{part}.parquet").unlink()
    done(maker, *BAD, cwd=finished)
    check_equal(run, before)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("rows/plan.json", ["embed"]),
        ("rows/stage.json", ["dedup"]),
        ("dedup/stage.json", ["sample"]),
        ("run.json", ["dedup", "--threshold", "0.5"]),
        ("run.json", ["status"]),
    ],
    ids=str,
)
def test_books_that_were_damaged_are_refused_by_name(finished: Path, name: str, command: list[str]) -> None:
    (finished / "run" / name).write_text("{")
    check_refused(coreset(*command, cwd=finished), 3, name, "damaged")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("dedup/00000.parquet", ["sample", "-n", "4"]),
        ("clusters/00000.parquet", ["dedup", "--threshold", "0.9"]),
        ("clusters/00000.npy", ["dedup", "--threshold", "0.9"]),
        ("clusters/00000.offsets.npy", ["dedup", "--threshold", "0.9"]),
        ("centroids/centroids.npy", ["dedup", "--threshold", "0.9"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_that_keeps_the_size_is_one_sentence_too(finished: Path, name: str, command: list[str]) -> None:
    location = finished / "run" / name
    location.write_bytes(b"\xa5" * location.stat().st_size)
    check_refused(coreset(*command, cwd=finished), 3, name)


def test_temporary_names_and_vectors_without_their_parquet_are_swept(finished: Path) -> None:
    run = finished / "run"
    before = contents(run)
    for name in ("rows/stage.json", "rows/00001.parquet"):
        (run / name).unlink()
    (run / "rows/00001.npy").write_bytes(b"half")
    for name in ("rows/00001.parquet.tmp.77.0123abcd", "run.json.tmp.77.0123abcd", "quarantine/x.tmp.77.0123abcd"):
        (run / name).write_bytes(b"half")
    said = done("embed", *BAD, cwd=finished)
    assert "1 found complete" in said.err
    check_equal(run, before)


# Keys


def same_keys(folder: Path, first: int) -> Path:
    """Two shards that share keys: the first one of each, or later ones only."""
    shutil.rmtree(folder / "shards")
    write_shard(folder / "shards" / "a.tar", good_pairs(0, 12))
    write_shard(folder / "shards" / "b.tar", [*good_pairs(100, first), *good_pairs(first, 12 - first)])
    return folder


def test_first_keys_that_two_shards_share_are_refused_before_any_work(place: Path) -> None:
    same_keys(place, first=0)
    check_refused(coreset("embed", cwd=place), 3, "Key 000000000", "a.tar", "b.tar", "--prefix-keys")
    assert not (place / "run" / "rows").exists()
    done("embed", "--prefix-keys", cwd=place)
    keys = pq.read_table(place / "run/rows/00001.parquet")["key"].to_pylist()
    assert keys[0] == "b.tar/000000000"


def test_later_keys_are_found_by_the_full_check_and_rewritten_without_embedding(place: Path) -> None:
    same_keys(place, first=3)
    check_refused(coreset("embed", cwd=place), 3, "Key 000000003", "a.tar", "b.tar", "nothing is embedded again")
    check_refused(coreset("dedup", cwd=place), 3, "run/rows is not there or not complete", "coreset embed")
    check_refused(coreset("embed", cwd=place), 3, "Key 000000003", "--prefix-keys")
    location = place / "run/rows/00000.npy"
    marked = location.read_bytes()[:-1] + b"\x01"  # embedding again would undo this
    location.write_bytes(marked)
    said = done("embed", "--prefix-keys", cwd=place)
    assert "computed anew because of a new prefix_keys" in said.err
    assert location.read_bytes() == marked
    table = pq.read_table(place / "run/rows/00001.parquet")
    assert table["key"].to_pylist()[3] == "b.tar/000000003"
    edited(place, "[embed]", "[embed]\nprefix_keys = true")
    done("run", cwd=place)


def test_prefixed_keys_give_the_same_rows_whether_rewritten_or_embedded_so(place: Path) -> None:
    same_keys(place, first=3)
    assert coreset("embed", cwd=place).code == 3
    done("embed", "--prefix-keys", cwd=place)
    done("embed", "--prefix-keys", "--run", "other", cwd=place)
    check_equal(place / "run", contents(place / "other"))


# Models


WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"
HARMS: dict[str, Callable[[Path], object]] = {
    "no weights": lambda clip: (clip / WEIGHTS).unlink(),
    "cut weights": lambda clip: os.truncate(clip / WEIGHTS, 5000),
    "empty weights": lambda clip: os.truncate(clip / WEIGHTS, 0),
    "config no json": lambda clip: (clip / CONFIG).write_text("{"),
    "config of nothing": lambda clip: (clip / CONFIG).write_text("{}"),
    "config of another shape": lambda clip: (clip / CONFIG).write_text(
        (clip / CONFIG).read_text().replace('"embed_dim": 8', '"embed_dim": 16')
    ),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_model_that_cannot_be_loaded_is_one_sentence(place: Path, clip: Path, harm: Callable[[Path], object]) -> None:
    harm(Path(shutil.copytree(clip, place / "clip")))
    check_refused(coreset("embed", "--model", "local-dir:clip", cwd=place), 3, "clip")


def test_the_default_model_without_network_says_how_to_use_a_file(place: Path) -> None:
    (place / "coreset.toml").unlink()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "hub"), "XDG_CACHE_HOME": str(place)}
    began = time.monotonic()
    ended = subprocess.run(
        [SCRIPT, "embed", "shards/00000.tar"], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert time.monotonic() - began < 60
    said = Said(ended.returncode, ended.stdout, ended.stderr)
    check_refused(said, 3, "ViT-L-14", "--pretrained FILE", "local-dir:FOLDER")


def test_a_model_that_moved_is_the_same_model(finished: Path, clip: Path) -> None:
    shutil.copytree(clip, finished / "moved")
    before = contents(finished / "run")
    done("embed", "--model", "local-dir:moved", *BAD, cwd=finished)
    check_equal(finished / "run", before)


def test_a_pipe_that_closes_is_no_traceback(finished: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(
            [SCRIPT, "status"], cwd=finished, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
