"""All near copies: in memory beside SciPy, FAISS and the query engine, and as a job on Spark.

    python -m benchmarks.find_copies --posteriors FILE.npz
    python -m benchmarks.find_copies --posteriors FILE.npz --table DIR --items 10000000

One item in a hundred is made a copy of another: its mu is moved by none, 2, 5 or 10 % of sigma, and
its log_var by half as much. The first command finds all pairs within ``--nats`` in memory, on one
core, in CPU seconds. Peers get what is Euclidean of it: mu over the widest sigma of each dimension,
within the square root of the threshold, which every pair is. SciPy's k-d tree finds these
candidates, and so does FAISS, exhaustively, for a sample of the items as queries, as does this
project's own query engine, which scores by the divergence itself. The second command runs the job
on a table, which it makes first, checks it on a sample by brute force, and counts the CPU seconds
of all processes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow.parquet as pq

from benchmarks.made_table import make_table
from benchmarks.measure import pin, print_table, tell
from benchmarks.posteriors import Posteriors, add_argument, draw_items

Result = TypeVar("Result")

_SAMPLE = 2_000
_CHUNK = 250_000
_PROVENANCE = {"vaeudf.catalog": '{"path": "/none"}', "vaeudf.model_path": "/none"}


def with_copies(items: Posteriors, seed: int = 0) -> Posteriors:
    """Make one item in a hundred a copy of another, in place."""
    rng = np.random.default_rng(seed)
    count, n = items.mu.shape
    copies = rng.permutation(count)[: count // 100]
    of = rng.integers(0, count, len(copies))
    moved = rng.choice([0, 0.02, 0.05, 0.1], (len(copies), 1)).astype(np.float32)
    noise = rng.normal(size=(2, len(copies), n)).astype(np.float32)
    items.mu[copies] = items.mu[of] + np.exp(0.5 * items.log_var[of]) * moved * noise[0]
    items.log_var[copies] = items.log_var[of] + 0.5 * moved * noise[1]
    return items


def cpu_timed(run: Callable[[], Result], repeats: int = 3) -> tuple[float, Result]:
    """Return the least CPU seconds of a few runs, which others on the machine hardly change."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        result = run()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def in_memory(options: argparse.Namespace) -> None:
    """Measure on one core, beside peers."""
    pin(0)
    import faiss
    from scipy.spatial import cKDTree

    from vaeudf.copies.join import Coordinates, Items
    from vaeudf.copies.threshold import Threshold
    from vaeudf.gaussian import jeffreys_divergence
    from vaeudf.gaussian.scores import SCORES
    from vaeudf.numerics.kd_tree import kd_order
    from vaeudf.search import engine
    from vaeudf.search.prepared import prepare, prepare_queries

    faiss.omp_set_num_threads(1)
    threshold = Threshold("jeffreys", options.nats)
    rows = []
    for count in options.counts:
        drawn = with_copies(draw_items(count, options.latent_dim, options.posteriors))
        # As a table has them.
        order = kd_order(drawn.mu)
        mu, log_var = drawn.mu[order], drawn.log_var[order]
        widest = log_var.max(axis=0).astype(np.float64)

        def own(mu=mu, log_var=log_var, widest=widest) -> int:
            items = Items(Coordinates.of(threshold, mu, log_var, widest), mu, log_var)
            return sum(len(pairs.one) for pairs in items.near_pairs())

        own()  # compiles
        seconds, found = cpu_timed(own)
        scaled = (mu * np.exp(-0.5 * widest)).astype(np.float32)
        radius = np.sqrt(options.nats)
        tree_seconds, candidates = cpu_timed(
            lambda scaled=scaled, radius=radius: cKDTree(scaled).query_pairs(
                radius, output_type="ndarray"
            ),
            repeats=1,
        )
        some = np.random.default_rng(1).integers(0, count, _SAMPLE)
        flat = faiss.IndexFlatL2(scaled.shape[1])
        flat.add(scaled)
        flat_seconds, _ = cpu_timed(
            lambda flat=flat, some=some, scaled=scaled: flat.range_search(
                scaled[some], options.nats
            ),
            repeats=1,
        )
        score = SCORES["jeffreys"]
        prepared = prepare(score, mu, log_var, np.arange(count))
        queries = prepare_queries(
            score, mu[some].astype(np.float64), log_var[some].astype(np.float64), 0.0
        )
        floors = np.full(len(some), -options.nats)
        engine.candidates(prepared, queries, 64, floors)
        engine_seconds, (places, *_) = cpu_timed(
            lambda prepared=prepared, queries=queries, floors=floors: engine.candidates(
                prepared, queries, 64, floors
            )
        )
        # Recall, by brute force in float64 on the sample.
        exact = jeffreys_divergence(mu[some[:200]], log_var[some[:200]], mu, log_var)
        near = int((exact <= options.nats).sum())
        assert near == int((places < 200).sum()), (near, int((places < 200).sum()))
        share = count / len(some)
        rows.append(
            [
                f"{count:,}",
                f"{found:,}",
                f"{seconds:.2f}",
                f"{tree_seconds / seconds:,.1f}× ({len(candidates):,} candidates)",
                f"{flat_seconds * share / seconds:,.0f}×",
                f"{engine_seconds * share / seconds:,.0f}×",
            ]
        )
        tell(" | ".join(rows[-1]))
    print_table(
        ["items", "pairs", "CPU seconds", "SciPy's k-d tree", "FAISS flat", "the query engine"],
        rows,
    )


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of all that it has started."""
    ticks, parents = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(entry.parent.name)
        parents[pid] = int(fields[1])
        ticks[pid] = sum(map(int, fields[11:15]))
    total = 0
    for pid in ticks:
        above = pid
        while above not in (os.getpid(), 0):
            above = parents.get(above, 0)
        total += ticks[pid] if above else 0
    return total / os.sysconf("SC_CLK_TCK")


def on_spark(options: argparse.Namespace) -> None:
    """Run the job on a table, and check it on a sample."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from vaeudf.gaussian import jeffreys_divergence
    from vaeudf.spark.session import spark_session
    from vaeudf.workflows.find_copies import FindCopies, find_copies

    items = with_copies(draw_items(options.items, options.latent_dim, options.posteriors))
    with spark_session("benchmark") as spark:
        if not Path(options.table).exists():
            tell("making the table …")
            make_table(spark, options.table, items, _PROVENANCE)
        with tempfile.TemporaryDirectory(dir=Path(options.table).absolute().parent) as folder:
            before, start = cpu_seconds(), time.perf_counter()
            output = f"{folder}/copies"
            summary = find_copies(FindCopies(options.table, output, nats=options.nats, pairs=True))
            wall, cpu = time.perf_counter() - start, cpu_seconds() - before
            pairs = pq.read_table(f"{output}/pairs")
    named = {
        frozenset(pair)
        for pair in zip(
            pairs["item_id"].to_pylist(), pairs["other_item_id"].to_pylist(), strict=True
        )
    }
    found = missing = 0
    paired = sorted({int(name[5:]) for pair in list(named)[:10] for name in pair})
    drawn = np.random.default_rng(2).integers(0, options.items, 20)
    rows = np.array([*paired, *drawn.tolist()])
    for first in range(0, options.items, _CHUNK):
        some = slice(first, first + _CHUNK)
        values = jeffreys_divergence(
            items.mu[rows], items.log_var[rows], items.mu[some], items.log_var[some]
        )
        for place, other in zip(*np.nonzero(values <= options.nats), strict=True):
            pair = frozenset((f"item-{rows[place]:010d}", f"item-{first + other:010d}"))
            if len(pair) == 2:
                found += 1
                missing += pair not in named
    print_table(
        ["items", "pairs", "groups", "seconds", "CPU seconds", "compared per item", "missing"],
        [
            [
                f"{options.items:,}",
                f"{summary['pairs']:,}",
                f"{summary['groups']:,}",
                f"{wall:.0f} (find {summary['seconds']['find']:.0f})",
                f"{cpu:.0f}",
                f"{summary['compared_per_item']:.1f}",
                f"{missing} of {found}",
            ]
        ],
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_argument(parser)
    parser.add_argument("--nats", type=float, default=0.1)
    parser.add_argument("--latent-dim", type=int, default=10)
    parser.add_argument("--counts", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--table", help="run the job on this table; made if it does not exist")
    parser.add_argument("--items", type=int, default=10_000_000)
    options = parser.parse_args()
    if options.table:
        on_spark(options)
    else:
        in_memory(options)


if __name__ == "__main__":
    main()
