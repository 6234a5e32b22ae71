"""Training: all of the sample, no words on stderr, threads restored, repeatable."""

import faiss
import numpy as np
import pytest

from coreset.numeric.kmeans import train_centroids, training_bytes


def sample(m: int, d: int = 8) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(m, d)).astype(np.float32)


def test_training_repeats_says_nothing_and_restores_threads(capfd: pytest.CaptureFixture[str]) -> None:
    before = faiss.omp_get_max_threads()
    first = train_centroids(sample(900), 40, seed=3)
    assert np.array_equal(first, train_centroids(sample(900), 40, seed=3))
    assert not np.array_equal(first, train_centroids(sample(900), 40, seed=4))
    assert faiss.omp_get_max_threads() == before
    assert capfd.readouterr() == ("", "")


def test_one_cluster_is_the_mean_of_the_whole_sample() -> None:
    rows = sample(5000)
    np.testing.assert_allclose(train_centroids(rows, 1)[0], rows.mean(axis=0), atol=1e-5)


def test_as_many_clusters_as_rows_are_the_rows() -> None:
    rows = sample(20)
    found = train_centroids(rows, 20, iterations=2)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, rows.tolist()))


def test_spherical_centroids_have_unit_length() -> None:
    found = train_centroids(sample(300), 5, spherical=True)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("clusters", [0, 21, -1])
def test_impossible_counts_are_refused(clusters: int) -> None:
    with pytest.raises(ValueError, match="cannot train"):
        train_centroids(sample(20), clusters)


def test_the_sample_itself_is_counted() -> None:
    assert training_bytes(1000, 10, 64) > 1000 * 64 * 4
