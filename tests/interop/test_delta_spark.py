"""What vaeudf publishes to tables that delta-spark has changed, opened by delta-spark again.

    VAEUDF_DELTA_JARS=FOLDER ./spark-submit.sh test-spark 4.2 tests/interop/test_delta_spark.py

FOLDER has the jars of io.delta:delta-spark_4.2_2.13:4.4.0 and what it needs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pyspark
import pytest

from tests.support.jobs import ROOT
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.maintain_table import MaintainTable, maintain_table

CHANGED = ROOT / "tests" / "fixtures" / "changed_by_delta_spark"
JARS = os.environ.get("VAEUDF_DELTA_JARS", "")
WRITABLE = (
    *("deletion-vectors", "deleted", "commented", "constrained", "change-data-feed"),
    "v2-checkpoint",
)

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(not JARS, reason="needs delta-spark's jars, in VAEUDF_DELTA_JARS"),
    pytest.mark.skipif(
        not pyspark.__version__.startswith("4.2"), reason="delta-spark 4.4 needs PySpark 4.2"
    ),
]

READ = """
import json, sys
from pathlib import Path
from pyspark.sql import SparkSession

jars, *tables = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", ",".join(map(str, Path(jars).glob("*.jar"))))
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.sql.shuffle.partitions", "1")
    .config("spark.databricks.delta.snapshotPartitions", "1")
    .getOrCreate()
)
found = {}
for table in tables:
    rows = spark.sql(f"SELECT * EXCEPT (mu, log_var, source_version) FROM delta.`{table}`")
    detail = spark.sql(f"DESCRIBE DETAIL delta.`{table}`").first()
    comments = {f.name: f.metadata.get("comment") for f in rows.schema}
    refused = False
    if "delta.constraints.positive" in detail["properties"]:
        try:
            spark.sql(f"UPDATE delta.`{table}` SET price = -1")
        except Exception as error:
            refused = "constraint positive" in str(error).lower()
    found[table] = {
        "rows": sorted((row.asDict() for row in rows.collect()), key=lambda row: row["item_id"]),
        "description": detail["description"],
        "properties": detail["properties"],
        "comments": comments,
        "refused": refused,
    }
print(json.dumps(found))
"""


def read(tables: list[str]) -> dict[str, dict]:
    """What delta-spark reads, in a process of its own: its jars are not the tests' session's."""
    command = [sys.executable, "-c", READ, JARS, *tables]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_published_is_an_ordinary_table(tmp_path):
    catalog = pq.read_table(CHANGED / "catalog.parquet")
    path = str(tmp_path / "catalog.parquet")
    pq.write_table(catalog.slice(2), path)
    published, rolled_back = [], []
    for name in WRITABLE:
        published.append(str(shutil.copytree(CHANGED / name, tmp_path / name)))
        encode_catalog(EncodeCatalog(path, str(CHANGED / "model"), published[-1]))
        rolled_back.append(str(shutil.copytree(published[-1], tmp_path / f"{name}-back")))
        version = maintain_table(MaintainTable(rolled_back[-1]))["versions"][-1] - 1
        maintain_table(MaintainTable(rolled_back[-1], action="roll_back", to_version=version))
    originals = [str(CHANGED / name) for name in WRITABLE]
    found = read([*published, *rolled_back, *originals])
    expected = sorted(catalog.slice(2).drop("image").to_pylist(), key=lambda row: row["item_id"])
    for name, table, back, original in zip(
        WRITABLE, published, rolled_back, originals, strict=True
    ):
        for part in ("description", "properties", "comments", "refused"):
            assert found[table][part] == found[original][part], (name, part)
        assert found[back] == found[original]
        rows = found[table]["rows"]
        assert [{k: v for k, v in row.items() if k != "season"} for row in rows] == expected
        seasons = {row["item_id"]: row.get("season") for row in found[original]["rows"]}
        assert all(row.get("season") == seasons.get(row["item_id"]) for row in rows)
    assert found[published[WRITABLE.index("constrained")]]["refused"]
    assert "Items of the shop" in found[published[WRITABLE.index("commented")]]["description"]
