"""Rules that choose hits from candidates, once more by plain loops."""

from __future__ import annotations

import numpy as np

from tests.support.oracles import bhattacharyya_by_formula


def distances(mu, log_var, tau=0.0):
    log_var = np.log(np.exp(log_var) + tau**2)
    return bhattacharyya_by_formula(mu, log_var, mu, log_var)


def greedily(between, k, nats):
    """The definition: candidates one by one, each taken or hidden by the best hit near it."""
    hits, hidden = [], []
    for row in range(len(between)):
        if len(hits) == k:
            break
        near = [place for place, hit in enumerate(hits) if between[hit, row] < nats]
        if near:
            hidden[near[0]] += 1
        else:
            hits.append(row)
            hidden.append(0)
    return hits, hidden


def marginal_gains(between, merits, hits, weight):
    """What each candidate that is left gains, by the definition."""
    worst, best = min(merits), max(merits)
    gains = {}
    for row in sorted(set(range(len(merits))) - set(hits)):
        similar = max((np.exp(-between[hit, row]) for hit in hits), default=0.0)
        scaled = (merits[row] - worst) / (best - worst) if best > worst else 1.0
        gains[row] = (1 - weight) * scaled - weight * similar
    return gains


def marginally(between, merits, k, weight):
    """The candidate that gains most, again and again; the first of equal ones."""
    hits = []
    while len(hits) < min(k, len(merits)):
        gains = marginal_gains(between, merits, hits, weight)
        hits.append(max(gains, key=lambda row: (round(gains[row], 12), -row)))
    return hits
