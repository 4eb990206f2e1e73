"""Scores of blends by their definition: each member's own score, weighted and added up."""

from __future__ import annotations

import mpmath
import numpy as np

from tests.support.oracles import kl_by_torch, log_density_by_torch
from tests.support.tolerances import LOG_2PI, assert_within, score_rounding

LEAST_WEIGHT = 0.05
"""Where the weights add up to less, vaeudf does not divide by their sum W; so at most 1 / W digits
of what is added up are lost."""


def normalised(weights):
    """The weights, divided by the sum of the positive ones."""
    weights = np.asarray(weights, float)
    positive = weights[weights > 0].sum()
    return weights / (positive or np.abs(weights).sum())


def blend_scores(z, own, weights, mu, log_var, tolerance=0.0, score="log_likelihood"):
    """Every item's score to one blend of points or Gaussians, and by how much it may differ.

    Args:
        z: Points or means, (M, n), NaN where all leave a dimension open.
        own: log sigma² of Gaussians, (M, n), or None.
        weights: (M,).
        mu: (N, n).
        log_var: (N, n).
        tolerance: A number or (n,).
        score: log_likelihood or kl.
    """
    named = ~np.isnan(z[0])
    taus = np.broadcast_to(np.square(tolerance), named.shape)[named]
    blurred = np.log(np.exp(np.float64(log_var)[:, named]) + taus)
    z, mu = z[:, named], np.float64(mu)[:, named]
    logs = [blurred]
    if score == "kl":
        logs.append(np.log(np.exp(own[:, named]) + taus))
        parts = kl_by_torch(z, logs[1], mu, blurred)
    else:
        parts = log_density_by_torch(z, mu, blurred)
    shares = normalised(weights)[:, None]
    in_logs = z.shape[1] * (sum(np.abs(part).max() for part in logs) + LOG_2PI)
    added = (np.abs(shares) * (np.abs(parts) + in_logs)).sum(axis=0)
    rounding = score_rounding(z.shape[1] + len(z), *logs) / LEAST_WEIGHT
    return (shares * parts).sum(axis=0), rounding * added


def score_in_fifty_digits(z, own, weights, mu, log_var, tolerance=0.0, score="log_likelihood"):
    """One item's score to a blend, and the sum of the absolute values of its terms."""
    with mpmath.workdps(50):
        number = mpmath.mpf
        shares = [number(float(weight)) for weight in weights]
        by = sum(max(share, 0) for share in shares) or sum(abs(share) for share in shares)
        total, added = number(0), number(0)
        for j, share in enumerate(shares):
            for i in np.flatnonzero(~np.isnan(z[j])):
                tau2 = number(float(np.broadcast_to(tolerance, mu.shape)[i])) ** 2
                s = mpmath.exp(number(float(log_var[i]))) + tau2
                square = (number(float(z[j, i])) - number(float(mu[i]))) ** 2
                if score == "kl":
                    v = mpmath.exp(number(float(own[j, i]))) + tau2
                    terms = [(square + v) / s / 2, -mpmath.log(v / s) / 2, -number(1) / 2]
                else:
                    terms = [-square / s / 2, -mpmath.log(2 * mpmath.pi * s) / 2]
                total += share / by * sum(terms)
                added += abs(share / by) * sum(abs(term) for term in terms)
        return float(total), float(added)


def assert_best_of_blend(found, scores, expected, bound, *, ascending=False):
    """Assert that these are the best items in order, but where float64 cannot tell.

    Args:
        found: Rows of the items, best first, (k,).
        scores: Theirs.
        expected: Every item's score, (N,).
        bound: By how much each may differ, (N,).
        ascending: Whether lower is nearer.
    """
    order = np.lexsort((np.arange(len(expected)), expected if ascending else -expected))
    order = order[: len(found)]
    assert len(set(found.tolist())) == len(found)
    assert_within(scores, expected[found], bound[found], why="float64 sums of a blend")
    allowed = np.maximum(bound[order], bound[found])
    assert_within(expected[found], expected[order], allowed, why="ties of float64")
    assert (np.diff(scores) >= 0).all() if ascending else (np.diff(scores) <= 0).all()
