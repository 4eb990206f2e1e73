"""Queries that leave dimensions open, and tolerances by dimension, beside plain ones; one core.

    python -m benchmarks.open_dimensions [--posteriors FILE.npz]

Everything is searched in memory, by turns, and the ratio is that of the shortest CPU times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import print_table, tell
from benchmarks.posteriors import KINDS, add_argument, draw_items, draw_queries
from vaeudf.search.index import PosteriorIndex

_MASKS = (1, 10, 1_000)
_TOLERANCE = 0.2


def _leaving_open(z: NDArray[np.float64], masks: int, part: float) -> NDArray[np.float64]:
    """Return the queries with a part of their dimensions open, by so many different masks."""
    rng = np.random.default_rng(0)
    count = round(part * z.shape[1])
    chosen = [rng.permutation(z.shape[1])[:count] for _ in range(masks)]
    found = z.copy()
    for place in range(len(found)):
        found[place, chosen[place % masks]] = np.nan
    return found


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_argument(parser)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--open", type=float, default=0.3, help="part of the dimensions")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    items = draw_items(options.items, 10, options.posteriors)
    n = items.mu.shape[1]
    # Each prepares its items once; what is measured is the search alone.
    indices = [PosteriorIndex(items.mu, items.log_var) for _ in range(4)]
    rows = []
    for kind in KINDS:
        z = draw_queries(kind, options.queries, items)

        def plain(z: NDArray[np.float64] = z) -> None:
            indices[0].search(z)

        def blurred(z: NDArray[np.float64] = z) -> None:
            indices[1].search(z, tolerance=_TOLERANCE)

        def blurred_each(z: NDArray[np.float64] = z) -> None:
            indices[2].search(z, tolerance=np.linspace(0.5, 1.5, n) * _TOLERANCE)

        forms: dict[str, Callable[[], None]] = {
            "plain": plain,
            f"tolerance {_TOLERANCE}": blurred,
            "a tolerance for each dimension": blurred_each,
        }
        for masks in _MASKS:
            asked = _leaving_open(z, masks, options.open)

            def masked(asked: NDArray[np.float64] = asked) -> None:
                indices[3].search(asked)

            forms[f"{options.open:.0%} open, {masks:,} masks"] = masked
        taus = np.random.default_rng(1).uniform(0.5, 1.5, size=z.shape) * _TOLERANCE

        def own(z: NDArray[np.float64] = z, taus: NDArray[np.float64] = taus) -> None:
            indices[2].search(z, tolerance=taus)

        def own_masked(
            asked: NDArray[np.float64] = asked, taus: NDArray[np.float64] = taus
        ) -> None:
            indices[2].search(asked, tolerance=taus)

        forms["tolerances of each query"] = own
        forms[f"the same, {options.open:.0%} open, {masks:,} masks"] = own_masked
        best = dict.fromkeys(forms, float("inf"))
        for _ in range(options.repeats + 1):
            for name, run in forms.items():
                start = time.process_time()
                run()
                best[name] = min(best[name], time.process_time() - start)
        rows += [[kind, name, value, value / best["plain"]] for name, value in best.items()]
        tell(f"{rows[-len(forms) :]}")
    print_table(["z", "queries", "CPU seconds", "ratio"], rows)


if __name__ == "__main__":
    main()
