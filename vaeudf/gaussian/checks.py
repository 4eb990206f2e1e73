"""Checks of arguments: shapes, the tolerance, k."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError

_Array = NDArray[np.float64]

Tolerance = float | tuple[float, ...]
"""tau: how precisely z is meant, in units of z; one number, or one for each dimension."""


def check_shapes(
    z: ArrayLike, mu: ArrayLike, log_var: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the arguments as float64 arrays of shapes (Q, n), (N, n) and (N, n).

    Raises:
        InputError: They do not have these shapes, with n ≥ 1.
    """
    queries = np.atleast_2d(np.asarray(z, dtype=np.float64))
    means, log_vars = _check_items(mu, log_var)
    if queries.ndim != 2 or queries.shape[1] != means.shape[1]:
        raise InputError(
            f"z has shape {np.shape(z)}; expected (Q, {means.shape[1]}), "
            f"because mu and log_var have {means.shape[1]} latent dimensions."
        )
    return queries, means, log_vars


def check_gaussian_shapes(
    query_mu: ArrayLike, query_log_var: ArrayLike, mu: ArrayLike, log_var: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the arguments as float64 arrays of shapes (Q, n), (Q, n), (N, n) and (N, n).

    Raises:
        InputError: They do not have these shapes, with n ≥ 1.
    """
    query_means = np.atleast_2d(np.asarray(query_mu, dtype=np.float64))
    query_log_vars = np.atleast_2d(np.asarray(query_log_var, dtype=np.float64))
    means, log_vars = _check_items(mu, log_var)
    if (
        query_means.ndim != 2
        or query_means.shape[1] != means.shape[1]
        or query_means.shape != query_log_vars.shape
    ):
        raise InputError(
            f"query_mu has shape {np.shape(query_mu)} and query_log_var {np.shape(query_log_var)}; "
            f"expected the same shape (Q, {means.shape[1]}) for both, "
            f"because mu and log_var have {means.shape[1]} latent dimensions."
        )
    return query_means, query_log_vars, means, log_vars


def check_mean_shapes(
    z: ArrayLike, mu: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the arguments as float64 arrays of shapes (Q, n) and (N, n).

    Raises:
        InputError: They do not have these shapes, with n ≥ 1.
    """
    queries = np.atleast_2d(np.asarray(z, dtype=np.float64))
    means = np.asarray(mu, dtype=np.float64)
    if means.ndim != 2 or means.shape[1] == 0:
        raise InputError(f"mu has shape {means.shape}; expected (N, n), n ≥ 1.")
    if queries.ndim != 2 or queries.shape[1] != means.shape[1]:
        raise InputError(
            f"z has shape {np.shape(z)}; expected (Q, {means.shape[1]}), "
            f"because mu has {means.shape[1]} latent dimensions."
        )
    return queries, means


def check_tolerance(tolerance: ArrayLike, latent_dim: int | None = None) -> Tolerance:
    """Return the tolerance tau: a number, or one for each dimension.

    Args:
        tolerance: A number, or an array of shape (n,).
        latent_dim: n, where it is known.

    Raises:
        InputError: It is negative or not finite, or there are not n of them.
    """
    taus = np.asarray(tolerance, np.float64)
    if taus.ndim > 1 or not ((taus >= 0) & (taus < math.inf)).all():
        each = " for each dimension" if taus.ndim else ""
        raise InputError(
            f"tolerance is {taus.tolist()}; expected a finite number of at least 0{each}, in units "
            "of z (0 takes z exactly as it stands)."
        )
    if taus.ndim == 0:
        return float(taus)
    if taus.size == 0 or taus.size != (latent_dim or taus.size):
        raise InputError(
            f"tolerance has {taus.size} numbers, but there are {latent_dim} latent dimensions; "
            "expected one number, or one for each dimension."
        )
    return tuple(taus.tolist())


def check_points(z: _Array) -> None:
    """Refuse points that are infinite somewhere, or NaN, which is open, everywhere.

    Args:
        z: Shape (Q, n).

    Raises:
        InputError: There is such a point.
    """
    infinite = np.flatnonzero(np.isinf(z).any(axis=1))
    if infinite.size:
        raise InputError(
            f"z has an infinite value in row {infinite[0]} ({infinite.size} such rows of {len(z)});"
            " expected finite numbers, or NaN in dimensions that are left open."
        )
    empty = np.flatnonzero(np.isnan(z).all(axis=1))
    if empty.size:
        raise InputError(
            f"z leaves every dimension open in row {empty[0]} ({empty.size} such rows of {len(z)});"
            " expected a finite number in at least one dimension."
        )


def check_k(k: int) -> int:
    """Return k.

    Raises:
        InputError: It is below 1, or not a whole number.
    """
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool):
        raise InputError(f"k is {k!r}; expected a whole number.")
    if k < 1:
        raise InputError(f"k is {k}; expected at least 1.")
    return k


def _check_items(mu: ArrayLike, log_var: ArrayLike) -> tuple[_Array, _Array]:
    means = np.asarray(mu, dtype=np.float64)
    log_vars = np.asarray(log_var, dtype=np.float64)
    if means.ndim != 2 or means.shape[1] == 0 or means.shape != log_vars.shape:
        raise InputError(
            f"mu has shape {means.shape} and log_var {log_vars.shape}; "
            "expected the same shape (N, n) for both, n ≥ 1."
        )
    return means, log_vars
