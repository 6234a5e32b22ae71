"""What became of a sample and why, against slow, obvious answers: networkx on the full graph, sorted lists."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest
from synthetic import Given, random_given, selected_from

import coreset
from coreset import rows
from coreset.dedup import DedupParams
from coreset.engine.errors import InputError
from coreset.numeric.ranks import descending
from coreset.results.beside import clusters_behind
from coreset.results.explain.chain import chain_to_kept
from coreset.results.explain.standing import Rank
from coreset.results.fate import judged
from coreset.results.lookup import component_places, found_places, groups_with
from coreset.sample import SampleParams

WIDE = SampleParams(n=3, text_rank=(10, 80), centroid_rank=(10, 90), allow_fewer=True)
THRESHOLD = 0.7
SEEDS = range(6)


def opened(folder: Path, given: Given, sample: SampleParams = WIDE, parts: int = 2) -> coreset.OpenedRun:
    folder.mkdir(exist_ok=True)
    selected_from(folder, given, DedupParams(threshold=THRESHOLD), sample, parts)
    return coreset.open_run(str(folder))


def graphs_of(given: Given, run: coreset.OpenedRun) -> nx.Graph:
    """The graph of all pairs in one cluster above the threshold, nodes named by their keys."""
    cluster = dict(zip(*(run.fates()[name].to_pylist() for name in ("key", "cluster")), strict=True))
    x = given.vectors.astype(np.float64)
    graph = nx.Graph()
    graph.add_nodes_from(given.keys)
    for i, a in enumerate(given.keys):
        for j, b in enumerate(given.keys[:i]):
            if cluster[a] == cluster[b] and float(x[i] @ x[j]) > THRESHOLD:
                graph.add_edge(a, b, cosine=float(x[i] @ x[j]))
    return graph


def strongest(graph: nx.Graph, a: str, b: str) -> float:
    """The largest weakest link of all paths: edges are taken away, weakest first, until there is no path."""
    left = graph.copy()
    best = 0.0
    for cosine, u, v in sorted((cosine, u, v) for u, v, cosine in graph.edges.data("cosine")):
        if not nx.has_path(left, a, b):
            break
        best = cosine
        left.remove_edge(u, v)
    return best


@pytest.mark.parametrize("seed", SEEDS)
def test_a_chain_is_the_path_with_the_strongest_weakest_link(tmp_path: Path, seed: int) -> None:
    given = random_given(seed)
    run = opened(tmp_path, given)
    graph = graphs_of(given, run)
    duplicates = [row for row in run.fates().to_pylist() if row["fate"] == "duplicate"]
    for row in duplicates[:8]:
        why = run.why(row["key"])
        assert why.kept is not None
        assert why.chain is not None
        assert not why.chain.leaves
        path = [step["key"] for step in why.chain.rows]
        assert (path[0], path[-1]) == (row["key"], row["kept_key"])
        assert len(set(path)) == len(path)
        assert why.chain.cosines == tuple(graph.edges[edge]["cosine"] for edge in pairwise(path))
        assert why.chain.weakest == strongest(graph, row["key"], row["kept_key"])
        assert [step["kept"] for step in why.chain.rows] == [False] * (len(path) - 1) + [True]
        assert why.sentence.startswith(f"duplicate of {row['kept_key']}, whose fate is: {why.kept['fate']}")
        assert ("chain of" in " ".join(why.notes)) == (len(path) > 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_component_is_all_that_is_connected(tmp_path: Path, seed: int) -> None:
    given = random_given(seed)
    run = opened(tmp_path, given)
    graph, fates = graphs_of(given, run), run.fates()
    for component in nx.connected_components(graph):
        key = min(component)
        table = run.component(key)
        assert set(table["key"].to_pylist()) == component
        assert table.schema.names == [*rows.DEDUP.names, "fate"]
        assert run.row(key) == fates.filter(np.array(fates["key"].to_pylist()) == key).to_pylist()[0]
        found = run.graph(key)
        assert nx.utils.graphs_equal(nx.Graph(found.edges.data()), nx.Graph(graph.subgraph(component).edges.data()))
        assert {name for name, said in found.nodes.data() if said["kept"]} == {table["kept_key"][0].as_py()}


def test_the_parts_of_a_run_change_no_chain(tmp_path: Path) -> None:
    given = random_given(2)
    one, other = (opened(tmp_path / str(parts), given, parts=parts) for parts in (1, 3))
    chains = [[run.why(key).chain for key in given.keys] for run in (one, other)]
    strip = [[chain and ([row["key"] for row in chain.rows], chain.cosines) for chain in some] for some in chains]
    assert strip[0] == strip[1]
    assert any(strip[0])


def test_row_groups_are_skipped_by_their_hashes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = random_given(2)
    whole = opened(tmp_path / "whole", given)
    expected = {key: (whole.why(key), whole.component(key)) for key in given.keys}
    monkeypatch.setattr("coreset.rows.GROUP_ROWS", 3)
    monkeypatch.setattr("coreset.results.lookup.BATCH_ROWS", 4)
    pieces = opened(tmp_path / "pieces", given)
    location = pieces.decided.dedup.locations()[0]
    groups = pq.ParquetFile(location).metadata.num_row_groups
    assert groups > 3
    hashes = np.sort(rows.key_hashes(given.keys[:1]))
    read = [slice(*bounds) for bounds in groups_with(location, hashes)]
    assert 0 < len(read) < groups
    for key in given.keys:
        assert pieces.why(key) == expected[key][0]
        assert pieces.component(key).equals(expected[key][1])


def test_a_chain_may_leave_a_component_that_was_made_smaller(tmp_path: Path) -> None:
    angle = np.deg2rad(30) * np.arange(7)
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float16)
    given = Given([f"{i}" for i in range(7)], x, np.linspace(0, 1, 7, dtype=np.float32), np.float32([[0.5, 0.5]]))
    run = opened(tmp_path, given)
    kept = run.row("0")["kept_key"]
    away = "0" if kept != "0" else "6"
    by = judged(str(tmp_path))
    places = found_places(by.dedup, [away, kept])
    clusters = clusters_behind(by.run, by.dedup)
    whole = chain_to_kept(by, clusters, places[away], component_places(places[away]), places[kept].row)
    two = np.sort([places[away].row, places[kept].row])
    cut = chain_to_kept(by, clusters, places[away], two, places[kept].row)
    assert cut.leaves
    assert not whole.leaves
    assert (cut.rows, cut.cosines) == (whole.rows, whole.cosines)
    assert len(cut.rows) > 2


def test_large_components_are_drawn_as_their_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = random_given(4)
    run = opened(tmp_path, given)
    whole = graphs_of(given, run)
    component = max(nx.connected_components(whole), key=len)
    monkeypatch.setattr("coreset.results.explain.chain.GRAPH_ROWS", 1)
    found = run.graph(min(component))
    assert found.graph["edges"] == "spanning tree"
    assert nx.is_tree(found)
    assert set(found) == component
    best = nx.maximum_spanning_tree(whole.subgraph(component), weight="cosine")
    assert found.size("cosine") == pytest.approx(best.size("cosine"))


# Ranks


def came_to(row: dict, window: str) -> bool:
    """Whether a row was ranked in a window, by its fate."""
    passed = row["fate"] in {"kept", "not sampled"}
    if window == "text rank":
        return passed or row["fate"].startswith(("text", "centroid"))
    return passed or (window == "centroid rank" and row["fate"].startswith("centroid"))


def ranked(table: list[dict], window: str, seed: int) -> list[dict]:
    def order(row: dict) -> tuple[int, int, bytes]:
        if window == "sample":
            first = int(rows.key_hashes([row["key"]], seed)[0])
        else:
            score = row["text_cosine" if window == "text rank" else "centroid_cosine"]
            first = int(descending(np.float32([score]))[0])
        return first, row["key_hash"], row["key"].encode()

    return sorted((row for row in table if came_to(row, window)), key=order)


@pytest.mark.parametrize("scope", ["global", "cluster"])
@pytest.mark.parametrize("seed", SEEDS)
def test_ranks_are_those_of_sorted_lists(
    tmp_path: Path, seed: int, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = random_given(seed)
    given.text_cosine[:: 5 + seed] = np.nan
    params = SampleParams(n=3, text_rank=(10, 80), centroid_rank=(10, 90), seed=7, rank_scope=scope, allow_fewer=True)
    run = opened(tmp_path, given, params)
    monkeypatch.setattr("coreset.sample.BATCH_ROWS", 5)
    table = run.fates().to_pylist()
    told = {key: {rank.window: rank for rank in run.why(key).ranks} for key in given.keys[:8]}
    for window, percent in (("text rank", (10, 80)), ("centroid rank", (10, 90)), ("sample", None)):
        own = scope == "cluster" and window != "sample"
        for cluster in {row["cluster"] for row in table} if own else [None]:
            some = [row for row in table if cluster in {None, row["cluster"]}]
            order = ranked(some, window, 7)
            for place, row in enumerate(order):
                if row["key"] in told:
                    check_rank(told[row["key"]].pop(window), place, order, window, percent, cluster)
    assert all(not left for left in told.values())


def check_rank(
    rank: Rank, place: int, order: list[dict], window: str, percent: tuple | None, cluster: int | None
) -> None:
    assert (rank.rank, rank.of, rank.percent, rank.cluster) == (place, len(order), percent, cluster)
    fate = order[place]["fate"]
    if percent is None:
        assert (rank.first, rank.end, rank.score) == (0, sum(row["fate"] == "kept" for row in order), None)
        assert rank.is_inside == (fate == "kept")
        return
    ends = [int(Fraction(bound, 100) * len(order)) for bound in percent]
    score = "text_cosine" if window == "text rank" else "centroid_cosine"
    assert [rank.first, rank.end] == ends
    assert rank.score == order[place][score] + 0.0
    assert rank.is_inside == (not fate.startswith(window))
    assert rank.first_score == (order[ends[0]][score] if ends[0] < ends[1] else None)
    assert rank.end_score == (order[ends[1]][score] if ends[1] < len(order) else None)


# What is not there


def test_unknown_keys_are_refused(tmp_path: Path) -> None:
    run = opened(tmp_path, random_given(1))
    for call in (run.row, run.component, run.graph, run.why):
        with pytest.raises(InputError, match="nobody is no key"):
            call("nobody")
