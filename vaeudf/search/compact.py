"""Items that are made ready once, for every score and tolerance, in little memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeudf.gaussian.checks import Tolerance
from vaeudf.gaussian.scores import LOG_LIKELIHOOD_BY_QUERY, Score
from vaeudf.gaussian.scores.score import NO_FEATURES
from vaeudf.numerics.boxes import Boxes
from vaeudf.search.kernels import BLOCK, FAN_OUT
from vaeudf.search.nodes import nodes_of_tree
from vaeudf.search.prepared import Prepared, each_log_tau2, prepare, read_only
from vaeudf.search.records import Items
from vaeudf.search.saved import do_not_fit, map_arrays

# Bounds for so many scores and tolerances are kept, at some 5 bytes an item each where n = 10.
_KEPT = 4


class Compact:
    """Items with one filter, that of log_likelihood with tolerances of the queries' own.

    For another score they have its bounds alone: what these let pass is scored by the formula. It
    is for few queries at a time, whose scores and tolerances change all the time. The filter takes
    8n to 8n + 24 bytes an item.
    """

    def __init__(
        self,
        mu: NDArray[Any],
        log_var: NDArray[Any],
        labels: NDArray[np.int64],
        folder: str | None = None,
    ) -> None:
        """Take in items in k-d order.

        Args:
            mu: Means, shape (N, n).
            log_var: log sigma², shape (N, n).
            labels: What a search returns, shape (N,).
            folder: Where :meth:`arrays` were written; unless given, the first search makes them.

        Raises:
            InputError: They are not there, or not those of these items.
        """
        self._given = (np.ascontiguousarray(mu), np.ascontiguousarray(log_var), labels)
        self._made: Prepared | None = None
        self._others: OrderedDict[tuple[Score, Tolerance], Prepared] = OrderedDict()
        self._lock = threading.Lock()
        if folder is not None:
            self._made = _restored(LOG_LIKELIHOOD_BY_QUERY, *self._given, map_arrays(folder))
            if self._made is None:
                raise do_not_fit(folder)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what was made ready, by name."""
        return _stored(self.prepared(LOG_LIKELIHOOD_BY_QUERY, 0.0))

    def prepared(self, score: Score, tolerance: Tolerance) -> Prepared:
        """Return the items, ready for a score."""
        with self._lock:
            if self._made is None:
                self._made = prepare(LOG_LIKELIHOOD_BY_QUERY, *self._given)
            if score is LOG_LIKELIHOOD_BY_QUERY:
                return self._made
            found = self._others.pop((score, tolerance), None)
            if found is None:
                found = _with_bounds_of(self._made, score, tolerance)
            self._others[score, tolerance] = found
            while len(self._others) > _KEPT:
                self._others.popitem(last=False)
            return found


def _with_bounds_of(prepared: Prepared, score: Score, tolerance: Tolerance) -> Prepared:
    """Return the same items for any score and tolerance: with its bounds, but without a filter.

    Args:
        prepared: Items with a tree of boxes, unless there are none.
        score: What to rank by.
        tolerance: tau.
    """
    n = prepared.items.mu.shape[1]
    nodes = prepared.nodes
    if nodes is not None and prepared.boxes is not None:
        nodes = nodes_of_tree(score, tolerance, prepared.boxes, nodes.starts)
    return replace(
        prepared,
        score=score,
        tolerance=tolerance,
        items=prepared.items._replace(
            code=score.code, features=NO_FEATURES, log_tau2=each_log_tau2(tolerance, n)
        ),
        nodes=nodes,
        filtered=False,
    )


def _stored(prepared: Prepared) -> dict[str, NDArray[Any]]:
    """Return what was made ready, by name, for :func:`_restored`; of items with a tree of boxes."""
    items, boxes, nodes = prepared.items, prepared.boxes, prepared.nodes
    assert boxes is not None and nodes is not None
    return {
        "base": items.base,
        "psi": items.psi,
        "centres": items.centres,
        "magnitudes": items.magnitudes,
        "starts": nodes.starts,
        "mu_min": boxes.mu_min,
        "mu_max": boxes.mu_max,
        "log_var_min": boxes.log_var_min,
        "log_var_max": boxes.log_var_max,
    }


def _restored(
    score: Score,
    mu: NDArray[Any],
    log_var: NDArray[Any],
    labels: NDArray[np.int64],
    arrays: dict[str, NDArray[Any]],
) -> Prepared | None:
    """Return items ready for points with tolerances of their own, as they were stored.

    Args:
        score: What they were made ready for, without a tolerance.
        mu: As of :func:`prepare`.
        log_var: As there.
        labels: As there.
        arrays: What :func:`_stored` has returned for these items.

    Returns:
        None if the arrays are not such.
    """
    n = mu.shape[1]
    width = 8 * -(-n // 4)
    num_blocks = -(-len(mu) // BLOCK)
    num_parents = -(-num_blocks // FAN_OUT)
    starts = arrays.get("starts", np.empty(0))
    num_nodes = int(starts[-1]) if starts.ndim == 1 and starts.size else -1
    expected: dict[str, tuple[tuple[int, ...], Any]] = {
        "base": ((num_blocks, BLOCK), np.float32),
        "psi": ((num_blocks, width, BLOCK), np.float32),
        "centres": ((num_parents, 2 * n), np.float64),
        "magnitudes": ((num_parents, width + 1), np.float64),
        "starts": (starts.shape, np.int64),
    }
    bounds = ("mu_min", "mu_max", "log_var_min", "log_var_max")
    expected |= {name: ((num_nodes, n), mu.dtype) for name in bounds}
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if found != expected:
        return None
    items = Items(
        code=score.code,
        features=score.features_for(masked=False),
        log_tau2=each_log_tau2(0.0, n),
        mu=read_only(mu),
        log_var=read_only(log_var),
        labels=labels,
        base=arrays["base"],
        psi=arrays["psi"],
        centres=arrays["centres"],
        magnitudes=arrays["magnitudes"],
        order=np.arange(n),
        cuts=np.empty(0, np.int64),
        bases=np.empty((num_blocks, 0, BLOCK), np.float32),
    )
    boxes = Boxes(*(arrays[name] for name in bounds))
    return Prepared(score, 0.0, items, nodes_of_tree(score, 0.0, boxes, starts), boxes)
