"""Hits that depend on each other, for searches in memory: more candidates until there are k."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.gaussian.scores import LOG_LIKELIHOOD_BY_QUERY
from vaeudf.search import engine
from vaeudf.search.arguments import Asked
from vaeudf.search.prepared import Prepared, take_queries
from vaeudf.search.records import Queries
from vaeudf.search.selection import FIRST, GROWTH, Choice, Selection

# So many candidates are held at a time, of as many queries as that makes.
_PAIRS = 2**22


@dataclass(frozen=True)
class Rule:
    """A selection, and what it is given.

    Attributes:
        selection: The selection.
        asked: The queries.
        candidates: How many candidates it chooses from; None for as many as it needs.
    """

    selection: Selection
    asked: Asked
    candidates: int | None

    def choose(
        self, values: NDArray[np.float64], mu: NDArray[Any], log_var: NDArray[Any]
    ) -> NDArray[np.int64]:
        """Return which of one query's candidates are its hits, in the order of their ranks.

        Args:
            values: What the search ranks them by, best first, shape (m,).
            mu: Their means, shape (m, n).
            log_var: log sigma² of them, shape (m, n).
        """
        score = self.asked.score
        scores = score.from_values(values)
        merits = -scores if score.ascending else scores
        return self.selection.choose(mu.astype(np.float64), log_var.astype(np.float64), merits).rows


def rule_for(choice: Choice, k: int, asked: Asked, per: object) -> Rule | None:
    """Return the rule by which hits are chosen; None if by their scores alone.

    Args:
        choice: What was asked for.
        k: How many hits.
        asked: The queries.
        per: A limit for each value, or None.

    Raises:
        InputError: Numbers are not as they should be, or it does not go with the queries.
    """
    choice.check(k)
    selection = choice.rule(k, asked.tolerance)
    if selection is None:
        return None
    name = "distinct" if choice.distinct is not None else "diversify"
    if per is not None:
        raise InputError(f"{name} and per exclude each other; name one of them.")
    if asked.score is LOG_LIKELIHOOD_BY_QUERY:
        raise InputError(
            f"{name} blurs all items by one tolerance, but the queries have tolerances of "
            "their own; leave out one of the two."
        )
    return Rule(selection, asked, choice.candidates_wanted(k))


def chosen(
    rule: Rule,
    prepared: Prepared,
    queries: Queries,
    posteriors: Callable[[NDArray[np.int64]], tuple[NDArray[Any], NDArray[Any]]],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Search until every query has its hits.

    Args:
        rule: Which candidates are hits.
        prepared: The items.
        queries: The queries.
        posteriors: Takes labels, shape (m,); returns mu and log_var, both of shape (m, n).

    Returns:
        Labels and values, shape (Q, m), in the order of the ranks; where a query has fewer than m
        hits, -1 and NaN.
    """
    count, k = len(queries.mu), rule.selection.k
    num_items = int(np.count_nonzero(prepared.items.labels >= 0))
    labels = np.full((count, k), -1, np.int64)
    values = np.full((count, k), np.nan)
    left = np.arange(count)
    wanted = rule.candidates or FIRST * k
    while len(left):
        asked = min(wanted, num_items)
        last = rule.candidates is not None or asked == num_items
        unfinished = []
        size = max(1, _PAIRS // max(1, asked))
        for some in np.split(left, np.arange(size, len(left), size)):
            best, found, _ = engine.search(prepared, take_queries(queries, some), asked)
            for place, own, candidates in zip(some, best, found, strict=True):
                rows = rule.choose(own, *posteriors(candidates))
                if len(rows) < k and not last:
                    unfinished.append(place)
                    continue
                labels[place, : len(rows)] = candidates[rows]
                values[place, : len(rows)] = own[rows]
        left = np.array(unfinished, np.int64)
        wanted *= GROWTH
    most = int((labels >= 0).sum(axis=1).max(initial=0))
    return labels[:, :most], values[:, :most]
