"""The first pass over all items."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.divergences import draw_clusters
from tests.support.passes import MemoryPasses, surveyed
from vaeudf.clustering.sampling import uniform_hashes
from vaeudf.errors import InputError
from vaeudf.gaussian.arrays import Gaussians


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_what_the_first_pass_finds(parts):
    mu, log_var = (x.astype(float) for x in draw_clusters(100, 3))
    order = np.random.default_rng(parts).permutation(100)
    found = surveyed(MemoryPasses(mu, log_var, parts=parts, rows=11, order=order), seed=5)
    assert found.num_items == 100
    for values, low, high in (
        (mu, found.ranges.low_mu, found.ranges.high_mu),
        (log_var, found.ranges.low_log_var, found.ranges.high_log_var),
    ):
        np.testing.assert_array_equal(low, values.min(axis=0))
        np.testing.assert_array_equal(high, values.max(axis=0))
    first = uniform_hashes(Gaussians(mu, log_var), 5).argmin()
    np.testing.assert_array_equal(found.lowest.items.mu, mu[[first]])
    np.testing.assert_array_equal(found.lowest.items.log_var, log_var[[first]])


def test_parts_without_items():
    mu, log_var = draw_clusters(2, 2)
    assert surveyed(MemoryPasses(mu, log_var, parts=5)).num_items == 2


def test_no_items():
    with pytest.raises(InputError, match=r"^there are no items to cluster\.$"):
        surveyed(MemoryPasses(np.empty((0, 2)), np.empty((0, 2))))


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [("log_var", -200.0, 80), ("log_var", 90.0, 80), ("mu", 1e16, "1e+15")],
)
def test_numbers_that_cannot_be_clustered(name, value, most):
    arrays = dict(zip(("mu", "log_var"), (x.astype(float) for x in draw_clusters(20)), strict=True))
    arrays[name][7, 1] = value
    with pytest.raises(InputError) as error:
        surveyed(MemoryPasses(**arrays, parts=3))
    assert str(error.value).startswith(
        f"item 'i00007' has a {name} of {value:g}; "
        f"items can be clustered with |{name}| up to {most}"
    )
