"""Divergences to cluster by, each with its centroid: the Gaussian nearest to a set of Gaussians.

An item is N(mu, diag s), a centroid N(m, diag v); means are over the items of a cluster, and every
formula stands for each latent dimension on its own. A centroid minimises the sum of its items'
divergences from it, so that k-means by any of these lowers its objective at every step.

| name | D(item, centroid) | centroid |
|---|---|---|
| kl | KL(item ‖ centroid) | m = mean mu, v = mean(s + mu²) - m²: the moments of the mixture |
| reverse_kl | KL(centroid ‖ item) | 1/v = mean 1/s, m = v mean(mu/s) |
| jeffreys | KL both ways, added up | the one minimum of a convex function, see below |
| wasserstein2 | W₂² | m = mean mu, sqrt v = mean sqrt s |
| euclidean | ‖mu - m‖² | m = mean mu; v as for kl, which plays no part |

kl and reverse_kl are Bregman divergences of an exponential family, whose centroids are means of the
expectation and of the natural parameters (Banerjee, Merugu, Dhillon and Ghosh, 2005; for Gaussians
Davis and Dhillon, 2006). Wasserstein's is Euclidean in (mu, sigma).

**Jeffreys.** The sum is N/2 [ A(m)/v + B v + mean (mu - m)²/s ] and a constant, with A(m) =
mean(s + (mu - m)²) and B = mean 1/s. For a given m the best v is sqrt(A(m)/B), which leaves
N/2 [ 2 sqrt(B A(m)) + mean (mu - m)²/s ]: the square root of a positive quadratic is convex, and so
is the rest, so there is one minimum. It has no closed form; minimising over v and over m in turn
goes down to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaeudf.clustering import kernels
from vaeudf.errors import InputError
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.gaussian.pairs import kl_of_pairs, sum_over_dims

_Array = NDArray[np.float64]

# Beyond these, sums of squares and of inverse variances could leave float64.
MAX_LOG_VAR = 80.0
MAX_MU = 1e15
_JEFFREYS_STEPS = 200
_PRECISION = 2.0**-40


@dataclass(frozen=True)
class Divergence:
    """A divergence to cluster by.

    Attributes:
        name: Its name.
        code: How the kernels know it.
        num_features: How many numbers per dimension a centroid is made from.
        unit: What it is measured in; empty where it is a square of latent units.
        meaning: Its formula in words, for people.
    """

    name: str
    code: int
    num_features: int
    unit: str
    meaning: str


KL = Divergence("kl", kernels.KL, 2, "nats", "KL(item ‖ centroid)")
REVERSE_KL = Divergence("reverse_kl", kernels.REVERSE_KL, 2, "nats", "KL(centroid ‖ item)")
JEFFREYS = Divergence(
    "jeffreys", kernels.JEFFREYS, 4, "nats", "KL(item ‖ centroid) + KL(centroid ‖ item)"
)
WASSERSTEIN2 = Divergence(
    "wasserstein2", kernels.WASSERSTEIN2, 2, "", "squared 2-Wasserstein distance"
)
EUCLIDEAN = Divergence(
    "euclidean", kernels.EUCLIDEAN, 2, "", "squared Euclidean distance of the means"
)

DIVERGENCES = {d.name: d for d in (KL, REVERSE_KL, JEFFREYS, WASSERSTEIN2, EUCLIDEAN)}


def divergence_named(name: str) -> Divergence:
    """Return the divergence of this name.

    Raises:
        InputError: There is none.
    """
    if name not in DIVERGENCES:
        raise InputError(f"divergence is {name!r}; expected one of {', '.join(DIVERGENCES)}.")
    return DIVERGENCES[name]


@dataclass(frozen=True)
class Ranges:
    """Within what the items lie, per dimension.

    Attributes:
        low_mu: Shape (n,).
        high_mu: Shape (n,).
        low_log_var: Shape (n,).
        high_log_var: Shape (n,).
    """

    low_mu: _Array
    high_mu: _Array
    low_log_var: _Array
    high_log_var: _Array

    @classmethod
    def of(cls, items: Gaussians) -> Ranges:
        """Return the ranges of at least one item."""
        return cls(
            items.mu.min(axis=0),
            items.mu.max(axis=0),
            items.log_var.min(axis=0),
            items.log_var.max(axis=0),
        )

    def join(self, other: Ranges) -> Ranges:
        """Return the ranges of both sets of items together."""
        return Ranges(
            np.minimum(self.low_mu, other.low_mu),
            np.maximum(self.high_mu, other.high_mu),
            np.minimum(self.low_log_var, other.low_log_var),
            np.maximum(self.high_log_var, other.high_log_var),
        )

    def of_features(self, divergence: Divergence) -> _Array:
        """Return the largest absolute values of a divergence's features, (F, n)."""
        # A centroid's mean lies between the items', but for its rounding.
        gap = (self.high_mu - self.low_mu) * 1.001
        largest, inverse = np.exp(self.high_log_var), np.exp(-self.low_log_var)
        if divergence == WASSERSTEIN2:
            bounds = [gap, np.sqrt(largest)]
        elif divergence == REVERSE_KL:
            bounds = [inverse, gap * inverse]
        else:
            bounds = [gap, gap**2 + largest]
        if divergence == JEFFREYS:
            bounds += [inverse, gap * inverse]
        return np.stack(bounds)

    def of_features_that_matter(self, divergence: Divergence) -> _Array:
        """Return what a divergence's features may be off by, (F, n).

        A mean is known to a small part of the narrowest sigma there is, and a mean of variances, or
        of their inverses, to the same part of the least of them.
        """
        least, inverse = np.exp(self.low_log_var), np.exp(-self.high_log_var)
        if divergence == WASSERSTEIN2:
            sizes = [np.sqrt(least), np.sqrt(least)]
        elif divergence == REVERSE_KL:
            sizes = [inverse, np.sqrt(inverse)]
        else:
            sizes = [np.sqrt(least), least]
        if divergence == JEFFREYS:
            sizes += [inverse, np.sqrt(inverse)]
        return _PRECISION * np.stack(sizes)

    def of_divergence_that_matters(self, divergence: Divergence) -> float:
        """Return what a divergence may be off by: of nats, or of the least variance there is."""
        squared = divergence in (WASSERSTEIN2, EUCLIDEAN)
        return _PRECISION * (float(np.exp(self.low_log_var.min())) if squared else 1.0)

    def of_divergence(self, divergence: Divergence) -> float:
        """Return what no item's divergence from a centroid within the ranges exceeds."""
        gap2 = ((self.high_mu - self.low_mu) * 1.001) ** 2
        largest, inverse = np.exp(self.high_log_var), np.exp(-self.low_log_var)
        if divergence == EUCLIDEAN:
            return float(gap2.sum())
        if divergence == WASSERSTEIN2:
            return float((gap2 + largest).sum())
        # A moment-matched variance exceeds the items' by the spread of their means.
        span = self.high_log_var - self.low_log_var + np.log1p(gap2 * inverse)
        return float(((gap2 + largest + gap2) * inverse + span + 1.0).sum())


def as_measured(items: Gaussians, divergence: Divergence) -> Gaussians:
    """Return items without what a divergence does not see; equal ones are then at 0."""
    if divergence == EUCLIDEAN:
        return Gaussians(items.mu, np.zeros_like(items.log_var))
    return items


class Prepared(NamedTuple):
    """Items as the kernels read them.

    Attributes:
        mu: Means, (N, n).
        spread: Variances; for ``wasserstein2`` sigmas, (N, n).
        log_var: log sigma², (N, n).
    """

    mu: _Array
    spread: _Array
    log_var: _Array


def prepare(items: Gaussians, divergence: Divergence) -> Prepared:
    """Return items as the kernels read them."""
    return Prepared(items.mu, _spreads(items, divergence), items.log_var)


def _spreads(items: Gaussians, divergence: Divergence) -> _Array:
    return np.exp(0.5 * items.log_var if divergence == WASSERSTEIN2 else items.log_var)


def nearest_centroids(
    items: Prepared, centroids: Gaussians, divergence: Divergence
) -> tuple[NDArray[np.int32], _Array, _Array]:
    """Return each item's nearest centroid, its divergence from it, and from the next one.

    Args:
        items: N of them.
        centroids: k of them.
        divergence: What to measure by; squares for ``wasserstein2`` and ``euclidean``.

    Returns:
        Three arrays (N,): the first of several nearest; divergences never below 0; infinite where
        there is no next one.
    """
    count = len(items.mu)
    found, best, second = np.empty(count, np.int32), np.empty(count), np.empty(count)
    spreads = _spreads(centroids, divergence)
    packed = np.stack([centroids.mu, spreads, 1.0 / spreads])
    offsets = centroids.log_var.sum(axis=1)
    kernels.nearest(divergence.code, *items, packed, offsets, found, best, second)
    return found, best, second


def to_centroids(
    divergence: Divergence, means: _Array, pivots: Gaussians, least_log_var: _Array
) -> Gaussians:
    """Return the centroids of clusters.

    Args:
        divergence: Whose.
        means: Of the features over each cluster's items, (k, F, n); the means mu are counted from
            the pivots'.
        pivots: The centroids so far, where the search for Jeffreys' begins; k of them.
        least_log_var: The items' least log sigma², (n,). No moment-matched variance is below it,
            but rounding can say so if the pivot is very far from all items of a cluster.
    """
    first, second = means[:, 0], means[:, 1]
    if divergence == REVERSE_KL:
        return Gaussians(pivots.mu + second / first, -np.log(first))
    if divergence == WASSERSTEIN2:
        return Gaussians(pivots.mu + first, 2.0 * np.log(second))
    if divergence == JEFFREYS:
        shift, log_var = _jeffreys_centroids(means, pivots.log_var, least_log_var)
        return Gaussians(pivots.mu + shift, log_var)
    return Gaussians(pivots.mu + first, _log_variances(first, second, least_log_var))


def _log_variances(mean: _Array, square: _Array, least_log_var: _Array) -> _Array:
    return np.log(np.maximum(square - np.square(mean), np.exp(least_log_var)))


def _jeffreys_centroids(
    means: _Array, log_var: _Array, least_log_var: _Array
) -> tuple[_Array, _Array]:
    mean, square, inverse, weighted = (means[:, i] for i in range(4))
    # What is best for the centroid's present v comes first: neither step then ever goes up.
    v, least = np.exp(log_var), np.exp(least_log_var)
    shift = np.zeros_like(mean)
    for _ in range(_JEFFREYS_STEPS):
        before = shift
        shift = (mean / v + weighted) / (1.0 / v + inverse)
        spread = np.maximum(square - 2.0 * shift * mean + np.square(shift), least)
        v = np.sqrt(spread / inverse)
        if np.allclose(shift, before, rtol=1e-13, atol=0.0, equal_nan=True):
            break
    return shift, np.log(v)


def divergence_of_pairs(
    items: Gaussians, centroids: Gaussians, divergence: Divergence
) -> NDArray[np.float64]:
    """Return the divergence of each item from its own centroid, both N long: (N,).

    Squares for ``wasserstein2`` and ``euclidean``, as everywhere in clustering.
    """
    gap2 = np.square(items.mu - centroids.mu)
    if divergence == EUCLIDEAN:
        return sum_over_dims(gap2)
    if divergence == WASSERSTEIN2:
        sigmas = np.exp(0.5 * items.log_var) - np.exp(0.5 * centroids.log_var)
        return sum_over_dims(gap2 + np.square(sigmas))
    forward = kl_of_pairs(items.mu, items.log_var, centroids.mu, centroids.log_var)
    if divergence == KL:
        return forward
    backward = kl_of_pairs(centroids.mu, centroids.log_var, items.mu, items.log_var)
    return backward if divergence == REVERSE_KL else forward + backward


def medoid_targets(
    divergence: Divergence, means: _Array, pivots: Gaussians, least_log_var: _Array
) -> list[tuple[Divergence, Gaussians]]:
    """Return what an item must be nearest to, in sum, to be its cluster's medoid.

    The medoid is the item y from which the items x of its cluster diverge least in total. For a
    Bregman divergence, Σ_x D(x, y) = Σ_x D(x, c) + N D(c, y) with c the mean of the x (Banerjee
    et al., 2005, equation 2.3), so it is the y with the least D(c, y). For KL(x ‖ y) that c is the
    moment-matched Gaussian, and D(c, y) = KL(c ‖ y); for KL(y ‖ x) it is the one with the mean
    natural parameters; for Jeffreys the sum of both; for squared distances the mean.

    Args:
        divergence: What was clustered by.
        means: Of the features over each cluster's items, (k, F, n).
        pivots: What their means are counted from.
        least_log_var: As for :func:`to_centroids`.
    """
    if divergence == JEFFREYS:
        matched = to_centroids(KL, means[:, :2], pivots, least_log_var)
        natural = to_centroids(REVERSE_KL, means[:, 2:], pivots, least_log_var)
        return [(REVERSE_KL, matched), (KL, natural)]
    centre = to_centroids(divergence, means, pivots, least_log_var)
    opposite = {KL.code: REVERSE_KL, REVERSE_KL.code: KL}
    return [(opposite.get(divergence.code, divergence), centre)]
