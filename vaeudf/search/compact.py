"""Items that are made ready once, for every score and tolerance, in little memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.scores import LOG_LIKELIHOOD_BY_QUERY, Score
from vaeudf.search.prepared import Prepared, prepare, with_bounds_of

# Bounds for so many scores and tolerances are kept, at some 5 bytes an item each where n = 10.
_KEPT = 4


class Compact:
    """Items with one filter, that of log_likelihood with tolerances of the queries' own.

    For another score they have its bounds alone: what these let pass is scored by the formula. It
    is for few queries at a time, whose scores and tolerances change all the time. The filter takes
    8n to 8n + 24 bytes an item.
    """

    def __init__(self, mu: NDArray[Any], log_var: NDArray[Any], labels: NDArray[np.int64]) -> None:
        """Take in items in k-d order; they are made ready by the first search."""
        self._given = (mu, log_var, labels)
        self._made: Prepared | None = None
        self._others: OrderedDict[tuple[Score, Tolerance], Prepared] = OrderedDict()
        self._lock = threading.Lock()

    def prepared(self, score: Score, tolerance: Tolerance) -> Prepared:
        """Return the items, ready for a score."""
        with self._lock:
            if self._made is None:
                self._made = prepare(LOG_LIKELIHOOD_BY_QUERY, *self._given)
            if score is LOG_LIKELIHOOD_BY_QUERY:
                return self._made
            found = self._others.pop((score, tolerance), None)
            if found is None:
                found = with_bounds_of(self._made, score, tolerance)
            self._others[score, tolerance] = found
            while len(self._others) > _KEPT:
                self._others.popitem(last=False)
            return found
