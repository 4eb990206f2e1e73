"""What the census of a table says about its latent space, and what to do about it.

Pure functions of a :class:`vaeudf.health.census.Census` and of answers to queries; nothing here
reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian import log_prob
from vaeudf.health.census import Census

ACTIVE = 0.01
"""A dimension is active if mu varies more than this over the items (Burda et al., 2016)."""

SLIDER_SHARE = 0.99
"""The slider range of a dimension holds this share of the items' mu."""

ALIKE = 0.04
"""Two posteriors whose Jeffreys divergence is not above this, in nats, cannot be told apart.

Who sees one z, drawn from one of the two at even odds, and guesses from which, is right at most
55 % of the time: the odds of the best guess are ½ + ½ TV, and by Pinsker's inequality 2 TV² is not
above either KL, so TV ≤ ½ √J.
"""

MU_SHARES = (0.5, 0.9, SLIDER_SHARE, 0.999)
SIGMA_SHARES = (0.01, 0.25, 0.5, 0.75, 0.99)
RATE_SHARES = (0.01, 0.5, 0.99)

# A dimension of which the posteriors are farther from the prior than this says something of an
# item, or the encoder does something odd.
_NEAR_PRIOR = 0.05
# More items than this share at one extreme of log_var: that is a clamp, not chance.
_CLAMPED_SHARE, _CLAMPED_ITEMS = 0.01, 10
_CORRELATIONS, _CORRELATED = 10, 0.5
# Of fewer items little can be said.
_FEW = 100
# KL of the aggregate posterior to the prior, per active dimension, above which z from the prior
# often lie where no item is.
_MISMATCH = 0.25


@dataclass(frozen=True)
class Clamp:
    """An extreme of log_var, and how many items are exactly at it.

    Attributes:
        log_var: The extreme.
        items: How many items have it.
        share: The same as a share of all items.
        flagged: Whether that is too many for chance, where log_var varies at all.
    """

    log_var: float
    items: int
    share: float
    flagged: bool


@dataclass(frozen=True)
class Dimension:
    """One latent dimension over all items.

    Attributes:
        number: From 0.
        kl: Mean KL(q(z_i|x) ‖ N(0, 1)) in nats.
        mu_mean: Mean of mu.
        mu_variance: Variance of mu.
        active: Whether mu_variance is above :data:`ACTIVE`.
        mu_reach: a such that these shares of the items have |mu| ≤ a, by share.
        sigma: Quantiles of sigma, by share.
        variance: That of the aggregate posterior: of mu, plus the mean of sigma².
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
        """Whether mu varies more than the posteriors are wide, on however small a scale."""
        return self.mu_variance > self.variance - self.mu_variance

    @property
    def slider_range(self) -> float:
        """A of the range [-a, a] that holds 99 % of the items' mu."""
        return self.mu_reach[SLIDER_SHARE]


@dataclass(frozen=True)
class Health:
    """What is known of a table's latent space.

    Attributes:
        items: How many there are.
        dimensions: One entry each.
        rate: Mean KL(q(z|x) ‖ N(0, I)) over the items, nats per item.
        rate_quantiles: Of the same, by share.
        aggregate_kl: KL of the Gaussian with the aggregate posterior's mean and covariance to
            N(0, I), in nats; NaN where it has none.
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
        """The dimensions that are not active; of one item nobody knows which these are."""
        return [one for one in self.dimensions if not one.active and self.items > 1]

    @property
    def squeezed(self) -> list[Dimension]:
        """Those of the collapsed ones that tell items apart all the same, on a small scale."""
        return [one for one in self.collapsed if one.varies]

    @property
    def slider_range(self) -> float:
        """A of [-a, a] that holds 99 % of the items in each active dimension; else in each."""
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
            i,
            float(kl[i]),
            float(census.moments.mean[i]),
            float(variances[i]),
            bool(variances[i] > ACTIVE),
            {share: float(values[i]) for share, values in reach.items()},
            {share: float(values[i]) for share, values in sigma.items()},
            float(variances[i] + own[i]),
            _clamp(float(ends.low[i]), int(ends.low_count[i]), count, bool(varies[i])),
            _clamp(float(ends.high[i]), int(ends.high_count[i]), count, bool(varies[i])),
        )
        for i in range(census.latent_dim)
    )
    return Health(
        count,
        dimensions,
        float(kl.sum()),
        {share: float(census.rate.quantile(share)[0]) for share in RATE_SHARES},
        gaussian_kl_to_prior(census.moments.mean, covariance + np.diag(own)),
        _correlations(covariance),
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
    # Both ends of one sum: it may come out below 0 by rounding.
    total = np.trace(covariance) + mean @ mean - len(mean) - log_det
    return max(0.0, 0.5 * float(total))


def _clamp(log_var: float, items: int, count: int, varies: bool) -> Clamp:
    share = items / count
    flagged = varies and share > _CLAMPED_SHARE and items >= _CLAMPED_ITEMS
    return Clamp(log_var, items, share, flagged)


def _correlations(covariance: NDArray[np.float64]) -> tuple[tuple[int, int, float], ...]:
    variances = np.diag(covariance)
    # Of what does not vary nothing can be said.
    there = np.flatnonzero(variances > ACTIVE)
    scale = np.sqrt(variances[there])
    found = covariance[np.ix_(there, there)] / np.outer(scale, scale)
    rows, columns = np.triu_indices(len(there), 1)
    values = found[rows, columns]
    order = np.argsort(-np.abs(values), kind="stable")[:_CORRELATIONS]
    return tuple(
        (int(there[rows[i]]), int(there[columns[i]]), float(values[i])) for i in order.tolist()
    )


# ---- outliers


def log_mean_without_self(
    mu: NDArray[np.float64],
    log_var: NDArray[np.float64],
    log_sum_of_others: NDArray[np.float64],
    num_items: int,
) -> NDArray[np.float64]:
    """Return log of the mean of q(mu_c|x') over all items x' but c itself, shape (C,).

    The item's own term is left out, not taken off: an outlier's own posterior is nearly all there
    is at its mu, and what is left of a difference would be rounding.

    Args:
        mu: Of the C items, shape (C, n).
        log_var: Shape (C, n).
        log_sum_of_others: log Σ q(mu_c|x') over the items x' that are none of the C, shape (C,);
            -inf if there are none.
        num_items: N, at least C; of one item alone the result is -inf.
    """
    among = log_prob(mu, mu, log_var)
    np.fill_diagonal(among, -np.inf)
    with np.errstate(divide="ignore"):
        total = np.logaddexp(np.logaddexp.reduce(among, axis=1), log_sum_of_others)
    return np.asarray(total - math.log(max(1, num_items - 1)))


# ---- in words


def warnings_of(health: Health, copies: int = 0) -> list[str]:
    """Return what is wrong with the latent space and what to do, a sentence or two each.

    Args:
        health: What is known of it.
        copies: How many items are in the largest groups of copies.
    """
    found = []
    lifeless = [one for one in health.collapsed if not one.varies]
    silent = [one for one in lifeless if one.kl <= _NEAR_PRIOR]
    stuck = [one for one in lifeless if one.kl > _NEAR_PRIOR]
    if health.items < _FEW:
        are = "is" if health.items == 1 else "are"
        found.append(
            f"There {are} only {_counted(health.items, 'item')}: what follows says little about "
            "the model. Encode more of the catalog."
        )
    if silent:
        are = "is" if len(silent) == 1 else "are"
        theirs = "its slider changes" if len(silent) == 1 else "their sliders change"
        found.append(
            f"{names(silent)} {are} collapsed: {theirs} nothing. Train with fewer dimensions, or "
            "with a smaller beta (or warm it up more slowly) if the pictures lack detail."
        )
    if stuck:
        are = "is" if len(stuck) == 1 else "are"
        found.append(
            f"{names(stuck)} {are} the same for all items, but not as in the prior: this costs "
            f"{sum(one.kl for one in stuck):.2f} nats per item and says nothing of any. Look at "
            "how the encoder states its mean and its variance."
        )
    if health.squeezed:
        found.append(
            f"In {names(health.squeezed)} mu varies by less than {ACTIVE:g}, the usual threshold, "
            "and yet by more than sigma²: items do differ there, on a small scale. Move sliders "
            "within the ranges below, or train with a larger beta."
        )
    for which, end in (("floor", "least"), ("ceiling", "greatest")):
        clamped = [one for one in health.dimensions if getattr(one, which).flagged]
        if clamped:
            worst = max(clamped, key=lambda one: float(getattr(one, which).share))
            clamp = getattr(worst, which)
            cause = "The"
            if clamp.items <= copies:
                cause = (
                    "Where they are copies of one picture, see the near-duplicates, that is all "
                    "there is to it; else the"
                )
            found.append(
                f"Sigma is at its {which} in {names(clamped)}: in {worst.name}, "
                f"{clamp.share:.1%} of the items have exactly the {end} log_var, "
                f"{clamp.log_var:.4g}. {cause} encoder's variance is clamped there; scores of "
                "these items are less sure than they look. Widen the clamp, or train longer."
            )
    fixed = [one for one in health.active if one.floor.log_var == one.ceiling.log_var]
    if fixed:
        found.append(
            f"Sigma is the same for all items in {names(fixed)}: the encoder does not say there "
            "how sure it is, and items rank by the nearest mu. If it should, look at how the "
            "model was exported."
        )
    if math.isnan(health.aggregate_kl) or math.isinf(health.rate):
        found.append(
            "Some numbers are too large or too small to add up: look at the slider ranges and "
            "sigma below for a dimension that is out of all proportion."
        )
    elif health.items >= _FEW and health.aggregate_kl > _MISMATCH * max(1, len(health.active)):
        found.append(
            f"The catalog as a whole is at least {health.aggregate_kl:.2f} nats from the prior "
            f"N(0, I){_mismatch(health)}"
        )
    tight = [pair for pair in health.correlations if abs(pair[2]) > _CORRELATED]
    if tight:
        pairs = ", ".join(f"z{i} and z{j} ({value:+.2f})" for i, j, value in tight[:5])
        found.append(
            f"{pairs} go together over the catalog: to move one slider without the other leads "
            "away from the items."
        )
    return found


def _mismatch(health: Health) -> str:
    """Return which way the aggregate posterior misses the prior, and what to do about it."""
    variances = np.array([one.variance for one in health.dimensions])
    costs = 0.5 * (variances - 1.0 - np.log(variances))
    if costs[variances > 1.0].sum() > 0.5 * health.aggregate_kl:
        return (
            ", and wider: z drawn from the prior show the middle of the catalog only. Give the "
            "sliders the ranges below, or train with a larger beta."
        )
    return (
        ": z drawn from the prior often lie where no item is. Stay within each dimension's own "
        "slider range, or train with a larger beta."
    )


def names(dimensions: Sequence[Dimension]) -> str:
    """Return some dimensions' names as a person would say them: z0, z3 and z7."""
    found = [one.name for one in dimensions]
    if len(found) > 12:
        return f"{', '.join(found[:11])} and {len(found) - 11} more dimensions"
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
