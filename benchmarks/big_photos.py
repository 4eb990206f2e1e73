"""A Parquet catalog of big photos on a small driver: how long each job takes, and how much memory.

    python -m benchmarks.big_photos --data DIR [--gigabytes 4]

The catalog is made first if DIR does not exist: files of 350 JPEGs of 1 to 3 MB each, in one row
group, as pandas writes them.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.encode import make_model
from benchmarks.measure import PeakMemory, print_table, tell

_ROWS_PER_FILE = 350
_MEGABYTES = (1.0, 1.5, 2.0, 2.5, 3.0)
_QUERIES, _HITS = 20, 12


def _photo(seed: int, megabytes: float) -> bytes:
    """Return a JPEG of some size: shapes, with as much noise as that takes."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8))
    shapes = np.asarray(small.resize((2400, 3200), Image.Resampling.BICUBIC), np.int16)
    low, high = 0.0, 120.0
    data = b""
    for _ in range(5):
        amount = (low + high) / 2
        noise = rng.normal(0, amount, shapes.shape).astype(np.int16)
        out = io.BytesIO()
        Image.fromarray(np.clip(shapes + noise, 0, 255).astype(np.uint8)).save(
            out, "JPEG", quality=85
        )
        data = out.getvalue()
        low, high = (amount, high) if len(data) < megabytes * 1e6 else (low, amount)
    return data


def make_data(root: Path, gigabytes: float) -> None:
    """Write the catalog and a model."""
    part = Path(f"{root}-part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "catalog").mkdir(parents=True)
    photos = [_photo(i, size) for i, size in enumerate(_MEGABYTES * 2)]
    written = number = 0
    while written < gigabytes * 1e9:
        rows = []
        for _ in range(_ROWS_PER_FILE):
            # No two are the same: what follows a JPEG's end is not looked at.
            image = photos[number % len(photos)] + number.to_bytes(8, "little")
            rows.append({"item_id": f"photo-{number:06d}", "image": image, "price": number / 7})
            written += len(image)
            number += 1
        name = part / "catalog" / f"{number:06d}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), name)
        tell(f"made {number} photos, {written / 1e9:.1f} GB")
    make_model(part / "model")
    part.rename(root)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--driver-memory", default="2g")
    options = parser.parse_args()
    data = options.data.absolute()
    if not data.exists():
        make_data(data, options.gigabytes)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        f"--master local[*,4] --properties-file vaeudf/spark/conf/local.conf "
        f"--driver-memory {options.driver_memory} pyspark-shell"
    )
    out = data / "out"
    shutil.rmtree(out, ignore_errors=True)
    rows = []
    for name, job in _jobs(data, out):
        start = time.perf_counter()
        with PeakMemory() as watch:
            job()
        seconds = time.perf_counter() - start
        rows.append([name, seconds, watch.peak / 1e9, watch.jvm / 1e9])
        tell(f"{name}: {seconds:.1f} s")
    size = sum(file.stat().st_size for file in (data / "catalog").iterdir()) / 1e9
    head = [f"{size:.1f} GB of photos", "seconds", "largest Python worker, GB", "JVM, GB"]
    print_table(head, rows)


def _jobs(data: Path, out: Path) -> list[tuple[str, Callable[[], object]]]:
    from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents
    from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
    from vaeudf.workflows.inspect_table import InspectTable, inspect_table
    from vaeudf.workflows.query_topk import QueryTopk, query_topk

    table = str(out / "table")
    queries = out / "z.npy"
    out.mkdir()
    np.save(queries, np.random.default_rng(0).normal(size=(_QUERIES, 10)))
    night = EncodeCatalog(str(data / "catalog"), str(data / "model"), table)

    def again() -> None:
        found = encode_catalog(night)
        if found["outcome"] != "nothing to do":
            raise RuntimeError(f"a night without changes has {found}")

    return [
        ("first night", lambda: encode_catalog(night)),
        ("night without changes", again),
        (
            f"page of {_QUERIES} queries, {_HITS} hits each",
            lambda: query_topk(
                QueryTopk(table, queries=str(queries), k=_HITS, report=str(out / "page"))
            ),
        ),
        ("inspect_table", lambda: inspect_table(InspectTable(table, output=str(out / "health")))),
        (
            "reconstruct all",
            lambda: decode_latents(
                DecodeLatents(table, reconstruct="all", report=str(out / "reconstructed"))
            ),
        ),
    ]


if __name__ == "__main__":
    main()
