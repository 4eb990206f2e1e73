"""The nearest centroid of each item, by brute force."""

from __future__ import annotations

import numpy as np

from tests.support.divergences import EVERY_DIVERGENCE, REFERENCES, draw_clusters, reference
from tests.support.tolerances import ROOT_FLOAT64, assert_same_scores, assert_within
from vaeudf.clustering.assignment import assign, nearest_centroids
from vaeudf.gaussian.arrays import Gaussians


@EVERY_DIVERGENCE
def test_nearest_centroids(divergence):
    mu, log_var = draw_clusters(301, 5)
    centroids = Gaussians(*(x.astype(float) for x in draw_clusters(17, 5, seed=3)))
    items = Gaussians(mu.astype(float), log_var.astype(float))
    found, best, second = nearest_centroids(divergence.prepare(items), centroids, divergence)
    expected = reference(divergence.name, mu, log_var, centroids.mu, centroids.log_var)
    ordered = np.sort(expected, axis=1)
    np.testing.assert_array_equal(found, expected.argmin(axis=1))
    logs = log_var, centroids.log_var
    assert_same_scores(best, ordered[:, 0], *logs, dims=5)
    assert_same_scores(second, ordered[:, 1], *logs, dims=5)


@EVERY_DIVERGENCE
def test_an_item_does_not_see_what_stands_beside_it(divergence):
    items = Gaussians(*(x.astype(float) for x in draw_clusters(1000, 7)))
    centroids = items.take(np.arange(0, 100, 9))
    whole = nearest_centroids(divergence.prepare(items), centroids, divergence)
    for rows in (slice(0, 1), slice(3, 131), slice(777, 1000)):
        some = Gaussians(items.mu[rows], items.log_var[rows])
        part = nearest_centroids(divergence.prepare(some), centroids, divergence)
        for mine, all_of_them in zip(part, whole, strict=True):
            np.testing.assert_array_equal(mine, all_of_them[rows])


@EVERY_DIVERGENCE
def test_ties_go_to_the_first_and_one_centroid_has_no_next(divergence):
    items = Gaussians(np.zeros((3, 2)), np.zeros((3, 2)))
    twins = Gaussians(np.ones((2, 2)), np.zeros((2, 2)))
    found, best, second = nearest_centroids(divergence.prepare(items), twins, divergence)
    assert found.tolist() == [0, 0, 0] and (best == second).all()
    alone = twins.take(np.array([0]))
    assert np.isinf(nearest_centroids(divergence.prepare(items), alone, divergence)[2]).all()


@EVERY_DIVERGENCE
def test_ties_go_to_the_lowest_rank(divergence):
    items = Gaussians(np.zeros((3, 2)), np.zeros((3, 2)))
    twins = Gaussians(np.ones((3, 2)), np.zeros((3, 2)))
    prepared = divergence.prepare(items)
    nearest = nearest_centroids(prepared, twins, divergence, np.array([2, 0, 1]))
    assert nearest.clusters.tolist() == [1, 1, 1]


@EVERY_DIVERGENCE
def test_assign(divergence):
    mu, log_var = draw_clusters(50, 2)
    items = Gaussians(mu.astype(float), log_var.astype(float))
    centroids = items.take(np.array([3, 30, 44]))
    clusters, values = assign(items, centroids, divergence)
    expected = reference(divergence.name, mu, log_var, centroids.mu, centroids.log_var)
    np.testing.assert_array_equal(clusters, expected.argmin(axis=1))
    expected = expected.min(axis=1)
    if REFERENCES[divergence.name].squared:
        expected = np.sqrt(expected)
    if REFERENCES[divergence.name].squared:
        bound = ROOT_FLOAT64 * (1 + expected)
        assert_within(values, expected, bound, why="the root of a divergence")
    else:
        assert_same_scores(values, expected, log_var, centroids.log_var, dims=2)
