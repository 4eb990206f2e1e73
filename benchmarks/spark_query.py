"""Bulk queries on Spark beside Spark's own ``EXACT NEAREST k BY SIMILARITY``, on two cores.

    python -m benchmarks.spark_query --table DIR [--posteriors FILE.npz]

The table is made first if DIR does not exist (10M items: about two minutes and 1 GB). Spark's own
join searches the lifted vectors, on a size that it can do in about half a minute.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from benchmarks.made_table import make_table
from benchmarks.measure import PeakMemory, print_table, tell
from benchmarks.posteriors import KINDS, Posteriors, add_argument, draw_items, draw_queries
from vaeudf.gaussian.lifted import lift_items, lift_queries
from vaeudf.query import two_rounds
from vaeudf.query.bulk import BulkQuery, plan
from vaeudf.query.latents import Latents, from_rows
from vaeudf.query.options import QueryOptions
from vaeudf.spark.classic_session import session_builder
from vaeudf.table.open import PosteriorTable, open_table


def run(table: PosteriorTable, queries: Latents, k: int) -> tuple[float, BulkQuery]:
    """Answer a bulk query and bring the result to the driver; return the seconds."""
    start = time.perf_counter()
    query = plan(table, queries, QueryOptions(k=k))
    query.hits.toArrow()
    return time.perf_counter() - start, query


def nearest_by(spark: SparkSession, items: Posteriors, count: int, queries: int) -> float:
    """Return the pairs per second of Spark's own exact nearest-neighbour join."""
    few = Posteriors(items.mu[:count], items.log_var[:count])
    z = draw_queries("posterior", queries, few)
    for name, vectors in (("items", lift_items(few.mu, few.log_var)), ("queries", lift_queries(z))):
        rows = pa.table({"id": np.arange(len(vectors)), "v": list(vectors)})
        frame = spark.createDataFrame(rows.to_pandas(), "id long, v array<float>").repartition(8)
        frame.cache().count()
        frame.createOrReplaceTempView(name)
    sql = (
        "SELECT queries.id, items.id FROM queries JOIN items "
        "EXACT NEAREST 10 BY SIMILARITY vector_inner_product(queries.v, items.v)"
    )
    start = time.perf_counter()
    assert spark.sql(sql).toArrow().num_rows == 10 * queries
    seconds = time.perf_counter() - start
    spark.catalog.clearCache()
    return count * queries / seconds


def bulk(table: PosteriorTable, items: Posteriors, queries: int, peer: float) -> None:
    """Measure bulk queries of every kind."""
    rows = []
    for kind in KINDS:
        latents = from_rows(list(draw_queries(kind, queries, items)))
        seconds, query = min((run(table, latents, 10) for _ in range(2)), key=lambda pair: pair[0])
        pairs = len(items) * queries / seconds
        rows.append(
            [
                kind,
                seconds,
                pairs / 1e9,
                f"{pairs / peer:,.0f}×",
                f"{query.counts.scored.value / (len(items) * queries):.2%}",
                query.counts.rows_out.value / queries,
            ]
        )
        tell(f"{rows[-1]}")
    print_table(
        [
            f"z ({len(items):,} items × {queries:,})",
            "seconds",
            "G pairs/s",
            "over NEAREST BY",
            "pairs scored",
            "rows shuffled per query",
        ],
        rows,
    )


def single(table: PosteriorTable, items: Posteriors) -> None:
    """Measure one query at a time, session warm."""
    total = sum(os.path.getsize(path) for path in table.files)
    rows = []
    for kind in KINDS:
        z = draw_queries(kind, 16, items, seed=7)
        run(table, from_rows([z[0]]), 10)
        found = [run(table, from_rows([one]), 10) for one in z[1:]]
        parts = [query.counts.num_bytes.value / total for _, query in found]
        rows.append(
            [
                kind,
                statistics.median(seconds for seconds, _ in found),
                f"{statistics.median(parts):.1%}",
                f"{max(parts):.1%}",
            ]
        )
        tell(f"{rows[-1]}")
    print_table(["one z", "seconds (median)", "of the bytes read (median)", "(worst)"], rows)


def shuffle(table: PosteriorTable, items: Posteriors, queries: int) -> None:
    """Measure how many rows leave the tasks, by how many tasks there are."""
    rows = []
    own = two_rounds._num_tasks
    for num_tasks in (4, 40, 400):
        two_rounds._num_tasks = lambda *_, number=num_tasks: number
        row: list[object] = [num_tasks]
        for kind in KINDS:
            latents = from_rows(list(draw_queries(kind, queries, items)))
            _, query = run(table, latents, 10)
            row.append(query.counts.rows_out.value / queries)
        rows.append(row)
        tell(f"{row}")
    two_rounds._num_tasks = own
    print_table(["tasks", *(f"{kind}: rows per query, k = 10" for kind in KINDS)], rows)


def memory(table: PosteriorTable, items: Posteriors, queries: int) -> None:
    """Measure the largest Python worker."""
    latents = from_rows(list(draw_queries("posterior", queries, items)))
    with PeakMemory() as watch:
        seconds, _ = run(table, latents, 100)
    print_table(
        ["k = 100", "seconds", "largest Python worker, GB"],
        [[f"{len(items):,} × {queries:,}", seconds, watch.peak / 1e9]],
    )


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_argument(parser)
    parser.add_argument("--table", required=True)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--only", choices=("bulk", "single", "shuffle", "memory"))
    options = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = session_builder("benchmark").master("local[2]")
    for key, value in {
        "spark.driver.memory": "6g",
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "8",
    }.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    items = draw_items(options.items, 10, options.posteriors)
    if not Path(options.table).exists():
        tell("making the table …")
        make_table(spark, options.table, items)
    table = open_table(options.table)
    run(table, from_rows(list(draw_queries("prior", 300, items))), 10)  # compiles the kernels
    if options.only in (None, "bulk"):
        nearest_by(spark, items, 5_000, 50)
        peer = nearest_by(spark, items, 100_000, 400)
        print(f"EXACT NEAREST 10 BY, 100,000 items × 400: {peer / 1e6:.2f} M pairs/s\n")
        bulk(table, items, options.queries, peer)
    if options.only in (None, "single"):
        single(table, items)
    if options.only in (None, "shuffle"):
        shuffle(table, items, 1_000)
    if options.only in (None, "memory"):
        memory(table, items, options.queries)
    spark.stop()


if __name__ == "__main__":
    main()
