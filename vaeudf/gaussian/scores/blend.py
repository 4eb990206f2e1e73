"""What blends are ranked by: log densities, or divergences, weighted and added up.

A blend (:mod:`vaeudf.gaussian.blends`) reaches the search as numbers (Q, 2n): centres and slopes in
place of the means, second moments and weights in place of the log variances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.gaussian.densities import LOG_2PI
from vaeudf.gaussian.scores.kl import KL
from vaeudf.gaussian.scores.lines import lines_above
from vaeudf.gaussian.scores.log_likelihood import LOG_LIKELIHOOD
from vaeudf.gaussian.scores.score import BoxTerms, QueryTerms, Score

_Array = NDArray[np.float64]
# The bounds in float32 hold steeper slopes for this one, which is too low where t is below 0.
_STEEPEST = -1e29


@dataclass(frozen=True, kw_only=True)
class _Blend(Score):
    """A weighted sum over members, with the features of a log density."""

    between_gaussians: bool = False
    unit: str = "nats"
    blends: bool = True

    def query_terms(self, mu: _Array, log_var: _Array) -> QueryTerms:
        n = mu.shape[1] // 2
        # Nothing bounds a blend without a mean, and no filter takes such a spread.
        without_mean = log_var[:, n:] != 1
        spread = np.where(without_mean, -np.inf, log_var[:, :n])
        return QueryTerms(mu[:, :n].copy(), spread, None, np.zeros(len(mu)))

    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        lines = lines_above(log_low, log_high)
        lines[:, :, ::2] -= 0.5 * LOG_2PI
        steep = ~(lines[:, :, 1::2] > _STEEPEST)
        lines[:, :, ::2][steep] = np.inf
        return BoxTerms(forward=lines, cancelled=log_low.shape[1] * LOG_2PI)


_SCORES = {
    "log_likelihood": _Blend(
        name="log_likelihood",
        code=10,
        reference=LOG_LIKELIHOOD.reference,
        ascending=False,
        is_log_density=True,
        features=LOG_LIKELIHOOD.features,
    ),
    "kl": _Blend(
        name="kl",
        code=10,
        reference=KL.reference,
        ascending=True,
        features=LOG_LIKELIHOOD.features,
    ),
}


def blend_score(name: str | None, *, gaussian: bool) -> Score:
    """Return the score that blends are ranked by.

    Args:
        name: ``log_likelihood`` or ``kl``; None for ``kl`` if all members are Gaussians.
        gaussian: Whether all members are Gaussians.

    Raises:
        InputError: Blends have no such score, or members are points and it is between Gaussians.
    """
    name = ("kl" if gaussian else "log_likelihood") if name is None else name
    if name not in _SCORES:
        raise InputError(
            f"score {name} is not for blends; choose log_likelihood, or kl if all members are "
            "Gaussians."
        )
    if name == "kl" and not gaussian:
        raise InputError(
            "score kl is between Gaussians, but members of the blend are points z; choose "
            "log_likelihood, or give Gaussians alone."
        )
    return _SCORES[name]
