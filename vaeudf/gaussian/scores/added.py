"""Scores in which the query's variances are added to the item's before anything is divided by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.scores.score import BoxTerms, QueryTerms, Score

_Array = NDArray[np.float64]


class AddedVariances(Score):
    """log N(m; mu, v + s), or what has the same terms besides what the query alone adds."""

    def query_terms(self, mu: _Array, log_var: _Array) -> QueryTerms:
        """Return the means, and the variances to add."""
        with np.errstate(over="ignore"):
            return QueryTerms(mu, np.exp(log_var), None, self.constant(log_var))

    def constant(self, log_var: _Array) -> _Array:
        """Return what the query's variances add besides, shape (Q,).

        Args:
            log_var: log variances of the queries, shape (Q, n).
        """
        return np.zeros(len(log_var))

    def box_terms(self, log_low: _Array, log_high: _Array) -> BoxTerms:
        """Return the least and the largest variances."""
        return BoxTerms(log_variances=(log_low, log_high))
