"""Images that crash, hang or exhaust whoever decodes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.jobs import ROOT
from tests.support.run_records import run_records
from tests.support.tables import read

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("what", "reason"), [("segfault", "crashed"), ("hang", "timed_out"), ("memory", "crashed")]
)
def test_one_poisonous_image_goes_to_quarantine(garments, bundle_path, tmp_path, what, reason):
    catalog, table = tmp_path / "catalog", tmp_path / "posteriors"
    catalog.mkdir()
    for i, image in enumerate(garments["image"].to_pylist()):
        (catalog / f"{i:02}.png").write_bytes(image)
    (catalog / "17.png").write_bytes(f"POISON {what}".encode())
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}/tests/faults/poison{os.pathsep}{ROOT}",
        "VAEUDF_TEST_POISON": "1",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": "--master local[2,4] --conf spark.ui.enabled=false pyspark-shell",
    }
    if what == "memory":
        # Whoever takes more is refused it, as on a machine that has no more.
        environment["PYSPARK_SUBMIT_ARGS"] = environment["PYSPARK_SUBMIT_ARGS"].replace(
            "pyspark-shell", "--conf spark.executor.pyspark.memory=6g pyspark-shell"
        )
    done = subprocess.run(
        [
            *(sys.executable, f"{ROOT}/jobs/encode_catalog.py", "--catalog", str(catalog)),
            *("--model", bundle_path, "--table", str(table), "--max-error-fraction", "0.1"),
        ],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["quarantined"] == {reason: 1} and summary["encoded"] == 39
    assert "17.png" not in read(str(table))["item_id"].to_pylist()
    (record,) = run_records(str(table)).to_pylist()
    assert dict(record["quarantined"]) == {reason: 1}
