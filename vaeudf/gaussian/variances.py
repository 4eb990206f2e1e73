"""Variances by their logarithms: blurred by a tolerance, as sigma, and within float64's range."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.gaussian.checks import check_tolerance

_Array = NDArray[np.float64]

# exp(709.8) overflows float64, and exp(-745.2) is 0. A posterior this narrow or wide (sigma beyond
# 1e±304) only meets z == mu or the end of float64's range; 1 / sigma kept within it, a distance of
# 0 or infinity never becomes 0 * inf = NaN.
MAX_LOG_SIGMA = 700.0


def log_tau2(tolerance: ArrayLike) -> _Array:
    """Return log tau² of a tolerance tau, -inf for 0; of shape () or (n,).

    Raises:
        InputError: The tolerance is negative or not finite.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(2.0 * np.log(np.asarray(check_tolerance(tolerance))))


def blurred(log_var: NDArray[np.floating], tolerance: ArrayLike) -> _Array:
    """Return log(sigma² + tau²), without leaving the logarithm: neither end of sigma is lost.

    Args:
        log_var: log sigma², shape (…, n).
        tolerance: tau, a number, or one for each dimension.

    Raises:
        InputError: The tolerance is negative or not finite.
    """
    log_vars = np.asarray(log_var, np.float64)
    tau2 = log_tau2(tolerance)
    return log_vars if np.isneginf(tau2).all() else np.asarray(np.logaddexp(log_vars, tau2))


def sigma(log_var: _Array) -> _Array:
    """Return sigma, capped: two infinite ones would have NaN as their difference."""
    return np.asarray(np.exp(np.minimum(0.5 * log_var, MAX_LOG_SIGMA)))


def inverse_sigma(log_var: _Array) -> _Array:
    """Return 1 / sigma, within float64's range at both ends."""
    return np.asarray(np.exp(-np.clip(0.5 * log_var, -MAX_LOG_SIGMA, MAX_LOG_SIGMA)))
