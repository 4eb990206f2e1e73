"""Sketches against the exact answers of NumPy, and that parts and their order do not matter."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.support.tolerances import assert_same_float64, assert_sampled, assert_sketched
from vaeudf.numerics.sketches import (
    ACCURACY,
    LARGEST,
    SMALLEST,
    Extremes,
    Moments,
    QuantileSketch,
    TopList,
)

RNG = np.random.default_rng(5)
COLUMNS = {
    "normal": RNG.normal(size=4_000),
    "heavy tails": RNG.standard_cauchy(4_000) * 100,
    "constant": np.full(4_000, -2.5),
    "zeros": np.zeros(4_000),
    "half zeros": np.where(np.arange(4_000) % 2, 0.0, RNG.normal(size=4_000)),
    "tiny": RNG.normal(size=4_000) * 1e-7,
    "huge": RNG.normal(size=4_000) * 1e8,
    "two values": np.where(np.arange(4_000) < 40, 7.0, -7.0),
}
VALUES = np.stack(list(COLUMNS.values()), axis=1)
SHARES = (0.0, 0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0)


def sketch(values: np.ndarray, signed: bool = True) -> QuantileSketch:
    found = QuantileSketch(values.shape[1], signed)
    found.add(values)
    return found


def assert_near(found: np.ndarray, exact: np.ndarray) -> None:
    assert_sketched(found, exact, accuracy=ACCURACY, smallest=SMALLEST)


@pytest.mark.parametrize("share", SHARES)
def test_quantiles(share):
    exact = np.quantile(VALUES, share, axis=0, method="lower")
    assert_near(sketch(VALUES).quantile(share), exact)
    exact = np.quantile(np.abs(VALUES), share, axis=0, method="lower")
    assert_near(sketch(np.abs(VALUES), signed=False).quantile(share), exact)


@pytest.mark.parametrize("share", (0.01, 0.5, 0.9, 0.99, 0.999, 1.0))
def test_reach_holds_what_it_says_and_hardly_more(share):
    found = sketch(VALUES).reach(share)
    magnitudes = np.abs(VALUES)
    assert ((magnitudes <= found * (1 + 1e-12)).mean(axis=0) >= share).all()
    exact = np.quantile(magnitudes, share, axis=0, method="inverted_cdf")
    assert (found <= exact * (1 + 2.05 * ACCURACY) + SMALLEST * 1.03).all()


def test_ends_of_the_range():
    values = np.array([[-np.inf, 1e300, -1e300, 1e-300, -1e-300, np.inf, 0.0]]).T
    found = sketch(values)
    assert found.count == 7
    assert_near(found.quantile(1.0), np.array([LARGEST]))
    assert_near(found.quantile(0.0), np.array([-LARGEST]))
    assert found.quantile(0.5).item() == 0.0
    assert np.isnan(QuantileSketch(3).quantile(0.5)).all()
    with pytest.raises(ValueError, match="a value is NaN, or below 0 in a sketch of values"):
        sketch(np.array([[np.nan]]))
    with pytest.raises(ValueError, match="below 0"):
        sketch(np.array([[-1.0]]), signed=False)


def test_histogram():
    edges = np.linspace(-4, 4, 33)
    normal = RNG.normal(size=(200_000, 1))
    found = sketch(normal).histogram(edges)[0]
    exact, _ = np.histogram(normal, edges)
    # A bucket that holds an edge is shared by its width. It holds most where |x| times the density
    # is largest, at 1, where that is 0.242; how many fall on either side is a matter of chance.
    bucket = 2 * ACCURACY / (1 - ACCURACY)
    most = 200_000 * 0.242 * bucket
    standard_error = np.full(32, np.sqrt(2 * most / 4))
    assert_sampled(found, exact, standard_error=standard_error)
    at_the_ends = np.abs(np.abs(normal) / 4 - 1) < bucket
    assert abs(found.sum() - exact.sum()) <= at_the_ends.sum()
    everything = sketch(VALUES).histogram(np.array([-2e9, 2e9]))
    assert_same_float64(everything[:, 0], np.full(len(COLUMNS), len(VALUES)), terms=len(VALUES))
    positive = sketch(np.abs(normal), signed=False).histogram(np.linspace(0, 4, 9))[0]
    exact, _ = np.histogram(np.abs(normal), np.linspace(0, 4, 9))
    # With twice as many in a bucket.
    assert_sampled(positive, exact, standard_error=2**0.5 * standard_error[:8])


finite = st.floats(-1e12, 1e12, allow_nan=False)
parts = st.lists(
    st.integers(0, 12).flatmap(
        lambda rows: hnp.arrays(np.float64, st.just((rows, 2)), elements=finite)
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(parts, st.randoms(use_true_random=False))
def test_parts_and_their_order_do_not_matter(pieces, random):
    starts = np.cumsum([0, *(len(piece) for piece in pieces)])
    numbers = [np.arange(a, b)[:, None] for a, b in itertools.pairwise(starts)]
    # As an item_id does, the last column tells rows apart.
    pieces = [np.hstack([p[:, :1], n]) for p, n in zip(pieces, numbers, strict=True)]
    whole = np.concatenate(pieces)
    mixed = list(pieces)
    random.shuffle(mixed)
    counts, extremes = QuantileSketch(2), Extremes.of(np.empty((0, 2)))
    moments, top = Moments.of(np.empty((0, 2))), TopList(3, 2)
    for piece in mixed:
        counts.merge(pickle.loads(pickle.dumps(sketch(piece))))
        extremes.merge(Extremes.of(piece))
        moments.merge(Moments.of(piece))
        top.merge(top_of(piece))
    np.testing.assert_array_equal(counts.counts, sketch(whole).counts)
    exact = Extremes.of(whole)
    for name in ("low", "low_count", "high", "high_count"):
        np.testing.assert_array_equal(getattr(extremes, name), getattr(exact, name))
    if len(whole):
        np.testing.assert_array_equal(exact.low, whole.min(axis=0))
        np.testing.assert_array_equal(exact.low_count, (whole == whole.min(axis=0)).sum(axis=0))
        assert moments.count == len(whole)
        scale = max(1.0, np.abs(whole).max())
        terms = 8 * len(whole) + 8 * len(pieces)
        assert_same_float64(moments.mean, whole.mean(axis=0), terms=terms, magnitude=scale)
        covariance = np.cov(whole.T, ddof=0).reshape(2, 2)
        assert_same_float64(moments.covariance, covariance, terms=terms, magnitude=scale**2)
    assert (top.ids, top.values.tolist()) == (top_of(whole).ids, top_of(whole).values.tolist())


def top_of(values: np.ndarray, k: int = 3) -> TopList:
    """The k rows with the largest first value, named by what is in them."""
    found = TopList(k, values.shape[1])
    rows = found.wanted(values[:, 0])
    names = [str(row) for row in values[rows].tolist()]
    found.add(values[rows, 0], names, values[rows], -values[rows])
    return found


def test_top_list():
    values = RNG.integers(0, 50, 500).astype(float)
    names = [f"{letter}{i}" for i, letter in enumerate(RNG.choice(list("aBé😀ﾡ"), 500))]
    mu = RNG.normal(size=(500, 2))
    found = TopList(20, 2)
    for rows in np.array_split(np.arange(500), 7):
        wanted = rows[found.wanted(values[rows])]
        found.add(values[wanted], [names[i] for i in wanted], mu[wanted], -mu[wanted])
    order = sorted(range(500), key=lambda i: (-values[i], names[i].encode()))[:20]
    assert found.ids == [names[i] for i in order]
    np.testing.assert_array_equal(found.mu, mu[order])
    np.testing.assert_array_equal(found.log_var, -mu[order])
    for count in (0, 7, 20, 50):
        shorter, whole = TopList(count, 2), found.first(count)
        shorter.add(values, names, mu, -mu)
        assert (whole.k, whole.ids) == (min(20, count), shorter.ids[:20])
        np.testing.assert_array_equal(whole.values, shorter.values[:20])
        np.testing.assert_array_equal(whole.mu, shorter.mu[:20])
        np.testing.assert_array_equal(whole.log_var, shorter.log_var[:20])


def test_top_list_keeps_an_id_once():
    found = TopList(3, 1)
    zeros = np.zeros((4, 1))
    found.add(np.array([3.0, 9.0, 2.0, 1.0]), ["a", "a", "b", "c"], zeros, zeros)
    assert (found.ids, found.values.tolist()) == (["a", "b", "c"], [9.0, 2.0, 1.0])
    assert len(TopList(0, 1).wanted(np.ones(5))) == 0
