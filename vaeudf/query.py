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
from vaeudf.scores import LOG_LIKELIHOOD, SCORES, Score, score_named
from vaeudf.splits import Split, SplitReader, join
from vaeudf.storage import spark_literal
from vaeudf.table import PosteriorTable, open_posteriors
from vaeudf.topk import check_k
from vaeudf.tracking import Counts, counter

# Rows of a DataFrame that are searched together: enough for the tree of boxes to pay.
_ROWS_PER_BATCH = 65_536
# Tasks per core: enough to even out what they cost.
_TASKS_PER_CORE = 3
# Rows in which a query finds its floor. With fewer, more must be read and more leaves the tasks: of
# a table of 10M items, a posterior's z reads 8.4 % with 8,192 of them and 7.1 % with 16,384.
_ROWS_FOR_FLOORS = 16_384
_FLOOR_TYPE = "query int, best array<double>"
_EXPLANATION = {
    MISFIT: "double",
    VOLUME: "double",
    COSTLIEST: "array<struct<dimension:int,nats:double>>",
}


_Split = TypeVar("_Split")


_COST = pa.struct([("dimension", pa.int32()), ("nats", pa.float64())])
_ARROW_TYPES = {
    QUERY_ID: pa.string(),
    ITEM_ID: pa.string(),
    MISFIT: pa.float64(),
    VOLUME: pa.float64(),
    COSTLIEST: pa.list_(_COST),
} | {name: pa.float64() for name in SCORES}


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
    groups: list[RowGroup] = []
    planned = 0
    if isinstance(posteriors, DataFrame):
        spark = posteriors.sparkSession
        counts = counter(spark.sparkContext)
        candidates = _search_frame(posteriors, search, counts)
    else:
        spark = SparkSession.builder.getOrCreate()
        counts = counter(spark.sparkContext)
        table = open_posteriors(posteriors) if isinstance(posteriors, str) else posteriors
        latents.check_latent_dim(table.latent_dim)
        groups = read_footers(table.files)
        payload = spark.createDataFrame([], "item_id string")
        if columns:
            payload = read_table(spark, table)
        types = _types(payload, search)
        schema = _result_schema(payload, types)
        candidates, planned = _search_table(spark, groups, search, types, schema, counts)
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


# ---- a table: splits of row groups


def _search_table(
    spark: SparkSession,
    groups: list[RowGroup],
    search: Search,
    types: dict[str, str],
    schema: pa.Schema,
    counts: Counts,
) -> tuple[DataFrame, int]:
    floors = _first_round(spark, groups, search, counts)
    search = replace(search, floors=np.maximum(search.floors, floors))
    alive = _alive(groups, search)
    planned = [place for place, number in enumerate(alive) if number]
    splits = join([groups[place] for place in planned], _ROWS_PER_BATCH)
    sizes = np.array([len(split.indices) for split in splits])
    asked = np.add.reduceat(alive[planned], np.cumsum(sizes) - sizes) / sizes if planned else sizes
    # Reading a row and making it ready takes as long as asking it some tens of queries.
    costs = np.array([split.num_rows for split in splits]) * (asked + 50.0)
    num_tasks = max(1, min(len(splits), _num_tasks(spark)))
    shared = spark.sparkContext.broadcast((search, _spread(splits, costs, num_tasks)))

    def fold(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _fold_splits(batches, shared, schema, counts)

    numbers = spark.range(0, num_tasks, 1, num_tasks)
    return numbers.mapInArrow(fold, _ddl(types)), len(planned)


def _first_round(
    spark: SparkSession, groups: list[RowGroup], search: Search, counts: Counts
) -> NDArray[np.float64]:
    """Return a floor for every query's k-th value, from a few splits of its own."""
    num_queries = len(search.queries)
    floors = np.full(num_queries, -np.inf)
    if len(groups) < 2 or sum(group.num_rows for group in groups) <= search.k:
        return floors
    seeds = _seeds(groups, search)
    asked = np.array([len(queries) for _, queries in seeds], np.float64)
    num_tasks = min(len(seeds), _num_tasks(spark))
    shared = spark.sparkContext.broadcast((search, _spread(seeds, asked + asked.mean(), num_tasks)))

    def best(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _best_of_seeds(batches, shared, counts)

    numbers = spark.range(0, num_tasks, 1, num_tasks)
    found = numbers.mapInArrow(best, _FLOOR_TYPE).toArrow()
    shared.unpersist()
    lengths = pa.compute.list_value_length(found["best"]).to_numpy()
    queries = np.repeat(found["query"].to_numpy(), lengths)
    values = pa.compute.list_flatten(found["best"]).to_numpy()
    order = np.lexsort((-values, queries))
    queries, values = queries[order], values[order]
    kth = np.searchsorted(queries, np.arange(num_queries)) + search.k - 1
    enough = kth < np.searchsorted(queries, np.arange(num_queries), side="right")
    floors[enough] = values[kth[enough]]
    # Another machine's exp may differ in the last place.
    return np.asarray(floors - 1e-12 * np.abs(floors))


def _seeds(groups: list[RowGroup], search: Search) -> list[tuple[Split, NDArray[np.int64]]]:
    """Return splits, each with the queries that are to find their floors there."""
    num_queries = len(search.queries)
    rows = max(_ROWS_FOR_FLOORS, 2 * search.k)
    if any(group.box is None for group in groups):
        # Nobody knows where the best are: some rows from everywhere serve all queries.
        typical = max(1, int(np.median([group.num_rows for group in groups])))
        number = min(len(groups), -(-8 * rows // typical))
        chosen = np.unique(np.linspace(0, len(groups) - 1, number).astype(np.int64))
        everyone = np.arange(num_queries)
        return [(split, everyone) for split in join([groups[i] for i in chosen], 0)]
    # Small splits fit a query best, but when many ask, all of them are read, and larger ones
    # make less work of it.
    splits = join(groups, rows if num_queries >= len(groups) // 4 else 0)
    typical = max(1, int(np.median([split.num_rows for split in splits])))
    per_query = min(len(splits), -(-rows // typical))
    latents = search.queries
    queries = prepare_queries(search.score, latents.z, latents.log_var, search.tolerance)
    nodes = box_bounds(search, Boxes.concatenate([s.box for s in splits if s.box is not None]))
    best = most_promising(search.score.code, nodes, queries, per_query)
    order = np.argsort(best, axis=None, kind="stable")
    places, asked = best.ravel()[order], order // per_query
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    return [
        (splits[places[start]], members)
        for start, members in zip(starts, np.split(asked, starts[1:]), strict=True)
    ]


def _best_of_seeds(
    batches: Iterator[pa.RecordBatch],
    shared: Broadcast[tuple[Search, list[list[tuple[Split, NDArray[np.int64]]]]]],
    counts: Counts,
) -> Iterator[pa.RecordBatch]:
    search, tasks = shared.value
    for batch in batches:
        for number in batch.column(0).to_pylist():
            reader = SplitReader(search.queries.latent_dim, ())
            for split, queries in tasks[number]:
                mu, log_var = reader.posteriors(split)
                values = Fold(search, queries).best_values(mu, log_var)
                offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
                lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))
                yield pa.RecordBatch.from_arrays(
                    [pa.array(queries.astype(np.int32)), lists], names=["query", "best"]
                )
            counts.add(num_bytes=reader.num_bytes)


def _alive(groups: list[RowGroup], search: Search) -> NDArray[np.int64]:
    """Return to how many queries each row group can still matter."""
    everyone = Fold(search, np.arange(len(search.queries)))
    alive = np.full(len(groups), len(search.queries))
    boxed = [place for place, group in enumerate(groups) if group.box is not None]
    boxes = [box for group in groups if (box := group.box) is not None]
    if boxes:
        nodes = box_bounds(search, Boxes.concatenate(boxes))
        for node, place in enumerate(boxed):
            alive[place] = len(everyone.alive(nodes, node))
    return alive


def _num_tasks(spark: SparkSession) -> int:
    return _TASKS_PER_CORE * spark.sparkContext.defaultParallelism


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
    shared: Broadcast[tuple[Search, list[list[Split]]]],
    schema: pa.Schema,
    counts: Counts,
) -> Iterator[pa.RecordBatch]:
    search, tasks = shared.value
    for batch in batches:
        for number in batch.column(0).to_pylist():
            reader = SplitReader(search.queries.latent_dim, search.columns)
            for members in search.groups():
                fold = Fold(search, members)
                for split in tasks[number]:
                    alive = None
                    if split.box is not None:
                        alive = fold.alive(box_bounds(search, split.box), 0)
                        if len(alive) == 0:
                            continue
                    mu, log_var = reader.posteriors(split)
                    fold.add(mu, log_var, reader.items, alive, in_order=split.box is not None)
                yield from _results(fold, schema, counts)
            counts.add(row_groups=reader.num_read, num_bytes=reader.num_bytes)


# ---- a DataFrame: Spark's rows


def _search_frame(frame: DataFrame, search: Search, counts: Counts) -> DataFrame:
    missing = [name for name in (ITEM_ID, MU, LOG_VAR) if name not in frame.columns]
    if missing:
        raise InputError(
            f"the posteriors have no column {', '.join(missing)}; "
            f"found {', '.join(frame.columns)}, expected item_id, mu and log_var."
        )
    types = _types(frame, search)
    schema = _result_schema(frame, types)
    shared = frame.sparkSession.sparkContext.broadcast(search)
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
    types = {QUERY_ID: "string", ITEM_ID: "string", search.score.name: "double"}
    if search.explain:
        types |= _EXPLANATION
    taken = {name.lower() for name in (*types, RANK)}
    for name in search.columns:
        if name.lower() in taken:
            raise InputError(f"column {name!r} is in the result already; leave it out.")
        if name not in frame.columns:
            raise InputError(
                f"the posteriors have no column {name!r} to carry into the result; "
                f"found {', '.join(frame.columns)}."
            )
        taken.add(name.lower())
        types[name] = frame.schema[name].dataType.simpleString()
    return types


def _ddl(types: dict[str, str]) -> str:
    return ", ".join(f"{quoted(name)} {kind}" for name, kind in types.items())


def _result_schema(frame: DataFrame, types: dict[str, str]) -> pa.Schema:
    """Return the Arrow schema that Spark expects of a task's results."""
    own = dict(_ARROW_TYPES)
    carried = [name for name in types if name not in own]
    if carried:
        columns = [F.col(quoted(name)) for name in carried if name in frame.columns]
        found = frame.select(*columns).limit(0).toArrow().schema
        own |= {field.name: field.type for field in found}
    return pa.schema([(name, own.get(name, pa.float64())) for name in types])


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
