"""The weakest link that holds a component together: the smallest cosine of its spanning tree."""

from __future__ import annotations

from collections.abc import Iterable

from coreset.results.beside import clusters_behind, ordered_vectors
from coreset.results.explain.chain import spanning_tree, threshold_of
from coreset.results.fate import Judged
from coreset.results.lookup import component_places, found_places

LARGEST = 1 << 15
"""Rows of the largest component whose rows are compared."""


def weakest_links(by: Judged, keys: Iterable[str]) -> dict[str, float]:
    """The weakest link of the components of some rows, by key; of those that are not too large and have a link."""
    clusters, threshold, found = clusters_behind(by.run, by.dedup), threshold_of(by.run), dict[str, float]()
    for key, place in found_places(by.dedup, list(dict.fromkeys(keys))).items():
        members = component_places(place) - place.start
        if len(members) <= LARGEST:
            vectors = ordered_vectors(clusters, (place.cluster, place.cluster + 1))
            cosines = [cosine for *_, cosine in spanning_tree(vectors, members, threshold).edges(data="cosine")]
            found |= {key: min(cosines)} if cosines else {}
    return found
