"""Bulk queries on Spark: the k items that score best for every query, exactly.

A table is read in splits of one row group, each by the task that needs it. A first round gives
every query a floor for its k-th score, from the row group that promises most by its box; the second
reads what can still matter, and only what is above the floors leaves a task. An arbitrary DataFrame
goes through Spark's rows instead. Both feed the same fold, and Spark merges what it yields.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pyspark import Broadcast
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, FloatType, NumericType

from vaeudf.boxes import Boxes
from vaeudf.engine import prepare_queries
from vaeudf.errors import InputError
from vaeudf.fold import Fold, Search, box_bounds, to_matrix
from vaeudf.footers import RowGroup, read_footers
from vaeudf.gaussian import check_tolerance
from vaeudf.kernels import most_promising
from vaeudf.latents import Latents, from_rows
from vaeudf.schema import (
    COSTLIEST,
    ITEM_ID,
    LOG_VAR,
    MISFIT,
    MU,
    QUERY_ID,
    RANK,
    VOLUME,
    quoted,
)
from vaeudf.scores import LOG_LIKELIHOOD, Score, score_named
from vaeudf.splits import SplitReader
from vaeudf.storage import spark_literal
from vaeudf.table import PosteriorTable, open_posteriors
from vaeudf.topk import check_k
from vaeudf.tracking import Counts, counter

# Rows of a DataFrame that are searched together: enough for the tree of boxes to pay.
_ROWS_PER_BATCH = 65_536
# Tasks per core: enough to even out what they cost.
_TASKS_PER_CORE = 3
# Without boxes nobody knows where the best are: so many rows in all give the floors.
_ROWS_FOR_FLOORS = 131_072
_FLOOR_TYPE = "query int, best array<double>"
_EXPLANATION = {
    MISFIT: "double",
    VOLUME: "double",
    COSTLIEST: "array<struct<dimension:int,nats:double>>",
}


_Split = TypeVar("_Split")


@dataclass(frozen=True)
class BulkQuery:
    """A query that was planned and has run its first round.

    Attributes:
        hits: The result; evaluating it is the second round.
        counts: What the tasks have done so far; complete once ``hits`` was evaluated, once.
        num_queries: Queries.
        row_groups: Row groups of the table; 0 for a DataFrame.
        row_groups_planned: How many of them the second round reads at most.
    """

    hits: DataFrame
    counts: Counts
    num_queries: int
    row_groups: int
    row_groups_planned: int


def top_k(
    posteriors: str | PosteriorTable | DataFrame,
    queries: Latents | ArrayLike,
    k: int = 10,
    *,
    score: str | None = None,
    tolerance: float = 0.0,
    min_score: float | None = None,
    columns: Sequence[str] = (),
    explain: bool = False,
    exclude_self: bool = False,
) -> DataFrame:
    """Return the k items that score best for every query, by default by log q(z|x).

    For a table, the first of two rounds runs at once; evaluating the result is the second.

    Args:
        posteriors: A posterior table or its path, the path of a folder of plain Parquet, or any
            DataFrame; the latter two with the columns ``item_id``, ``mu`` and ``log_var`` (arrays
            of n numbers).
        queries: z vectors, shape (Q, n), or :class:`vaeudf.latents.Latents`: with names, and
            perhaps Gaussians.
        k: How many items per query; all of them if there are fewer.
        score: One of :data:`vaeudf.scores.SCORES`; unless given, ``log_likelihood`` for points and
            ``kl`` for Gaussians.
        tolerance: tau, in units of z: how precisely z is meant.
        min_score: Leave out items that score worse than this.
        columns: Payload columns to carry into the result.
        explain: Take each log-likelihood apart: ``misfit`` + ``volume``, and the three
            dimensions that cost most, ``costliest``.
        exclude_self: Leave out the item whose item_id is the query's own query_id.

    Returns:
        ``query_id`` string, ``rank`` int from 1, ``item_id`` string, a column named as the score
        (double, nats or a distance), and what was asked for besides. Ranked best first, then
        by item_id ascending.

    Raises:
        InputError: k < 1, a z that is not finite or not of the posteriors' latent_dim, a score
            that does not fit the queries, or columns that are not there.
        TableError: The path does not hold posteriors.
    """
    return plan(
        posteriors,
        queries,
        k,
        score=score,
        tolerance=tolerance,
        min_score=min_score,
        columns=columns,
        explain=explain,
        exclude_self=exclude_self,
    ).hits


def plan(
    posteriors: str | PosteriorTable | DataFrame,
    queries: Latents | ArrayLike,
    k: int = 10,
    *,
    score: str | None = None,
    tolerance: float = 0.0,
    min_score: float | None = None,
    columns: Sequence[str] = (),
    explain: bool = False,
    exclude_self: bool = False,
) -> BulkQuery:
    """Do as :func:`top_k`, and return along with the result what is known of the run."""
    latents = queries if isinstance(queries, Latents) else from_rows(_rows_of(queries))
    kind = choose_score(latents, score)
    check_tolerance(tolerance)
    if explain and kind != LOG_LIKELIHOOD:
        raise InputError(f"explain takes log_likelihood apart, but the score is {kind.name}.")
    search = Search(
        latents,
        check_k(k) + int(exclude_self),
        kind,
        tolerance,
        _floors(len(latents), kind, min_score),
        tuple(columns),
        explain,
    )
    if isinstance(posteriors, DataFrame):
        frame, table = posteriors, None
    else:
        table = open_posteriors(posteriors) if isinstance(posteriors, str) else posteriors
        latents.check_latent_dim(table.latent_dim)
        frame = read_table(SparkSession.builder.getOrCreate(), table)
    types = _types(frame, search)
    counts = counter(frame.sparkSession.sparkContext)
    groups: list[RowGroup] = []
    planned = 0
    if table is None:
        candidates = _search_frame(frame, search, types, counts)
    else:
        groups = read_footers(table.files)
        candidates, planned = _search_table(frame.sparkSession, groups, search, types, counts)
    hits = _rank(candidates, kind, k, min_score, exclude_self)
    return BulkQuery(hits, counts, len(latents), len(groups), planned)


def choose_score(queries: Latents, name: str | None) -> Score:
    """Return the score of this name, or the one that such queries are ranked by.

    Raises:
        InputError: It is between Gaussians, and the queries are points.
    """
    if name is None:
        name = "kl" if queries.is_gaussian else "log_likelihood"
    score = score_named(name)
    if score.between_gaussians and not queries.is_gaussian:
        raise InputError(
            f"score {name} is between two Gaussians, but the queries are points z; query with mu "
            "and log_var or with --like, or choose log_likelihood, mahalanobis or euclidean."
        )
    return score


def read_table(spark: SparkSession, table: PosteriorTable) -> DataFrame:
    """Return a posterior table's version as a DataFrame, payload included."""
    return spark.read.parquet(*(spark_literal(uri) for uri in table.files))


# ---- a table: splits of one row group


def _search_table(
    spark: SparkSession,
    groups: list[RowGroup],
    search: Search,
    types: dict[str, str],
    counts: Counts,
) -> tuple[DataFrame, int]:
    search = replace(search, floors=np.maximum(search.floors, _first_round(spark, groups, search)))
    costs = _costs(groups, search)
    planned = [place for place, cost in enumerate(costs) if cost > 0]
    num_tasks = min(len(planned), _TASKS_PER_CORE * spark.sparkContext.defaultParallelism)
    tasks = _spread([groups[place] for place in planned], costs[planned], max(1, num_tasks))
    schema = _result_schema(spark, types)
    shared = spark.sparkContext.broadcast((search, tasks))

    def fold(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _fold_splits(batches, shared, schema, counts)

    numbers = spark.range(0, len(tasks), 1, len(tasks))
    return numbers.mapInArrow(fold, _ddl(types)), len(planned)


def _first_round(
    spark: SparkSession, groups: list[RowGroup], search: Search
) -> NDArray[np.float64]:
    """Return a floor for every query's k-th value, from a few row groups of its own."""
    num_queries = len(search.queries)
    seeds = _seeds(groups, search)
    rows = sum(group.num_rows for group in groups)
    if len(groups) < 2 or rows <= search.k or not seeds:
        return np.full(num_queries, -np.inf)
    work = np.array([len(queries) for _, queries in seeds])
    num_tasks = min(len(seeds), _TASKS_PER_CORE * spark.sparkContext.defaultParallelism)
    tasks = _spread(seeds, work + work.mean(), num_tasks)
    shared = spark.sparkContext.broadcast((search, tasks))

    def best(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _best_of_seeds(batches, shared)

    numbers = spark.range(0, len(tasks), 1, len(tasks))
    found = numbers.mapInArrow(best, _FLOOR_TYPE).toArrow()
    shared.unpersist()
    queries = np.repeat(
        found["query"].to_numpy(), pa.compute.list_value_length(found["best"]).to_numpy()
    )
    values = pa.compute.list_flatten(found["best"]).to_numpy()
    order = np.lexsort((-values, queries))
    queries, values = queries[order], values[order]
    firsts = np.searchsorted(queries, np.arange(num_queries))
    kth = firsts + search.k - 1
    ends = np.searchsorted(queries, np.arange(num_queries), side="right")
    floors = np.full(num_queries, -np.inf)
    enough = kth < ends
    floors[enough] = values[kth[enough]]
    # Another machine's exp may differ in the last place.
    return np.asarray(floors - 1e-12 * np.abs(floors))


def _seeds(groups: list[RowGroup], search: Search) -> list[tuple[RowGroup, NDArray[np.int64]]]:
    """Return row groups, each with the queries that are to find their floors there."""
    num_queries = len(search.queries)
    with_boxes = [group for group in groups if group.box is not None]
    typical = max(1, int(np.median([group.num_rows for group in groups])) if groups else 1)
    if len(with_boxes) < len(groups):
        number = min(len(groups), -(-max(_ROWS_FOR_FLOORS, 2 * search.k) // typical))
        chosen = np.unique(np.linspace(0, len(groups) - 1, number).astype(np.int64))
        return [(groups[place], np.arange(num_queries)) for place in chosen]
    per_query = min(len(groups), -(-2 * search.k // typical))
    latents = search.queries
    queries = prepare_queries(search.score, latents.z, latents.log_var, search.tolerance)
    nodes = box_bounds(search, Boxes.concatenate([g.box for g in groups if g.box is not None]))
    best = most_promising(search.score.code, nodes, queries, per_query)
    order = np.argsort(best, axis=None, kind="stable")
    places, asked = best.ravel()[order], order // per_query
    edges = np.flatnonzero(np.diff(places)) + 1
    starts = np.concatenate([[0], edges])
    return [
        (groups[places[start]], np.sort(members))
        for start, members in zip(starts, np.split(asked, edges), strict=True)
    ]


def _best_of_seeds(
    batches: Iterator[pa.RecordBatch],
    shared: Broadcast[tuple[Search, list[list[tuple[RowGroup, NDArray[np.int64]]]]]],
) -> Iterator[pa.RecordBatch]:
    search, tasks = shared.value
    plain = replace(search, columns=(), explain=False)
    for batch in batches:
        for number in batch.column(0).to_pylist():
            reader = SplitReader(search.queries.latent_dim, ())
            for group, queries in tasks[number]:
                values = _best_values(reader, group, plain, queries)
                yield pa.RecordBatch.from_arrays(
                    [pa.array(queries.astype(np.int32)), pa.array(list(values))],
                    names=["query", "best"],
                )


def _best_values(
    reader: SplitReader, group: RowGroup, search: Search, queries: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the best values that a row group has for these queries, (Q, min(k, rows))."""
    mu, log_var = reader.posteriors(group)
    fold = Fold(search, queries)
    return fold.best_values(mu, log_var)


def _costs(groups: list[RowGroup], search: Search) -> NDArray[np.float64]:
    """Return what each row group costs to search; 0 where none of it can matter."""
    costs = np.zeros(len(groups))
    boxes = [group.box for group in groups]
    nodes = None
    if groups and all(box is not None for box in boxes):
        nodes = box_bounds(search, Boxes.concatenate([box for box in boxes if box is not None]))
    everyone = Fold(search, np.arange(len(search.queries)))
    for place, group in enumerate(groups):
        alive = len(search.queries) if nodes is None else len(everyone.alive(nodes, place))
        # Reading and preparing a row takes as long as asking it some tens of queries.
        costs[place] = group.num_rows * (alive + 50.0) if alive else 0.0
    return costs


def _spread(splits: list[_Split], costs: NDArray[np.float64], num_tasks: int) -> list[list[_Split]]:
    """Give splits to tasks so that all cost about the same: the dearest first, to the idlest."""
    tasks: list[list[int]] = [[] for _ in range(num_tasks)]
    loads = np.zeros(num_tasks)
    for place in np.argsort(-costs, kind="stable"):
        idlest = int(loads.argmin())
        tasks[idlest].append(int(place))
        loads[idlest] += costs[place]
    return [[splits[place] for place in sorted(task)] for task in tasks]


def _fold_splits(
    batches: Iterator[pa.RecordBatch],
    shared: Broadcast[tuple[Search, list[list[RowGroup]]]],
    schema: pa.Schema,
    counts: Counts,
) -> Iterator[pa.RecordBatch]:
    search, tasks = shared.value
    for batch in batches:
        for number in batch.column(0).to_pylist():
            reader = SplitReader(search.queries.latent_dim, search.columns)
            for members in search.groups():
                fold = Fold(search, members)
                for group in tasks[number]:
                    alive = None
                    if group.box is not None:
                        alive = fold.alive(box_bounds(search, group.box), 0)
                        if len(alive) == 0:
                            continue
                    mu, log_var = reader.posteriors(group)
                    fold.add(mu, log_var, reader.items, alive, in_order=group.box is not None)
                yield from _results(fold, schema, counts)
            counts.add(row_groups=reader.num_read, num_bytes=reader.num_bytes)


# ---- a DataFrame: Spark's rows


def _search_frame(
    frame: DataFrame, search: Search, types: dict[str, str], counts: Counts
) -> DataFrame:
    spark = frame.sparkSession
    schema = _result_schema(spark, types)
    shared = spark.sparkContext.broadcast(search)
    items = frame.select(
        F.col(ITEM_ID).cast("string"),
        _vector(frame, MU),
        _vector(frame, LOG_VAR),
        *(F.col(quoted(name)) for name in search.columns),
    )

    def fold(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _fold_rows(batches, shared, schema, counts)

    return items.mapInArrow(fold, _ddl(types))


def _fold_rows(
    batches: Iterator[pa.RecordBatch],
    shared: Broadcast[Search],
    schema: pa.Schema,
    counts: Counts,
) -> Iterator[pa.RecordBatch]:
    search = shared.value
    folds = [Fold(search, members) for members in search.groups()]
    latent_dim = search.queries.latent_dim
    for table in _gather(batches):
        if table.column(ITEM_ID).null_count:
            raise InputError("the posteriors have an item_id that is null.")
        mu, log_var = to_matrix(table, MU, latent_dim), to_matrix(table, LOG_VAR, latent_dim)
        payload = table.select([ITEM_ID, *search.columns])
        for one in folds:
            one.add(mu, log_var, partial(_rows_of_table, payload), in_order=False)
    for one in folds:
        yield from _results(one, schema, counts)


def _rows_of_table(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    return table.take(pa.array(rows))


def _gather(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    gathered: list[pa.RecordBatch] = []
    for batch in batches:
        gathered.append(batch)
        if sum(part.num_rows for part in gathered) >= _ROWS_PER_BATCH:
            yield pa.Table.from_batches(gathered)
            gathered = []
    if gathered:
        yield pa.Table.from_batches(gathered)


def _vector(frame: DataFrame, name: str) -> Column:
    """Return a column of arrays of numbers, float32 or else float64."""
    kind = frame.schema[name].dataType
    if not isinstance(kind, ArrayType) or not isinstance(kind.elementType, NumericType):
        raise InputError(
            f"column {name} holds {kind.simpleString()}; expected an array of numbers."
        )
    exact = isinstance(kind.elementType, FloatType)
    return F.col(name) if exact else F.col(name).cast("array<double>")


# ---- results


def _results(fold: Fold, schema: pa.Schema, counts: Counts) -> Iterator[pa.RecordBatch]:
    queries, scores, items = fold.result()
    counts.add(filtered=fold.work.filtered + fold.work.rescored_alone, rows_out=len(queries))
    if items is None or not len(queries):
        return
    names = np.array(fold.search.queries.ids, object)[queries]
    arrays = [pa.array(names, pa.string()), items.column(ITEM_ID), pa.array(scores)]
    arrays += [items.column(name) for name in schema.names[3:]]
    table = pa.table(arrays, names=schema.names)
    yield from table.cast(schema).combine_chunks().to_batches(max_chunksize=_ROWS_PER_BATCH)


def _rank(
    candidates: DataFrame, score: Score, k: int, min_score: float | None, exclude_self: bool
) -> DataFrame:
    if exclude_self:
        candidates = candidates.where(F.col(ITEM_ID) != F.col(QUERY_ID))
    if min_score is not None:
        reached = (
            F.col(score.name) <= min_score if score.ascending else F.col(score.name) >= min_score
        )
        candidates = candidates.where(reached)
    best = F.asc(score.name) if score.ascending else F.desc(score.name)
    best_first = Window.partitionBy(QUERY_ID).orderBy(best, ITEM_ID)
    ranked = candidates.withColumn(RANK, F.row_number().over(best_first)).where(F.col(RANK) <= k)
    others = [F.col(quoted(name)) for name in candidates.columns if name != QUERY_ID]
    return ranked.select(QUERY_ID, RANK, *others)


def _types(frame: DataFrame, search: Search) -> dict[str, str]:
    """Return the columns of the candidates with their Spark types."""
    missing = [name for name in (ITEM_ID, MU, LOG_VAR) if name not in frame.columns]
    if missing:
        raise InputError(
            f"the posteriors have no column {', '.join(missing)}; "
            f"found {', '.join(frame.columns)}, expected item_id, mu and log_var."
        )
    types = {QUERY_ID: "string", ITEM_ID: "string", search.score.name: "double"}
    if search.explain:
        types |= _EXPLANATION
    taken = {name.lower() for name in (*types, RANK)}
    for name in search.columns:
        if name not in frame.columns:
            raise InputError(
                f"the posteriors have no column {name!r} to carry into the result; "
                f"found {', '.join(frame.columns)}."
            )
        if name.lower() in taken:
            raise InputError(f"column {name!r} is in the result already; leave it out.")
        taken.add(name.lower())
        types[name] = frame.schema[name].dataType.simpleString()
    return types


def _ddl(types: dict[str, str]) -> str:
    return ", ".join(f"{quoted(name)} {kind}" for name, kind in types.items())


def _result_schema(spark: SparkSession, types: dict[str, str]) -> pa.Schema:
    """Return the Arrow schema that Spark expects of a task's results."""
    return spark.createDataFrame([], _ddl(types)).toArrow().schema


def _floors(num_queries: int, score: Score, min_score: float | None) -> NDArray[np.float64]:
    if min_score is None:
        return np.full(num_queries, -np.inf)
    if not math.isfinite(min_score):
        raise InputError(f"min-score is {min_score}; expected a finite number.")
    value = score.to_value(min_score)
    return np.full(num_queries, value - 1e-9 * abs(value) - 1e-300)


def _rows_of(queries: ArrayLike) -> list[NDArray[np.float64]]:
    try:
        return list(np.atleast_2d(np.asarray(queries, dtype=np.float64)))
    except (ValueError, TypeError) as error:
        raise InputError(f"queries are not an array of shape (Q, n): {error}.") from None
