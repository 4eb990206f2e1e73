"""How the time per query grows with the number of items, on one core.

python -m benchmarks.growth [--posteriors FILE.npz]
"""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.measure import pin, print_table, tell, timed

if __name__ == "__main__":
    pin(1)

import numpy as np

import vaeudf
from benchmarks.posteriors import KINDS, add_argument, draw_items, draw_queries


def main() -> None:
    """Measure a PosteriorIndex of each size and fit time ∝ N^p."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_argument(parser)
    parser.add_argument("--items", type=int, nargs="+", default=[1_000_000, 5_000_000, 30_000_000])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    micros: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for count in options.items:
        items = draw_items(count, 10, options.posteriors)
        asked = {kind: draw_queries(kind, options.queries, items) for kind in KINDS}
        index = vaeudf.PosteriorIndex(items.mu, items.log_var)
        del items
        for kind in KINDS:
            index.search(asked[kind][:10])
            seconds, _ = timed(partial(index.search, asked[kind]), options.repeats)
            micros[kind].append(seconds / options.queries * 1e6)
            tell(f"{count:,} items, {kind}: {micros[kind][-1]:.1f} µs per query")
        del index
    powers = {kind: np.polyfit(np.log(options.items), np.log(micros[kind]), 1)[0] for kind in KINDS}
    print_table(
        ["z", *(f"{count:,} items, µs/query" for count in options.items), "p in N^p"],
        [[kind, *micros[kind], f"{powers[kind]:.2f}"] for kind in KINDS],
    )


if __name__ == "__main__":
    main()
