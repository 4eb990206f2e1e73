"""Items that could not be encoded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vaeudf.encoding.failures import (
    check_failures,
    not_tried_again,
    read_quarantine,
    same_failures,
    write_quarantine,
)
from vaeudf.errors import TooManyFailures
from vaeudf.schema import ITEM_ID

pytestmark = pytest.mark.spark

RUN = "20260101T000000-0123abcd"
TYPE = "item_id string, source_version string, reason string, message string"


@pytest.fixture
def rows(spark):
    """Two items that were encoded, and four that were not."""
    failed = [("c", "empty"), ("d", "empty"), ("e", "unavailable"), ("f", "truncated")]
    good = [(name, "1", None, None) for name in "ab"]
    bad = [(name, "1", reason, f"{name} is bad.") for name, reason in failed]
    return spark.createDataFrame(good + bad, TYPE)


def test_the_fraction_that_may_fail_is_exact():
    check_failures(None, {"empty": 29}, 100, 0.29)
    check_failures(None, {}, 1, 0.0)


@pytest.mark.parametrize(("total", "fraction"), [(6, 0.6), (4, 1.0)])
def test_too_many(rows, total, fraction):
    message = (
        f"4 of {total} items cannot be encoded, more than --max-error-fraction {fraction:g} "
        "allows; nothing was published. By reason: empty 2, truncated 1, unavailable 1. For "
        "example: c: c is bad; d: d is bad; e: e is bad; f: f is bad. What could be encoded is "
        "kept for the next run."
    )
    with pytest.raises(TooManyFailures, match=f"^{re.escape(message)}$"):
        check_failures(rows, {"empty": 2, "truncated": 1, "unavailable": 1}, total, fraction)


def test_quarantine_is_written_and_read(spark, rows, tmp_path):
    table = str(tmp_path / "a table [1] é")
    assert read_quarantine(spark, table, RUN) is None
    write_quarantine(rows, 4, table, RUN)
    found = read_quarantine(spark, table, RUN)
    assert found.columns == ["item_id", "source_version", "reason", "message"]
    assert sorted(row.item_id for row in found.collect()) == ["c", "d", "e", "f"]
    assert len(list(Path(table, "_quarantine", f"run_id={RUN}").glob("part-*"))) == 1
    # Whoever reads all of it gets the runs as a column.
    everything = spark.read.parquet(str(tmp_path / "*" / "_quarantine").replace("[1]", "?1?"))
    assert everything.where(f"run_id = '{RUN}'").count() == 4


def test_what_is_tried_again(rows):
    def left(**how):
        return sorted(row[ITEM_ID] for row in not_tried_again(rows, **how).collect())

    assert left(retry_quarantined=False) == ["a", "b", "c", "d", "f"]
    assert left(retry_quarantined=True) == ["a", "b"]
    assert not_tried_again(None, retry_quarantined=False) is None


def test_failures_that_are_known(spark, rows):
    failures = rows.where("reason is not null")
    assert same_failures(rows, failures)
    assert same_failures(rows.where("reason is null"), None)
    assert not same_failures(rows, None)
    assert not same_failures(rows, failures.where("item_id != 'd'"))
    other = spark.createDataFrame([("c", "1", "truncated", "x")], TYPE)
    assert not same_failures(rows.where("item_id = 'c'"), other)
    # Another image may fail in the same way: the version says that it was looked at.
    older = spark.createDataFrame([("c", "0", "empty", "x")], TYPE)
    assert not same_failures(rows.where("item_id = 'c'"), older)
