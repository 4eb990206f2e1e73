"""How near the clusterings come to the best one known, beside plain k-means and its peers.

    python -m benchmarks.cluster_quality [--posteriors FILE.npz …] [--spark]

The best one known is the best of 200 runs of plain k-means (one set of k-means++ seeds, moved
until a step gains less than a millionth) and of all runs of vaeudf. All is in memory, on one core,
but for Spark's KMeans, which runs on Spark. The peers cluster what is measured by the Euclidean
distance.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from benchmarks.measure import print_table, tell
from vaeudf.clustering.divergences import DIVERGENCES
from vaeudf.clustering.lloyd import Fitted, fit
from vaeudf.clustering.plan import Plan
from vaeudf.clustering.weighted_items import WeightedItems
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.table.passes import Batch, Merge, Result, Work

_Array = NDArray[np.float64]
_ROWS_PER_BATCH = 4_096
_PEER_RUNS = 10


@dataclass(frozen=True)
class DataSet:
    """Items and how to cluster them.

    Attributes:
        name: For the table.
        mu: Shape (N, n).
        log_var: Shape (N, n).
        divergence: By what.
        k: Into how many clusters.
    """

    name: str
    mu: _Array
    log_var: _Array
    divergence: str
    k: int

    @property
    def items(self) -> Gaussians:
        """The items."""
        return Gaussians(self.mu, self.log_var)


def planted(
    name: str,
    sizes: list[int],
    divergence: str,
    *,
    n: int,
    mean_spread: float,
    levels: list[float],
    noise: float,
    seed: int,
) -> DataSet:
    """Return clusters of given sizes around drawn means and log variances.

    Args:
        name: For the table.
        sizes: Of the clusters.
        divergence: What to cluster by.
        n: Dimensions.
        mean_spread: Of the clusters' means.
        levels: What the clusters' log variances are drawn from, in each dimension.
        noise: Spread of the items' means within a cluster.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    k = len(sizes)
    means, log_vars = rng.normal(0, mean_spread, (k, n)), rng.choice(levels, (k, n))
    which = rng.permutation(np.repeat(np.arange(k), sizes))
    shape = (len(which), n)
    mu = means[which] + rng.normal(0, noise, shape)
    return DataSet(name, mu, log_vars[which] + rng.normal(0, 0.2, shape), divergence, k)


def data_sets(posteriors: list[str]) -> list[DataSet]:
    """Return all data sets, those of given files last."""
    by_variance = {"mean_spread": 0.0, "levels": [0.0, -5.0, -6.0], "noise": 0.3}
    by_mean = {"mean_spread": 1.0, "levels": [-4.6], "noise": 0.25}
    by_both = {"mean_spread": 0.5, "levels": [0.0, -5.0, -6.0], "noise": 0.3}
    digits = StandardScaler().fit_transform(load_digits().data)
    alike = np.zeros_like(digits)
    sets = [
        planted("variances", [1_000] * 4, "kl", n=8, seed=0, **by_variance),
        planted("variances", [500] * 20, "kl", n=8, seed=1, **by_variance),
        planted("means", [500] * 20, "euclidean", n=10, seed=2, **by_mean),
        planted("means", [100] * 100, "euclidean", n=10, seed=3, **by_mean),
        planted("both", [400] * 50, "kl", n=10, seed=4, **by_both),
        planted("means, 1:100", [50] * 5 + [5_000] * 5, "euclidean", n=10, seed=5, **by_mean),
        planted("variances, 1:100", [40] * 4 + [4_000] * 4, "kl", n=8, seed=6, **by_variance),
        DataSet("digits", digits, alike, "euclidean", 10),
        DataSet("digits", digits, alike, "kl", 10),
    ]
    for number, file in enumerate(posteriors):
        with np.load(file) as arrays:
            mu, log_var = (arrays[name].astype(np.float64) for name in ("mu", "log_var"))
        ks = (10, 100) if number == 0 else (20,)
        sets += [DataSet(f"photos, n = {mu.shape[1]}", mu, log_var, "kl", k) for k in ks]
    return sets


class InMemory:
    """Passes over items in memory, in one part.

    Attributes:
        count: How many passes there were.
    """

    def __init__(self, items: Gaussians) -> None:
        """Take the items."""
        self._items = items
        self.count = 0

    def __call__(self, work: Work[Result], merge: Merge[Result]) -> Result:
        """Do the work on all items."""
        self.count += 1
        rows = np.arange(len(self._items))
        cuts = np.split(rows, rows[_ROWS_PER_BATCH::_ROWS_PER_BATCH])
        return work(
            Batch(self._items.take(cut), lambda some: pa.array(some.astype(str))) for cut in cuts
        )


def plain_run(items: WeightedItems, k: int, rng: np.random.Generator) -> float:
    """Return the mean divergence that k-means++ and plain k-means come to."""
    chosen = [int(rng.integers(len(items)))]
    nearest = items.divergences_from(items.items.take(np.array(chosen)))
    while len(chosen) < k:
        chosen.append(int(rng.choice(len(items), p=nearest / nearest.sum())))
        last = items.divergences_from(items.items.take(np.array(chosen[-1:])))
        nearest = np.minimum(nearest, last)
    seeds = items.items.take(np.array(chosen))
    return items.lloyd(seeds, max_steps=300, min_improvement=1e-6).cost / len(items)


def sklearn_run(data: DataSet, seed: int) -> float:
    """Return the mean square that scikit-learn's KMeans comes to, with ten sets of seeds."""
    found = KMeans(data.k, n_init=10, random_state=seed).fit(data.mu)
    return float(found.inertia_) / len(data.mu)


def spark_runs() -> Callable[[DataSet, int], float]:
    """Start Spark, and return what its KMeans comes to on a data set, with one set of seeds."""
    from pyspark.ml.clustering import KMeans as SparkKMeans
    from pyspark.ml.functions import array_to_vector

    from vaeudf.spark.classic_session import session_builder

    spark = session_builder("benchmark").master("local[2]").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    frames = {}

    def run(data: DataSet, seed: int) -> float:
        if id(data) not in frames:
            rows = spark.createDataFrame(pa.table({"mu": pa.array(data.mu.tolist())}))
            frames[id(data)] = rows.select(array_to_vector("mu").alias("features")).cache()
        model = SparkKMeans(k=data.k, maxIter=100, seed=seed).fit(frames[id(data)])
        return float(model.summary.trainingCost) / len(data.mu)

    return run


def times(runs: int, run: Callable[[int], Result]) -> tuple[list[Result], float]:
    """Return the results of runs with seeds from 0 on, and their median seconds."""
    results, seconds = [], []
    for seed in range(runs):
        start = time.perf_counter()
        results.append(run(seed))
        seconds.append(time.perf_counter() - start)
    return results, statistics.median(seconds)


def row_of(
    data: DataSet, options: argparse.Namespace, spark: Callable[[DataSet, int], float] | None
) -> list[object]:
    """Measure one data set."""
    divergence = DIVERGENCES[data.divergence]
    measured = divergence.as_measured(data.items)
    weighted = WeightedItems.of(measured, np.ones(len(measured)), divergence)
    passes = InMemory(data.items)

    def ours(seed: int) -> Fitted:
        return fit(passes, Plan(divergence, (data.k,), seed=seed))

    ours(0)  # compiles
    passes.count = 0
    fitted, seconds = times(options.seeds, ours)
    num_passes = passes.count / options.seeds
    objectives = [one.best()[0].objective for one in fitted]
    plain, plain_seconds = times(
        options.plain_runs, lambda seed: plain_run(weighted, data.k, np.random.default_rng(seed))
    )
    best = min(*plain, *objectives)
    peers = []
    for peer in (sklearn_run, spark):
        if data.divergence == "euclidean" and peer is not None:
            found, _ = times(options.peer_runs, lambda seed, peer=peer: peer(data, seed))
            peers.append(f"{statistics.mean(found) / best:.4f}")
        else:
            peers.append("")
    tell(
        f"{data.name}, k = {data.k}: {statistics.mean(objectives):.6g} by vaeudf, {min(plain):.6g} "
        f"the best plain run; {seconds:.2f} s, {plain_seconds:.2f} s a plain run"
    )
    return [
        data.name,
        data.divergence,
        f"{len(data.mu):,}",
        str(data.k),
        f"{statistics.mean(objectives) / best:.5f}",
        f"{max(objectives) / best:.5f}",
        f"{min(plain) / best:.4f}",
        f"{statistics.median(plain) / best:.4f}",
        *peers,
        f"{num_passes:.1f}",
        f"{seconds / plain_seconds:.1f}",
    ]


def main() -> None:
    """Measure all data sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posteriors", nargs="+", default=[], help=".npz with mu and log_var")
    parser.add_argument("--spark", action="store_true", help="run Spark's KMeans, too")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--plain-runs", type=int, default=200)
    parser.add_argument("--peer-runs", type=int, default=_PEER_RUNS)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of data sets, from 0")
    options = parser.parse_args()
    sets = data_sets([str(Path(file)) for file in options.posteriors])
    spark = spark_runs() if options.spark else None
    print_table(
        [
            "data",
            "by",
            "items",
            "k",
            "vaeudf, mean of the seeds",
            "worst seed",
            "best plain run",
            "median plain run",
            "scikit-learn, n_init = 10",
            "Spark's KMeans",
            "passes",
            "time, in plain runs",
        ],
        [row_of(sets[at], options, spark) for at in options.only or range(len(sets))],
    )


if __name__ == "__main__":
    main()
