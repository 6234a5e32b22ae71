"""Vectors of the rows of `dedup/`, which has none: they stand in `clusters/`, in slices that are sorted likewise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Int64

from coreset import rows
from coreset.engine.errors import InputError
from coreset.engine.files import Location, join
from coreset.engine.stage import PARQUET, Parts, open_parts
from coreset.slices import keys_in_order, slices_of


def clusters_behind(run: Location, dedup: Parts) -> Parts:
    """The `clusters/` that a `dedup/` was made from.

    Raises:
        InputError: They are gone, or were made anew since.
    """
    clusters = open_parts(join(run, "clusters"))
    if clusters is None or clusters.hash != dedup.source:
        raise InputError(f"{run}/clusters is not what {run}/dedup was made from; run `coreset dedup` first.")
    return clusters


@dataclass(frozen=True)
class OrderedVectors:
    """The vectors of all rows of some consecutive clusters, in the order of `dedup/`; on disk until they are asked for.

    Attributes:
        vectors: slice after slice
        index: where the vector of each row stands among them
    """

    vectors: rows.VectorSlices
    index: Int64[np.ndarray, "n"]

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""
        return self.vectors.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and numbers of a vector."""
        return len(self.index), self.dimension

    def __getitem__(self, wanted: slice) -> Float16[np.ndarray, "b d"]:
        return self.chosen(np.arange(*wanted.indices(len(self.index))))

    def of(self, wanted: Int64[np.ndarray, "r"]) -> OrderedVectors:
        """Some of the rows, as if there were no others."""
        return OrderedVectors(self.vectors, self.index[wanted])

    def chosen(self, wanted: Int64[np.ndarray, "r"]) -> Float16[np.ndarray, "r d"]:
        """The vectors of some rows, in any order."""
        picked = self.index[wanted]
        ascending = np.argsort(picked, kind="stable")
        found = np.empty((len(wanted), self.dimension), np.float16)
        found[ascending] = self.vectors.chosen(picked[ascending])
        return found


def ordered_vectors(clusters: Parts, clustered: tuple[int, int]) -> OrderedVectors:
    """The vectors of the rows of clusters `first` to `stop`.

    Holds their keys while it sorts them, and eight bytes for each row after that.
    """
    slices = slices_of(clusters.folder, clusters.names, clustered)
    found = rows.held_ranges([(piece.part + PARQUET, piece.start, piece.stop) for piece in slices])
    held = [(x, piece.start - first, piece.stop - first) for (x, first), piece in zip(found, slices, strict=True)]
    return OrderedVectors(rows.VectorSlices(held, held[0][0].shape[1]), keys_in_order(slices)[2])
