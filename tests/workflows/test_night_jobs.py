"""How many of Spark's jobs a night takes: each costs a tenth of a second, however few items are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.cases import further_cases_slow
from tests.support.nights import Shop
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

pytestmark = [pytest.mark.spark, pytest.mark.classic]

# Two shuffles of the join, the join that is kept, two to count it, and one for the payload's types.
NOTHING_TO_DO = 6
# A second join, with the quarantine, goes without a shuffle, as it is small.
WITH_QUARANTINE = 9
# Beside these: to encode, to count what came of it, to lay out.
CHANGED = 19


def jobs_of(spark, options: EncodeCatalog) -> tuple[int, dict]:
    """Run the job; return how many of Spark's there were, and its summary."""
    tracker = spark.sparkContext.statusTracker()
    before = max(tracker.getJobIdsForGroup(), default=-1)
    summary = encode_catalog(options)
    return max(tracker.getJobIdsForGroup(), default=-1) - before, summary


@pytest.mark.parametrize(
    ("catalog", "table"),
    further_cases_slow(
        [("image_folder", "folder_table"), ("parquet_catalog", "catalog_table")],
        [("parquet_catalog", "catalog_table")],
        several=True,
    ),
)
def test_a_night_with_nothing_to_do(spark, request, bundle_path, tmp_path, catalog, table):
    path = str(tmp_path / "posteriors")
    shutil.copytree(request.getfixturevalue(table), path)
    options = EncodeCatalog(request.getfixturevalue(catalog), bundle_path, path)
    jobs, summary = jobs_of(spark, options)
    assert summary["outcome"] == "nothing to do"
    assert jobs <= NOTHING_TO_DO


@pytest.mark.slow
def test_a_night_with_a_quarantine_and_a_changed_one(spark, garments, bundle_path, tmp_path):
    shop = Shop(tmp_path, "images", garments)
    for i in range(12):
        shop.put(f"{i}", -1 if i == 3 else i)
    path = str(tmp_path / "posteriors")
    options = EncodeCatalog(shop.open(), bundle_path, path, max_error_fraction=0.5)
    encode_catalog(options)
    jobs, summary = jobs_of(spark, options)
    assert (summary["outcome"], summary["quarantined"]) == (
        "nothing to do",
        {"unsupported_format": 1},
    )
    assert jobs <= WITH_QUARANTINE
    Path(shop.path, "3.png").unlink()
    shop.put("5", 20)
    jobs, summary = jobs_of(spark, options)
    assert (summary["outcome"], summary["encoded"], summary["removed"]) == ("published", 1, 0)
    assert jobs <= CHANGED
