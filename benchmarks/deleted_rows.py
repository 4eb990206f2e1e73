"""Bulk queries of a table with rows deleted by deletion vectors, beside one without, on two cores.

    python -m benchmarks.deleted_rows --folder DIR [--posteriors FILE.npz]

Both tables are made first if DIR does not exist. The runs alternate, and so does which of the two
comes first; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np

from benchmarks.made_table import make_table
from benchmarks.measure import print_table, tell
from benchmarks.posteriors import KINDS, add_argument, draw_items, draw_queries
from benchmarks.spark_query import run
from tests.support.deletion_vectors import delete_items
from vaeudf.query.latents import Latents, from_rows
from vaeudf.spark.classic_session import session_builder
from vaeudf.table.open import PosteriorTable, open_table


def _both(tables: list[PosteriorTable], latents: Latents, *, turned: bool) -> list[float]:
    """Return each table's seconds; who comes second pays for what the first has left."""
    order = [1, 0] if turned else [0, 1]
    seconds = {place: run(tables[place], latents, 10)[0] for place in order}
    return [seconds[0], seconds[1]]


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_argument(parser)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--part", type=float, default=0.01, help="of the rows, deleted")
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 1_000, 10_000])
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = session_builder("benchmark").master("local[2]")
    for key, value in {
        "spark.driver.memory": "4g",
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "4",
    }.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    items = draw_items(options.items, 10, options.posteriors)
    whole, deleted = (str(Path(options.folder, name)) for name in ("whole", "deleted"))
    if not Path(options.folder).exists():
        tell("making the tables …")
        make_table(spark, whole, items)
        shutil.copytree(whole, deleted)
        chosen = np.random.default_rng(0).random(len(items)) < options.part
        delete_items(deleted, [f"item-{place:010d}" for place in np.flatnonzero(chosen)])
    tables = [open_table(whole), open_table(deleted)]
    repeats = options.repeats
    rows = []
    for queries in options.queries:
        for kind in KINDS:
            latents = from_rows(list(draw_queries(kind, queries, items)))
            for table in tables:
                run(table, latents, 10)
            seconds = [_both(tables, latents, turned=bool(turn % 2)) for turn in range(repeats)]
            without, with_vectors = (statistics.median(one) for one in zip(*seconds, strict=True))
            rows.append([kind, queries, without, with_vectors, with_vectors / without])
            tell(f"{rows[-1]}")
    names = [f"{table.num_items:,} items, seconds" for table in tables]
    print_table(["z", "queries", *names, "ratio"], rows)
    spark.stop()


if __name__ == "__main__":
    main()
