"""The stages against slow, obvious oracles: networkx on the full graph, sorted lists, DuckDB windows."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import duckdb
import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
import xxhash
from synthetic import Given, random_given, selected_from

from coreset import rows
from coreset.dedup import DedupParams
from coreset.engine.errors import InputError
from coreset.engine.local import in_process, on_processes
from coreset.engine.stage import params_json
from coreset.sample import SampleParams

INPUTS = 1000
BATCH = 50
WINDOWS = [((40, 60), (15, 35)), ((0, 100), (0, 100)), ((0, 33.3), (50, 100)), ((12.5, 87.5), (10, 90))]


def key_hash(key: str, seed: int = 0) -> int:
    return xxhash.xxh3_64_intdigest(key.encode(), seed)


def assigned(given: Given) -> tuple[np.ndarray, np.ndarray]:
    """Nearest centroid by exact squared distance, ties to the lower index."""
    x, c = given.vectors.astype(np.float64), given.centroids.astype(np.float64)
    squared = ((x[:, None, :] - c[None, :, :]) ** 2).sum(2)
    nearest = squared.argmin(1)
    return nearest, squared[np.arange(len(x)), nearest]


def kept_of(given: Given, threshold: float, keep: str, bound: float = 0.0) -> dict[int, tuple[int, int]]:
    """For each row the row that stands for its component, and the component's size.

    With a bound, those that are not near enough to that row are a graph of their own, and so on.
    """
    cluster, squared = assigned(given)
    x = given.vectors.astype(np.float64)
    graph = nx.Graph()
    graph.add_nodes_from(range(len(x)))
    graph.add_edges_from(
        (i, j) for i in range(len(x)) for j in range(i) if cluster[i] == cluster[j] and float(x[i] @ x[j]) > threshold
    )
    found = {}
    waiting = list(nx.connected_components(graph))
    while waiting:
        component = waiting.pop()
        tie = {i: (key_hash(given.keys[i]), given.keys[i].encode()) for i in component}
        near = sorted(component, key=lambda i: (squared[i], tie[i]))
        far = sorted(component, key=lambda i: (-squared[i], tie[i]))
        drawn = sorted(component, key=lambda i: (key_hash(given.keys[i], 3), tie[i]))
        choice = {"median": near[len(near) // 2], "nearest": near[0], "farthest": far[0], "random": drawn[0]}[keep]
        left = {i for i in component if bound and i != choice and float(x[i] @ x[choice]) <= bound}
        found |= {i: (choice, len(component) - len(left)) for i in component - left}
        waiting += nx.connected_components(graph.subgraph(left))
    return found


def centroid_cosines(given: Given) -> np.ndarray:
    cluster, _ = assigned(given)
    c = given.centroids.astype(np.float64)[cluster]
    dots, squares = (given.vectors.astype(np.float64) * c).sum(1), (c * c).sum(1)
    return np.where(squares > 0, dots / np.sqrt(np.where(squares > 0, squares, 1)), 0).astype(np.float32)


def window_of(left: list[int], score: np.ndarray, given: Given, percent: tuple[float, float]) -> list[int]:
    ranked = sorted(left, key=lambda i: (-(score[i] + 0.0), key_hash(given.keys[i]), given.keys[i].encode()))
    low, high = (int(Fraction(Decimal(str(bound))) / 100 * len(left)) for bound in percent)
    return ranked[low:high]


def chosen_of(given: Given, kept: dict[int, tuple[int, int]], sample: SampleParams) -> list[str]:
    """Keys of the coreset, in its order, by sorted lists."""
    left = [i for i in kept if kept[i][0] == i and not np.isnan(given.text_cosine[i])]
    scopes = [left]
    if sample.rank_scope == "cluster":
        cluster, _ = assigned(given)
        scopes = [[i for i in left if cluster[i] == c] for c in range(len(given.centroids))]
    left = []
    for scope in scopes:
        in_text = window_of(scope, given.text_cosine, given, sample.text_rank)
        left += window_of(in_text, centroid_cosines(given), given, sample.centroid_rank)
    order = sorted(left, key=lambda i: (key_hash(given.keys[i], sample.seed), key_hash(given.keys[i]), given.keys[i]))
    return [given.keys[i] for i in order[: sample.n]]


DUCKDB = """
with text as (
  select *, row_number() over (order by text_cosine desc, key_hash, encode(key)) - 1 as r, count(*) over () as c
  from dedup where kept and text_cosine is not null
), centroid as (
  select *, row_number() over (order by centroid_cosine desc, key_hash, encode(key)) - 1 as r2, count(*) over () as c2
  from text where r >= c * $tl // 1000 and r < c * $th // 1000
)
select key from centroid where r2 >= c2 * $cl // 1000 and r2 < c2 * $ch // 1000
"""


def chosen_by_duckdb(table: pa.Table, sample: SampleParams) -> set[str]:
    """Keys in both windows by DuckDB's window functions; percentages in tenths."""
    names = dict(zip(("tl", "th", "cl", "ch"), (*sample.text_rank, *sample.centroid_rank), strict=True))
    bounds = {name: int(Decimal(str(value)) * 10) for name, value in names.items()}
    with duckdb.connect() as connection:
        connection.register("dedup", table)
        return {key for (key,) in connection.execute(DUCKDB, bounds).fetchall()}


def read(parts) -> pa.Table:
    return pa.concat_tables([rows.read_table(location) for location in parts.locations()])


@pytest.mark.parametrize("first", range(0, INPUTS, BATCH))
def test_networkx_sorted_lists_and_duckdb_agree(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + BATCH):
        draw = np.random.default_rng(seed + 10**6)
        given = random_given(seed)
        if seed % 3 == 0:
            given.text_cosine[draw.random(len(given.keys)) < draw.choice([0.2, 1.0])] = np.nan
        x = given.vectors.astype(np.float64)
        pair = draw.integers(0, len(x), 2)
        tie = float(x[pair[0]] @ x[pair[1]])
        threshold = tie if draw.integers(2) and 0 < tie <= 1 else 0.86
        keep = str(draw.choice(["median", "median", "nearest", "farthest", "random"]))
        text, centroid = WINDOWS[int(draw.integers(len(WINDOWS)))]
        scope = str(draw.choice(["global", "global", "cluster"]))
        sample = SampleParams(int(draw.integers(1, 30)), text, centroid, scope, int(draw.integers(3)), True)
        folder, parts = tmp_path / str(seed), int(draw.integers(1, 4))
        bound = float(draw.choice([0, 0, 0.5, 0.9, 1])) * threshold
        _, survivors, coreset = selected_from(folder, given, DedupParams(threshold, keep, 3, bound), sample, parts)
        kept = kept_of(given, threshold, keep, bound)
        table = read(survivors)
        for row in table.to_pylist():
            i = given.keys.index(row["key"])
            assert (row["kept_key"], row["component_size"]) == (given.keys[kept[i][0]], kept[i][1]), seed
            assert row["kept"] == (kept[i][0] == i)
            assert row["kept_cosine"] == np.float32(x[i] @ x[kept[i][0]])
        chosen = read(coreset)["key"].to_pylist()
        assert chosen == chosen_of(given, kept, sample), seed
        if scope == "global":
            in_both = chosen_by_duckdb(table, sample)
            assert set(chosen) <= in_both
            assert len(chosen) == min(sample.n, len(in_both))


def test_rows_of_clusters_stand_by_cluster_hash_and_key(tmp_path: Path) -> None:
    clusters, _, _ = selected_from(tmp_path, random_given(5), DedupParams(), SampleParams(n=1, allow_fewer=True))
    table = read(clusters)
    order = list(
        zip(table["cluster"].to_pylist(), table["key_hash"].to_pylist(), table["key"].to_pylist(), strict=True)
    )
    assert order == sorted(order)
    vectors = rows.open_vectors(clusters.locations()[0])
    given = random_given(5)
    assert all(np.array_equal(vectors[i], given.vectors[given.keys.index(key)]) for i, (_, _, key) in enumerate(order))


def kept_keys(folder: Path, given: Given, threshold: float = 0.86) -> set[str]:
    _, survivors, _ = selected_from(folder, given, DedupParams(threshold), SampleParams(n=1, allow_fewer=True))
    return {row["key"] for row in read(survivors).to_pylist() if row["kept"]}


@pytest.mark.parametrize("seed", range(6))
def test_dedup_is_idempotent(seed: int, tmp_path: Path) -> None:
    given = random_given(seed)
    kept = kept_keys(tmp_path / "once", given)
    index = [i for i, key in enumerate(given.keys) if key in kept]
    left = Given([given.keys[i] for i in index], given.vectors[index], given.text_cosine[index], given.centroids)
    assert kept_keys(tmp_path / "twice", left) == kept


@pytest.mark.parametrize("seed", range(6))
def test_a_bound_is_kept_and_only_adds_survivors(seed: int, tmp_path: Path) -> None:
    given, sample = random_given(seed), SampleParams(n=1, allow_fewer=True)
    counts = []
    for bound in (0.0, 0.3, 0.6):
        _, survivors, _ = selected_from(tmp_path / str(bound), given, DedupParams(0.6, "median", 0, bound), sample)
        table = read(survivors)
        near = [row["kept"] or row["kept_cosine"] >= np.float32(bound) for row in table.to_pylist()]
        assert not bound or all(near)
        assert survivors.counts["kept"] + survivors.counts["duplicates"] == table.num_rows == len(given.keys)
        counts.append(survivors.counts["kept"])
    assert counts[0] <= min(counts)


def test_a_plan_names_the_bound_only_where_there_is_one(tmp_path: Path) -> None:
    """What was made before the parameter came is what its default makes."""
    assert "min_kept_cosine" not in params_json(DedupParams())
    assert params_json(DedupParams(min_kept_cosine=0.5))["min_kept_cosine"] == 0.5
    selected_from(tmp_path, random_given(3), DedupParams(), SampleParams(n=1, allow_fewer=True))
    said = json.loads((tmp_path / "dedup" / "plan.json").read_text())
    assert said["params"] == {"threshold": 0.86, "keep": "median", "seed": 0}


@pytest.mark.parametrize("seed", range(6))
def test_an_exact_copy_never_adds_a_survivor(seed: int, tmp_path: Path) -> None:
    given = random_given(seed)
    copied = Given(
        [*given.keys, "copy"],
        np.concatenate([given.vectors, given.vectors[:1]]),
        np.append(given.text_cosine, np.float32(0.1)),
        given.centroids,
    )
    assert len(kept_keys(tmp_path / "copied", copied)) == len(kept_keys(tmp_path / "plain", given))


@pytest.mark.parametrize("seed", range(6))
def test_a_higher_threshold_only_splits(seed: int, tmp_path: Path) -> None:
    given = random_given(seed)
    counts = [len(kept_keys(tmp_path / str(t), given, t)) for t in (0.5, 0.86, 0.95, 1.0)]
    assert counts == sorted(counts)


def test_a_larger_n_only_adds_rows_behind(tmp_path: Path) -> None:
    given = random_given(17)
    wide = {"text_rank": (0, 100), "centroid_rank": (0, 100), "allow_fewer": True}
    lists = []
    for n in (1, 3, 8):
        _, _, coreset = selected_from(tmp_path / str(n), given, DedupParams(0.99), SampleParams(n, **wide))
        lists.append(read(coreset)["key"].to_pylist())
    assert lists[1][: len(lists[0])] == lists[0]
    assert lists[2][: len(lists[1])] == lists[1]
    assert len(lists[2]) > len(lists[0])


def test_more_rows_than_are_left_is_an_error_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"-n 5,000 is more than the \d+ rows left"):
        selected_from(tmp_path, random_given(3), DedupParams(), SampleParams(n=5000))


def bytes_below(folder: Path) -> dict[str, bytes]:
    names = ("rows", "centroids", "clusters", "dedup", "coreset")
    return {str(p.relative_to(folder)): p.read_bytes() for name in names for p in sorted((folder / name).iterdir())}


def large_given() -> Given:
    """Enough rows that small budgets cut them into many blocks, some of them copies."""
    draw = np.random.default_rng(7)
    base = draw.normal(size=(400, 32))
    x = base[draw.integers(0, 400, 3000)] + 0.08 * draw.normal(size=(3000, 32)) * draw.choice([0, 1, 4], (3000, 1))
    vectors = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)
    keys = [f"{i:06d}" for i in range(3000)]
    return Given(keys, vectors, draw.normal(size=3000).astype(np.float32), base[:3].astype(np.float32) / 8)


def test_any_engine_order_and_memory_gives_the_same_bytes(tmp_path: Path) -> None:
    given, sample = large_given(), SampleParams(n=20)
    selected_from(tmp_path / "plain", given, DedupParams(), sample, parts=3)
    expected = bytes_below(tmp_path / "plain")
    assert sum(name.endswith(".parquet") for name in expected) == 3 + 1 + 1 + 1 + 1

    def backwards(calls, needs):
        yield from (call() for call in reversed(list(calls)))

    for name, execute, memory in (
        ("little memory", in_process, 1 << 22),
        ("backwards", backwards, 1 << 24),
        ("two workers", on_processes(2), 1 << 26),
        ("four workers", on_processes(4), 1 << 28),
    ):
        selected_from(tmp_path / name, given, DedupParams(), sample, 3, execute, memory)
        assert bytes_below(tmp_path / name) == expected, name


def test_any_order_and_memory_gives_the_same_bounded_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coreset.slices.TASK_ROWS", 300)
    given, sample, bounded = large_given(), SampleParams(n=5), DedupParams(0.45, min_kept_cosine=0.4)
    selected_from(tmp_path / "plain", given, bounded, sample, parts=3)
    expected = bytes_below(tmp_path / "plain")
    whole = selected_from(tmp_path / "whole", given, DedupParams(0.45), sample, parts=3)[1]
    assert whole.counts["kept"] < json.loads(expected["dedup/stage.json"])["counts"]["kept"]

    def backwards(calls, needs):
        yield from (call() for call in reversed(list(calls)))

    for name, execute, memory in (("little memory", backwards, 1 << 12), ("two workers", on_processes(2), 1 << 26)):
        selected_from(tmp_path / name, given, bounded, sample, 3, execute, memory)
        assert bytes_below(tmp_path / name) == expected, name


def test_small_tasks_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, sample = large_given(), SampleParams(n=20)
    _, whole, coreset = selected_from(tmp_path / "whole", given, DedupParams(), sample)
    monkeypatch.setattr("coreset.cluster.PART_ROWS", 500)
    monkeypatch.setattr("coreset.slices.TASK_ROWS", 300)
    monkeypatch.setattr("coreset.dedup.BATCH_ROWS", 70)
    monkeypatch.setattr("coreset.sample.BATCH_ROWS", 90)
    monkeypatch.setattr("coreset.sample.FILE_ROWS", 7)
    clusters, cut, pieces = selected_from(tmp_path / "cut", given, DedupParams(), sample, parts=7)
    assert len(clusters.names) > 3
    assert len(cut.names) > 1
    assert len(pieces.names) == 3
    named = ["key", "cluster", "kept", "kept_key", "component_size", "kept_cosine", "centroid_cosine"]
    assert read(cut).select(named).equals(read(whole).select(named))
    assert read(pieces)["key"].to_pylist() == read(coreset)["key"].to_pylist()


def test_empty_clusters_at_the_end_make_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = large_given()
    far = np.eye(2, 32, dtype=np.float32) * 4
    monkeypatch.setattr("coreset.slices.TASK_ROWS", len(given.keys))
    given = Given(given.keys, given.vectors, given.text_cosine, np.concatenate([given.centroids, far]))
    _, survivors, _ = selected_from(tmp_path, given, DedupParams(), SampleParams(n=5))
    assert len(survivors.names) == 1
    assert survivors.counts["rows"] == len(given.keys)


def test_equal_windows_are_one_plan_however_they_are_written() -> None:
    written = [SampleParams(text_rank=(40, 60)), SampleParams(text_rank=(40.0, 60.0)), SampleParams()]
    assert {json.dumps(params_json(params)) for params in written} == {json.dumps(params_json(SampleParams()))}
