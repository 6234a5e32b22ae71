"""What others do with the same rows: each returns the number of kept rows, or labels of components."""

from collections.abc import Callable
from typing import Any

import faiss
import networkx as nx
import numpy as np
import torch
from jaxtyping import Float16
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Rows = Float16[np.ndarray, "n d"]


def _edges(rows: Rows, threshold: float, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs above the threshold by FAISS's exact index, in float32."""
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(rows.shape[1])
    x = rows.astype(np.float32)
    index.add(x)
    limits, _, found = index.range_search(x, threshold)
    counts: np.ndarray = limits[1:] - limits[:-1]
    return np.repeat(np.arange(len(rows)), counts.astype(np.int64)), found


def faiss_scipy(rows: Rows, threshold: float, threads: int) -> np.ndarray:
    """Labels by FAISS range_search and scipy's components."""
    i, j = _edges(rows, threshold, threads)
    graph = coo_array((np.ones(len(i), bool), (i, j)), shape=(len(rows), len(rows)))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels


def faiss_networkx(rows: Rows, threshold: float, threads: int) -> np.ndarray:
    """Labels by FAISS range_search and networkx."""
    i, j = _edges(rows, threshold, threads)
    graph = nx.Graph()
    graph.add_nodes_from(range(len(rows)))
    graph.add_edges_from(zip(i.tolist(), j.tolist(), strict=True))
    labels = np.empty(len(rows), np.int64)
    for component in nx.connected_components(graph):
        labels[list(component)] = min(component)
    return labels


def semdedup(rows: Rows, threshold: float, threads: int) -> int:
    """Rows kept by SemDeDup (arXiv 2303.09540, algorithm 1): not components, so only its time compares.

    Rows of a cluster are sorted by their cosine to the centroid, the least typical first; a row goes if a row
    before it is nearer than the threshold.
    """
    torch.set_num_threads(threads)
    x = torch.nn.functional.normalize(torch.from_numpy(rows).float(), dim=1)
    x = x[torch.argsort(x @ x.mean(dim=0))]
    nearest = torch.triu(x @ x.T, diagonal=1).max(dim=0).values
    return int((nearest <= threshold).sum())


def semhash(rows: Rows, threshold: float, threads: int) -> int:
    """Rows kept by semhash: an approximate index, and not components either."""
    from semhash import SemHash  # an optional peer

    torch.set_num_threads(threads)
    records = [str(row) for row in range(len(rows))]
    no_model: Any = None  # it is only asked for new records
    hashed = SemHash.from_embeddings(rows.astype(np.float32), records, model=no_model)
    return len(hashed.self_deduplicate(threshold=threshold).selected)


def half_product(dtype: torch.dtype) -> Callable[[Rows, float, int], None]:
    """Nothing but one half of the symmetric product: the floor of every method that looks at all pairs."""

    def product(rows: Rows, threshold: float, threads: int) -> None:
        del threshold
        torch.set_num_threads(threads)
        x = torch.from_numpy(rows).to(dtype)
        for start in range(0, len(x), 2048):
            for column in range(start, len(x), 2048):
                torch.mm(x[start : start + 2048], x[column : column + 2048].T)

    return product
