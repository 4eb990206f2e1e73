"""Every item that reaches a score, of ten million: seconds, and the largest Python worker.

    python -m benchmarks.all_above --table DIR [--posteriors FILE.npz]

The table is made first if DIR does not exist (10M items: about two minutes and 1 GB). 100 queries
from items' posteriors ask once with a tight score and once with a loose one; the hits are written
to a folder beside the table, which is removed afterwards.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.made_table import make_table
from benchmarks.measure import PeakMemory, print_table, tell
from benchmarks.posteriors import add_argument, draw_items, draw_queries
from vaeudf.query.all_above import plan_all
from vaeudf.query.latents import from_rows
from vaeudf.query.options import QueryOptions
from vaeudf.search.once import nearest
from vaeudf.spark.classic_session import session_builder
from vaeudf.table.open import open_table

_QUERIES = 100
# Hits that a query is to have in the mean, of a sample of the items.
_WANTED = {"tight": 20.0, "loose": 300_000.0}
_SAMPLE = 200_000


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_argument(parser)
    parser.add_argument("--table", required=True)
    parser.add_argument("--items", type=int, default=10_000_000)
    options = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = session_builder("benchmark").master("local[2]")
    for key, value in {
        "spark.driver.memory": "3g",
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
    z = draw_queries("posterior", _QUERIES, items)
    sample = slice(0, _SAMPLE)
    _, scores = nearest(z, items.mu[sample], items.log_var[sample], k=20_000)
    ordered = np.sort(scores.ravel())[::-1]
    part = min(_SAMPLE, len(items)) / len(items)
    del items
    rows = []
    # Compiles the kernels.
    warm = plan_all(open_table(options.table), from_rows(list(z)), QueryOptions(min_score=0.0))
    warm.hits.count()
    for kind, wanted in _WANTED.items():
        least = float(ordered[int(wanted * part * _QUERIES)])
        output = f"{options.table}-hits"
        start = time.perf_counter()
        with PeakMemory() as watch:
            asked = QueryOptions(min_score=least)
            query = plan_all(open_table(options.table), from_rows(list(z)), asked)
            query.hits.write.mode("overwrite").parquet(output)
        seconds = time.perf_counter() - start
        hits = sum(
            pq.ParquetFile(file).metadata.num_rows for file in Path(output).glob("*.parquet")
        )
        size = sum(file.stat().st_size for file in Path(output).glob("*.parquet"))
        shutil.rmtree(output)
        rows.append(
            [
                f"{kind}: --min-score {least:.1f}",
                f"{hits:,}",
                seconds,
                size / 1e6,
                watch.peak / 1e9,
                watch.jvm / 1e9,
            ]
        )
        tell(f"{rows[-1]}")
    print_table(
        [
            f"{options.items:,} items × {_QUERIES}",
            "hits",
            "seconds",
            "MB written",
            "largest Python worker, GB",
            "Spark's own process, GB",
        ],
        rows,
    )
    spark.stop()


if __name__ == "__main__":
    main()
