"""Paths and grids through latent space: traversals, and walks from one posterior to another.

**Fisher–Rao.** Diagonal Gaussians are the points of a Riemannian manifold whose metric is their
Fisher information: in each dimension ds² = (dmu² + 2 dsigma²) / sigma², and the dimensions are
orthogonal. With x = mu / √2 and y = sigma this is 2 (dx² + dy²) / y², the
hyperbolic half-plane, scaled by √2 (Costa, Santos & Strapasson 2015, "Fisher information
distance: a geometrical reading"; Pinele, Strapasson & Costa 2020, "The Fisher–Rao distance between
multivariate normal distributions"). Its geodesics are half ellipses around a point with sigma = 0:
between distant means sigma widens first. For Gaussians close to each other, the squared distance is
twice the KL divergence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError

_Array = NDArray[np.float64]


def grid(
    center: ArrayLike, dims: Sequence[int], ranges: Sequence[tuple[float, float]], steps: int
) -> _Array:
    """Return points that differ in one or two dimensions, in the order of a contact sheet.

    Args:
        center: The values of all other dimensions, shape (n,).
        dims: The dimension that changes from column to column, and, for more than one row, the
            dimension that changes from row to row.
        ranges: The first and last value of each of these dimensions.
        steps: The number of evenly spaced values of each, at least 2.

    Returns:
        Shape (steps, steps, n): rows, columns, dimensions; (1, steps, n) for one dimension.

    Raises:
        InputError: A dimension does not exist or is given twice, or there are fewer than two
            steps.
    """
    origin = np.asarray(center, dtype=np.float64)
    check_steps(steps)
    for dim in dims:
        check_dimension(dim, len(origin))
    if len(set(dims)) != len(dims) or not 1 <= len(dims) <= 2 or len(ranges) != len(dims):
        raise InputError(
            f"the dimensions to traverse are {list(dims)}, with {len(ranges)} ranges; expected one "
            "dimension, or two different ones, and a range for each."
        )
    points = np.tile(origin, (steps if len(dims) == 2 else 1, steps, 1))
    points[:, :, dims[0]] = np.linspace(*ranges[0], steps)
    if len(dims) == 2:
        points[:, :, dims[1]] = np.linspace(*ranges[1], steps)[:, None]
    return points


def linear_path(mu_a: ArrayLike, mu_b: ArrayLike, steps: int) -> _Array:
    """Return points on the straight line from one mean to another, evenly spaced.

    Args:
        mu_a: The first point, shape (n,).
        mu_b: The last point, shape (n,).
        steps: The number of points, at least 2, including both ends.

    Returns:
        Shape (steps, n).

    Raises:
        InputError: The shapes differ, or there are fewer than two steps.
    """
    a, b = _vectors(mu_a, mu_b)
    points = a + _times(steps) * (b - a)
    points[-1] = b  # exactly, without rounding
    return points


def fisher_rao_path(
    mu_a: ArrayLike, log_var_a: ArrayLike, mu_b: ArrayLike, log_var_b: ArrayLike, steps: int
) -> tuple[_Array, _Array]:
    """Return evenly spaced Gaussians on the geodesic from one to another.

    In the half-plane, for points a and b at distance d, the point at fraction t of the geodesic is

        1 / y(t)    = w_a / y_a + w_b / y_b
        x(t) / y(t) = w_a x_a / y_a + w_b x_b / y_b
        w_a = sinh((1 - t) d) / sinh d,  w_b = sinh(t d) / sinh d

    which is the geodesic of the hyperboloid model, the same combination of its vectors a and b
    (Cannon, Floyd, Kenyon & Parry 1997, "Hyperbolic geometry"), in the coordinates of the
    half-plane. No terms can cancel, unlike with the centre and radius of the arc, which are
    infinite for equal means.

    Args:
        mu_a: Mean of the first, shape (n,).
        log_var_a: Its log sigma², the same shape.
        mu_b: Mean of the last, the same shape.
        log_var_b: Its log sigma², the same shape.
        steps: The number of Gaussians, at least 2, including both ends.

    Returns:
        mu and log_var, both of shape (steps, n).

    Raises:
        InputError: The shapes differ, or there are fewer than two steps.
    """
    a, b, log_var_of_a, log_var_of_b = _vectors(mu_a, mu_b, log_var_a, log_var_b)
    t = _times(steps)
    d = _half_plane_distance(a, log_var_of_a, b, log_var_of_b)
    # Logarithms throughout: sinh overflows for sigma of 1e-160, and 1 / sigma for those of 1e-310.
    from_a = _log_share(1.0 - t, d) - 0.5 * log_var_of_a
    from_b = _log_share(t, d) - 0.5 * log_var_of_b
    log_var = -2.0 * np.logaddexp(from_a, from_b)
    with np.errstate(over="ignore"):
        share = 1.0 / (1.0 + np.exp(from_a - from_b))
    mu = a + share * (b - a)
    mu[0], mu[-1], log_var[0], log_var[-1] = a, b, log_var_of_a, log_var_of_b
    return mu, log_var


def fisher_rao_distance(
    mu_a: ArrayLike, log_var_a: ArrayLike, mu_b: ArrayLike, log_var_b: ArrayLike
) -> float:
    """Return the length of the geodesic from one diagonal Gaussian to another.

    d = √( Σ_i 2 d_i² ), d_i = 2 arcsinh( √((x_a - x_b)² + (y_a - y_b)²) / (2 √(y_a y_b)) ) with
    x = mu / √2, y = sigma: the distance in the half-plane of each dimension.

    Args:
        mu_a: Mean of the first, shape (n,).
        log_var_a: Its log sigma², the same shape.
        mu_b: Mean of the other, the same shape.
        log_var_b: Its log sigma², the same shape.

    Returns:
        The Fisher–Rao distance. It has no unit; for Gaussians close to each other, d² is twice
        their KL divergence in nats.

    Raises:
        InputError: The shapes differ.
    """
    a, b, log_var_of_a, log_var_of_b = _vectors(mu_a, mu_b, log_var_a, log_var_b)
    distances = _half_plane_distance(a, log_var_of_a, b, log_var_of_b)
    return math.sqrt(2.0) * math.hypot(*distances.tolist())


def check_steps(steps: int) -> None:
    """Raise InputError unless there are at least two steps."""
    if steps < 2:
        raise InputError(f"steps is {steps}; expected at least 2: both ends.")


def check_dimension(dim: int, latent_dim: int) -> None:
    """Raise InputError unless there is such a dimension."""
    if not 0 <= dim < latent_dim:
        raise InputError(
            f"there is no dimension {dim}; the model has latent_dim {latent_dim}: expected "
            f"0 to {latent_dim - 1}."
        )


def _half_plane_distance(
    mu_a: _Array, log_var_a: _Array, mu_b: _Array, log_var_b: _Array
) -> _Array:
    """Return the hyperbolic distance in each dimension, shape (n,).

    Only the logarithm of the argument of arcsinh is computed. (y_a - y_b) / (2 √(y_a y_b)) is
    sinh(½ log(y_a / y_b)), which is exact for equal sigmas, too.
    """
    with np.errstate(divide="ignore"):
        across = np.log(np.abs(mu_b - mu_a)) - math.log(2.0 * math.sqrt(2.0))
        across -= 0.25 * (log_var_a + log_var_b)
        up = _log_sinh(0.25 * np.abs(log_var_b - log_var_a))
        half = np.logaddexp(2.0 * across, 2.0 * up) / 2.0
    with np.errstate(over="ignore"):
        near = np.arcsinh(np.exp(half))
        far = half + np.log1p(np.sqrt(1.0 + np.exp(-2.0 * np.maximum(half, 0.0))))
    return np.asarray(2.0 * np.where(half < 0.0, near, far))


def _log_share(t: _Array, d: _Array) -> _Array:
    """Return log( sinh(t d) / sinh d ), log t where d is 0; shapes (steps, 1) and (n,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = _log_sinh(t * d) - _log_sinh(d)
        return np.asarray(np.where(d > 0.0, share, np.log(t)))


def _log_sinh(x: _Array) -> _Array:
    """Return log sinh x for x ≥ 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(x + np.log(-np.expm1(-2.0 * x)) - math.log(2.0))


def _times(steps: int) -> _Array:
    check_steps(steps)
    return np.linspace(0.0, 1.0, steps)[:, None]


def _vectors(*vectors: ArrayLike) -> list[_Array]:
    arrays = [np.asarray(vector, dtype=np.float64) for vector in vectors]
    shapes = [array.shape for array in arrays]
    if len(set(shapes)) != 1 or arrays[0].ndim != 1:
        raise InputError(
            f"the path's ends have shapes {', '.join(map(str, shapes))}; expected the same shape "
            "(n,) for all."
        )
    return arrays
