"""Search a posterior table on Spark: splits of row groups, read by the tasks, in two rounds.

The first round gives every query a floor for its k-th value, from the splits that promise most by
their boxes; the second reads what can still matter, and only what is above the floors leaves a
task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import DoubleType, IntegerType, StructType

from vaeudf.numerics.boxes import Boxes
from vaeudf.query.merge import BestValues
from vaeudf.query.request import Request
from vaeudf.query.results import Columns, results
from vaeudf.query.task import SUM_MARGIN, Fold
from vaeudf.search.kernels import most_promising
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.counters import Counts
from vaeudf.spark.shared import Shared
from vaeudf.spark.tasks import numbered_tasks
from vaeudf.table.footers import RowGroup
from vaeudf.table.splits import Split, SplitReader, join, spread

# Rows that are read and searched together: enough for the tree of boxes to pay.
_ROWS_PER_SPLIT = 65_536
# Tasks per core: enough to even out what they cost.
_TASKS_PER_CORE = 3
# The cost of reading and preparing a row, in queries per row, and the cost of starting a task, in
# pairs of row and query.
_COST_OF_READING = 50.0
_COST_PER_TASK = 5e6
# Rows in which a query finds its floor. With more rows the floor is higher, and the second round
# reads, scores and sends less (``python -m benchmarks.spark_query --only shuffle`` counts the rows
# sent); but where there are few queries, these rows are mostly read twice.
_ROWS_FOR_FLOORS_OF_FEW = 65_536
_ROWS_FOR_FLOORS_OF_MANY = 262_144
# The most values that a task sends of a query's best, each of which represents all those between it
# and the one before. The driver holds them for all queries.
_VALUES_SENT = 16
_SENT_TYPE = (
    StructType().add("query", IntegerType()).add("value", DoubleType()).add("weight", IntegerType())
)


def search_table(
    spark: SparkSession,
    groups: list[RowGroup],
    request: Request,
    columns: Columns,
    counts: Counts,
) -> DataFrame:
    """Run the first round; return the second.

    Args:
        spark: The session.
        groups: The table's row groups.
        request: What is asked for.
        columns: What the tasks yield.
        counts: What the tasks count into.
    """
    groups = [group for group in groups if group.num_rows]
    floors = first_round(spark, groups, request, counts)
    request = replace(request, floors=np.maximum(request.floors, floors))
    if request.cuts is not None:
        cuts, log_num_items = cuts_below(floors, groups)
        request = replace(request, cuts=cuts, log_num_items=log_num_items)
    tasks = deal(spark, groups, request)
    shared = Cluster.of(spark).share((request, tasks))

    def fold(number: int) -> Iterator[pa.RecordBatch]:
        yield from _fold_splits(number, shared, columns, counts)

    return numbered_tasks(spark, len(tasks), fold, columns.struct, counts)


def cuts_below(
    floors: NDArray[np.float64], groups: list[RowGroup]
) -> tuple[NDArray[np.float64], float]:
    """Return the values below which items may be left out of sums, and log of how many there are.

    Args:
        floors: Values that some item of the table reaches, of each query, (Q,).
        groups: The table's row groups.
    """
    log_num_items = math.log(max(1, sum(group.num_rows for group in groups)))
    return floors - SUM_MARGIN - log_num_items, log_num_items


def deal(spark: SparkSession, groups: list[RowGroup], request: Request) -> list[list[Split]]:
    """Return the splits that can still matter to some query, dealt to tasks by what they cost."""
    reaching = _count_reaching(groups, request)
    planned = [place for place, number in enumerate(reaching) if number]
    splits = join([groups[place] for place in planned], _ROWS_PER_SPLIT)
    sizes = np.array([len(split.indices) for split in splits])
    asked = (
        np.add.reduceat(reaching[planned], np.cumsum(sizes) - sizes) / sizes if planned else sizes
    )
    costs = np.array([split.num_rows for split in splits]) * (asked + _COST_OF_READING)
    num_tasks = max(1, min(len(splits), _num_tasks(spark, costs)))
    return spread(splits, costs, num_tasks)


def first_round(
    spark: SparkSession, groups: list[RowGroup], request: Request, counts: Counts
) -> NDArray[np.float64]:
    """Return a floor for every query's k-th value, from a few splits of its own; -inf for none."""
    num_queries = len(request.queries)
    floors = np.full(num_queries, -np.inf)
    if len(groups) < 2 or sum(group.num_rows for group in groups) <= request.k:
        return floors
    seeds = _seeds(groups, request)
    costs = np.array([s.num_rows * (len(own) + _COST_OF_READING) for s, own in seeds])
    num_tasks = min(len(seeds), _num_tasks(spark, costs))
    shared = Cluster.of(spark).share((request, spread(seeds, costs, num_tasks)))

    def best(number: int) -> Iterator[pa.RecordBatch]:
        yield from _best_of_seeds(number, shared, counts)

    sent = numbered_tasks(spark, num_tasks, best, _SENT_TYPE, counts).toArrow()
    shared.free()
    queries, values, weights = (sent[name].to_numpy() for name in ("query", "value", "weight"))
    order = np.lexsort((-values, queries))
    queries, values = queries[order], values[order]
    reached = np.cumsum(weights[order])
    firsts = np.searchsorted(queries, np.arange(num_queries))
    ends = np.searchsorted(queries, np.arange(num_queries), side="right")
    before = np.append(0, reached)[firsts]
    # The first value by which k are reached: the k-th is not below it.
    kth = np.searchsorted(reached, before + request.k)
    enough = kth < ends
    floors[enough] = values[kth[enough]]
    # On another machine exp may differ in the last digit.
    return np.asarray(floors - 1e-12 * np.abs(floors))


def _seeds(groups: list[RowGroup], request: Request) -> list[tuple[Split, NDArray[np.int64]]]:
    """Return splits, each with the queries that are to find their floors there."""
    num_queries = len(request.queries)
    # Many queries read all of the table anyway, and larger splits then take less work. For few
    # queries small splits fit best.
    many = num_queries >= len(groups) // 4
    rows = max(_ROWS_FOR_FLOORS_OF_MANY if many else _ROWS_FOR_FLOORS_OF_FEW, 2 * request.k)
    if any(group.box is None for group in groups):
        # Without boxes, some rows from everywhere serve all queries.
        typical = max(1, int(np.median([group.num_rows for group in groups])))
        number = min(len(groups), -(-rows // typical))
        chosen = np.unique(np.linspace(0, len(groups) - 1, number).astype(np.int64))
        everyone = np.arange(num_queries)
        return [(split, everyone) for split in join([groups[i] for i in chosen], 0)]
    splits = join(groups, _ROWS_PER_SPLIT if many else 0)
    typical = max(1, int(np.median([split.num_rows for split in splits])))
    per_query = min(len(splits), -(-rows // typical))
    nodes = request.nodes(Boxes.concatenate([s.box for s in splits if s.box is not None]))
    best = most_promising(nodes, request.prepared_queries(), per_query)
    order = np.argsort(best, axis=None, kind="stable")
    places, asked = best.ravel()[order], order // per_query
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    return [
        (splits[places[start]], members)
        for start, members in zip(starts, np.split(asked, starts[1:]), strict=True)
    ]


def _best_of_seeds(
    number: int,
    shared: Shared[tuple[Request, list[list[tuple[Split, NDArray[np.int64]]]]]],
    counts: Counts,
) -> Iterator[pa.RecordBatch]:
    request, tasks = shared.value
    per, k = request.per, request.k
    reader = SplitReader(
        request.queries.latent_dim, () if per is None else (per.column,), in_place=True
    )
    for members in request.groups():
        # Values without their items cannot be merged if the items of a column's value are counted.
        # The k-th of one split is a floor by itself then, if the split has k that are allowed.
        best = BestValues(k if per is None else 1)
        for split, queries in tasks[number]:
            first, last = np.searchsorted(queries, [members[0], members[-1] + 1])
            asked = queries[first:last]
            if len(asked):
                mu, log_var = reader.posteriors(split)
                values = Fold(request, asked).best_values(mu, log_var, reader.deleted, reader.items)
                best.add(asked, values if per is None else values[:, k - 1 : k])
        sent = best.weighted(_VALUES_SENT)
        weights = sent[2] if per is None else np.full(len(sent[2]), k, np.int32)
        yield pa.RecordBatch.from_arrays(
            [pa.array(sent[0].astype(np.int32)), pa.array(sent[1]), pa.array(weights)],
            names=["query", "value", "weight"],
        )
    counts.add(num_bytes=reader.num_bytes)


def _count_reaching(groups: list[RowGroup], request: Request) -> NDArray[np.int64]:
    """Return to how many queries each row group can still matter."""
    everyone = Fold(request, np.arange(len(request.queries)))
    reaching = np.full(len(groups), len(request.queries))
    boxed = [place for place, group in enumerate(groups) if group.box is not None]
    boxes = [box for group in groups if (box := group.box) is not None]
    if boxes:
        nodes = request.nodes(Boxes.concatenate(boxes))
        reaching[boxed] = everyone.count_reaching(nodes)
    return reaching


def _num_tasks(spark: SparkSession, costs: NDArray[np.float64]) -> int:
    """Return how many tasks are worth starting."""
    most = _TASKS_PER_CORE * Cluster.of(spark).num_cores
    return min(most, math.ceil(float(costs.sum()) / _COST_PER_TASK))


def _fold_splits(
    number: int,
    shared: Shared[tuple[Request, list[list[Split]]]],
    columns: Columns,
    counts: Counts,
) -> Iterator[pa.RecordBatch]:
    request, tasks = shared.value
    reader = SplitReader(request.queries.latent_dim, request.columns, in_place=True)
    for members in request.groups():
        fold = Fold(request, members)
        for split in tasks[number]:
            reaching = None
            if split.box is not None:
                reaching = fold.reaching(request.nodes(split.box), 0)
                if len(reaching) == 0:
                    continue
            mu, log_var = reader.posteriors(split)
            fold.add(
                mu,
                log_var,
                reader.items,
                reaching=reaching,
                in_order=split.box is not None,
                deleted=reader.deleted,
            )
        yield from results(fold, columns, counts)
    counts.add(row_groups=reader.num_read, num_bytes=reader.num_bytes)
