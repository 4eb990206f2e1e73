"""Re-ranking by p(x|z) on two cores: from kept pixels, and from a folder of small files.

    python -m benchmarks.rerank --data DIR [--photos FOLDER]

``kept`` makes a table of drawn posteriors with a pixel file beside each data file, and asks bulk
queries of 200 candidates each. ``files`` encodes a folder of JPEGs, and compares the job's own step
with the bare loop that reads and decodes the distinct candidates' files in as many processes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.made_table import make_table
from benchmarks.measure import PeakMemory, print_table, tell
from benchmarks.posteriors import KINDS, draw_items, draw_queries
from vaeudf.schema import MODEL_ID_KEY, PIXELS_KEY
from vaeudf.table.open import open_posteriors
from vaeudf.table.pixel_files import PictureShape, PixelWriter, pixel_path

CORES = 2
SIDE = 64
LATENT_DIM = 10
SHAPE = PictureShape(SIDE, SIDE, 3)


def session(data: Path):
    """Return a Spark session of two cores."""
    from vaeudf.spark.classic_session import session_builder

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = session_builder("benchmark").master(f"local[{CORES}]")
    for key, value in {
        "spark.driver.memory": "4g",
        "spark.ui.enabled": "false",
        "spark.log.level": "ERROR",
        "spark.local.dir": str(data / "spark"),
        "spark.sql.shuffle.partitions": "8",
    }.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def make_model(path: Path) -> None:
    """Make a bundle with random weights, whose decoder costs what a trained one's does."""
    import torch

    from vaeudf.images.spec import ImageSpec
    from vaeudf.model.bundle import save_bundle
    from vaeudf.model.conv_vae import conv_vae
    from vaeudf.model.likelihood import GaussianPixels
    from vaeudf.model.manifest import Manifest

    torch.manual_seed(0)
    arguments = {"height": SIDE, "width": SIDE, "channels": 3, "latent_dim": LATENT_DIM}
    networks = conv_vae(**arguments)
    manifest = Manifest(
        "conv_vae", arguments, LATENT_DIM, ImageSpec(SIDE, SIDE), likelihood=GaussianPixels(0.01)
    )
    save_bundle(path, networks, manifest)


def make_pixels(table: Path) -> None:
    """Put a pixel file beside each data file of a table."""
    rng = np.random.default_rng(0)
    for uri in open_posteriors(str(table)).files:
        ids = pq.read_table(uri, columns=["item_id"])["item_id"].to_pylist()
        path = pixel_path(str(Path(uri).relative_to(table)))
        with PixelWriter(str(table / path), SHAPE) as writer:
            for first in range(0, len(ids), 1000):
                some = ids[first : first + 1000]
                small = rng.integers(0, 256, (len(some), 8, 8, 3), dtype=np.uint8)
                writer.write(some, np.repeat(np.repeat(small, 8, axis=1), 8, axis=2))


def kept(options: argparse.Namespace) -> None:
    """Measure bulk queries re-ranked from kept pixels."""
    from vaeudf.decoding.rerank import plan_rerank
    from vaeudf.model.bundle import load_bundle
    from vaeudf.query.bulk import plan
    from vaeudf.query.latents import from_rows
    from vaeudf.query.options import QueryOptions

    table, model = options.data / "table", options.data / "model"
    items = draw_items(options.items, LATENT_DIM, options.posteriors)
    spark = session(options.data)
    if not model.exists():
        make_model(model)
    bundle = load_bundle(model)
    if not table.exists():
        tell("making the table …")
        says = {MODEL_ID_KEY: bundle.model_id, PIXELS_KEY: SHAPE.to_json()}
        make_table(spark, str(table), items, says)
        make_pixels(table)
    opened = open_posteriors(str(table))
    rows = []
    for kind in KINDS:
        z = draw_queries(kind, options.queries, items)
        latents = from_rows(list(z))
        asked = QueryOptions(k=options.candidates, tolerance=0.2)
        with PeakMemory() as memory:
            start = time.perf_counter()
            hits = plan(opened, latents, asked).hits.persist()
            pairs = hits.count()
            searched = time.perf_counter() - start
            done = plan_rerank(hits, bundle, opened, latents, 10, at_most=pairs)
            count = done.hits.count()
            both = time.perf_counter() - start
        hits.unpersist()
        assert count == 10 * len(z)
        rows.append(
            [kind, pairs, done.pictures, searched, both - searched, both, memory.peak / 1e9]
        )
        tell(f"{rows[-1]}")
    print_table(
        [
            f"{options.queries:,} z × {options.candidates} of {options.items:,} items",
            "pairs",
            "pictures",
            "search, s",
            "re-rank, s",
            "both, s",
            "largest worker, GB",
        ],
        rows,
    )
    spark.stop()


def _read_all(paths: list[str]) -> int:
    """Read and decode files as the model sees them, and do nothing else."""
    from vaeudf.images.decode import decode_image
    from vaeudf.images.spec import ImageSpec

    spec = ImageSpec(SIDE, SIDE)
    return sum(isinstance(decode_image(Path(p).read_bytes(), spec), np.ndarray) for p in paths)


def files(options: argparse.Namespace) -> None:
    """Compare re-ranking from a folder of small files with the bare loop over these files."""
    from benchmarks.catalogs import make_data
    from vaeudf.decoding.rerank import plan_rerank
    from vaeudf.model.bundle import load_bundle
    from vaeudf.query.bulk import plan
    from vaeudf.query.latents import from_rows
    from vaeudf.query.options import QueryOptions
    from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

    data, model = options.data / "photos", options.data / "model"
    table, catalog = options.data / "posteriors", data / "large" / "files"
    if not model.exists():
        make_model(model)
    if not data.exists():
        make_data(data, options.photos, options.files)
    spark = session(options.data)
    if not table.exists():
        encode_catalog(EncodeCatalog(str(catalog), str(model), str(table)))
    bundle, opened = load_bundle(model), open_posteriors(str(table))
    z = np.random.default_rng(0).normal(size=(options.queries // 10, LATENT_DIM))
    asked = QueryOptions(k=options.candidates, tolerance=0.2)
    hits = plan(opened, from_rows(list(z)), asked).hits.persist()
    paths = [f"{catalog}/{row.item_id}" for row in hits.select("item_id").distinct().collect()]
    parts = [paths[core::CORES] for core in range(CORES)]
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    with ProcessPoolExecutor(CORES, mp_context=multiprocessing.get_context("spawn")) as pool:
        for run in range(options.repeats + 1):
            start = time.perf_counter()
            assert sum(pool.map(_read_all, parts)) == len(paths)
            bare = time.perf_counter() - start
            start = time.perf_counter()
            done = plan_rerank(hits, bundle, str(catalog), z, 10)
            assert done.hits.count() == 10 * len(z) and done.pictures == len(paths)
            if run:  # the first one starts the workers
                seconds["bare"].append(bare)
                seconds["ours"].append(time.perf_counter() - start)
            tell(f"bare {bare:.1f} s, re-ranking {time.perf_counter() - start:.1f} s")
    bare, ours = (statistics.median(seconds[name]) for name in ("bare", "ours"))
    head = ["distinct files", "pairs", "bare loop, s", "re-ranking, s", "ratio"]
    pairs = options.candidates * len(z)
    print_table(head, [[f"{len(paths):,}", f"{pairs:,}", bare, ours, f"{ours / bare:.2f}×"]])
    spark.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", help="a folder of JPEGs to make the small files of")
    parser.add_argument("--posteriors", type=Path)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=25_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("kept", "files"))
    parsed = parser.parse_args()
    parsed.data.mkdir(parents=True, exist_ok=True)
    if parsed.only != "files":
        kept(parsed)
    if parsed.only != "kept":
        files(parsed)
