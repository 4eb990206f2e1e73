"""Every score beside log q(z|x), in memory on one core.

    python -m benchmarks.scores [--posteriors FILE.npz]

Gaussian queries have the variances of random items. All are searched by turns, and the ratio is
that of the shortest CPU times.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.measure import print_table, tell
from benchmarks.posteriors import KINDS, add_argument, draw_items, draw_queries
from vaeudf.gaussian.scores import SCORES
from vaeudf.search.index import PosteriorIndex


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_argument(parser)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--dims", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    items = draw_items(options.items, options.dims, options.posteriors)
    # Each prepares its items once; what is measured is the search alone.
    indices = {name: PosteriorIndex(items.mu, items.log_var) for name in SCORES}
    which = np.random.default_rng(2).integers(0, len(items), options.queries)
    rows = []
    for kind in KINDS:
        z = draw_queries(kind, options.queries, items)
        best = dict.fromkeys(SCORES, float("inf"))
        for _ in range(options.repeats + 1):
            for name, score in SCORES.items():
                log_var = items.log_var[which] if score.between_gaussians else None
                start = time.process_time()
                indices[name].search(z, query_log_var=log_var, score=name)
                best[name] = min(best[name], time.process_time() - start)
        plain = best["log_likelihood"]
        rows += [[kind, name, value, value / plain] for name, value in best.items()]
        tell(f"{rows[-len(best) :]}")
    print_table(["queries", "score", "CPU seconds", "ratio"], rows)


if __name__ == "__main__":
    main()
