"""The report's numbers against plain Python over every row, and what it says when something is missing."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest
from command import check_refused, contents, coreset, done
from folders import random_vectors, write_clip_retrieval
from synthetic import Given, random_given, selected_from

import coreset as package
from coreset.dedup import DedupParams
from coreset.forest import thresholds_from
from coreset.results.report import numbers as report_numbers
from coreset.results.report.histograms import FINE
from coreset.results.report.numbers import Numbers, checked_fates
from coreset.sample import SampleParams
from coreset.sources.pairs import Reject

TEMPLATES = Path(package.__file__).parent / "results" / "templates"
WIDE = SampleParams(n=3, text_rank=(0, 80), centroid_rank=(10, 100), allow_fewer=True)


def selected(folder: Path, given: Given, sample: SampleParams = WIDE, threshold: float = 0.86) -> str:
    selected_from(folder, given, DedupParams(threshold), sample)
    return str(folder)


def with_rejects(seed: int) -> Given:
    """Rows with copies, chains and singletons, some without a caption; and two that were refused."""
    given = random_given(seed)
    text = np.where(np.arange(len(given.keys)) % 7 == 3, np.nan, given.text_cosine)
    rejects = [Reject(None, None, "broken_tar", "cut", 5), Reject("k", 3, "no_caption", "none", 1)]
    return Given(given.keys, given.vectors, text, given.centroids, rejects=rejects)


def page_of(folder: Path) -> str:
    return (folder / "run" / "report" / "index.html").read_text()


def with_own_shards(folder: Path) -> Path:
    """The folder, whose run says that its pictures lie in the folder's own shards."""
    noted = json.loads((folder / "run/run.json").read_text())
    (folder / "run/run.json").write_text(json.dumps({**noted, "root": str(folder / "shards")}))
    return folder


def said_on(page: str) -> str:
    """The page's text without its markup, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scope", ["global", "cluster"])
def test_numbers_are_those_of_the_rows(tmp_path: Path, seed: int, scope: str) -> None:
    sample = SampleParams(n=3, text_rank=(0, 80), centroid_rank=(10, 100), rank_scope=scope, allow_fewer=True)
    given = with_rejects(seed)
    run = selected(tmp_path, given, sample)
    found, rows = report_numbers.report_numbers(run), package.rows_with_fate(run).to_pylist()
    assert found.fates == {**dict.fromkeys(found.fates, 0), **Counter(row["fate"] for row in rows), "quarantined": 6}
    assert sum(found.fates.values()) == found.samples == len(rows) + 6
    kept = [row for row in rows if row["kept"]]
    assert found.component_sizes == dict(sorted(Counter(row["component_size"] for row in kept).items()))
    sizes = Counter(row["cluster"] for row in rows)
    assert found.clusters.largest[0][1] == max(sizes.values())
    clusters = found.clusters.clusters
    assert np.isclose(found.clusters.imbalance, clusters * sum(n**2 for n in sizes.values()) / len(rows) ** 2)
    duplicates = [row for row in rows if not row["kept"]]
    below = [row for row in duplicates if row["kept_cosine"] <= found.threshold]
    assert found.chained_rows == len(below)
    check_components(found, rows, given)
    check_histograms(found, rows)
    for fate, shown in found.shown.items():
        of_fate = {row["key"] for row in rows if row["fate"] == fate}
        assert {row["key"] for row in shown} <= of_fate
        assert len(shown) == min(len(of_fate), 24 if fate == "kept" else 12)
    assert found.partners.keys() == {row["kept_key"] for row in found.shown["duplicate"]}


def check_components(found: Numbers, rows: list[dict[str, Any]], given: Given) -> None:
    vectors = dict(zip(given.keys, given.vectors.astype(np.float64), strict=True))
    components: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        components.setdefault(row["kept_key"], []).append(row)
    joined = {key: of for key, of in components.items() if len(of) > 1}
    sizes = sorted((len(of) for of in joined.values()), reverse=True)
    assert [one.size for one in found.largest] == sizes[:6]
    smallest = {key: min(row["kept_cosine"] for row in of if row["key"] != key) for key, of in joined.items()}
    chained = sorted(cosine for cosine in smallest.values() if cosine <= found.threshold)
    assert [one.smallest for one in found.chained] == chained[:6]
    for one in (*found.largest, *found.chained):
        others = {row["key"]: row["kept_cosine"] for row in components[one.kept_key] if row["key"] != one.kept_key}
        assert one.smallest == smallest[one.kept_key]
        assert one.below == sum(cosine <= found.threshold for cosine in others.values())
        assert one.rows[0]["key"] == one.kept_key
        graph = nx.Graph()
        for a, b in itertools.combinations([row["key"] for row in components[one.kept_key]], 2):
            graph.add_edge(a, b, weight=float(vectors[a] @ vectors[b]))
        tree = nx.maximum_spanning_tree(graph)
        assert one.weakest == pytest.approx(min(w for *_, w in tree.edges(data="weight")), abs=1e-9)
        shown = [row["kept_cosine"] for row in one.rows[1:]]
        assert shown == sorted(shown, reverse=True)
        assert len(shown) == min(len(others), 11)
        assert {row["key"] for row in one.rows[1:]} <= others.keys()
        assert shown[0] == max(others.values())
        assert shown[-1] == min(others.values())


def check_histograms(found: Numbers, rows: list[dict[str, Any]]) -> None:
    kept = [row for row in rows if row["kept"]]
    in_window = [row for row in kept if row["fate"] not in {"text rank too high", "text rank too low", "no caption"}]
    wanted = {
        ("text", "text, before dedup"): [row["text_cosine"] for row in rows],
        ("text", "text, after dedup"): [row["text_cosine"] for row in kept],
        ("centroid", "centroid, after dedup"): [row["centroid_cosine"] for row in kept],
        ("centroid", "centroid, in the text window"): [row["centroid_cosine"] for row in in_window],
        ("kept", "kept, of duplicates"): [row["kept_cosine"] for row in rows if not row["kept"]],
    }
    for (group, name), scores in wanted.items():
        histogram, places = found.scores[group], Counter[int]()
        for score in scores:
            if score is not None:
                low = np.floor((min(max(score, -1), 1 - 1e-9) + 1) * FINE / 2) * 2 / FINE - 1  # of its fine bin
                places[int(np.floor((low - histogram.low) / histogram.width + 1e-6))] += 1
        bins = len(histogram.counts[name])
        assert histogram.counts[name] == [places[place] for place in range(bins)]
        assert histogram.below[name] == sum(count for place, count in places.items() if place < 0)
        assert histogram.above[name] == sum(count for place, count in places.items() if place >= bins)
        assert histogram.total(name) == places.total()


def test_with_a_bound_components_may_hang_together_below_the_threshold_only(tmp_path: Path) -> None:
    """From the kept row at the pole, the chain to the last row leads over rows that the bound sends away."""
    around = [(85, longitude) for longitude in range(180, -1, -20)]
    angles = np.deg2rad([(0, 0), (30, 180), (60, 180), *around, (60, 0)])
    down, along = angles.T
    vectors = np.stack([np.sin(down) * np.cos(along), np.sin(down) * np.sin(along), np.cos(down)], axis=1)
    text = np.linspace(0.1, 0.9, len(vectors), dtype=np.float32)
    keys = [f"{number:02d}" for number in range(len(vectors))]
    given = Given(keys, vectors.astype(np.float16), text, np.float32([[0, 0, 1]]))
    selected_from(tmp_path, given, DedupParams(0.86, keep="nearest", min_kept_cosine=0.3), WIDE)
    found, rows = report_numbers.report_numbers(str(tmp_path)), package.rows_with_fate(str(tmp_path)).to_pylist()
    check_components(found, rows, given)
    (pole,) = (one for one in found.largest if one.kept_key == keys[0])
    assert pole.size == 4
    assert pole.weakest == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("seed", [1, 4])
def test_pieces_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    run = selected(tmp_path, with_rejects(seed))
    whole = report_numbers.report_numbers(run, seed=3)
    monkeypatch.setattr("coreset.results.fate.BATCH_ROWS", 3)
    assert report_numbers.report_numbers(run, seed=3) == whole
    assert report_numbers.report_numbers(run, seed=4) != whole


def test_windows_end_at_the_cuts(tmp_path: Path) -> None:
    run = selected(tmp_path, random_given(11), SampleParams(n=100, text_rank=(20, 70), allow_fewer=True))
    found, rows = report_numbers.report_numbers(run), package.rows_with_fate(run).to_pylist()
    high, low = found.cuts["text"] or (None, None)
    inside = [row["text_cosine"] for row in rows if row["fate"] in {"kept", "not sampled"} or "centroid" in row["fate"]]
    assert high == max(inside) + 0.0
    assert low == max(row["text_cosine"] for row in rows if row["fate"] == "text rank too low") + 0.0


def test_fates_that_do_not_add_up_are_a_bug(tmp_path: Path) -> None:
    run = selected(tmp_path, random_given(2))
    found = report_numbers.report_numbers(run)

    fates = Counter(found.fates)
    fates["text rank too high"] -= 1
    fates["duplicate"] += 1  # the sum is right, the steps are not
    with pytest.raises(package.CoresetError, match="please report this") as caught:
        checked_fates(run, fates, ())
    assert caught.value.exit_code == 1


def test_the_command_writes_a_page_and_its_numbers(finished: Path) -> None:
    said = done("report", cwd=finished)
    assert said.out.splitlines()[-1] == "run/report/index.html"
    page, numbers = page_of(finished), json.loads((finished / "run/report/report.json").read_text())
    assert page.count("data:image/webp") > 40
    assert 'id="pictures"' not in page
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert len(page) < 5_000_000
    steps = {step.name: step.rows for step in package.funnel(str(finished / "run"))}
    assert {step["name"]: step["rows"] for step in numbers["funnel"]} == steps
    assert done("verify", "--json", cwd=finished).code == 0
    assert json.loads(done("verify", "--json", cwd=finished).out)["notes"] == []


def test_every_whole_number_of_the_page_stands_in_the_json(finished: Path) -> None:
    done("report", cwd=finished)
    numbers = json.dumps(json.loads((finished / "run/report/report.json").read_text()))
    known = {int(number) for number in re.findall(r"(?<![\d.])\d+(?![\d.])", numbers)}
    cells = re.findall(r'<td class="num">(?:<bdi>)?([\d,]+)(?:</bdi>)?<', page_of(finished))
    assert len(cells) > 200
    assert {int(cell.replace(",", "")) for cell in cells} <= known


def test_the_same_run_gives_the_same_bytes(finished: Path) -> None:
    before = contents(finished / "run")
    done("report", "--out", "a", cwd=finished)
    done("report", "--out", "b/c", cwd=finished)
    assert (finished / "a/index.html").read_bytes() == (finished / "b/c/index.html").read_bytes()
    assert (finished / "a/report.json").read_bytes() == (finished / "b/c/report.json").read_bytes()
    assert contents(finished / "run") == before
    said = json.loads(done("report", "--out", "d", "--seed", "5", "--no-pictures", "--json", cwd=finished).out)
    assert (said["page"], said["pictures"]) == ("d/index.html", 0)
    assert "data:image/webp" not in (finished / "d/index.html").read_text()


def test_pictures_that_were_moved_away_leave_placeholders(finished: Path) -> None:
    shutil.move(with_own_shards(finished) / "shards", finished / "elsewhere")
    said = json.loads(done("report", "--json", cwd=finished).out)
    assert said["pictures"] == 0
    assert said["without"] > 20
    text = said_on(page_of(finished))
    assert text.count("pictures have a placeholder") == 1
    assert ".tar cannot be read: No such file or directory" in text
    assert text.count("no picture") > 20


def test_a_picture_that_is_another_file_now_leaves_a_placeholder(finished: Path) -> None:
    shard = with_own_shards(finished) / "shards" / "00000.tar"
    shard.write_bytes(bytes(shard.stat().st_size))
    said = json.loads(done("report", "--json", cwd=finished).out)
    assert said["without"] > 0
    assert said["pictures"] > 0
    assert "A picture of 00000.tar is not what it was (not_a_picture)" in said_on(page_of(finished))


def test_vectors_that_were_imported_have_no_pictures(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "in", random_vectors(60))
    done("import", "in", cwd=tmp_path)
    done("dedup", "--clusters", "2", cwd=tmp_path)
    done("sample", "-n", "1", cwd=tmp_path)
    done("report", cwd=tmp_path)
    text = said_on(page_of(tmp_path))
    assert "The run was imported from vectors: it has no pictures." in text


def test_the_curve_is_exact_where_there_is_a_forest(finished: Path) -> None:
    done("report", cwd=finished)
    sampled = json.loads((finished / "run/report/report.json").read_text())["curve"]
    assert "Of a sample:" in said_on(page_of(finished))
    swept = json.loads(done("sweep", "--json", cwd=finished).out)
    kept = {entry["threshold"]: entry["kept"] for entry in swept}
    assert set(kept) >= set(thresholds_from(0.8, 0.02))
    done("report", cwd=finished)
    exact = json.loads((finished / "run/report/report.json").read_text())["curve"]
    assert (sampled["source"], exact["source"]) == ("sample", "forest")
    assert "from the forest" in said_on(page_of(finished))
    for curve in (sampled, exact):  # all clusters of so small a run are in the sample
        at = dict(zip(curve["thresholds"], curve["kept"], strict=True))
        assert all(at[threshold] == kept[threshold] for threshold in at.keys() & kept.keys())
    shutil.rmtree(finished / "run/clusters")
    for command in (("report",), ("decisions", "d.parquet")):
        check_refused(coreset(*command, cwd=finished), 3, "A stage of run is gone", "run `coreset dedup`")


def test_what_a_list_excludes_is_counted_and_never_shown(finished: Path) -> None:
    keys = pq.read_table(finished / "run/dedup/00000.parquet")["key"].to_pylist()[:5]
    (finished / "list.txt").write_text("\n".join(keys))
    done("dedup", "--exclude", "list.txt", "--max-bad", "10", cwd=finished)
    done("sample", "-n", "1", "--max-bad", "10", cwd=finished)
    done("report", cwd=finished)
    numbers = json.loads((finished / "run/report/report.json").read_text())
    assert numbers["fates"]["excluded"] == 5
    assert not [key for key in keys if f">{key}<" in page_of(finished)]


def test_a_long_text_is_cut_with_a_note(tmp_path: Path) -> None:
    given = random_given(3)
    texts = {"caption": dict.fromkeys(given.keys, "ü" * 65_536)}
    given = Given(given.keys, given.vectors, given.text_cosine, given.centroids, texts)
    found = package.report(selected(tmp_path, given), str(tmp_path / "report"))
    page = Path(found.page).read_text()
    assert "… (65,536 characters)" in page
    assert found.bytes == len(page.encode()) < 2_000_000


def test_what_is_refused(finished: Path) -> None:
    check_refused(coreset("report", "--run", "none", cwd=finished), 3, "coreset dedup")
    check_refused(coreset("report", "--seed", str(2**64), cwd=finished), 2, "below 2^64")
    (finished / "run/coreset/stage.json").unlink()
    check_refused(coreset("report", cwd=finished), 3, "run `coreset sample` first")
    assert not (finished / "run/report").exists()


def test_templates_let_no_text_pass_unescaped() -> None:
    for template in TEMPLATES.iterdir():
        text = template.read_text()
        assert not re.search(r"\|\s*safe|autoescape|Markup|<script|javascript:|https?://", text), template
    root = Path(package.__file__).parent
    users = [path.name for path in root.rglob("*.py") if re.search(r"\bMarkup\(|autoescape=False", path.read_text())]
    assert users == ["own_svg.py"]
