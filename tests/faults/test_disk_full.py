"""The disk is full when a night writes its chunks, or its data files.

Run by ``./spark-submit.sh test -m slow``. Commit and checkpoint are in
tests/table/test_disk_full.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.jobs import ROOT
from tests.support.scene import tree
from tests.support.tables import read
from vaeudf.table.open import open_table

pytestmark = pytest.mark.slow


def write_catalog(path: Path, garments: pa.Table, items: range) -> None:
    """Rows of which the payload is long: a data file is some 200 kB, a chunk some 5."""
    rng = np.random.default_rng(0)
    rows = garments.select(["item_id", "image"]).take(pa.array(items))
    notes = [rng.bytes(2500).hex() for _ in items]
    pq.write_table(rows.append_column("note", pa.array(notes)), path)


def encode(catalog: Path, model: str, table: Path, limit: int | None):
    extra = "" if limit is None else f"--conf spark.executorEnv.VAEUDF_TEST_FILE_LIMIT={limit} "
    return subprocess.run(
        [
            *(sys.executable, f"{ROOT}/jobs/encode_catalog.py", "--catalog", str(catalog)),
            *("--model", model, "--table", str(table)),
        ],
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}/tests/faults/poison{os.pathsep}{ROOT}",
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": (
                f"--master local[2,2] --conf spark.ui.enabled=false {extra}pyspark-shell"
            ),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(("what", "limit"), [("chunks", 1_000), ("data files", 50_000)])
def test_the_last_good_version_stays(garments, bundle_path, tmp_path, what, limit):
    catalog, table = tmp_path / "catalog.parquet", tmp_path / "posteriors"
    write_catalog(catalog, garments, range(30))
    done = encode(catalog, bundle_path, table, None)
    assert done.returncode == 0, done.stderr[-3000:]
    before, files = read(str(table)), tree(table)

    write_catalog(catalog, garments, range(10, 40))
    failed = encode(catalog, bundle_path, table, limit)
    assert failed.returncode == 1 and failed.stdout == ""
    assert "File too large" in failed.stderr.splitlines()[-1]
    assert read(str(table)) == before and open_table(str(table)).version == 1
    left = {path.split("/")[0] for path in set(tree(table)) - set(files)}
    assert left == (set() if what == "chunks" else {"_staging"})

    done = encode(catalog, bundle_path, table, None)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["encoded"], summary["carried"], summary["removed"]) == (10, 20, 10)
    assert summary["resumed"] == (0 if what == "chunks" else 10)
    assert read(str(table)).num_rows == 30
    assert not (table / "_staging").exists()
