"""The options of a bulk query: how many items, by which score, with which columns."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.gaussian.checks import Tolerance, check_k, check_tolerance
from vaeudf.gaussian.scores import (
    LOG_LIKELIHOOD,
    LOG_LIKELIHOOD_BY_QUERY,
    Score,
    choose_score,
    score_named,
)
from vaeudf.query.blends import NO_RESPONSIBILITIES, Blends
from vaeudf.query.latents import Latents
from vaeudf.query.per_value import Per
from vaeudf.query.request import Request
from vaeudf.schema import HIDDEN
from vaeudf.search.selection import Choice, Selection

CANDIDATES = 200
"""Of so many of each query's best its hits are chosen by their pictures, unless another number is
asked for."""


@dataclass(frozen=True, kw_only=True)
class QueryOptions:
    """The options of a bulk query; :func:`vaeudf.top_k` says what each of them does.

    Attributes:
        k: How many items per query; all of them if there are fewer.
        score: Name of the score; None for the one that such queries are ranked by.
        tolerance: tau, in units of z: how precisely z is meant; a number, or one per dimension.
        min_score: Leave out items that score worse than this.
        columns: Payload columns to carry into the result.
        explain: Whether to take each log-likelihood apart.
        exclude_self: Whether to leave out the item whose item_id is the query's own query_id; of
            blends, those whose item_ids their members have.
        responsibilities: Whether to add each hit's share of the sum of q(z|x) over all items x.
        distinct: Hide items nearer than this to a hit, in nats.
        diversify: lambda of maximal marginal relevance.
        candidates: Of how many of each query's best items it chooses; 10 · k unless given.
        per: At most how many of the items may have the same value of a payload column.
    """

    k: int = 10
    score: str | None = None
    tolerance: Tolerance = 0.0
    min_score: float | None = None
    columns: tuple[str, ...] = ()
    explain: bool = False
    exclude_self: bool = False
    responsibilities: bool = False
    distinct: float | None = None
    diversify: float | None = None
    candidates: int | None = None
    per: Per | None = None

    def __post_init__(self) -> None:
        check_k(self.k)
        check_tolerance(self.tolerance)
        if self.score is not None:
            score_named(self.score)
        if self.min_score is not None and not math.isfinite(self.min_score):
            raise InputError(f"min-score is {self.min_score}; expected a finite number.")
        self._check_selection()

    def _check_selection(self) -> None:
        rules = ("distinct", "diversify", "per")
        named = [name for name in rules if getattr(self, name) is not None]
        if len(named) > 1:
            raise InputError(f"{' and '.join(named)} exclude each other; name one of them.")
        self._choice.check(self.k)
        if self.distinct is not None and HIDDEN in map(str.lower, self.columns):
            raise InputError(
                f"column {HIDDEN!r} is in the result of distinct already; leave it out."
            )

    @property
    def _choice(self) -> Choice:
        return Choice(distinct=self.distinct, diversify=self.diversify, candidates=self.candidates)

    @property
    def selection(self) -> Selection | None:
        """The rule by which hits are chosen where they depend on each other."""
        return self._choice.rule(self.k, self.tolerance)

    @property
    def candidates_wanted(self) -> int | None:
        """How many candidates the rule chooses from; None for as many as it needs."""
        return self._choice.candidates_wanted(self.k)

    def score_for(self, queries: Latents) -> Score:
        """Return the score that these queries are ranked by.

        Raises:
            InputError: It is between Gaussians and the queries are points; or what is asked for
                besides is not for this score.
        """
        if isinstance(queries, Blends):
            score = queries.score(self.score)
            if self.responsibilities:
                raise InputError(NO_RESPONSIBILITIES)
        else:
            score = choose_score(
                self.score,
                gaussian=queries.is_gaussian,
                remedy="query with mu and log_var or with --like",
            )
        for wanted, name in (
            (self.explain, "explain"),
            (self.responsibilities, "responsibilities"),
        ):
            if wanted and not score.is_log_density:
                raise InputError(f"{name} is for log_likelihood, but the score is {score.name}.")
        return score if queries.tolerance is None else self._score_by_query(score)

    def _score_by_query(self, score: Score) -> Score:
        """Return the score that queries with tolerances of their own are ranked by."""
        if score is not LOG_LIKELIHOOD:
            raise InputError(
                f"a tolerance for each query is for log_likelihood, but the score is {score.name}."
            )
        if self.selection is not None:
            name = "distinct" if self.distinct is not None else "diversify"
            raise InputError(
                f"{name} blurs all items by one tolerance, but the queries have tolerances of "
                "their own; leave out one of the two."
            )
        return LOG_LIKELIHOOD_BY_QUERY

    def request_for(self, queries: Latents) -> Request:
        """Return what the tasks are asked, as long as nothing is known of the items.

        Raises:
            InputError: As :meth:`score_for`.
        """
        score = self.score_for(queries)
        tolerance = check_tolerance(self.tolerance, queries.latent_dim)
        if queries.tolerance is not None:
            own = np.where(np.isnan(queries.tolerance), tolerance, queries.tolerance)
            if (own == own[0]).all():
                # One tolerance is part of what items are made ready with, and takes less time.
                score, queries = LOG_LIKELIHOOD, replace(queries, tolerance=None)
                tolerance = check_tolerance(own[0])
            else:
                queries, tolerance = replace(queries, tolerance=own), 0.0
        # A query's own items are left out after the tasks' results are merged.
        num_own = queries.most_own if self.exclude_self else 0
        k, per = self.k + num_own, self.per
        if per is not None and num_own:
            k, per = per.with_more(num_own, self.k)
        columns = self.columns
        if per is not None and per.column not in columns:
            columns = (*columns, per.column)
        return Request(
            queries=queries,
            k=k,
            score=score,
            tolerance=tolerance,
            floors=self._floors(score, queries),
            columns=columns,
            per=per,
            explain=self.explain,
            cuts=np.full(len(queries), -np.inf) if self.responsibilities else None,
        )

    def _floors(self, score: Score, queries: Latents) -> NDArray[np.float64]:
        """Return values that no item that is wanted is below, shape (Q,)."""
        if self.min_score is None:
            return np.full(len(queries), -math.inf)
        if isinstance(queries, Blends):
            blended = queries.members.blended(self.tolerance, divergence=score.ascending)
            return blended.floors(self.min_score)
        value = score.to_value(self.min_score)
        # Rounded there and back, a score may differ in its last digits.
        margin = 1e-9 * abs(value) + 1e-300 if math.isfinite(value) else 0.0
        return np.full(len(queries), value - margin)
