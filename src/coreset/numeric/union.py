"""Components merged as edges arrive: a forest of row indices whose roots are the smallest row of each."""

import numpy as np
from jaxtyping import Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as graph_components

_FEW = 100  # pairs that are joined one by one faster than a graph is built


def roots(parent: Int64[np.ndarray, "n"], rows: Int64[np.ndarray, "r"]) -> Int64[np.ndarray, "r"]:
    """The root of each row; the paths walked are shortened in ``parent``.

    Example:
        >>> roots(np.array([0, 0, 1]), np.array([2, 1]))
        array([0, 0])
    """
    found: Int64[np.ndarray, "r"] = parent[rows]
    while True:
        above: Int64[np.ndarray, "r"] = parent[found]
        if np.array_equal(above, found):
            break
        found = above
    parent[rows] = found
    return found


def merge(parent: Int64[np.ndarray, "n"], i: Int64[np.ndarray, "e"], j: Int64[np.ndarray, "e"]) -> None:
    """Joins the components of each pair of rows ``i, j``; the smaller root becomes the root of both."""
    left, right = roots(parent, i), roots(parent, j)
    apart = left != right
    if not apart.any():
        return
    left, right = left[apart], right[apart]
    if len(left) <= _FEW:
        for u, v in zip(left.tolist(), right.tolist(), strict=True):
            u, v = _root(parent, u), _root(parent, v)  # noqa: PLW2901  earlier pairs may have moved both
            parent[max(u, v)] = min(u, v)
        return
    joined, position = np.unique(np.concatenate([left, right]), return_inverse=True)
    u, v = position[: len(left)], position[len(left) :]
    graph = coo_array((np.ones(len(u), np.int8), (u, v)), shape=(len(joined), len(joined)))
    _, component = graph_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    parent[joined] = joined[first][component]  # joined is sorted: the first of a component is its smallest


def _root(parent: Int64[np.ndarray, "n"], row: int) -> int:
    while parent[row] != row:
        row = int(parent[row])
    return row
