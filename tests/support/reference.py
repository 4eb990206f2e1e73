"""Items and queries that are hard to score, and float64 brute force to compare answers with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tests.support import oracles
from tests.support.tolerances import LOG_2PI, assert_within, score_bound, score_rounding
from vaeudf.gaussian.scores import SCORES, Score
from vaeudf.gaussian.variances import log_tau2
from vaeudf.search import engine
from vaeudf.search.prepared import prepare

# ---- by how much two float64 formulas may differ beyond their relative rounding


def _cancelling(relative, n, log_vars):
    """Terms of both signs may cancel, log sigma² and log 2π of each dimension."""
    return score_bound(0.0, *log_vars, dims=n)


def _log_ratios(relative, n, log_vars):
    """vaeudf.gaussian's expm1(d) - d, with |d| below 1, in each dimension."""
    return relative * 2 * n


def _last_digit_of_sigma(relative, n, log_vars):
    """Sigmas are subtracted from one another."""
    widest = max(np.max(part) for part in log_vars)
    return relative * np.sqrt(n) * np.exp(0.5 * min(widest, 1400.0))


def _small_squares(relative, n, log_vars):
    """Squares below float64's smallest number lose their digits."""
    return np.sqrt(n * np.finfo(float).tiny)


class Form(NamedTuple):
    """What a score is, said once more, by code that it shares nothing with.

    Attributes:
        oracle: Its formula in float64, for ordinary numbers and without a tolerance: takes z, or
            query_mu and query_log_var, then mu and log_var. One of tests.support.oracles, never one
            of vaeudf's.
        between_gaussians: Whether a query is a Gaussian.
        nearer: "higher" or "lower".
        kind: "nats" or "distance".
        beyond: By how much two float64 formulas may differ beyond their relative rounding: takes
            this rounding, n and all log variances.
        sees_variance: Whether the items' variances matter.
    """

    oracle: Callable
    between_gaussians: bool
    nearer: str
    kind: str
    beyond: Callable
    sees_variance: bool = True


FORMS = {
    "log_likelihood": Form(oracles.log_density_by_torch, False, "higher", "nats", _cancelling),
    "mahalanobis": Form(oracles.mahalanobis_by_scipy, False, "lower", "distance", _small_squares),
    "euclidean": Form(
        oracles.euclidean_by_scipy, False, "lower", "distance", _small_squares, sees_variance=False
    ),
    "kl": Form(oracles.kl_by_torch, True, "lower", "nats", _log_ratios),
    "reverse_kl": Form(oracles.reverse_kl_by_torch, True, "lower", "nats", _log_ratios),
    "jeffreys": Form(oracles.jeffreys_by_torch, True, "lower", "nats", _log_ratios),
    "wasserstein2": Form(
        oracles.wasserstein2_by_scipy, True, "lower", "distance", _last_digit_of_sigma
    ),
    "bhattacharyya": Form(oracles.bhattacharyya_by_formula, True, "lower", "nats", _log_ratios),
    "mls": Form(oracles.mutual_likelihood_by_torch, True, "higher", "nats", _cancelling),
}

FILTERED = [name for name in SCORES if SCORES[name].features.per_coordinate]
"""Scores that the filter can add up from features."""
BOUNDED = [name for name in SCORES if type(SCORES[name]).box_terms is not Score.box_terms]
"""Scores that have a bound over a box."""
DIVERGENCES = [
    name for name, form in FORMS.items() if form.between_gaussians and form.nearer == "lower"
]
"""Scores that are 0 between equal Gaussians, and nowhere below."""


def reference_scores(name, z, query_log_var, mu, log_var, tolerance=0.0):
    """The scores that people see, (Q, N), by vaeudf.gaussian, which holds for hard numbers too.

    tests/gaussian compares it with the oracle of the score.
    """
    queries = (z, query_log_var) if FORMS[name].between_gaussians else (z,)
    return SCORES[name].reference(*queries, mu, log_var, tolerance=tolerance)


def reference_values(name, z, query_log_var, mu, log_var, tolerance=0.0):
    """The same as values, higher is nearer: half the square of a distance, and minus that."""
    scores = reference_scores(name, z, query_log_var, mu, log_var, tolerance)
    if FORMS[name].nearer == "higher":
        return scores
    with np.errstate(over="ignore"):
        return -0.5 * np.square(scores) if FORMS[name].kind == "distance" else 0.0 - scores


def without_filter(name, mu, log_var, labels, tolerance=0.0):
    """Items that are searched by the kernels' direct formula alone, as for very few queries."""
    prepared = prepare(SCORES[name], mu, log_var, labels, tolerance, num_queries=1)
    assert not prepared.has_features
    return prepared


def exact_values(name, queries, mu, log_var, tolerance=0.0):
    """Every value (Q, N) by the kernels' own direct formula."""
    labels = np.arange(len(mu))
    alone = without_filter(name, mu, log_var, labels, tolerance)
    values, found, counts = engine.search(alone, queries, len(mu))
    assert (counts == len(mu)).all()
    in_place = np.empty_like(values)
    np.put_along_axis(in_place, found, values, axis=1)
    return in_place


# ---- items in runs that lie near each other, and queries around them


def _spread_over_runs(rng, runs, size, n, centre, extent):
    """(runs · size, n) numbers, each run within its own extent of its own centre."""
    inside = rng.uniform(-1, 1, size=(runs, size, n))
    return (centre[:, None] + extent[:, None] * inside).reshape(-1, n)


def _ordinary(rng, runs, size, n):
    return rng.normal(size=(runs * size, n)), rng.normal(-2, 1, size=(runs * size, n))


def _boxes(rng, runs, size, n):
    """Tiny to huge boxes, sigma from 1e-6 to 1e3."""
    mu_extent = 10.0 ** rng.uniform(-7, 1.5, size=(runs, n))
    log_var_extent = 10.0 ** rng.uniform(-7, 1, size=(runs, n))
    mu = _spread_over_runs(rng, runs, size, n, rng.uniform(-5, 5, size=(runs, n)), mu_extent)
    centre = 2 * np.log(10.0) * rng.uniform(-5, 2.5, size=(runs, n))
    return mu, _spread_over_runs(rng, runs, size, n, centre, log_var_extent)


def _corners(rng, runs, size, n):
    """Every item at a corner of its run's box."""
    low, high = (rng.normal(0, 3, size=(runs, 1, n)) for _ in range(2))
    thin, wide = (rng.uniform(-14, 7, size=(runs, 1, n)) for _ in range(2))
    sides = rng.integers(0, 2, size=(2, runs, size, n)).astype(bool)
    mu = np.where(sides[0], low, high).reshape(-1, n)
    return mu, np.where(sides[1], thin, wide).reshape(-1, n)


def _repeated(rng, runs, size, n):
    """One item per run, again and again."""
    mu, log_var = _boxes(rng, runs, 1, n)
    return mu.repeat(size, axis=0), log_var.repeat(size, axis=0)


def _unit(rng, runs, size, n):
    """One mu for all, and variances where intercepts cancel: 1 and 1 / 2π."""
    log_var = rng.choice([0.0, 1e-9, -LOG_2PI, np.float32(-LOG_2PI)], size=(runs, 1, n))
    return np.zeros((runs * size, n)), log_var.repeat(size, axis=1).reshape(-1, n)


def _far(rng, runs, size, n):
    """mu to 1e4, sigma to 1e-6: what float32 features are worst at."""
    centre = rng.uniform(-1e4, 1e4, size=(runs, n))
    extent = 10.0 ** rng.uniform(-6, 4, size=(runs, n))
    mu = _spread_over_runs(rng, runs, size, n, centre, extent)
    return mu, 2 * np.log(10.0) * rng.uniform(-6, 3, size=mu.shape)


def _beyond(rng, runs, size, n):
    """mu to 1e18 and 1e30, beyond what float32 can square."""
    centre = rng.normal(size=(runs, n)) * rng.choice([1.0, 1e14, 1e18, 1e30], size=(runs, 1))
    extent = np.abs(centre) * rng.choice([1e-7, 1e-3, 1.0], size=(runs, 1))
    mu = _spread_over_runs(rng, runs, size, n, centre, extent)
    return mu, rng.normal(-2, 4, size=mu.shape)


def _ends(rng, runs, size, n):
    """log_var at ±80, ±200 and ±700: variances beyond float32, almost beyond float64."""
    centre = rng.choice([0.0, 40.0, 80.0, 100.0, 200.0, 700.0], size=(runs, 1))
    centre = centre * rng.choice([-1.0, 1.0], size=(runs, n))
    extent = rng.choice([0.0, 1e-3, 10.0], size=(runs, 1)) * np.ones((runs, n))
    log_var = _spread_over_runs(rng, runs, size, n, centre, extent)
    at = rng.normal(size=(runs, n)) * 10.0 ** rng.uniform(-12, 2, size=(runs, 1))
    mu = _spread_over_runs(rng, runs, size, n, at, np.abs(at) * rng.choice([0, 1e-6], (runs, 1)))
    return mu, log_var


def _denormal(rng, runs, size, n):
    """mu near the least that float32 has, whose squares and products vanish there."""
    centre = rng.choice([0.0, 1e-45, 1e-40, 3e-23, 1e-18], size=(runs, n))
    extent = rng.choice([0.0, 1e-45, 1e-38, 1e-20], size=(runs, n))
    mu = _spread_over_runs(rng, runs, size, n, centre, extent)
    sigma = rng.choice([1e-22, 1e-6, 1.0, 1e3], size=(runs, 1, n)).repeat(size, axis=1)
    return mu, 2 * np.log(sigma).reshape(-1, n)


KINDS = {
    "ordinary": _ordinary,
    "boxes": _boxes,
    "corners": _corners,
    "repeated": _repeated,
    "unit": _unit,
    "far": _far,
    "beyond": _beyond,
    "ends": _ends,
    "denormal": _denormal,
}


def items_and_queries(kind, n, runs, size, count, seed=0, double=False):
    """Return mu, log_var of runs · size items, and z, query_log_var of count queries.

    The queries stand on items, a last digit beside them, inside, on edges and corners of boxes,
    near, far, and where float32 cannot tell them from an item.
    """
    rng = np.random.default_rng([list(KINDS).index(kind), n, runs, size, count, seed])
    mu, log_var = KINDS[kind](rng, runs, size, n)
    if not double:
        mu, log_var = mu.astype(np.float32), log_var.astype(np.float32)
    means, log_vars = mu.astype(np.float64), log_var.astype(np.float64)
    rows = rng.integers(0, len(mu), size=count)
    others = rng.integers(0, len(mu), size=count)
    item = means[rows]
    low, high = (
        part[rows // size] for part in (_runs(means, size).min(axis=1), _runs(means, size).max(1))
    )
    side = rng.integers(0, 2, size=item.shape).astype(bool)
    shift = rng.normal(size=item.shape)
    z = np.choose(
        (np.arange(count) % 10)[:, None],
        [
            item,
            np.nextafter(item, np.where(side, np.inf, -np.inf)),
            np.where(side, low, high),
            np.where(side, low, item),
            np.nextafter(np.where(side, low, high), np.where(side, -np.inf, np.inf)),
            0.5 * low + 0.5 * high,
            item * (1 + 1e-9 * shift),
            item + shift * np.exp(0.5 * np.clip(log_vars[rows], -300, 20)),
            item + shift * 10.0 ** rng.uniform(-30, 4, size=(count, 1)),
            means[others] + 1e-3 * shift,
        ],
    )
    query_log_var = np.choose(
        (np.arange(count) // 10 % 4)[:, None],
        [
            log_vars[rows],
            log_vars[others],
            log_vars[rows] + rng.normal(size=item.shape),
            2 * np.log(10.0) * rng.uniform(-6, 3, size=item.shape),
        ],
    )
    return mu, log_var, z, query_log_var


def _runs(array, size):
    return array.reshape(-1, size, array.shape[1])


def log_vars_of(query_log_var, log_var, tolerance):
    """All log variances that enter a score, for the bounds of its rounding."""
    logs = [part for part in (query_log_var, log_var) if part is not None]
    return (*logs, log_tau2(tolerance)) if tolerance else tuple(logs)


def rounding(name, query_log_var, mu, log_var, tolerance):
    """By how much two float64 formulas may differ, relative to the score, and beyond that."""
    form, n = FORMS[name], mu.shape[1]
    own = query_log_var if form.between_gaussians else None
    log_vars = log_vars_of(own, log_var, tolerance)
    relative = score_rounding(n, *log_vars)
    return relative, form.beyond(relative, n, log_vars)


def assert_same_score(name, found, expected, query_log_var, mu, log_var, tolerance=0.0):
    """Assert that scores, (Q, N) or some of them, are those that were expected."""
    relative, absolute = rounding(name, query_log_var, mu, log_var, tolerance)
    bound = relative * np.abs(expected) + absolute
    assert_within(found, expected, bound, why=f"two float64 formulas of {name}")


def same_items(name, mu, log_var):
    """A number for every item, the same for items that the score cannot tell apart."""
    seen = np.concatenate([mu, log_var], axis=1) if FORMS[name].sees_variance else mu
    return np.unique(seen, axis=0, return_inverse=True)[1].ravel()


def assert_same_values(name, found, expected, query_log_var, mu, log_var, tolerance=0.0):
    """The same of values as of reference_values: a distance's is half its square."""
    relative, absolute = rounding(name, query_log_var, mu, log_var, tolerance)
    if SCORES[name].distance:
        distances = np.sqrt(-2 * expected)
        bound = relative * distances**2 + absolute * (distances + absolute)
    else:
        bound = relative * np.abs(expected) + absolute
    assert_within(found, expected, bound, why=f"two float64 formulas of {name}")


def assert_best(name, labels, scores, expected, ids, same, k, relative, absolute):
    """Assert that labels and scores are the k best, place by place.

    Only where different items differ by less than float64 formulas may, their order is free.

    Args:
        name: The score.
        labels: What was found, (Q, m).
        scores: Their scores, (Q, m).
        expected: Every score, (Q, N).
        ids: What stands for every item and breaks ties, a permutation of 0 to N - 1.
        same: As of same_items.
        k: How many there should be.
        relative: By how much scores may differ, relative to themselves; nearer is a tie.
        absolute: And beyond that.
    """
    count = min(k, expected.shape[1])
    assert labels.shape == scores.shape == (len(expected), count)
    row_of = np.argsort(ids)
    # The place of every item among those that are the same, by id.
    by_item = np.lexsort((ids, same))
    copy = np.empty(len(ids), np.int64)
    copy[by_item] = _places_in_runs(same[by_item])
    keys = expected if FORMS[name].nearer == "lower" else -expected
    for q in range(len(expected)):
        order = np.lexsort((ids, keys[q]))[:count]
        rows = row_of[labels[q]]
        assert len(np.unique(rows)) == count
        bound = relative * np.abs(expected[q, order]) + absolute
        assert_within(scores[q], expected[q, order], bound, why=f"two float64 formulas of {name}")
        places = np.flatnonzero(rows != order)
        found, right = expected[q, rows[places]], expected[q, order[places]]
        assert (np.abs(found - right) <= relative * np.abs(right) + absolute).all(), (q, places)
        # Of items that are the same, the ones with the lowest ids, in their order.
        by_item = np.argsort(same[rows], kind="stable")
        assert (copy[rows[by_item]] == _places_in_runs(same[rows[by_item]])).all(), q


def _places_in_runs(numbers):
    """The place of each number in its run of equal ones."""
    at = np.arange(len(numbers))
    firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
    return at - np.repeat(firsts, np.diff(firsts, append=len(numbers)))
