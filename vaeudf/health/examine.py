"""What the census of a table says about its latent space, dimension by dimension and as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.health.census import Census

ACTIVE = 0.01
"""A dimension is active if mu varies more than this over the items (Burda et al., 2016)."""

SLIDER_SHARE = 0.99
"""The slider range of a dimension holds this share of the items' mu."""

MU_SHARES = (0.5, 0.9, SLIDER_SHARE, 0.999)
SIGMA_SHARES = (0.01, 0.25, 0.5, 0.75, 0.99)
RATE_SHARES = (0.01, 0.5, 0.99)

# More items than this at one extreme of log_var are there because of a clamp, not by chance.
_CLAMPED_SHARE, _CLAMPED_ITEMS = 0.01, 10
_CORRELATIONS = 10


@dataclass(frozen=True)
class Clamp:
    """An extreme of log_var, and how many items are exactly at it.

    Attributes:
        log_var: The extreme.
        items: How many items have it.
        share: The same as a share of all items.
        flagged: Whether that is too many for chance; never where log_var does not vary.
    """

    log_var: float
    items: int
    share: float
    flagged: bool


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One latent dimension over all items.

    Attributes:
        number: From 0.
        kl: Mean KL(q(z_i|x) ‖ N(0, 1)) in nats.
        mu_mean: Mean of mu.
        mu_variance: Variance of mu.
        active: Whether mu_variance is above :data:`ACTIVE`.
        mu_reach: By share of the items, the a with |mu| ≤ a for that share.
        sigma: Quantiles of sigma, by share.
        variance: Variance of the aggregate posterior: that of mu plus the mean of sigma².
        floor: The least log_var.
        ceiling: The greatest log_var.
    """

    number: int
    kl: float
    mu_mean: float
    mu_variance: float
    active: bool
    mu_reach: dict[float, float]
    sigma: dict[float, float]
    variance: float
    floor: Clamp
    ceiling: Clamp

    @property
    def name(self) -> str:
        """What it is called, such as z0."""
        return f"z{self.number}"

    @property
    def varies(self) -> bool:
        """Whether mu varies more than sigma does on average, on however small a scale."""
        return self.mu_variance > self.variance - self.mu_variance

    @property
    def slider_range(self) -> float:
        """The a whose range [-a, a] holds 99 % of the items' mu."""
        return self.mu_reach[SLIDER_SHARE]


@dataclass(frozen=True, kw_only=True)
class Health:
    """What is known of a table's latent space.

    Attributes:
        items: How many there are.
        dimensions: One entry each.
        rate: Mean KL(q(z|x) ‖ N(0, I)) over the items, nats per item.
        rate_quantiles: Quantiles of the same, by share.
        aggregate_kl: KL of the Gaussian with the aggregate posterior's mean and covariance to
            N(0, I), in nats; NaN if the covariance has no inverse.
        correlations: The largest between the mu of two dimensions: (i, j, correlation).
    """

    items: int
    dimensions: tuple[Dimension, ...]
    rate: float
    rate_quantiles: dict[float, float]
    aggregate_kl: float
    correlations: tuple[tuple[int, int, float], ...]

    @property
    def active(self) -> list[Dimension]:
        """The dimensions that tell items apart."""
        return [one for one in self.dimensions if one.active]

    @property
    def collapsed(self) -> list[Dimension]:
        """The dimensions that are not active; none of a single item, which shows no variance."""
        return [one for one in self.dimensions if not one.active and self.items > 1]

    @property
    def squeezed(self) -> list[Dimension]:
        """The collapsed dimensions that tell items apart all the same, on a small scale."""
        return [one for one in self.collapsed if one.varies]

    @property
    def slider_range(self) -> float:
        """The a whose range [-a, a] holds 99 % of the items in every active dimension.

        In every dimension if none is active.
        """
        return max(one.slider_range for one in self.active or self.dimensions)


def examine(census: Census) -> Health:
    """Return what the census of at least one item says."""
    count = census.count
    if count == 0:
        raise ValueError("a census without items")
    covariance = census.moments.covariance
    variances = np.diag(covariance)
    own = census.variance_sum / count
    kl = census.kl_sum / count
    reach = {share: census.mu.reach(share) for share in MU_SHARES}
    sigma = {share: census.sigma.quantile(share) for share in SIGMA_SHARES}
    ends = census.log_var
    varies = ends.low < ends.high
    dimensions = tuple(
        Dimension(
            number=i,
            kl=float(kl[i]),
            mu_mean=float(census.moments.mean[i]),
            mu_variance=float(variances[i]),
            active=bool(variances[i] > ACTIVE),
            mu_reach={share: float(values[i]) for share, values in reach.items()},
            sigma={share: float(values[i]) for share, values in sigma.items()},
            variance=float(variances[i] + own[i]),
            floor=_clamp(ends.low[i], ends.low_count[i], count=count, varies=varies[i]),
            ceiling=_clamp(ends.high[i], ends.high_count[i], count=count, varies=varies[i]),
        )
        for i in range(census.latent_dim)
    )
    return Health(
        items=count,
        dimensions=dimensions,
        rate=float(kl.sum()),
        rate_quantiles={share: float(census.rate.quantile(share)[0]) for share in RATE_SHARES},
        aggregate_kl=gaussian_kl_to_prior(census.moments.mean, covariance + np.diag(own)),
        correlations=_correlations(covariance),
    )


def gaussian_kl_to_prior(mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    """Return KL(N(mean, covariance) ‖ N(0, I)) in nats; NaN if the covariance has no inverse.

    ½ (tr S + mᵀm - n - log det S) (Kullback and Leibler, 1951).

    Args:
        mean: m, shape (n,).
        covariance: S, shape (n, n).
    """
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        return math.nan
    sign, log_det = np.linalg.slogdet(covariance)
    if sign <= 0:
        return math.nan
    # The true value is at least 0, but rounding may take the sum below it.
    total = np.trace(covariance) + mean @ mean - len(mean) - log_det
    return max(0.0, 0.5 * float(total))


def _clamp(log_var: np.float64, items: np.int64, *, count: int, varies: np.bool_) -> Clamp:
    share = float(items / count)
    return Clamp(
        log_var=float(log_var),
        items=int(items),
        share=share,
        flagged=bool(varies and share > _CLAMPED_SHARE and items >= _CLAMPED_ITEMS),
    )


def _correlations(covariance: NDArray[np.float64]) -> tuple[tuple[int, int, float], ...]:
    variances = np.diag(covariance)
    # A dimension that does not vary has no correlations.
    there = np.flatnonzero(variances > ACTIVE)
    scale = np.sqrt(variances[there])
    found = covariance[np.ix_(there, there)] / np.outer(scale, scale)
    rows, columns = np.triu_indices(len(there), 1)
    values = found[rows, columns]
    order = np.argsort(-np.abs(values), kind="stable")[:_CORRELATIONS]
    return tuple(
        (int(there[rows[i]]), int(there[columns[i]]), float(values[i])) for i in order.tolist()
    )
