"""At most N hits of each value of a column, beside plain searches; one core.

    python -m benchmarks.per_value [--posteriors FILE.npz]

Everything is searched in memory, by turns, and the ratio is that of the median CPU times. Values
are dealt at random, or by place in the k-d order, where near items have the same.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.measure import print_table, tell
from benchmarks.posteriors import KINDS, add_argument, draw_items, draw_queries
from vaeudf.gaussian.scores import SCORES
from vaeudf.numerics.kd_tree import kd_order
from vaeudf.search import engine
from vaeudf.search.prepared import prepare, prepare_queries
from vaeudf.search.records import PerValue


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_argument(parser)
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--values", type=int, default=1_000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    items = draw_items(options.items, 10, options.posteriors)
    count, score = len(items), SCORES["log_likelihood"]
    order = kd_order(items.mu)
    prepared = prepare(score, items.mu[order], items.log_var[order], np.arange(count))
    dealt = np.random.default_rng(0).integers(0, options.values, count).astype(np.int32)
    near = (np.arange(count) * options.values // count).astype(np.int32)
    forms = {
        "plain": None,
        "per value:1, dealt": PerValue(dealt, 1),
        "per value:2, dealt": PerValue(dealt, 2),
        "per value:1, near": PerValue(near, 1),
        "per value:2, near": PerValue(near, 2),
    }
    rows = []
    for kind in KINDS:
        queries = prepare_queries(score, draw_queries(kind, options.queries, items), None, 0.0)
        taken: dict[str, list[float]] = {name: [] for name in forms}
        for repeat in range(options.repeats + 1):
            for name, per in forms.items():
                start = time.process_time()
                engine.search(prepared, queries, options.k, per=per)
                if repeat:
                    taken[name].append(time.process_time() - start)
        plain = np.median(taken["plain"])
        rows += [
            [kind, name, float(np.median(seconds)), float(np.median(seconds) / plain)]
            for name, seconds in taken.items()
        ]
        tell(f"{rows[-len(forms) :]}")
    print_table(["z", "queries", "CPU seconds", "ratio"], rows)


if __name__ == "__main__":
    main()
