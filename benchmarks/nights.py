"""Nights of encode_catalog on many small images: the work around the encoder, and Spark's jobs.

    python -m benchmarks.nights --data DIR [--files 100000] [--rows 1000000]

The catalogs are made first if DIR does not have them: a folder of tiny PNG files, and Parquet with
the same pictures and a column of versions. In one session, warmed up on a small catalog of the same
kind, three nights follow each other: the first one, one with nothing to do, and one in which one
item in a hundred has changed. The network is small, so that what is measured is the work around it.
Beside them a bare loop, one process a core, lists, decodes and encodes, and keeps nothing. 0 leaves
a kind out.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.encode import PlainEncoder, answer
from benchmarks.measure import print_table, tell

SIDE = 16
BATCH = 128
_PICTURES = 512
_FILES_PER_FOLDER = 1_000
_ROWS_PER_FILE = 50_000
_CHANGED = 100
_WARM_UP = 2_000
_PHASES = ("read", "encode", "check", "lay out", "publish")


def make_model(path: Path) -> None:
    """Write a small network with random weights."""
    import torch

    from vaeudf.images.spec import ImageSpec
    from vaeudf.model.bundle import save_bundle
    from vaeudf.model.conv_vae import conv_vae
    from vaeudf.model.manifest import Manifest

    torch.manual_seed(0)
    sizes = {"height": SIDE, "width": SIDE, "channels": 3, "latent_dim": 10, "base_channels": 4}
    manifest = Manifest("conv_vae", sizes, 10, ImageSpec(SIDE, SIDE))
    save_bundle(path, conv_vae(**sizes), manifest)


def pictures() -> list[bytes]:
    """Draw tiny garments as PNG."""
    from PIL import Image

    from vaeudf.catalog.garments import draw_garment, sample_garment

    drawn = []
    for i in range(_PICTURES):
        out = io.BytesIO()
        pixels = np.asarray(draw_garment(sample_garment(7, i), SIDE))
        Image.fromarray(pixels).save(out, "PNG")
        drawn.append(out.getvalue())
    return drawn


def make_files(folder: Path, count: int) -> None:
    """Write a folder of small files, whole or not at all."""
    if folder.exists():
        return
    drawn, part = pictures(), Path(f"{folder}-part")
    shutil.rmtree(part, ignore_errors=True)
    for i in range(count):
        if i % _FILES_PER_FOLDER == 0:
            below = part / f"{i // _FILES_PER_FOLDER:04d}"
            below.mkdir(parents=True)
        (below / f"{i:07d}.png").write_bytes(drawn[i % _PICTURES])
    part.rename(folder)


def make_rows(folder: Path, count: int, *, changed: bool) -> None:
    """Write the same as Parquet, with a version and two columns more, whole or not at all."""
    if folder.exists():
        return
    drawn, part = pictures(), Path(f"{folder}-part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for start in range(0, count, _ROWS_PER_FILE):
        rows = range(start, min(start + _ROWS_PER_FILE, count))
        table = pa.table(
            {
                "item_id": [f"sku-{i:07d}" for i in rows],
                "image": [drawn[i % _PICTURES] for i in rows],
                "version": [2 if changed and i % _CHANGED == 0 else 1 for i in rows],
                "title": [f"Garment number {i}, of kind {i % 17}" for i in rows],
                "price": [i % 9973 / 100 for i in rows],
            }
        )
        pq.write_table(table, part / f"{start:09d}.parquet", row_group_size=10_000)
    part.rename(folder)


def touch(folder: Path) -> None:
    """Let one file in a hundred have been written just now."""
    for file in sorted(folder.rglob("*.png"))[::_CHANGED]:
        os.utime(file)


# ---- the bare loop


def decode(data: bytes) -> np.ndarray:
    """Decode a picture that has the network's size."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def bare(catalog: Path, model: str, share: tuple[int, int]) -> dict[str, float]:
    """List, read, decode and encode; return the seconds of the listing, and of all."""
    encoder = PlainEncoder(model)
    encoder(np.zeros((BATCH, SIDE, SIDE, 3), np.uint8))
    start = time.perf_counter()
    listed = list(_listing(catalog))
    seconds = {"list": time.perf_counter() - start}
    for images in _batches(catalog, listed, share):
        encoder(np.stack([decode(data) for data in images]))
    return {**seconds, "total": time.perf_counter() - start}


def _listing(catalog: Path) -> Iterator[Any]:
    """Yield what a night has to know of every item, to see whether it has changed."""
    if catalog.name.startswith("rows"):
        for file in sorted(catalog.glob("*.parquet")):
            yield from pq.read_table(file, columns=["item_id", "version"]).to_batches()
        return
    waiting = [str(catalog)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                else:
                    status = entry.stat()
                    yield entry.path, status.st_size, status.st_mtime_ns


def _batches(catalog: Path, listed: list[Any], share: tuple[int, int]) -> Iterator[list[bytes]]:
    mine, of = share
    if catalog.name.startswith("rows"):
        for file in sorted(catalog.glob("*.parquet"))[mine::of]:
            for batch in pq.ParquetFile(file).iter_batches(BATCH, columns=["image"]):
                yield batch.column(0).to_pylist()
        return
    paths = sorted(path for path, _, _ in listed)[mine::of]
    for start in range(0, len(paths), BATCH):
        yield [Path(path).read_bytes() for path in paths[start : start + BATCH]]


def measure_bare(catalog: Path, model: str, cores: int) -> dict[str, float]:
    """Run a loop for each core at once; return the seconds of the slowest."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-m", "benchmarks.nights", "--bare", str(catalog), "--model", model]
    loops = [
        subprocess.Popen(
            [*command, "--share", f"{i}/{cores}"],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for i in range(cores)
    ]
    found = [answer(loop) for loop in loops]
    return {name: max(one[name] for one in found) for name in found[0]}


# ---- the nights


class Session:
    """A Spark session that counts its jobs."""

    def __init__(self) -> None:
        """Start it as the jobs do."""
        from vaeudf.spark.classic_session import session_builder

        cores = len(os.sched_getaffinity(0))
        os.environ["PYSPARK_SUBMIT_ARGS"] = (
            f"--master local[{cores},4] --properties-file vaeudf/spark/conf/local.conf "
            "pyspark-shell"
        )
        self.spark = session_builder("nights").getOrCreate()

    def count_jobs(self) -> int:
        """Return how many jobs there have been: the last ones are remembered by number."""
        tracker = self.spark.sparkContext.statusTracker()
        return max(tracker.getJobIdsForGroup(), default=-1) + 1


def cpu_seconds() -> float:
    """Return what this process and those that it has started, Spark among them, have computed."""
    ticks, above = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
        except (OSError, ValueError):
            continue
        if entry.name.isdigit():
            # With those of its own that have ended.
            ticks[int(entry.name)] = sum(map(int, fields[11:15]))
            above[int(entry.name)] = int(fields[1])
    own = {os.getpid()}
    while more := {number for number, parent in above.items() if parent in own} - own:
        own |= more
    return sum(ticks[number] for number in own) / os.sysconf("SC_CLK_TCK")


def night(session: Session, name: str, catalog: Path, model: str, table: Path) -> dict[str, Any]:
    """Run the job once; return its phases' seconds, the total and Spark's jobs."""
    from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

    version = "version" if catalog.name.startswith("rows") else None
    options = EncodeCatalog(str(catalog), model, str(table), version_column=version)
    before, busy, start = session.count_jobs(), cpu_seconds(), time.perf_counter()
    summary = encode_catalog(options)
    total = time.perf_counter() - start
    found = {phase: summary["seconds"].get(phase, 0.0) for phase in _PHASES}
    found |= {"total": total, "CPU": cpu_seconds() - busy, "jobs": session.count_jobs() - before}
    encoded, carried = summary["encoded"], summary["carried"]
    tell(
        f"{catalog.name}, {name}: {summary['outcome']}, {encoded:,} encoded, {carried:,} carried, "
        f"{ {key: round(value, 2) for key, value in found.items()} }, load {os.getloadavg()[0]:.1f}"
    )
    return found


def nights(session: Session, data: Path, kind: str, count: int) -> dict[str, dict[str, Any]]:
    """Run the three nights on one kind of catalog."""
    catalog, later = data / f"{kind}-{count}", data / f"{kind}-{count}"
    if kind == "rows":
        later = data / f"{kind}-{count}-changed"
        make_rows(catalog, count, changed=False)
        make_rows(later, count, changed=True)
    else:
        make_files(catalog, count)
    table, model = data / f"table-{os.getpid()}", str(data / "model")
    shutil.rmtree(table, ignore_errors=True)
    try:
        found = {
            name: night(session, name, catalog, model, table)
            for name in ("first night", "nothing to do")
        }
        if kind == "files":
            touch(later)
        found["1 % changed"] = night(session, "1 % changed", later, model, table)
    finally:
        shutil.rmtree(table, ignore_errors=True)
    return found


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bare", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--share", default="0/1")
    options = parser.parse_args()
    if options.bare:
        mine, of = map(int, options.share.split("/"))
        print(json.dumps(bare(options.bare, options.model, (mine, of))), flush=True)
        return
    data = options.data.absolute()
    if not (data / "model").exists():
        data.mkdir(parents=True, exist_ok=True)
        make_model(data / "model")
    cores = len(os.sched_getaffinity(0))
    session = Session()
    for kind, count in (("files", options.files), ("rows", options.rows)):
        if not count:
            continue
        nights(session, data, kind, _WARM_UP)
        found = nights(session, data, kind, count)
        alone = measure_bare(data / f"{kind}-{count}", str(data / "model"), cores)
        print(f"{count:,} {kind}; load {os.getloadavg()[0]:.1f}")
        rows: list[list[object]] = [
            [name, *(float(one[part]) for part in (*_PHASES, "total", "CPU")), one["jobs"]]
            for name, one in found.items()
        ]
        listing, total = alone["list"], alone["total"]
        rows.append(["bare loop", listing, total - listing, "", "", "", total, "", ""])
        print_table(["seconds", *_PHASES, "total", "of CPU", "Spark's jobs"], rows)


if __name__ == "__main__":
    main()
