"""Whether `dedup/`, `forest/` and `coreset/` are what the stages before them give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from coreset import rows
from coreset.dedup import DedupParams, components, read_forests
from coreset.engine.files import Location, join
from coreset.engine.stage import PARQUET, Execute, Parts, file_of
from coreset.numeric.ranks import OrderKey
from coreset.results.inspect.found import Found, Order, batches, digests, first_wrong, total, wrong
from coreset.results.verify.check_rows import CLUSTERED_COLUMNS
from coreset.sample import Cuts, SampleParams, coreset_rows, found_selection, selection_facts
from coreset.slices import Slice, cluster_ranges, clusters_of, keys_in_order, slices_of

COMPARED_ROWS = 1 << 13
"""Clusters of a part are compared until they have so many rows, unless all are."""
LARGEST = 1 << 15
"""Rows of the largest cluster that is compared unless all are."""
SIMPLE = 1 << 11
"""Rows of a cluster up to which the whole matrix of cosines is looked at, instead of comparing in the fast way."""
COLUMNS = (*CLUSTERED_COLUMNS, "component_size", "kept", "kept_key", "kept_cosine")

Clustered = tuple[int, int]


def dedup_calls(
    stage: Parts, clusters: Parts, centroids: Parts, params: DedupParams, full: bool, memory: int
) -> Iterator[Callable[[], Found]]:
    """One call for each part of `dedup/`."""
    yield partial(ranges_found, stage, len(list(cluster_ranges(clusters))))
    for name, clustered in zip(stage.names, cluster_ranges(clusters), strict=False):
        location, given = join(stage.folder, name + PARQUET), (clusters.folder, clusters.names, clustered)
        yield partial(dedup_found, location, given, join(centroids.folder, "centroids.npy"), params, full, memory)


def ranges_found(stage: Parts, count: int) -> Found:
    """Whether a stage has a part for each range of clusters."""
    if len(stage.names) == count:
        return Found()
    return wrong(stage.folder, f"has {len(stage.names):,} parts; there are {count:,} ranges of clusters")


def dedup_found(
    location: Location,
    given: tuple[Location, Sequence[str], Clustered],
    centroids: Location,
    params: DedupParams,
    full: bool,
    memory: int,
) -> Found:
    """Whether a part of `dedup/` has each row of its clusters, with the component that it belongs to; its digests."""
    order, found, columns = Order(), [], []
    for first, table in batches(location, COLUMNS):
        found += [digests(table), order.wrong(location, first, table)]
        is_other = pc.not_equal(pc.equal(table["key"], table["kept_key"]), table["kept"]).to_numpy()
        found.append(first_wrong(location, first, is_other, "kept does not say whether kept_key is its own key"))
        hashes = rows.key_hashes(table["kept_key"].to_pylist())
        numbers = table.select(["cluster", "key_hash", "component_size", "kept", "kept_cosine"])
        columns.append(numbers.append_column("kept_hash", pa.array(hashes)))
    whole = pa.concat_tables(columns).combine_chunks()
    slices = slices_of(*given)
    sizes = sizes_of(slices)
    number = whole["cluster"].to_numpy() - given[2][0]
    if (number < 0).any() or not np.array_equal(np.bincount(number, minlength=len(sizes)), sizes):
        return total(found) + wrong(location, "does not hold the clusters that it must, each with all its rows")
    bad = component_faults(whole)
    found.append(first_wrong(location, 0, bad, "its component has another size, or nobody who stands for it"))
    together = total(found)
    if together.count:
        return together
    return together + compared_clusters(location, whole, slices, given[2], centroids, params, full, memory)


def component_faults(whole: pa.Table) -> Bool[np.ndarray, "n"]:
    """Rows whose component, the rows of the cluster with one kept_key, has another size or not exactly one kept row."""
    kept_hash, cluster = whole["kept_hash"].to_numpy(), whole["cluster"].to_numpy()
    ranked = np.lexsort((kept_hash, cluster))
    h, c = kept_hash[ranked], cluster[ranked]
    is_new = np.append(True, (h[1:] != h[:-1]) | (c[1:] != c[:-1]))[: len(ranked)]
    label = np.cumsum(is_new) - 1
    size = np.bincount(label)[label]
    stands = np.bincount(label, weights=whole["kept"].to_numpy()[ranked])[label]
    bad = np.empty(len(ranked), np.bool_)
    bad[ranked] = (whole["component_size"].to_numpy()[ranked] != size) | (stands != 1)
    return bad


def compared_clusters(
    location: Location,
    whole: pa.Table,
    slices: Sequence[Slice],
    clustered: Clustered,
    centroids_file: Location,
    params: DedupParams,
    full: bool,
    memory: int,
) -> Found:
    """Whether some clusters, or all, have the components that their vectors give."""
    centroids = rows.open_array(centroids_file)[slice(*clustered)]
    columns = [whole[name].to_numpy() for name in ("kept_hash", "component_size", "kept_cosine")]
    own_hash, found = whole["key_hash"].to_numpy(), []
    for number, span, keys, vectors, at in chosen_clusters(slices, clustered, centroids.shape[1], full):
        draw = np.arange(len(at), dtype=np.uint64)
        if params.keep == "random":
            seeded = rows.key_hashes(keys.to_pylist(), params.seed)
            draw[np.lexsort((draw, seeded))] = draw.copy()
        labels, centroid = labels_of(vectors, params.threshold, memory), np.asarray(centroids[number])
        part = components(vectors, labels, centroid, at.astype(np.uint64), draw[at], params, memory)
        wanted = (own_hash[span][at[part.representative]], part.size, part.cosine)
        bad = np.zeros(len(at), np.bool_)
        for column, value in zip(columns, wanted, strict=True):
            bad[at] |= column[span][at] != value
        what = f"cluster {clustered[0] + number:,}: its component is not what the vectors give"
        found += [Found(compared=len(at)), first_wrong(location, span.start, bad, what)]
    return total(found)


def chosen_clusters(
    slices: Sequence[Slice], clustered: Clustered, dimension: int, full: bool
) -> Iterator[tuple[int, slice, pa.ChunkedArray, Any, Int64[np.ndarray, "m"]]]:
    """Some clusters of a part, or all: number in the part, rows in the part, keys, vectors, and each vector's place."""
    keys, _, index = keys_in_order(slices)
    sizes = sizes_of(slices)
    wanted = np.arange(len(sizes))
    if not full:
        drawn = np.random.default_rng(clustered[0]).permutation(np.flatnonzero((sizes > 0) & (sizes <= LARGEST)))
        wanted = drawn[: int(np.searchsorted(np.cumsum(sizes[drawn]), COMPARED_ROWS)) + 1]
    stop = 0
    for number, (vectors, at) in enumerate(clusters_of(slices, index, dimension)):
        start, stop = stop, stop + len(at)
        if len(at) and number in wanted:
            yield number, slice(start, stop), keys.take(pa.array(index[start:stop])), vectors, at


def sizes_of(slices: Sequence[Slice]) -> Int64[np.ndarray, "k"]:
    """Rows of each of the clusters."""
    sizes: Int64[np.ndarray, "k"] = np.sum([np.diff(piece.offsets) for piece in slices], axis=0)
    return sizes


def labels_of(vectors: Any, threshold: float, memory: int) -> Int64[np.ndarray, "n"]:  # noqa: ANN401
    """A number for each row's component: from all cosines of a small cluster, else as `dedup` finds it."""
    if vectors.shape[0] > SIMPLE:
        from coreset.numeric.components import connected_components

        return connected_components(vectors, threshold, memory=memory)
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components as components_of

    exact = vectors[0 : vectors.shape[0]].astype(np.float64)
    labels: Int64[np.ndarray, "n"] = components_of(csr_array(exact @ exact.T > threshold))[1].astype(np.int64)
    return labels


def forest_calls(stage: Parts, clusters: Parts, floor: float, full: bool, memory: int) -> Iterator[Callable[[], Found]]:
    """One call for each part of `forest/`."""
    yield partial(ranges_found, stage, len(list(cluster_ranges(clusters))))
    for name, clustered in zip(stage.names, cluster_ranges(clusters), strict=False):
        location, given = join(stage.folder, name + PARQUET), (clusters.folder, clusters.names, clustered)
        yield partial(forest_found, location, given, stage.summaries[name]["rows"], floor, full, memory)


def forest_found(
    location: Location,
    given: tuple[Location, Sequence[str], Clustered],
    count: int,
    floor: float,
    full: bool,
    memory: int,
) -> Found:
    """Whether a part of `forest/` has edges between rows of its clusters, in order and above the floor."""
    from coreset.numeric.forest import spanning_forest

    slices, table = slices_of(*given), rows.read_table(location)
    sizes = sizes_of(slices)
    cluster, u, v, cosine = (table[name].to_numpy() for name in rows.FOREST.names)
    number = cluster.astype(np.int64) - given[2][0]
    inside = (number >= 0) & (number < len(sizes))
    if not inside.all():
        return first_wrong(location, 0, ~inside, "is of a cluster that the part does not hold")
    same = cluster[1:] == cluster[:-1]
    bad = (u < 0) | (u >= v) | (v >= sizes[number]) | ~(cosine > floor)
    bad[1:] |= (cluster[1:] < cluster[:-1]) | (same & (cosine[1:] > cosine[:-1]))
    found = [first_wrong(location, 0, bad, "is no edge of two rows above the floor, after a heavier one")]
    if int(sizes.sum()) != count:
        found.append(wrong(location, f"says {count:,} rows; its clusters have {int(sizes.sum()):,}"))
    if total(found).count:
        return total(found)
    forests, dimension = read_forests(location, given[2]), rows.open_vectors(slices[0].part).shape[1]
    for place, span, _, vectors, at in chosen_clusters(slices, given[2], dimension, full):
        wanted, own = spanning_forest(vectors, floor, at, memory=memory), forests[place]
        pairs = ((wanted.u, own.u), (wanted.v, own.v), (wanted.cosine, own.cosine))
        if not all(np.array_equal(a, b) for a, b in pairs):
            what = "its forest is not what the vectors give"
            found.append(wrong(f"{location} cluster {given[2][0] + place:,}", what))
        found.append(Found(compared=span.stop - span.start))
    return total(found)


def coreset_calls(stage: Parts, dedup: Parts, params: SampleParams, execute: Execute) -> Iterator[Callable[[], Found]]:
    """One call for the cuts, which are found again first, and one for each file of `coreset/`."""
    selection = found_selection(dedup, params, execute)
    place, ends = join(stage.folder, "stage.json"), selection.file_ends
    if selection_facts(selection) != stage.facts or selection.sampled != stage.counts["rows"]:
        yield partial(wrong, place, "its cuts and counts are not those that dedup/ gives")
        return
    names = tuple(f"coreset-{number:05d}-of-{len(ends):05d}" for number in range(len(ends)))
    if names != stage.names:
        yield partial(wrong, place, f"has {len(stage.names):,} files; there must be {len(ends):,}")
        return
    for name, start, end in zip(names, (None, *ends[:-1]), ends, strict=True):
        location = file_of(stage.folder, name, PARQUET)
        yield partial(coreset_found, location, dedup.locations(), params, selection.cuts, start, end)


def coreset_found(
    location: Location,
    dedup: Sequence[Location],
    params: SampleParams,
    cuts: Cuts,
    start: OrderKey | None,
    end: OrderKey | None,
) -> Found:
    """Whether a file of `coreset/` has exactly the rows whose fate is kept, in the order in which they are drawn."""
    wanted, found = coreset_rows(dedup, params, cuts, start, end), rows.read_table(location)
    if wanted.num_rows != found.num_rows:
        return wrong(location, f"has {found.num_rows:,} rows; {wanted.num_rows:,} are drawn")
    for name in rows.CORESET.names:
        if not wanted[name].equals(found[name]):
            pairs = zip(wanted[name].to_pylist(), found[name].to_pylist(), strict=True)
            row = next((row for row, (a, b) in enumerate(pairs) if a != b), 0)
            return wrong(f"{location} row {row:,}", f"its {name} is not that of the row of dedup/ that is drawn there")
    return Found(rows=found.num_rows, compared=found.num_rows)
