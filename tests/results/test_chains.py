"""How far components are stretched, against lists and networkx on the full graph."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from command import done
from synthetic import MEMORY, Given, random_given, selected_from

import coreset
from coreset import rows
from coreset.dedup import DedupParams
from coreset.engine.errors import InputError, UsageError
from coreset.engine.local import in_process
from coreset.engine.stage import complete
from coreset.forest import ForestParams, forest_stage
from coreset.results.chains import chains as module
from coreset.results.chains.chains import chains
from coreset.results.chains.stretched import Chains, StretchedComponent
from coreset.sample import SampleParams

SAMPLE = SampleParams(n=1, allow_fewer=True)


def weakest(given: Given, members: list[int]) -> float:
    """The smallest edge of networkx's maximum spanning tree."""
    x = given.vectors.astype(np.float64)
    graph = nx.Graph()
    graph.add_weighted_edges_from((i, j, float(x[i] @ x[j])) for i in members for j in members if i < j)
    return min(cosine for _, _, cosine in nx.maximum_spanning_tree(graph).edges.data("weight"))


def check(found: Chains, given: Given, table: list[dict], n: int) -> None:
    """Compare with lists of all rows."""
    x = given.vectors.astype(np.float64)
    components: dict[tuple[int, str], list[dict]] = {}
    for row in table:
        components.setdefault((row["cluster"], row["kept_key"]), []).append(row)
    several = {name: members for name, members in components.items() if len(members) > 1}
    smallest = {name: min(row["kept_cosine"] for row in members) for name, members in several.items()}
    assert (found.components, found.rows) == (len(several), sum(map(len, several.values())))
    for level in found.levels:
        below = [name for name in several if smallest[name] <= level.cosine]
        assert (level.components, level.rows) == (len(below), sum(len(several[name]) for name in below))
    stretched = sorted(several, key=lambda name: (smallest[name], name))[:n]
    assert [(one.cluster, one.kept_key) for one in found.farthest] == stretched
    largest = sorted(several, key=lambda name: (-len(several[name]), name))[:n]
    assert [(one.cluster, one.kept_key) for one in found.largest] == largest
    for one in (*found.farthest, *found.largest):
        members = several[one.cluster, one.kept_key]
        assert (one.size, one.kept_cosine) == (len(members), smallest[one.cluster, one.kept_key])
        assert {row["key"]: row["kept_cosine"] for row in members}[one.farthest_key] == one.kept_cosine
        assert one.weakest == weakest(given, [given.keys.index(row["key"]) for row in members])
        assert one.weakest_keys is not None
        ends = [given.keys.index(key) for key in one.weakest_keys]
        assert float(x[ends[0]] @ x[ends[1]]) == one.weakest


@pytest.mark.parametrize("seed", range(16))
def test_lists_and_networkx_agree(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coreset.slices.TASK_ROWS", 9)
    monkeypatch.setattr("coreset.rows.BATCH_ROWS", 4)
    given, bound = random_given(seed, most=60), 0.5 * (seed % 2)
    clusters, survivors, _ = selected_from(tmp_path, given, DedupParams(0.7, "median", 0, bound), SAMPLE, 3)
    table = [row for where in survivors.locations() for row in rows.read_table(where).to_pylist()]
    for n in (2, 50):
        check(chains(str(tmp_path), n), given, table, n)
    expected = chains(str(tmp_path), 5)
    complete(forest_stage(f"{tmp_path}/forest", clusters, ForestParams(0.6), MEMORY), in_process)
    assert chains(str(tmp_path), 5) == expected
    json.dumps(dataclasses.asdict(expected))


def test_any_order_and_memory_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coreset.slices.TASK_ROWS", 12)
    selected_from(tmp_path, random_given(9, most=80), DedupParams(0.6), SAMPLE, parts=3)

    def backwards(calls, needs):
        return in_process(reversed(list(calls)), needs)

    assert chains(str(tmp_path), 6, backwards, 1 << 10) == chains(str(tmp_path), 6)


def test_a_component_that_is_too_large_has_no_weakest_link_without_a_forest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters, _, _ = selected_from(tmp_path, random_given(4), DedupParams(0.6), SAMPLE)
    whole = chains(str(tmp_path), 3)
    monkeypatch.setattr(module, "LARGEST", 1)

    def without(one: StretchedComponent) -> StretchedComponent:
        return dataclasses.replace(one, weakest=None, weakest_keys=None)

    assert chains(str(tmp_path), 3).largest == tuple(map(without, whole.largest))
    complete(forest_stage(f"{tmp_path}/forest", clusters, ForestParams(0.5), MEMORY), in_process)
    assert chains(str(tmp_path), 3) == whole


def test_a_run_that_is_opened_says_its_chains(finished: Path) -> None:
    found = coreset.open_run(str(finished / "run")).chains(3)
    assert found == coreset.chains(f"{finished}/run/", 3)
    assert found.threshold == 0.99
    done("dedup", "--threshold", "0.1", "--min-kept-cosine", "0.05", "--max-bad", "10", cwd=finished)
    loose = coreset.chains(str(finished / "run"))
    assert loose.min_kept_cosine == 0.05
    assert all(one.kept_cosine >= np.float32(0.05) for one in loose.farthest)


def test_what_is_refused(finished: Path) -> None:
    with pytest.raises(UsageError, match="n = 0"):
        chains(str(finished / "run"), 0)
    (finished / "run" / "dedup" / "stage.json").unlink()
    with pytest.raises(InputError, match="run `coreset dedup` first"):
        chains(str(finished / "run"))
