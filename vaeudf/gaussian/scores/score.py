"""What a score is: all that the search, the queries and the pages know of one.

The search works with *values*, of which higher is nearer: the log-likelihood itself, minus a
divergence, minus half a squared distance. A score says how its own numbers become values, and,
so that not every pair has to be scored by the formula,

- which products of a number of the item and one of the query add up to the value (the *features*),
- which straight lines bound the value over a box of items.

Both are optional: without features every item that the bounds let pass is scored by the formula,
and without bounds every item is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.gaussian.variances import blurred, sigma

_Array = NDArray[np.float64]


class Features(NamedTuple):
    """Which products the filter adds up for a score, dimension by dimension.

    With x the item's coordinate, s its variance and p = 1 / s; y the query's coordinate, v its
    variance and w = 1 / v; a value is a constant of the query plus the sum over the dimensions of

        forward     -½ p (x - y)² - ½ p v
        backward    -½ w (x - y)² - ½ w s
        log_volume · log s + constant

    or, where the two variances are added, of

        added       -½ [ added (x - y)² / (s + v) + log(s + v) ]
        log_volume · log s + constant

    The compiled loops read this record (:mod:`vaeudf.search.kernels`).

    Attributes:
        forward: Whether there are forward terms.
        weighted: Whether p is 1 / s in these, and not 1.
        backward: Whether there are backward terms.
        log_volume: What log s is multiplied by.
        constant: What each dimension adds.
        with_sigma: Whether items are points (mu, sigma) with 2n coordinates, and not mu alone.
        masked: Whether queries may leave dimensions open: what an item adds to a dimension whatever
            the query is, is then a product of its own, which such a query multiplies by 0.
        added: What the squared distance over the added variances is multiplied by; 0 if they are
            not added. It is no sum of products, and the filter has a loop of its own for it.
    """

    forward: bool = False
    weighted: bool = False
    backward: bool = False
    log_volume: float = 0.0
    constant: float = 0.0
    with_sigma: bool = False
    masked: bool = False
    added: float = 0.0

    @property
    def per_coordinate(self) -> int:
        """How many numbers the filter reads for each coordinate; 0 if there is no filter."""
        return 2 * (self.forward + self.backward + (self.added > 0)) + self.masked


NO_FEATURES = Features()


@dataclass(frozen=True)
class QueryTerms:
    """What the features and bounds take from queries with d coordinates.

    Attributes:
        points: The coordinates y, shape (Q, d).
        spread: The variances v that forward terms add to squared distances, or that are added to
            the items' variances, shape (Q, d); None if there are none.
        weights: The w of backward terms, shape (Q, d); None if there are none.
        constant: What the value has beyond the terms, shape (Q,).
    """

    points: _Array
    spread: _Array | None
    weights: _Array | None
    constant: _Array


@dataclass(frozen=True)
class BoxTerms:
    """What bounds the terms of a value over each of B boxes of items, from above.

    The bound of a value is the sum of the terms that are given, without the query's constant. If
    none is given, the value has no bound. Lines are three (intercept, slope) per coordinate, the
    highest of which counts.

    Attributes:
        forward: Lines in t = squared distance to the box + v, shape (B, d, 6).
        backward: Lines in w, to which -½ w times the squared distance is added, shape (B, d, 6).
        log_variances: Logs of the least and of the largest variance s, each of shape (B, d), for
            the bound of what features with added variances add up.
        cancelled: What may have cancelled in the intercepts of one box, in absolute value.
    """

    forward: _Array | None = None
    backward: _Array | None = None
    log_variances: tuple[_Array, _Array] | None = None
    cancelled: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score that items can be ranked by.

    Attributes:
        name: Its name, and that of its column in a result.
        code: Its number in the compiled loops, which have its formula
            (``exact_value`` in :mod:`vaeudf.search.kernels`).
        reference: Its formula in float64, for all pairs: takes z, or query_mu and query_log_var,
            then mu, log_var and tolerance; see :mod:`vaeudf.gaussian`.
        between_gaussians: Whether a query is a Gaussian, and not a point z.
        ascending: Whether lower is nearer.
        distance: Whether the value is minus half its square.
        unit: What it is measured in; empty for distances.
        sees_variance: Whether the items' variances matter. Where they do, a tolerance tau adds tau²
            to them, and to those of Gaussian queries; where not, it changes nothing.
        is_log_density: Whether it is log q(z|x), which can be explained by dimensions and added up
            over all items.
        blends: Whether a query is a blend (:mod:`vaeudf.gaussian.blends`).
        features: The products of the filter.
    """

    name: str
    code: int
    reference: Callable[..., _Array]
    between_gaussians: bool
    ascending: bool
    distance: bool = False
    unit: str
    sees_variance: bool = True
    is_log_density: bool = False
    blends: bool = False
    features: Features = NO_FEATURES

    def from_values(self, values: _Array) -> _Array:
        """Return the scores that people see, from values."""
        # 0 - x and not -x: no score is -0.0.
        if self.distance:
            return np.sqrt(0.0 - 2.0 * values)
        return 0.0 - values if self.ascending else values

    def to_value(self, score: float) -> float:
        """Return the value of a score; inf for a distance below 0, which nothing can have."""
        if self.distance:
            return -0.5 * score * score if score >= 0 else math.inf
        return -score if self.ascending else score

    def blurred(self, log_var: NDArray[np.floating], tolerance: ArrayLike) -> _Array:
        """Return log variances, shape (…, n), as the score sees them with a tolerance."""
        if not self.sees_variance:
            return np.asarray(log_var, np.float64)
        return blurred(log_var, tolerance)

    def points(self, mu: NDArray[np.floating], log_var: _Array) -> _Array:
        """Return the coordinates of Gaussians in the score's own space.

        Coordinates never fall where mu or log_var rises, so boxes become boxes.

        Args:
            mu: Means, shape (N, n).
            log_var: log variances with the tolerance, shape (N, n).

        Returns:
            Coordinates, shape (N, d): d = n, or 2n if ``features.with_sigma``.
        """
        means = np.asarray(mu, np.float64)
        if not self.features.with_sigma:
            return means
        return np.concatenate([means, sigma(log_var)], axis=1)

    def features_for(self, *, masked: bool) -> Features:
        """Return the products of the filter for queries that may leave dimensions open, or not.

        Open dimensions are those of points z.
        """
        return self.features._replace(masked=masked and self.features.forward)

    def query_terms(self, mu: _Array, log_var: _Array) -> QueryTerms:
        """Return what the features and bounds take from queries.

        Args:
            mu: z, or the means of Gaussian queries, shape (Q, n).
            log_var: log variances with the tolerance, shape (Q, n); zeros for points.
        """
        return QueryTerms(self.points(mu, log_var), None, None, np.zeros(len(mu)))

    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        """Return what bounds the value over boxes.

        Args:
            log_low: The least log variances with the tolerance, shape (B, n).
            log_high: The greatest.
        """
        return BoxTerms()

    def rounding(self, highest: _Array) -> _Array:
        """Return by how much float64's rounding of coordinates may change the value.

        Args:
            highest: The highest coordinates in each of B boxes, shape (B, d).

        Returns:
            Shape (B,).
        """
        return np.zeros(len(highest))
