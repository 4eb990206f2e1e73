"""What inspecting ten million items takes: wall-clock seconds, and a Python worker's memory.

    python -m benchmarks.inspect_memory --data DIR

If DIR does not exist, the items are made first: plain Parquet in several files, in no order. That
is the hardest case, because no row group can be skipped.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import PeakMemory, print_table, tell
from benchmarks.posteriors import draw_items

_ITEMS, _FILES, _DIMENSIONS = 10_000_000, 10, 10
_ALLOWED = 1.5


def make_data(root: Path, count: int) -> None:
    """Write the items."""
    part = Path(f"{root}-part")
    part.mkdir(parents=True, exist_ok=True)
    each = -(-count // _FILES)
    for number in range(_FILES):
        items = draw_items(min(each, count - number * each), _DIMENSIONS, seed=number)
        first = number * each
        names = [f"category/{i:09d}.jpg" for i in range(first, first + len(items))]
        columns = [
            pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), _DIMENSIONS)
            for values in (items.mu, items.log_var)
        ]
        lists = [column.cast(pa.list_(pa.float32())) for column in columns]
        table = pa.Table.from_arrays([pa.array(names), *lists], ["item_id", "mu", "log_var"])
        pq.write_table(table, part / f"{number}.parquet")
        tell(f"made {first + len(items):,} items")
    part.rename(root)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=_ITEMS)
    options = parser.parse_args()
    data = options.data.absolute()
    if not data.exists():
        make_data(data, options.items)

    from vaeudf.workflows.inspect_table import InspectTable, inspect_table

    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        "--master local[*,4] --properties-file vaeudf/spark/conf/local.conf pyspark-shell"
    )
    start = time.perf_counter()
    with PeakMemory() as watch:
        found = inspect_table(InspectTable(str(data), f"{data}-health", overwrite=True))
    seconds = time.perf_counter() - start
    print_table(
        ["inspect_table", "seconds", "largest Python worker, GB", "allowed"],
        [[f"{found['items']:,} items", seconds, watch.peak / 1e9, _ALLOWED]],
    )
    print_table(["phase", "seconds"], list(found["seconds"].items()))


if __name__ == "__main__":
    main()
