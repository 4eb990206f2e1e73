"""Ten thousand damaged images and all kinds of hostile ones, through the whole job.

Run by ``./spark-submit.sh test -m slow``.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.files import BOMBS, ODD_JPEG, SAMPLES, encoded, photo
from tests.support.jobs import ROOT
from tests.support.tables import read
from vaeudf.images.decode import MAX_BYTES, REASONS

pytestmark = pytest.mark.slow

NUM_MUTATED = 10_000


def mutated(number: int) -> bytes:
    """One of the samples with bytes changed, taken out or doubled; or only its beginning."""
    rng = np.random.default_rng(number)
    data = bytearray(SAMPLES[sorted(SAMPLES)[number % len(SAMPLES)]])
    kind = rng.integers(4)
    if kind == 0:
        del data[int(rng.integers(len(data))) :]
    elif kind == 1:
        start, length = rng.integers(len(data)), rng.integers(1, 60)
        data[start : start + length] = bytes(data[start : start + length]) * int(rng.integers(3))
    for place in rng.integers(0, max(1, len(data)), int(rng.integers(0, 6))):
        if len(data):
            data[place] = rng.integers(256)
    if kind == 3:
        for place in rng.integers(4, 60, 2):
            data[min(place, len(data) - 1)] = rng.integers(256)
    return bytes(data)


def hostile() -> dict[str, bytes | None]:
    wide = encoded(Image.new("RGB", (20_000, 300), (1, 2, 3)))
    return {
        **{f"bomb {name}": data for name, data in BOMBS.items()},
        **{f"sample {name}": data for name, data in SAMPLES.items()},
        "nothing": None,
        "zero bytes": b"",
        "one byte": b"\xff",
        "a text": b"<html>404</html>" * 50,
        "a script": b"#!/bin/sh\nexit 1\n",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "only a header": SAMPLES["png"][:33],
        "1 x 1": encoded(Image.new("L", (1, 1))),
        "1 x 60,000": encoded(Image.new("L", (1, 60_000))),
        "20,000 px wide": wide,
        "80 million pixels": encoded(Image.new("L", (10_000, 8_000))),
        "odd metadata": ODD_JPEG,
        "a zip": b"PK\x03\x04" + b"\0" * 4000,
        "random": np.random.default_rng(0).bytes(100_000),
        "large": encoded(photo(3000, 4000), "PNG", compress_level=0),
        "too large": b"\x89PNG\r\n\x1a\n" + bytes(MAX_BYTES),
    }


def peak_of_workers(stop: threading.Event, peaks: dict[int, int]) -> None:
    """Watch what memory the Python workers of the children of this process take, in bytes."""
    while not stop.wait(0.05):
        for entry in Path("/proc").iterdir():
            try:
                if b"pyspark.daemon" in (entry / "cmdline").read_bytes():
                    status = (entry / "status").read_text()
                    (line,) = [row for row in status.splitlines() if row.startswith("VmHWM")]
                    peaks[int(entry.name)] = int(line.split()[1]) * 1024
            except (OSError, ValueError):
                continue


@pytest.mark.parametrize("kind", ["parquet", "images"])
def test_one_outcome_for_every_input(bundle_path, tmp_path, kind):
    images = {f"mutated/{i:05}": mutated(i) for i in range(NUM_MUTATED)}
    images |= {f"hostile/{name}": data for name, data in hostile().items()}
    catalog, table = tmp_path / "catalog", tmp_path / "posteriors"
    if kind == "parquet":
        catalog.mkdir()
        rows = pa.table({"item_id": list(images), "image": pa.array(images.values(), pa.binary())})
        pq.write_table(rows, catalog / "a.parquet", row_group_size=1000)
        ids = set(images)
    else:
        ids = set()
        for name, data in images.items():
            # A wrong extension for nearly all of them.
            path = catalog / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            if data is not None:
                path.write_bytes(data)
                ids.add(f"{name}.jpg")
    stop, peaks = threading.Event(), {}
    watcher = threading.Thread(target=peak_of_workers, args=(stop, peaks))
    watcher.start()
    began = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, f"{ROOT}/jobs/encode_catalog.py", "--catalog", str(catalog)),
            *("--model", bundle_path, "--table", str(table), "--max-error-fraction", "1"),
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": (
                "--master local[2,4] "
                f"--properties-file {shlex.quote(f'{ROOT}/vaeudf/spark/conf/local.conf')} "
                # What conf/ gives a worker on a cluster, which is less.
                "--conf spark.executor.pyspark.memory=3g pyspark-shell"
            ),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    stop.set()
    watcher.join()
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    sys.stdout.write(  # shown by pytest -s
        f"{kind}: {len(ids)} images in {time.monotonic() - began:.0f} s, "
        f"{summary['quarantined']}, largest worker {max(peaks.values()) / 2**30:.2f} GB\n"
    )
    good = read(str(table))
    bad = pq.read_table(next(table.glob("_quarantine/*"))).to_pylist()
    found = [*good["item_id"].to_pylist(), *(row["item_id"] for row in bad)]
    assert len(found) == len(ids) and set(found) == ids
    assert {row["reason"] for row in bad} <= set(REASONS)
    assert all(row["message"] and "\n" not in row["message"] for row in bad)
    assert sum(summary["quarantined"].values()) == len(bad)
    assert np.isfinite(np.stack(good["mu"].to_numpy(zero_copy_only=False))).all()
    whole = {f"hostile/sample {name}" for name in SAMPLES if name != "tiff float"}
    whole |= {"hostile/1 x 1", "hostile/20,000 px wide", "hostile/large"}
    assert {name.removesuffix(".jpg") for name in found} >= whole
    assert {name.removesuffix(".jpg") for name in good["item_id"].to_pylist()} >= whole
    # Nothing crashed or hung: no image had to be told apart in a process of its own.
    assert not {"crashed", "timed_out"} & set(summary["quarantined"])
    assert max(peaks.values()) < 2.5 * 2**30
