"""What decoding JPEGs at the size that is needed does to a model's posteriors of them.

A model that was trained on pictures decoded in full sees other pixels then. Whether that matters is
a question of its encoder, and is measured on pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian import log_prob

MOST_SIGMAS = 0.05
"""Of a change of mu, at 99 %, that is taken for none: a z at a distance of one sigma from mu then
has a log q(z|x) that is off by at most 0.05 nats a dimension."""

HITS = 10

_QUANTILES = (0.5, 0.99)
# More queries would tell no more, and take (queries, pictures) scores in memory.
_QUERIES = 256

Posteriors = tuple[NDArray[np.float32], NDArray[np.float32]]
"""mu and log_var, both (N, n)."""


@dataclass(frozen=True)
class DraftEffect:
    """How posteriors change when pictures are decoded at the size that is needed.

    Attributes:
        pictures: How many of the pictures have other pixels then; the quantiles are over these, and
            over the n dimensions.
        of: How many pictures there are.
        mu: |Δmu| / sigma, median and 99 %, with the sigma of the picture decoded in full.
        log_var: |Δlog_var|, likewise.
        hits: k = 10, or all others if there are fewer: the pictures with the highest log q(z|x) for
            a z that is the mu of another one.
        kept: How many of these are the same, a mean over z; None if there are no others.
    """

    pictures: int
    of: int
    mu: tuple[float, float]
    log_var: tuple[float, float]
    hits: int
    kept: float | None

    @property
    def is_small(self) -> bool:
        """Whether mu changes by less than `MOST_SIGMAS` at 99 %."""
        return self.mu[1] < MOST_SIGMAS


def measure_draft(
    whole: Posteriors, drafted: Posteriors, differs: NDArray[np.bool_]
) -> DraftEffect:
    """Return how the posteriors of pictures change.

    Args:
        whole: Of the pictures decoded in full.
        drafted: Of the same pictures decoded at the size that is needed.
        differs: Which of them have other pixels then, shape (N,); at least one.
    """
    (mu, log_var), (other_mu, other_log_var) = (
        (one.astype(np.float64), two.astype(np.float64)) for one, two in (whole, drafted)
    )
    sigmas = np.abs(other_mu - mu) / np.exp(0.5 * log_var)
    spread = np.abs(other_log_var - log_var)
    hits = min(HITS, len(mu) - 1)
    return DraftEffect(
        pictures=int(differs.sum()),
        of=len(mu),
        mu=_quantiles(sigmas[differs]),
        log_var=_quantiles(spread[differs]),
        hits=hits,
        kept=_kept(mu[:_QUERIES], (mu, log_var), (other_mu, other_log_var), hits) if hits else None,
    )


def _quantiles(values: NDArray[np.float64]) -> tuple[float, float]:
    median, most = np.quantile(values, _QUANTILES)
    return float(median), float(most)


def _kept(
    z: NDArray[np.float64],
    before: tuple[NDArray[np.float64], NDArray[np.float64]],
    after: tuple[NDArray[np.float64], NDArray[np.float64]],
    k: int,
) -> float:
    """Return how many of the first k items of each z stay; the item of its own row is left out."""
    first, second = (_first(log_prob(z, *items), k) for items in (before, after))
    both = [len(np.intersect1d(*rows)) for rows in zip(first, second, strict=True)]
    return float(np.mean(both))


def _first(scores: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
