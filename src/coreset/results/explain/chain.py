"""Why two rows are in one component: the chain of near-duplicates that joins them, and the component's graph.

A component may join pictures that are not alike, each alike to the next. The chain between two rows is the path whose
weakest link is as strong as possible. That is the path between them in the maximum spanning tree, whatever the size of
the component; of equal cosines the tree takes those that come first by (key_hash, key), so there is one answer.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
from jaxtyping import Int64

from coreset.engine.errors import InputError, UsageError
from coreset.engine.files import Location, join, read_json, write_bytes
from coreset.engine.stage import Parts
from coreset.results.beside import OrderedVectors, clusters_behind, ordered_vectors
from coreset.results.fate import Judged, judged
from coreset.results.lookup import Place, component_places, found_places, rows_at

GRAPH_ROWS = 1000
"""Components of so many rows are drawn with all their edges, larger ones as their spanning tree."""
NODE_COLUMNS = ("key", "caption", "kept", "kept_cosine", "source", "image_offset", "image_bytes")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Chain:
    """The path between a row and the one that stands for it.

    Attributes:
        rows: of the path, first the row and last the kept one, each with `NODE_COLUMNS` and its fate
        cosines: of each row and the next, exact
        leaves: whether it goes over rows that stand for another component now, because the members alone are not joined
    """

    rows: tuple[dict[str, Any], ...]
    cosines: tuple[float, ...]
    leaves: bool

    @property
    def weakest(self) -> float:
        """The smallest cosine of a link."""
        return min(self.cosines)


def threshold_of(run: Location) -> float:
    """The threshold that a run's `dedup/` was made with."""
    return float((read_json(join(run, "dedup", "plan.json")) or {})["params"]["threshold"])


def chain_to_kept(by: Judged, clusters: Parts, place: Place, members: Int64[np.ndarray, "m"], kept: int) -> Chain:
    """The chain from a row to the one that stands for it.

    Args:
        by: what decides the fates
        clusters: that `dedup/` was made from
        place: of the row
        members: rows of the part that are in the row's component, ascending
        kept: the row of the part that stands for it
    """
    vectors = ordered_vectors(clusters, (place.cluster, place.cluster + 1))
    tree = spanning_tree(vectors, members - place.start, threshold_of(by.run))
    ends = (place.row - place.start, kept - place.start)
    leaves = not nx.has_path(tree, *ends)
    if leaves:
        tree = spanning_tree(vectors, np.arange(place.stop - place.start), threshold_of(by.run))
    path = nx.shortest_path(tree, *ends)
    cosines = tuple(tree.edges[edge]["cosine"] for edge in pairwise(path))
    ascending = np.sort(np.array(path)) + place.start
    found = dict(zip(ascending.tolist(), rows_at(by, place, ascending, NODE_COLUMNS).to_pylist(), strict=True))
    return Chain(tuple(found[place.start + row] for row in path), cosines, leaves)


def spanning_tree(vectors: OrderedVectors, members: Int64[np.ndarray, "m"], threshold: float) -> nx.Graph:
    """The maximum spanning forest of some rows of a cluster, of edges above a threshold.

    Args:
        vectors: of the cluster, in the order of (key_hash, key)
        members: rows of it, ascending; the nodes
        threshold: a pair at or below it is no edge
    """
    from coreset.numeric.forest import spanning_forest

    forest = spanning_forest(vectors.of(members), threshold, np.arange(len(members)))
    graph = nx.Graph()
    graph.add_nodes_from(members.tolist())
    ends = (members[forest.u].tolist(), members[forest.v].tolist(), forest.cosine.tolist())
    graph.add_weighted_edges_from(zip(*ends, strict=True), weight="cosine")
    return graph


def every_edge(vectors: OrderedVectors, members: Int64[np.ndarray, "m"], threshold: float) -> nx.Graph:
    """The graph of all pairs of some rows above a threshold; float64 products of float16 rows are exact."""
    x = vectors.chosen(members).astype(np.float64)
    cosines = x @ x.T
    u, v = np.nonzero(np.triu(cosines > threshold, 1))
    graph = nx.Graph()
    graph.add_nodes_from(members.tolist())
    ends = (members[u].tolist(), members[v].tolist(), cosines[u, v].tolist())
    graph.add_weighted_edges_from(zip(*ends, strict=True), weight="cosine")
    return graph


def component_graph(by: Judged, clusters: Parts, place: Place) -> nx.Graph:
    """The component of a row as a graph for people.

    Returns:
        A node for each row, named by its key, with caption, fate, `kept` and the cosine to the kept row; an edge with
        `cosine` for each pair above the threshold, or for those of the spanning tree, as its attribute `edges` says.
    """
    members = component_places(place)
    vectors = ordered_vectors(clusters, (place.cluster, place.cluster + 1))
    whole = len(members) <= GRAPH_ROWS
    found = (every_edge if whole else spanning_tree)(vectors, members - place.start, threshold_of(by.run))
    described = rows_at(by, place, members, NODE_COLUMNS).to_pylist()
    keys = {int(row - place.start): said["key"] for row, said in zip(members, described, strict=True)}
    graph = nx.relabel_nodes(found, keys)
    for said in described:
        wanted = {name: said[name] for name in ("caption", "fate", "kept", "kept_cosine")}
        graph.nodes[said["key"]].update({name: value for name, value in wanted.items() if value is not None})
    graph.graph |= {"edges": "all" if whole else "spanning tree", "threshold": threshold_of(by.run)}
    return graph


def check_graph(location: Location) -> None:
    """Refuse a name that a graph cannot have.

    Raises:
        UsageError: It does not end in `.graphml`.
    """
    if not location.endswith(".graphml"):
        raise UsageError(f"{location} must end in .graphml.")


def write_graphs(run: Location, keys: Sequence[str], location: Location) -> None:
    """Write the components of some rows as one GraphML file, which appears whole or not at all.

    Nodes are numbered, and `key` is one of their attributes. Characters that XML cannot hold become U+FFFD.

    Raises:
        InputError: None of the keys is one of a row in a component, or `clusters/` is gone.
        UsageError: The file is not named `.graphml`.
    """
    check_graph(location)
    by = judged(run)
    clusters = clusters_behind(run, by.dedup)
    graphs = [component_graph(by, clusters, place) for place in found_places(by.dedup, keys).values()]
    if not graphs:
        raise InputError(f"None of these samples is in a component, so there is no graph to write to {location}.")
    numbered = nx.convert_node_labels_to_integers(nx.compose_all(graphs), label_attribute="key")
    for attributes in (numbered.graph, *(numbered.nodes[node] for node in numbered)):
        attributes |= {name: xml_text(value) if isinstance(value, str) else value for name, value in attributes.items()}
    text = io.BytesIO()
    nx.write_graphml(numbered, text)
    write_bytes(location, text.getvalue())


def xml_text(text: str) -> str:
    r"""Text with U+FFFD for what XML cannot hold: most control characters, and halves of a character.

    Example:
        >>> xml_text("a\x1b[31mb\tc")
        'a\ufffd[31mb\tc'
    """
    return _NOT_XML.sub("\ufffd", text)
