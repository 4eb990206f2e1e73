"""Hits that depend on each other: a rule is applied to each query's candidates, on Spark.

A rule may need more candidates than it was given. Then the queries that it could not finish are
searched again, for more, until each has its hits or has no more candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType, LongType, StructField, StructType

from vaeudf.gaussian.scores import Score
from vaeudf.query.latents import Latents
from vaeudf.query.options import QueryOptions
from vaeudf.query.request import Request
from vaeudf.schema import HIDDEN, ITEM_ID, LOG_VAR, MU, QUERY_ID, RANK, quoted
from vaeudf.search.selection import FIRST, GROWTH, Selection
from vaeudf.spark.worker import spare_modules
from vaeudf.table.vectors import to_matrix


def choose(
    search: Callable[[Request], DataFrame], request: Request, options: QueryOptions
) -> DataFrame:
    """Search until every query has its hits; return them, ranked.

    Args:
        search: Returns the candidates that the tasks have found, with ``columns`` of the request.
        request: What is asked for; ``k`` is set here.
        options: Has a selection.
    """
    selection = options.selection
    assert selection is not None
    names = request.columns
    carried = tuple(name for name in (MU, LOG_VAR) if name not in names)
    request = replace(request, columns=(*names, *carried))
    wanted = options.candidates_wanted or FIRST * options.k
    parts: list[DataFrame] = []
    while True:
        own = request.queries.most_own if options.exclude_self else 0
        request = replace(request, k=wanted + own)
        found = search(request)
        rule = _Rule(
            selection,
            request.score,
            request.k,
            # With a number of candidates of its own, there is no second round.
            once=options.candidates_wanted is not None,
            own=request.queries if options.exclude_self else None,
            min_score=options.min_score,
            latent_dim=request.queries.latent_dim,
        )
        if rule.once:
            return _chosen(found, rule, carried)
        # What one round has found must not be searched for again when it is read.
        chosen = _chosen(found, rule, carried).persist()
        parts.append(chosen.where(F.col(RANK).isNotNull()))
        unfinished = chosen.where(F.col(RANK).isNull()).select(QUERY_ID).toArrow()
        names_left = set(unfinished.column(QUERY_ID).to_pylist())
        if not names_left:
            return reduce(DataFrame.unionByName, parts)
        ids = request.queries.ids
        places = np.array([i for i, name in enumerate(ids) if name in names_left], np.int64)
        request = request.of_queries(places)
        wanted *= GROWTH


@dataclass(frozen=True)
class _Rule:
    """A selection, and what it is applied to.

    Attributes:
        selection: The selection.
        score: What the candidates are ranked by.
        asked: How many candidates were asked for; a query with fewer has no more.
        once: Whether that is enough in any case.
        own: The queries whose own items are left out, if these are.
        min_score: Worse items are left out.
        latent_dim: n.
    """

    selection: Selection
    score: Score
    asked: int
    once: bool
    own: Latents | None
    min_score: float | None
    latent_dim: int

    def apply(self, candidates: pa.Table) -> pa.Table:
        """Return the hits among the candidates of one query, best first, with their ranks.

        Where they may be others if there were more candidates, return one row without a rank.
        """
        more = candidates.num_rows >= self.asked
        # Beyond that number the tasks' candidates are not all there are.
        candidates = candidates.slice(0, self.asked)
        if self.min_score is not None:
            scores = candidates.column(self.score.name)
            compare = pc.less_equal if self.score.ascending else pc.greater_equal
            passing = candidates.filter(compare(scores, self.min_score))
            more &= passing.num_rows == candidates.num_rows
            candidates = passing
        first = candidates.slice(0, 1)
        if self.own is not None and candidates.num_rows:
            own = self.own.own_items(candidates.column(QUERY_ID)[0].as_py())
            names = candidates.column(ITEM_ID)
            candidates = candidates.filter(pc.invert(pc.is_in(names, pa.array(own, names.type))))
        mu, log_var = (
            to_matrix(candidates, name, self.latent_dim).astype(np.float64)
            for name in (MU, LOG_VAR)
        )
        scores = candidates.column(self.score.name).to_numpy()
        merits = -scores if self.score.ascending else scores
        chosen = self.selection.choose(mu, log_var, merits)
        if more and not self.once and len(chosen.rows) < self.selection.k:
            return _with_ranks(first, pa.nulls(1, pa.int32()), pa.nulls(1, pa.int64()))
        ranks = pa.array(np.arange(1, len(chosen.rows) + 1, dtype=np.int32))
        hits = candidates.take(pa.array(chosen.rows))
        return _with_ranks(hits, ranks, None if chosen.hidden is None else pa.array(chosen.hidden))


def _with_ranks(rows: pa.Table, ranks: pa.Array, hidden: pa.Array | None) -> pa.Table:
    rows = rows.append_column(RANK, ranks)
    return rows if hidden is None else rows.append_column(HIDDEN, hidden)


def _chosen(found: DataFrame, rule: _Rule, carried: tuple[str, ...]) -> DataFrame:
    """Return what a rule makes of each query's candidates."""
    best = F.asc if rule.score.ascending else F.desc
    ordered = found.repartition(QUERY_ID).sortWithinPartitions(
        QUERY_ID, best(rule.score.name), ITEM_ID
    )
    others = [field for field in found.schema if field.name not in (QUERY_ID, *carried)]
    added = [StructField(HIDDEN, LongType())] if rule.selection.counts_hidden else []
    fields = [found.schema[QUERY_ID], StructField(RANK, IntegerType()), *others, *added]
    # Only plain names go through mapInArrow.
    plain = {field.name: f"__vaeudf_{i}" for i, field in enumerate(found.schema)}
    fixed = (QUERY_ID, ITEM_ID, rule.score.name, MU, LOG_VAR)
    plain |= {name: name for name in fixed}
    sent = [F.col(quoted(name)).alias(plain[name]) for name in found.columns]
    yielded = [
        StructField(plain.get(field.name, field.name), field.dataType, True) for field in fields
    ]
    names = [field.name for field in yielded]

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        spare_modules()
        for candidates in _by_query(batches):
            yield from rule.apply(candidates).select(names).combine_chunks().to_batches()

    rows = ordered.select(*sent).mapInArrow(run, StructType(yielded))
    return rows.toDF(*(field.name for field in fields))


def _by_query(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield the rows of one query after the other, from batches that are sorted by it."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        if batch.num_rows == 0:
            continue
        runs = pc.run_end_encode(batch.column(QUERY_ID))
        start = 0
        for name, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            if waiting and waiting[0].column(QUERY_ID)[0].as_py() != name:
                yield pa.Table.from_batches(waiting)
                waiting = []
            waiting.append(batch.slice(start, end - start))
            start = end
    if waiting:
        yield pa.Table.from_batches(waiting)
