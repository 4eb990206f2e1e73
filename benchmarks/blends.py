"""Blends and dislikes beside plain queries, in memory on one core.

    python -m benchmarks.blends [--posteriors FILE.npz]

Each blend takes the place of one plain query: three z of the same kind as one, alike or not, and
two of them less a half of the third. All are searched by turns, in one index, and the ratio is that
of the shortest CPU times.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.measure import print_table, tell
from benchmarks.posteriors import KINDS, add_argument, draw_items, draw_queries
from vaeudf.search.index import PosteriorIndex

_LIKES, _DISLIKE = (1.0, 1.0, 1.0), (0.5, 0.5, -0.5)
# By how much members that are alike differ, in each dimension.
_ALIKE = 0.1


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
    index = PosteriorIndex(items.mu, items.log_var)
    groups = np.repeat(np.arange(options.queries), 3)
    rows = []
    for kind in KINDS:
        z = draw_queries(kind, options.queries, items)
        noise = np.random.default_rng(3).normal(0, _ALIKE, (len(groups), options.dims))
        alike = np.repeat(z, 3, axis=0) + noise
        others = draw_queries(kind, len(groups), items, seed=4)
        cases = {
            "plain": (z, None),
            "three alike": (alike, _LIKES),
            "three others": (others, _LIKES),
            "two alike, unlike another": (
                np.where(np.arange(len(groups))[:, None] % 3 == 2, others, alike),
                _DISLIKE,
            ),
        }
        best = dict.fromkeys(cases, float("inf"))
        for _ in range(options.repeats + 1):
            for name, (members, weights) in cases.items():
                named = (
                    {}
                    if weights is None
                    else {"groups": groups, "weights": weights * options.queries}
                )
                start = time.process_time()
                index.search(members, **named)
                best[name] = min(best[name], time.process_time() - start)
        rows += [[kind, name, value, value / best["plain"]] for name, value in best.items()]
        tell(f"{rows[-len(best) :]}")
    print_table(["queries", "asked as", "CPU seconds", "ratio"], rows)


if __name__ == "__main__":
    main()
