"""The arguments of searches in memory: checked, and as the search reads them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.gaussian.blends import Blended, members_of
from vaeudf.gaussian.checks import Tolerance, check_k, check_points, check_tolerance
from vaeudf.gaussian.scores import (
    LOG_LIKELIHOOD,
    LOG_LIKELIHOOD_BY_QUERY,
    Score,
    blend_score,
    choose_score,
    score_named,
)


def check_items(mu: ArrayLike, log_var: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return items as float32, if both are, or float64 arrays of shape (N, n).

    Raises:
        InputError: Their shapes do not fit, or a number is not finite.
    """
    means, log_vars = np.asarray(mu), np.asarray(log_var)
    if means.dtype != np.float32 or log_vars.dtype != np.float32:
        means, log_vars = means.astype(np.float64), log_vars.astype(np.float64)
    if means.ndim != 2 or means.shape[1] == 0 or means.shape != log_vars.shape:
        raise InputError(
            f"mu has shape {means.shape} and log_var {log_vars.shape}; "
            "expected the same shape (N, n) for both, n ≥ 1."
        )
    _check_finite("mu", means)
    _check_finite("log_var", log_vars)
    return means, log_vars


@dataclass(frozen=True)
class Asked:
    """Queries as :func:`vaeudf.search.prepared.prepare_queries` takes them.

    Attributes:
        score: What they are ranked by.
        mu: Points or means, shape (Q, n); of blends shape (Q, 2n).
        log_var: Log variances, shape (Q, n), or what goes with them; None for points.
        tolerance: tau, 0 if each query has its own.
        blended: The blends, if they are blends.
    """

    score: Score
    mu: NDArray[np.float64]
    log_var: NDArray[np.float64] | None
    tolerance: Tolerance
    blended: Blended | None = None

    def __len__(self) -> int:
        return len(self.mu)

    @property
    def masked(self) -> bool:
        """Whether a query leaves a dimension open."""
        return bool(np.isnan(self.mu).any())

    def scores(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores that people see, of values (Q, m)."""
        if self.blended is None:
            return self.score.from_values(values)
        return self.blended.scores(values.T, np.arange(len(self))).T

    def with_own_tolerances(self) -> Asked:
        """Return the same points, each with the tolerance as its own."""
        taus = np.broadcast_to(self.tolerance, self.mu.shape)
        return Asked(*with_own_tolerances(self.score, self.mu, taus), 0.0)


def ask(
    z: ArrayLike,
    log_var: ArrayLike | None,
    latent_dim: int,
    score: str,
    tolerance: ArrayLike,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Asked:
    """Return queries, checked; :func:`vaeudf.nearest` says what the arguments are.

    Raises:
        InputError: As there.
    """
    if groups is not None or weights is not None:
        return _ask_blends(z, log_var, latent_dim, score, tolerance, groups, weights)
    kind, queries, spreads = check_queries(z, log_var, latent_dim, score)
    if np.ndim(tolerance) == 2:
        return Asked(*with_own_tolerances(kind, queries, tolerance), 0.0)
    return Asked(kind, queries, spreads, check_tolerance(tolerance, latent_dim))


def _ask_blends(
    z: ArrayLike,
    log_var: ArrayLike | None,
    latent_dim: int,
    score: str,
    tolerance: ArrayLike,
    groups: ArrayLike | None,
    weights: ArrayLike | None,
) -> Asked:
    kind = blend_score(score_named(score).name, gaussian=log_var is not None)
    if np.ndim(tolerance) == 2:
        raise InputError(
            "a tolerance for each query is not for blends, whose members are one query; give one "
            "number, or one for each dimension."
        )
    tau = check_tolerance(tolerance, latent_dim)
    _, means, spreads = check_queries(z, log_var, latent_dim, LOG_LIKELIHOOD.name)
    blended = members_of(means, spreads, groups, weights).blended(tau, divergence=kind.ascending)
    return Asked(kind, blended.mu, blended.terms, tau, blended)


def check_queries(
    z: ArrayLike, log_var: ArrayLike | None, latent_dim: int, score: str
) -> tuple[Score, NDArray[np.float64], NDArray[np.float64] | None]:
    """Return the score, the queries, shape (Q, n), and the log variances of Gaussian ones.

    Raises:
        InputError: Their shapes do not fit, a number is not finite, or the score is not for such
            queries.
    """
    gaussian = log_var is not None
    kind = choose_score(score, gaussian=gaussian, remedy="give query_log_var")
    queries = np.atleast_2d(np.asarray(z, dtype=np.float64))
    if queries.ndim != 2 or queries.shape[1] != latent_dim:
        raise InputError(
            f"z has shape {np.shape(z)}; expected (Q, {latent_dim}), "
            f"because mu and log_var have {latent_dim} latent dimensions."
        )
    if log_var is None:
        check_points(queries)
        return kind, queries, None
    _check_finite("z", queries)
    spreads = np.atleast_2d(np.asarray(log_var, dtype=np.float64))
    if spreads.shape != queries.shape:
        raise InputError(
            f"query_log_var has shape {np.shape(log_var)}; expected that of z, {queries.shape}."
        )
    _check_finite("query_log_var", spreads)
    return kind, queries, spreads


def with_own_tolerances(
    kind: Score, queries: NDArray[np.float64], tolerance: ArrayLike
) -> tuple[Score, NDArray[np.float64], NDArray[np.float64]]:
    """Return the score for queries with tolerances of their own, these, and log tau², (Q, n).

    Raises:
        InputError: The tolerances do not fit, or the score is another.
    """
    taus = np.asarray(tolerance, np.float64)
    if taus.shape not in (queries.shape, (len(queries), 1)):
        raise InputError(
            f"tolerance has shape {taus.shape}; expected (Q, n) = {queries.shape} or (Q, 1), for "
            "each query its own; or one number, or one for each dimension."
        )
    if kind is not LOG_LIKELIHOOD:
        raise InputError(
            f"a tolerance for each query is for log_likelihood, but the score is {kind.name}."
        )
    check_tolerance(taus.ravel())
    with np.errstate(divide="ignore"):
        log_tau2 = np.broadcast_to(2.0 * np.log(taus), queries.shape).copy()
    return LOG_LIKELIHOOD_BY_QUERY, queries, log_tau2


def _check_finite(name: str, array: NDArray[Any]) -> None:
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise InputError(
            f"{name} has a NaN or infinite value in row {bad[0]} "
            f"({bad.size} such rows of {len(array)}); expected finite numbers only."
        )


def warn_of_few(k: int, count: int, *, ranked: bool) -> None:
    """Warn if there are fewer than k items.

    Args:
        k: How many are wanted.
        count: How many there are.
        ranked: Whether hits are chosen by their scores alone, so that all are returned.

    Raises:
        InputError: k is no whole number of at least 1.
    """
    if check_k(k) > count and ranked:
        warnings.warn(f"k = {k} but there are only {count} items: returning all.", stacklevel=3)


def ranked(ids: ArrayLike, count: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the ids in order, and each item's place in it."""
    names = np.asarray(ids)
    if names.shape != (count,):
        raise InputError(f"ids have shape {names.shape}; expected ({count},), one per item.")
    order = np.argsort(names, kind="stable")
    ordered = names[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    if same.size:
        [twice] = ordered[same[:1]].tolist()
        raise InputError(f"id {twice!r} occurs more than once; expected unique ids.")
    labels = np.empty(count, np.int64)
    labels[order] = np.arange(count)
    return ordered, labels


def in_order(order: ArrayLike, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row numbers in order, shape (N,), and each row's place in it.

    Raises:
        InputError: They are not all row numbers, each once.
    """
    rows = np.asarray(order)
    if rows.shape != (count,) or rows.dtype.kind not in "iu":
        raise InputError(
            f"order has shape {rows.shape} and type {rows.dtype}; expected ({count},), the number "
            "of each item once."
        )
    rows = rows.astype(np.int64, copy=False)
    places = np.full(count, -1, np.int64)
    inside = rows[(rows >= 0) & (rows < count)]
    places[inside] = np.arange(len(inside))
    missing = np.flatnonzero(places < 0)
    if len(missing):
        raise InputError(f"order lacks item {missing[0]}; expected the number of each item once.")
    return rows, places
