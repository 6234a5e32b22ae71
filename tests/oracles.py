"""Slow and obvious answers to compare the fast ones with: networkx on the full graph, float64 and Fraction."""

from fractions import Fraction

import networkx as nx
import numpy as np
from jaxtyping import Float16, Float32, Float64, Int64, UInt64


def component_labels(vectors: Float16[np.ndarray, "n d"], threshold: float) -> Int64[np.ndarray, "n"]:
    """The smallest row index of each row's component, from the whole graph."""
    exact = vectors.astype(np.float64)
    products = np.einsum("nd,md->nm", exact, exact)
    graph = nx.Graph()
    graph.add_nodes_from(range(len(vectors)))
    graph.add_edges_from(np.argwhere(np.triu(products > threshold, 1)).tolist())
    labels = np.empty(len(vectors), np.int64)
    for component in nx.connected_components(graph):
        labels[list(component)] = min(component)
    return labels


def fraction_distance(x: Float16[np.ndarray, "d"], c: Float32[np.ndarray, "d"]) -> Fraction:
    """``|x - c|^2`` in rational numbers."""
    return sum(((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(x, c, strict=True)), Fraction(0))


def fraction_product(x: np.ndarray, y: np.ndarray) -> Fraction:
    """``<x, y>`` in rational numbers."""
    return sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, y, strict=True)), Fraction(0))


def nearest(vectors: Float16[np.ndarray, "n d"], centroids: Float32[np.ndarray, "k d"]) -> list[int]:
    """The first of the nearest centroids of each row, in rational numbers."""
    return [min(range(len(centroids)), key=lambda j: (fraction_distance(x, centroids[j]), j)) for x in vectors]


def members(
    labels: Int64[np.ndarray, "n"], distances: Float64[np.ndarray, "n"], order: UInt64[np.ndarray, "n"], keep: str
) -> list[int]:
    """The kept row of each component, by sorting lists."""
    kept = []
    for label in sorted(set(labels.tolist())):
        rows = [row for row in range(len(labels)) if labels[row] == label]
        ascending = sorted(rows, key=lambda row: (distances[row], order[row]))
        farthest = min(rows, key=lambda row: (-distances[row], order[row]))
        kept.append({"median": ascending[len(rows) // 2], "nearest": ascending[0], "farthest": farthest}[keep])
    return kept


def spanning_edges(
    vectors: Float16[np.ndarray, "n d"], floor: float, order: Int64[np.ndarray, "n"]
) -> list[tuple[int, int, float]]:
    """Kruskal's algorithm on the sorted list of all edges, by places in the order: (u, v, cosine)."""
    exact = vectors.astype(np.float64)[np.argsort(order)]
    products = np.einsum("nd,md->nm", exact, exact)
    edges = [(u, v, float(products[u, v])) for u, v in np.argwhere(np.triu(products > floor, 1)).tolist()]
    forest, graph = [], nx.utils.UnionFind(range(len(vectors)))
    for u, v, cosine in sorted(edges, key=lambda edge: (-edge[2], edge[0], edge[1])):
        if graph[u] != graph[v]:
            graph.union(u, v)
            forest.append((u, v, cosine))
    return forest


def bounded_kept(
    vectors: Float16[np.ndarray, "n d"],
    threshold: float,
    bound: float,
    distances: Float64[np.ndarray, "n"],
    order: UInt64[np.ndarray, "n"],
    keep: str,
) -> list[int]:
    """The row that is kept for each row when those that are not near enough to it are grouped again, one by one."""
    exact = vectors.astype(np.float64)
    products = np.einsum("nd,md->nm", exact, exact)
    whole = nx.Graph()
    whole.add_nodes_from(range(len(vectors)))
    whole.add_edges_from(np.argwhere(np.triu(products > threshold, 1)).tolist())
    kept = [-1] * len(vectors)
    waiting = [sorted(component) for component in nx.connected_components(whole)]
    while waiting:
        rows = np.array(waiting.pop())
        chosen = int(rows[members(np.zeros(len(rows), np.int64), distances[rows], order[rows], keep)[0]])
        left = [row for row in rows.tolist() if row != chosen and not products[row, chosen] > bound]
        for row in set(rows.tolist()) - set(left):
            kept[row] = chosen
        waiting += [sorted(component) for component in nx.connected_components(whole.subgraph(left))]
    return kept
