"""k-means by KL between Gaussians beside ``pyspark.ml.clustering.KMeans`` on mu, on two cores.

    python -m benchmarks.cluster [--items 10000000] [--k 20] [--posteriors FILE.npz]

Both iterate over the same Parquet files; Spark's has its vectors cached in memory before it is
timed, ours reads the files at every iteration. The time of an iteration is the median over those of
a run; Spark reports no times of iterations, so its time is the difference between a run with few
iterations and one with many.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.ml.clustering import KMeans
from pyspark.ml.functions import array_to_vector
from pyspark.sql import DataFrame, SparkSession

from benchmarks.measure import PeakMemory, print_table, tell
from benchmarks.posteriors import Posteriors, add_argument, draw_items
from vaeudf.clustering.divergences import DIVERGENCES
from vaeudf.clustering.lloyd import fit
from vaeudf.clustering.plan import Plan
from vaeudf.spark.classic_session import session_builder
from vaeudf.spark.passes import TablePasses
from vaeudf.storage.locations import spark_literal
from vaeudf.table.open import open_posteriors

_FILES = 8
_FEW = 2


def write_items(folder: Path, items: Posteriors) -> None:
    """Write items as plain Parquet."""
    for number, rows in enumerate(np.array_split(np.arange(len(items)), _FILES)):
        vectors = [
            pa.FixedSizeListArray.from_arrays(pa.array(array[rows].ravel()), array.shape[1]).cast(
                pa.list_(pa.float32())
            )
            for array in (items.mu, items.log_var)
        ]
        names = pa.array([f"item-{place:010d}" for place in rows.tolist()])
        table = pa.table([names, *vectors], names=["item_id", "mu", "log_var"])
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=65_536)


def seconds_of_ours(passes: TablePasses, name: str, k: int, iterations: int) -> list[float]:
    """Return the seconds of each iteration but the first, which waits for the seeds."""
    times = []
    plan = Plan(
        DIVERGENCES[name], (k,), restarts=1, max_iterations=iterations + 1, min_improvement=0.0
    )
    fit(passes, plan, on_iteration=lambda _: times.append(time.perf_counter()))
    return np.diff(times).tolist()


def seconds_of_spark(vectors: DataFrame, k: int, iterations: int) -> float:
    """Return the seconds of an iteration of Spark's k-means."""

    def run(count: int) -> float:
        start = time.perf_counter()
        KMeans(k=k, initMode="random", maxIter=count, tol=0.0, seed=0, featuresCol="v").fit(vectors)
        return time.perf_counter() - start

    run(1)
    return (run(_FEW + iterations) - run(_FEW)) / iterations


def main() -> None:
    """Measure both, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_argument(parser)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--k", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--divergences", nargs="+", default=list(DIVERGENCES), choices=DIVERGENCES)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="also time a whole run, seeds and all")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vaeudf-cluster-"))
    # Spark's cached vectors need room, which only a JVM that is yet to start can be given.
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        "--driver-memory 12g --conf spark.ui.showConsoleProgress=false pyspark-shell"
    )
    spark = session_builder("benchmark").master("local[2]").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        tell("writing the items …")
        write_items(folder, draw_items(options.items, 10, options.posteriors))
        measure(spark, str(folder), options)
    finally:
        spark.stop()
        shutil.rmtree(folder)


def measure(spark: SparkSession, folder: str, options: argparse.Namespace) -> None:
    """Print the tables."""
    table = open_posteriors(folder)
    passes = TablePasses(spark, table)
    frame = spark.read.parquet(spark_literal(folder))
    vectors = frame.select(array_to_vector("mu").alias("v")).cache()
    vectors.count()
    rows = []
    for k in options.k:
        found: dict[str, list[float]] = {name: [] for name in ("spark", *options.divergences)}
        with PeakMemory() as memory:
            for _ in range(options.repeats):
                found["spark"].append(seconds_of_spark(vectors, k, options.iterations))
                for name in options.divergences:
                    found[name] += seconds_of_ours(passes, name, k, options.iterations)
                tell(f"k = {k}: " + ", ".join(f"{n} {s[-1]:.2f} s" for n, s in found.items()))
        peer = statistics.median(found["spark"])
        rows += [
            [k, name, statistics.median(seconds), statistics.median(seconds) / peer]
            for name, seconds in found.items()
        ]
        tell(f"largest worker: {memory.peak / 2**30:.2f} GiB")
    print_table(["k", "divergence", "s per iteration", "× Spark's KMeans on mu"], rows)
    vectors.unpersist()
    if options.whole:
        for k in options.k:
            start = time.perf_counter()
            fitted = fit(passes, Plan(DIVERGENCES["kl"], (k,), restarts=1))
            seconds = time.perf_counter() - start
            iterations = len(fitted.trials[0].objectives)
            tell(f"k = {k}, kl, a whole run: {seconds:.1f} s, {iterations} iterations")


if __name__ == "__main__":
    main()
