"""How far a run has come, as it stands on disk and while another process writes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import Said, check_refused, coreset, done, started, wait_until

from coreset import rows
from coreset.account import quarantine_tables, quarantined, refusals
from coreset.cli.commands import app
from coreset.engine.lock import Owner, sole_writer, writer_of
from coreset.results.states import file_sizes, stage_states

ANY_BAD = ("--max-bad", "100")


def states(place: Path) -> dict[str, dict[str, object]]:
    told = json.loads(done("status", "--json", cwd=place).out)
    return {stage["name"]: stage for stage in told["stages"]}


def test_each_folder_is_a_line(finished: Path) -> None:
    lines = done("status", cwd=finished).out.splitlines()
    assert lines[0].split() == ["stage", "state", "parts", "rows", "size", "time", "made"]
    names = ["rows/", "centroids/", "clusters/", "dedup/", "coreset/", "quarantine/"]
    assert [line.split()[0] for line in lines[1:7]] == names
    assert lines[1].split()[1:4] == ["complete", "2/2", "46"]
    assert lines[1].endswith("2 quarantined")
    assert lines[-2:] == ["the coreset: run/coreset/coreset-00000-of-00001.parquet", "next: coreset verify"]


def test_sizes_are_those_of_the_files(finished: Path) -> None:
    for name, stage in states(finished).items():
        folder = finished / "run" / name
        assert stage["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
        assert stage["seconds"] is not None
        assert str(stage["ended"]).startswith("2")
    half = finished / "run/rows/00000.parquet.tmp.1.0123abcd"
    half.write_text("half")
    assert half.name not in file_sizes(f"{finished}/run/rows")


def test_what_is_excluded_and_reported_is_listed(finished: Path) -> None:
    (finished / "list.txt").write_text(rows.read_table(f"{finished}/run/rows/00000.parquet")["key"][0].as_py())
    (finished / "run/report").mkdir()
    (finished / "run/report/index.html").write_text("<p>")
    done("dedup", "--exclude", "list.txt", *ANY_BAD, cwd=finished)
    told = json.loads(done("status", "--json", cwd=finished).out)
    assert [(folder["name"], folder["files"]) for folder in told["folders"]] == [
        ("quarantine", 1),
        ("excluded", 1),
        ("report", 1),
    ]
    assert "1 excluded" in done("status", cwd=finished).out


NEXT = {
    "rows": "coreset run",
    "centroids": "coreset dedup",
    "clusters": "coreset dedup",
    "dedup": "coreset dedup",
    "coreset": "coreset sample -n N",
}


@pytest.mark.parametrize("name", NEXT)
def test_the_next_command_makes_what_is_missing(finished: Path, name: str) -> None:
    (finished / "run" / name / "stage.json").unlink()
    told = json.loads(done("status", "--json", cwd=finished).out)
    assert {stage["name"]: stage["state"] for stage in told["stages"]}[name] == "incomplete"
    assert told["next"] == NEXT[name]


def test_parts_of_an_earlier_plan_are_not_counted(finished: Path) -> None:
    done("sweep", cwd=finished)
    (finished / "run/dedup/stage.json").unlink()
    assert states(finished)["dedup"]["parts"] == 1
    plan = finished / "run/dedup/plan.json"
    plan.write_text(plan.read_text().replace('"threshold": 0.99', '"threshold": 0.5'))
    found = states(finished)
    assert (found["dedup"]["state"], found["dedup"]["parts"]) == ("incomplete", 0)
    assert found["forest"]["state"] == "complete"
    assert found["coreset"]["state"] == "out of date"


def test_a_killed_run_says_how_many_parts_it_will_have(place: Path) -> None:
    killed = started("embed", cwd=place, fault="rename:4:kill")
    assert killed.wait() == -signal.SIGKILL
    found = states(place)["rows"]
    assert (found["state"], found["planned"], found["seconds"]) == ("incomplete", 2, None)
    assert f"{found['parts']}/2" in done("status", cwd=place).out
    assert found["parts"] in {0, 1}


def test_damage_is_shown_and_is_exit_3(finished: Path) -> None:
    (finished / "run/clusters/00000.npy").write_bytes(b"")
    said = coreset("status", cwd=finished)
    check_refused(said, 3, "clusters/00000.npy has 0 bytes")
    assert "damaged" in said.out
    found = {state.name: state.state for state in stage_states(f"{finished}/run", ["rows", "clusters", "dedup"])}
    assert found == {"rows": "complete", "clusters": "damaged", "dedup": "out of date"}


def test_who_writes_is_said(finished: Path) -> None:
    run = f"{finished}/run"
    assert writer_of(run) is None
    assert writer_of(f"{finished}/nowhere") is None
    with sole_writer(run):
        owner = writer_of(run)
        assert owner is not None
        assert owner.pid == os.getpid()
        assert f"being written by process {os.getpid()} on" in done("status", cwd=finished).out
        assert json.loads(done("status", "--json", cwd=finished).out)["writer"]["pid"] == os.getpid()
        (finished / "run/.lock").write_text("")
        assert writer_of(run) == Owner()
        assert "another process" in done("status", cwd=finished).out
    assert writer_of(run) is None


def test_looking_who_writes_keeps_nobody_from_writing(finished: Path) -> None:
    run = f"{finished}/run"
    for _ in range(50):
        with sole_writer(run):
            assert writer_of(run) is not None


def test_status_works_while_another_process_writes(place: Path) -> None:
    writer = started("run", *ANY_BAD, cwd=place)
    seen: list[Said] = []

    def is_over() -> bool:
        seen.append(coreset("status", "--json", cwd=place))
        return writer.process.exitcode is not None

    wait_until(is_over, 120)
    assert writer.wait() == 0, writer.text
    told = [json.loads(said.out) for said in seen if said.code == 0]
    refused = [said.err for said in seen if said.code]
    assert all("holds no run" in err for err in refused), refused  # before the first plan
    assert {found["writer"]["pid"] for found in told if found["writer"]} == {writer.pid}
    rank = {"-": 0, "incomplete": 1, "complete": 2}
    for name in ("rows", "dedup"):
        ranks = [rank[stage["state"]] for found in told for stage in found["stages"] if stage["name"] == name]
        assert ranks == sorted(ranks)
    assert {stage["state"] for stage in json.loads(done("status", "--json", cwd=place).out)["stages"]} == {"complete"}


def test_every_command_speaks_json() -> None:
    for command in app.registered_commands:
        assert "json" in command.callback.__annotations__, command.callback


def test_init_says_json(place: Path) -> None:
    told = json.loads(done("init", "shards/*.tar", "--force", "--json", cwd=place).out)
    assert told == {"file": "coreset.toml", "input": ["00000.tar", "00001.tar"], "kind": "shard"}


def test_a_long_quarantine_is_counted_a_piece_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "quarantine"
    folder.mkdir()
    count = 160_000
    entries = {
        "source": ["a.tar"] * count,
        "key": [f"{number:09d}" for number in range(count)],
        "source_row": list(range(count)),
        "reason": ["no_caption" if number % 4 else "too_large" for number in range(count)],
        "detail": ["x" * 50] * count,
        "rows": [2] * count,
    }
    pq.write_table(pa.table(entries, schema=rows.QUARANTINE), folder / "embed-00000.parquet", row_group_size=8192)
    del entries
    found = refusals(str(tmp_path), shown=5)
    assert found.rows == {"too_large": 80_000, "no_caption": 240_000}
    assert [entry["key"] for entry in found.first["too_large"]] == [f"{4 * number:09d}" for number in range(5)]
    assert [entry["source_row"] for entry in found.first["no_caption"]] == [1, 2, 3, 5, 6]
    assert max(table.num_rows for table in quarantine_tables(str(tmp_path))) <= rows.BATCH_ROWS
    assert refusals(str(tmp_path), shown=0).first == {"too_large": [], "no_caption": []}


def test_counting_agrees_with_the_whole_list(finished: Path) -> None:
    shutil.copy(finished / "run/quarantine/embed-00001.parquet", finished / "run/quarantine/embed-00007.parquet")
    every, found = quarantined(f"{finished}/run"), refusals(f"{finished}/run", shown=1)
    assert sum(found.rows.values()) == sum(entry["rows"] for entry in every) == 4
    assert found.first == {reason: [next(e for e in every if e["reason"] == reason)] for reason in found.rows}
