"""How near hits are, by their own Gaussians: against SciPy's χ² distribution and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from tests.support.loaded import ask, load
from tests.support.tolerances import assert_sampled, near_score
from vaeudf.explore.dimensions import dimension_statistics
from vaeudf.explore.nearness import nearness

Z = [0.31, -0.75, 1.02]


@pytest.fixture(scope="module")
def loaded(population):
    return load(population.table)


@pytest.fixture(scope="module")
def posteriors(loaded):
    mu, log_var = loaded.posteriors(np.arange(loaded.num_items))
    return mu.astype(float), log_var.astype(float)


def expected(place, mu, log_var, tolerance) -> tuple[int, float, float]:
    """d² and d / √χ²(0.95) of one item by the definition."""
    named = ~np.isnan(place)
    squared = np.sum(
        (place - mu)[named] ** 2 / (np.exp(log_var) + np.square(tolerance * np.ones(3)))[named]
    )
    count = int(named.sum())
    return count, float(squared), float(np.sqrt(squared / chi2.ppf(0.95, count)))


def check(answer, place, posteriors, tolerance=0.0) -> None:
    mu, log_var = posteriors
    place = np.array([np.nan if one is None else one for one in place])
    assert answer.hits
    for hit in answer.hits:
        count, squared, relative = expected(place, mu[hit.row], log_var[hit.row], tolerance)
        assert answer.dimensions_compared == count
        assert hit.squared_distance == near_score(squared, log_var, dims=3)
        assert hit.relative_distance == near_score(relative, log_var, dims=3)


@pytest.mark.parametrize("tolerance", [0.0, 0.3, [0.0, 0.1, 2.0]])
@pytest.mark.parametrize("z", [Z, [0.31, None, 1.02], [None, None, -2.0]])
def test_hits_of_a_point(loaded, posteriors, z, tolerance):
    answer = ask(loaded, z=z, tolerance=tolerance, k=9)
    check(answer, z, posteriors, np.array(tolerance))


def test_hits_of_items(loaded, posteriors):
    """They are near the place where the page's sliders then stand, the mean of what is liked."""
    mu = posteriors[0]
    names = loaded.ids.to_pylist()
    check(ask(loaded, like=[names[100]], k=9), mu[100], posteriors)
    check(ask(loaded, like=[names[5], names[9]], k=9), (mu[5] + mu[9]) / 2, posteriors)
    mean = 2 * (mu[5] - 0.5 * mu[700])
    check(ask(loaded, like=[names[5]], unlike=[names[700]], k=9), mean, posteriors)
    # Beside dislikes, a point is where it was.
    check(ask(loaded, z=Z, unlike=[names[700]], k=9), Z, posteriors)


def test_draws_of_an_items_own_gaussian_are_within_1_in_95_of_100_cases():
    rng = np.random.default_rng(8)
    n, draws = 6, 20_000
    mu, log_var = rng.normal(size=n), rng.normal(-2, 1, n)
    z = mu + np.exp(0.5 * log_var) * rng.normal(size=(draws, n))
    dimensions = dimension_statistics(rng.normal(size=(50, n)), np.full((50, n), -2.0))
    # A draw from the mean is as far from it as the mean is from the draw.
    found = nearness(mu, z, np.tile(log_var, (draws, 1)), dimensions)
    assert found.dimensions == n
    share = np.mean(found.relative <= 1)
    assert_sampled(share, 0.95, standard_error=np.sqrt(0.05 * 0.95 / draws))


def test_collapsed_dimensions_do_not_make_items_look_near():
    rng = np.random.default_rng(9)
    mu = np.concatenate([rng.normal(size=(40, 1)), np.full((40, 30), 1e-3)], axis=1)
    log_var = np.concatenate([np.full((40, 1), -4.0), np.zeros((40, 30))], axis=1)
    dimensions = dimension_statistics(mu, log_var)
    place = np.zeros(31)
    found = nearness(place, mu, log_var, dimensions)
    alone = nearness(place[:1], mu[:, :1], log_var[:, :1], dimensions[:1])
    assert found.dimensions == 1
    np.testing.assert_array_equal(found.relative, alone.relative)
    place[0] = np.nan
    assert nearness(place, mu, log_var, dimensions) is None


def test_of_no_dimension_that_tells_items_apart_nothing_is_said(loaded, monkeypatch):
    collapsed = dimension_statistics(np.zeros((5, 3)), np.zeros((5, 3)))
    monkeypatch.setattr(loaded, "dimensions", collapsed)
    answer = ask(loaded, z=Z, k=3)
    assert answer.dimensions_compared == 0
    assert not any(isinstance(hit.relative_distance, float) for hit in answer.hits)


def test_the_furthest_and_the_narrowest_have_numbers():
    """JSON has no infinity, and log sigma² may be of any size."""
    dimensions = dimension_statistics(np.arange(6.0).reshape(3, 2), np.zeros((3, 2)))
    found = nearness(
        np.full(2, 1e30), np.zeros((2, 2)), np.array([[-1e30, -1e30], [1e30, 1e30]]), dimensions
    )
    assert np.isfinite(found.squared).all() and np.isfinite(found.relative).all()
    assert found.relative[0] > 1e100 and found.relative[1] < 1e-100
