"""Exact search in memory, of items that are searched once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.search import engine
from vaeudf.search.arguments import ask, check_items, warn_of_few
from vaeudf.search.chosen import chosen, rule_for
from vaeudf.search.per_value import per_value, warn_of_few_allowed
from vaeudf.search.prepared import prepare, prepare_queries
from vaeudf.search.selection import Choice


def nearest(
    z: ArrayLike,
    mu: ArrayLike,
    log_var: ArrayLike,
    k: int = 10,
    *,
    query_log_var: ArrayLike | None = None,
    score: str = "log_likelihood",
    tolerance: ArrayLike = 0.0,
    per: tuple[ArrayLike, int] | None = None,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    distinct: float | None = None,
    diversify: float | None = None,
    candidates: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the k items that score best for every query, exactly; by default by log q(z|x).

    The items are searched in the order given. Where neighbours in that order are near each other,
    as in a posterior table, most of them are skipped. To search the same items more than once, or
    items in any order, make a :class:`vaeudf.PosteriorIndex`.

    >>> import numpy as np
    >>> indices, scores = nearest([[0.0, 0.0]], np.eye(2), np.zeros((2, 2)), k=1)
    >>> indices.tolist(), scores.round(3).tolist()
    ([[0]], [[-2.338]])

    Args:
        z: Queries, shape (Q, n), or (n,) for one, NaN in dimensions that are left open; for
            Gaussian queries their means.
        mu: Means, shape (N, n).
        log_var: log sigma², shape (N, n).
        k: How many items per query. If there are only N < k, all N come back, with a warning.
        query_log_var: log sigma² of Gaussian queries, shape (Q, n).
        score: One of :data:`vaeudf.gaussian.scores.SCORES`.
        tolerance: tau: how precisely z is meant, one number or one for each dimension, shape (n,);
            for each query its own, shape (Q, 1) or (Q, n). sigma² + tau² takes the place of sigma².
        per: A value for each item, shape (N,), and how many items of one value may be returned.
            If that leaves fewer than k, these come back, with a warning.
        groups: Makes one query, a blend, of all z with the same entry, shape (Q,), in the order in
            which the entries first occur; without weights, all weigh the same. A blend's score is
            the weighted mean of its members' scores, by ``log_likelihood`` or ``kl``.
        weights: Of the members, shape (Q,), negative for what hits are to be unlike; without
            groups, all z are one blend. The weights are divided by the sum of the positive ones.
        distinct: Hide items whose Bhattacharyya distance from a better hit is below this, in nats;
            the tolerance blurs both.
        diversify: lambda, above 0 and at most 1: choose hits from each query's best by maximal
            marginal relevance (:class:`vaeudf.search.selection.Diversified`).
        candidates: Of how many it chooses; 10 · k unless given.

    Returns:
        Row numbers of mu, shape (Q, k) int64, best first, equal scores by row number; and their
        scores, shape (Q, k) float64: nats, or a distance. Where ``distinct`` leaves a query fewer
        hits than another one, the last are row -1 with the score NaN.

    Raises:
        InputError: Shapes that do not fit, a number that is not finite, k < 1, an unknown score,
            or one between Gaussians for queries that are points.
    """
    means, log_vars = check_items(mu, log_var)
    asked = ask(z, query_log_var, means.shape[1], score, tolerance, groups, weights)
    choice = Choice(distinct=distinct, diversify=diversify, candidates=candidates)
    rule = rule_for(choice, k, asked, per)
    kind, tau = asked.score, asked.tolerance
    labels = np.arange(len(means))
    warn_of_few(k, len(means), ranked=rule is None)
    prepared = prepare(
        kind, means, log_vars, labels, tau, masked=asked.masked, num_queries=len(asked)
    )
    found = prepare_queries(kind, asked.mu, asked.log_var, tau)
    if rule is not None:
        indices, values = chosen(rule, prepared, found, lambda rows: (means[rows], log_vars[rows]))
        return indices, asked.scores(values)
    limit = per_value(per, None, len(means))
    values, indices, _ = engine.search(prepared, found, k, per=limit)
    warn_of_few_allowed(limit, k, indices.shape[1], len(means))
    return indices, asked.scores(values)
