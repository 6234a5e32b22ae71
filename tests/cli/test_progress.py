"""What is said while a stage is filled: on terminals of any width, in logs, after an interrupt."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from command import done, wait_until
from hypothesis import given
from hypothesis import strategies as st
from terminal import Terminal

from coreset.cli.bars import finished_line, frame
from coreset.cli.meter import Meter
from coreset.cli.progress import log_line
from coreset.cli.table import Column, table_lines
from coreset.engine.progress import ticker
from coreset.sources.shards import Shard
from coreset.sources.sidecars import expected_samples

PART = {"samples": 100, "rows": 99, "quarantined": 1}


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        """The time that was set."""
        return self.now


def embedding(total: int | None = 1000, found: int = 0) -> tuple[Meter, Clock]:
    """A meter of ten parts of 100 rows, and its clock."""
    clock = Clock()
    meter = Meter(clock)
    meter.plan("rows")
    counts = {name: found * count for name, count in PART.items()}
    meter.begin("rows", 10, found, counts, total)
    return meter, clock


def test_rows_decide_the_time_that_is_left() -> None:
    meter, clock = embedding()
    assert (meter.rows, meter.share, meter.seconds_left) == (0, 0.0, None)
    ticker.add(50)
    clock.now = 10.0
    meter.look()
    assert (meter.rows, meter.rate, meter.share, meter.seconds_left) == (50, 5.0, 0.05, 190.0)
    ticker.add(49)
    meter.advance(PART)
    assert meter.rows == 100  # the quarantined one was seen, and counted by no worker
    assert "1 quarantined" in meter.facts()


def test_parts_found_complete_are_not_this_runs_speed() -> None:
    meter, clock = embedding(found=9)
    assert (meter.rows, meter.share) == (900, 0.9)
    ticker.add(10)
    clock.now = 1.0
    meter.look()
    assert (meter.rate, meter.seconds_left) == (10.0, 9.0)


def test_without_a_total_parts_decide() -> None:
    meter, clock = embedding(total=None, found=5)
    assert (meter.share, meter.seconds_left) == (0.5, None)
    clock.now = 3.0
    meter.advance(PART)
    assert (meter.share, meter.seconds_left) == (0.6, 12.0)


def test_the_rate_is_that_of_the_last_minute() -> None:
    meter, clock = embedding(total=10**6)
    for second in range(1, 201):
        clock.now = float(second)
        ticker.add(100 if second <= 100 else 1)
        meter.look()
    assert meter.rate == pytest.approx(1, rel=0.05)


def test_rows_of_a_part_that_was_made_twice_are_not_more_than_all() -> None:
    meter, _ = embedding()
    ticker.add(5000)
    assert (meter.rows, meter.share) == (1000, 1.0)


def test_what_cannot_be_said_is_not_said() -> None:
    meter = Meter(Clock())
    meter.plan("centroids")
    assert meter.facts()[0] == "planning"
    meter.begin("centroids", 1, 0, {}, None)
    assert (meter.share, meter.seconds_left, meter.rate) == (None, None, 0.0)
    meter.advance({"clusters": 10})
    assert "checking" in meter.facts()


def test_a_line_of_a_log() -> None:
    meter, clock = embedding(found=2)
    ticker.add(98)
    clock.now = 10.0
    meter.look()
    meter.memory = 3 << 29
    assert log_line(meter) == (
        "rows: 298 of 1,000 rows, 10 rows/s, 2 quarantined, 2/10 parts, 1.5 GiB, 10.0 s, 1 min 12 s left"
    )


@given(
    st.integers(1, 200),
    st.integers(0, 10),
    st.sampled_from(["", "rows", "files of rows/ and clusters/"]),
    st.booleans(),
)
def test_live_lines_fit_every_terminal(width: int, parts: int, stage: str, ascii_only: bool) -> None:
    meter, clock = embedding()
    for _ in range(parts):
        ticker.add(99)
        meter.advance(PART)
    clock.now = 7.0
    meter.look()
    meter.stage = stage
    lines = frame(meter, width, 1.5, ascii_only)
    assert [line.cell_len < max(2, width) for line in lines] == [True, True]
    assert not ascii_only or all(line.plain.isascii() for line in lines)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140])
def test_a_finished_stage_is_one_line_that_says_what_it_came_to(width: int) -> None:
    meter, clock = embedding()
    clock.now = 75.0
    line = finished_line(meter, {"rows": 1385, "kept": 815, "duplicates": 570}, width)
    assert "1,385 rows, 58.8 % kept" in line
    assert "1 min 15 s" in line
    assert ("rows/s" in line) == (width >= 100)
    assert len(line) < width or width < 60


cells = st.lists(st.tuples(*[st.text("ab界█", max_size=12)] * 3), max_size=4)


@given(cells, st.integers(1, 60))
def test_a_table_leaves_out_columns_and_cuts_no_cell(rows: list[tuple[str, str, str]], width: int) -> None:
    columns = [Column("name"), Column("count", is_number=True, worth=2), Column("note", worth=1)]
    whole, narrow = table_lines(columns, rows, None), table_lines(columns, rows, width)
    assert len(whole) == len(narrow) == len(rows) + 1
    for (name, count, note), line, short in zip(rows, whole[1:], narrow[1:], strict=True):
        assert line.split() == [cell for cell in (name, count, note) if cell]
        assert line.startswith(short.rstrip()) or short.split() == [cell for cell in (name, count) if cell]


def test_samples_are_expected_as_sidecars_say_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shard(number: int, size: int, samples: int | None) -> Shard:
        if samples is not None:
            (tmp_path / f"{number}_stats.json").write_text(f'{{"successes": {samples}}}')
        return Shard(f"{number}.tar", str(tmp_path / f"{number}.tar"), size)

    shards = [shard(0, 10, 7), shard(1, 30, 8), shard(2, 20, 9)]
    assert expected_samples(shards) == 24
    monkeypatch.setattr("coreset.sources.sidecars.LOOKED_AT", 2)
    assert expected_samples(shards) == round((7 + 9) * 60 / 30)
    assert expected_samples([*shards, shard(3, 5, None)]) == round((7 + 9) * 65 / 30)
    assert expected_samples([shard(4, 5, None)]) is None
    assert expected_samples([]) is None


# On a terminal


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_finished_stages_stay_and_nothing_else(finished: Path, columns: int) -> None:
    seen = Terminal("dedup", "--threshold", "0.5", "--max-bad", "10", cwd=finished, columns=columns, lines=60)
    assert seen.wait() == 0, seen.text
    assert any(line.startswith("dedup ") and "kept" in line for line in seen.shown), seen.text
    assert "rows: complete already, 46 rows" not in seen.text  # dedup takes rows/ as it stands
    assert not [line for line in seen.shown if "━" in line or "─" in line], seen.text
    assert "unlike" in seen.text
    assert seen.is_cursor_seen


def test_an_interrupt_leaves_a_clean_terminal(place: Path) -> None:
    seen = Terminal("run", cwd=place)
    wait_until(lambda: "━" in seen.text)
    seen.started.kill(signal.SIGINT)
    assert seen.wait() == 130
    assert seen.shown[-1].startswith("interrupted: ")
    assert not [line for line in seen.shown if "━" in line or "─" in line], seen.text
    assert seen.is_cursor_seen
    assert b"\x1b[?25l" not in seen.written  # not even a second signal could leave it hidden


def test_a_killed_process_leaves_the_cursor(place: Path) -> None:
    seen = Terminal("run", cwd=place)
    wait_until(lambda: "━" in seen.text)
    seen.started.kill(signal.SIGKILL)
    seen.wait()
    assert seen.is_cursor_seen


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(finished: Path) -> None:
    seen = Terminal("dedup", "--threshold", "0.5", "--max-bad", "10", cwd=finished, TERM="dumb")
    assert seen.wait() == 0, seen.text
    assert "dedup: 1 part(s)" in seen.text
    assert b"\x1b" not in seen.written


def test_no_colour_where_none_is_wanted(finished: Path) -> None:
    seen = Terminal("dedup", "--threshold", "0.5", "--max-bad", "10", cwd=finished, NO_COLOR="1")
    assert seen.wait() == 0, seen.text
    assert b"\x1b[3" not in seen.written
    assert b"\x1b[9" not in seen.written


def test_text_that_a_terminal_cannot_show_stops_nothing(finished: Path) -> None:
    seen = Terminal("decisions", "d.parquet", cwd=finished, PYTHONIOENCODING="ascii")
    assert seen.wait() == 0, seen.text
    assert "100.0 %  ????" in seen.text


def test_quiet_says_nothing_on_a_terminal_but_the_result(finished: Path) -> None:
    seen = Terminal("decisions", "-q", "d.parquet", cwd=finished)
    assert seen.wait() == 0, seen.text
    assert seen.shown[-1] == "d.parquet"
    assert done("decisions", "-q", "d.parquet", cwd=finished).err == ""
