"""Every item that reaches a score, for every query: not k, in no order, at any number of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pyspark.sql import DataFrame

from vaeudf.query.above import Items, all_pairs
from vaeudf.query.bulk import BulkQuery, as_latents, with_tolerance
from vaeudf.query.latents import Latents
from vaeudf.query.options import QueryOptions
from vaeudf.query.ranking import wanted
from vaeudf.query.request import Request
from vaeudf.query.results import Columns, batches
from vaeudf.query.source import Source
from vaeudf.query.task import explained
from vaeudf.schema import QUERY_ID
from vaeudf.spark.counters import Counts
from vaeudf.table.open import PosteriorTable

# Rows that leave a task together, with all that is asked for of them.
_ROWS_PER_BATCH = 65_536


def all_above(
    posteriors: str | PosteriorTable | DataFrame,
    queries: Latents | ArrayLike,
    min_score: float,
    *,
    score: str | None = None,
    tolerance: ArrayLike = 0.0,
    columns: Sequence[str] = (),
    explain: bool = False,
    exclude_self: bool = False,
) -> DataFrame:
    """Return every item that reaches a score, for every query.

    These are the rows that :func:`vaeudf.top_k` returns with this ``min_score`` and a k without
    end, but they are not ranked: no task holds more than it is working on, however many there are.

    Args:
        posteriors: As for :func:`vaeudf.top_k`.
        queries: z vectors, shape (Q, n), or :class:`vaeudf.query.latents.Latents`.
        min_score: The least score, in nats; of a distance or divergence, the greatest.
        score: One of :data:`vaeudf.gaussian.scores.SCORES`; unless given, ``log_likelihood`` for
            points and ``kl`` for Gaussians.
        tolerance: tau, in units of z: how precisely z is meant; a number, or one per dimension,
            shape (n,); for each query its own, shape (Q, 1) or (Q, n).
        columns: Payload columns to carry into the result.
        explain: Take each log-likelihood apart, as :func:`vaeudf.top_k` does.
        exclude_self: Leave out the item whose item_id is the query's own query_id.

    Returns:
        ``query_id`` string, ``item_id`` string, a column named as the score (double, nats or a
        distance), and what was asked for besides; in no order. A query that no item is near enough
        to has no rows.

    Raises:
        InputError: As :func:`vaeudf.top_k`.
        TableError: The path does not hold posteriors.
    """
    latents, tau = with_tolerance(queries, tolerance)
    options = QueryOptions(
        score=score,
        tolerance=tau,
        min_score=float(min_score),
        columns=tuple(columns),
        explain=explain,
        exclude_self=exclude_self,
    )
    return plan_all(posteriors, latents, options).hits


def plan_all(
    posteriors: str | PosteriorTable | DataFrame,
    queries: Latents | ArrayLike,
    options: QueryOptions,
) -> BulkQuery:
    """Do as :func:`all_above`, and return along with the result what is known of the run.

    Args:
        posteriors: As there.
        queries: As there.
        options: Has ``min_score``; what is said there of k, and of what needs one, is passed over.
    """
    latents = as_latents(queries)
    request = options.request_for(latents)
    source = Source.of(posteriors, latents)
    columns = Columns.of(request, source.payload(request.columns), ranked=False)
    new_taker = partial(_Rows, schema=columns.schema, counts=source.counts)
    found = all_pairs(source, request, new_taker, columns.struct)
    hits = wanted(found, request.score, options, latents)
    return BulkQuery(hits, source.counts, len(latents), len(source.groups), request.score)


class _Rows:
    """Makes a row of each pair."""

    def __init__(self, request: Request, schema: pa.Schema, counts: Counts) -> None:
        self._request = request
        self._schema = schema
        self._counts = counts
        self._ids = pa.array(request.queries.ids, pa.string())
        self._blended = request.blended()

    def begin(self, mu: NDArray[np.floating], log_var: NDArray[np.floating], items: Items) -> None:
        self._mu, self._log_var, self._items = mu, log_var, items

    def take(
        self, queries: NDArray[np.int64], values: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> Iterator[pa.RecordBatch]:
        request = self._request
        self._counts.add(rows_out=len(rows))
        for start in range(0, len(rows), _ROWS_PER_BATCH):
            some = slice(start, start + _ROWS_PER_BATCH)
            own, at = queries[some], rows[some]
            items = self._items(at)
            if request.explain:
                log_var = request.blurred(self._log_var[at], own)
                z, mu = request.queries.z, self._mu[at]
                items = explained(items, z, self._blended, own, mu, log_var)
            found = {
                QUERY_ID: self._ids.take(pa.array(own)),
                request.score.name: pa.array(self._scores(values[some], own)),
            }
            found |= {name: items.column(name) for name in items.column_names}
            yield from batches(found, len(own), self._schema)

    def _scores(
        self, values: NDArray[np.float64], queries: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        if self._blended is not None:
            return self._blended.scores(values, queries)
        return self._request.score.from_values(values)

    def end(self) -> Iterator[pa.RecordBatch]:
        yield from ()
