"""Exact top-k: the best items of each query, score descending, then id ascending."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaeudf.errors import InputError
from vaeudf.gaussian import check_shapes, log_prob

# Scores of one block of queries times one block of items: 2M float64, 16 MB, so that the score
# matrix and log_prob's scratch stay near the cache and a task's memory does not depend on N.
_QUERIES_PER_BLOCK = 256
_PAIRS_PER_BLOCK = 2**21


class TopK:
    """The running top-k of Q queries over items that arrive in blocks.

    The result does not depend on how the items are cut into blocks or in which order the
    blocks arrive.

    Attributes:
        ids: Ids of the best items so far, shape (Q, m), m = min(k, items seen); best first.
        scores: Their scores, shape (Q, m).
    """

    def __init__(self, num_queries: int, k: int, id_dtype: type[Any] = np.int64) -> None:
        """Start with no items; ``id_dtype`` is ``np.int64`` or ``object`` (for strings)."""
        self.k = check_k(k)
        self.ids: NDArray[Any] = np.empty((num_queries, 0), dtype=id_dtype)
        self.scores = np.empty((num_queries, 0))

    def update(self, ids: NDArray[Any], scores: NDArray[np.float64]) -> None:
        """Take in a block of items.

        Args:
            ids: Shape (B,), ids not seen before.
            scores: Shape (Q, B).
        """
        num_queries = len(self.scores)
        block_ids = np.broadcast_to(ids, (num_queries, len(ids)))
        self.merge(block_ids, scores)

    def merge(self, ids: NDArray[Any], scores: NDArray[np.float64]) -> None:
        """Take in candidates that differ by query: ids and scores both of shape (Q, B)."""
        seen = self.scores.shape[1]
        all_scores = np.concatenate([self.scores, scores], axis=1)
        num_queries, count = all_scores.shape
        keep = min(self.k, count)
        if num_queries == 0 or keep == 0:
            return
        # Everything at or above the k-th score, ties included: few columns per query are left
        # to be sorted exactly, unless the items are all alike.
        floor = np.partition(all_scores, count - keep, axis=1)[:, count - keep, None]
        rows, columns = np.nonzero(all_scores >= floor)
        old = columns < seen
        candidate_ids = np.empty(len(rows), dtype=self.ids.dtype)
        candidate_ids[old] = self.ids[rows[old], columns[old]]
        candidate_ids[~old] = ids[rows[~old], columns[~old] - seen]
        candidate_scores = all_scores[rows, columns]

        # lexsort cannot compare Python strings; their ranks order the same way.
        _, id_ranks = np.unique(candidate_ids, return_inverse=True)
        order = np.lexsort((id_ranks, -candidate_scores, rows))
        starts = np.searchsorted(rows, np.arange(num_queries))
        best = order[starts[:, None] + np.arange(keep)]
        self.ids = candidate_ids[best]
        self.scores = candidate_scores[best]


def score_into(
    running: TopK,
    z: NDArray[np.float64],
    ids: NDArray[Any],
    mu: NDArray[Any],
    log_var: NDArray[Any],
) -> None:
    """Score items by log q(z|x) in cache-sized blocks and fold them into ``running``.

    Args:
        running: The top-k of the Q queries.
        z: Queries, shape (Q, n).
        ids: Shape (N,).
        mu: Shape (N, n).
        log_var: Shape (N, n).
    """
    step = max(1, _PAIRS_PER_BLOCK // max(1, len(z)))
    for start in range(0, len(ids), step):
        block = slice(start, start + step)
        running.update(ids[block], log_prob(z, mu[block], log_var[block]))


def nearest(
    z: ArrayLike, mu: ArrayLike, log_var: ArrayLike, k: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the k items with the highest log q(z|x) for every query, exactly.

    Equal scores are ordered by index.

    >>> import numpy as np
    >>> indices, scores = nearest([[0.0, 0.0]], np.eye(2), np.zeros((2, 2)), k=1)
    >>> indices.tolist(), scores.round(3).tolist()
    ([[0]], [[-2.338]])

    Args:
        z: Queries, shape (Q, n), or (n,) for one.
        mu: Means, shape (N, n).
        log_var: log sigma², shape (N, n).
        k: How many items per query. If there are only N < k, all N come back, with a warning.

    Returns:
        Row numbers of mu, shape (Q, k) int64, best first, and their log densities in nats,
        shape (Q, k) float64.

    Raises:
        InputError: Shapes that do not fit, a number that is not finite, or k < 1.
    """
    queries, means, log_vars = check_shapes(z, mu, log_var)
    for name, array in (("z", queries), ("mu", means), ("log_var", log_vars)):
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            raise InputError(
                f"{name} has a NaN or infinite value in row {bad[0]} "
                f"({bad.size} such rows of {len(array)}); expected finite numbers only."
            )
    count = len(means)
    if check_k(k) > count:
        warnings.warn(f"k = {k} but there are only {count} items: returning all.", stacklevel=2)
    ids = np.arange(count)
    indices = np.empty((len(queries), min(k, count)), dtype=np.int64)
    scores = np.empty(indices.shape)
    for start in range(0, len(queries), _QUERIES_PER_BLOCK):
        group = slice(start, start + _QUERIES_PER_BLOCK)
        running = TopK(len(queries[group]), k)
        score_into(running, queries[group], ids, means, log_vars)
        indices[group], scores[group] = running.ids, running.scores
    return indices, scores


def check_k(k: int) -> int:
    """Return k, or raise InputError if it is below 1 or no whole number."""
    if not isinstance(k, (int, np.integer)):
        raise InputError(f"k is {k!r}; expected a whole number.")
    if k < 1:
        raise InputError(f"k is {k}; expected at least 1.")
    return k
