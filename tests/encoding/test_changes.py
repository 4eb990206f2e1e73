"""What must be encoded, on small DataFrames."""

from __future__ import annotations

import pytest
from pyspark.sql.pandas.types import from_arrow_schema

from tests.support.chunks import rows as chunk
from vaeudf.encoding.changes import (
    count_removed,
    find_changes,
    read_chunks,
    same_payload,
    with_encoded,
)
from vaeudf.encoding.staging import CHUNK_SCHEMA, write_chunk

pytestmark = pytest.mark.spark

LISTED = (
    "item_id string, source_version string, price double, image_file string, image_row long, "
    "image_length long, image_modified double"
)
PUBLISHED = "item_id string, mu array<float>, log_var array<float>, source_version string"
QUARANTINE = "item_id string, source_version string, reason string, message string"


@pytest.fixture
def listing(spark):
    def make(**versions: str):
        rows = [(name, v, 1.0, f"/{name}.png", None, 10, 0.0) for name, v in versions.items()]
        return spark.createDataFrame(rows, LISTED)

    return make


@pytest.fixture
def published(spark):
    def make(**versions: str):
        rows = [(name, [1.0], [2.0], v) for name, v in versions.items()]
        return spark.createDataFrame(rows, PUBLISHED)

    return make


@pytest.fixture
def quarantine(spark):
    def make(**versions: str):
        rows = [(name, v, "truncated", "too short.") for name, v in versions.items()]
        return spark.createDataFrame(rows, QUARANTINE)

    return make


@pytest.fixture
def staged(spark):
    def make(*rows: tuple[str, str, float]):
        filled = [(name, v, [mu], [0.0], None, None) for name, v, mu in rows]
        return spark.createDataFrame(filled, from_arrow_schema(CHUNK_SCHEMA))

    return make


def ids(frame) -> list[str]:
    return sorted(row.item_id for row in frame.collect())


def test_all_is_new_where_nothing_is_known(listing):
    changes = find_changes(listing(a="1", b="1"), None, None, None)
    assert ids(changes.todo) == ["a", "b"] and ids(changes.known) == []
    assert (changes.num_todo, changes.carried, changes.resumed) == (2, 0, 0)
    assert changes.todo_bytes == 20
    assert "image_file" in changes.todo.columns and "price" not in changes.todo.columns


def test_an_item_is_known_by_id_and_version(listing, published):
    changes = find_changes(
        listing(same="1", changed="2", new="1"),
        published(same="1", changed="1", gone="1"),
        None,
        None,
    )
    assert ids(changes.todo) == ["changed", "new"] and ids(changes.known) == ["same"]
    assert (changes.num_todo, changes.carried) == (2, 1)
    (row,) = changes.known.collect()
    assert (row.mu, row.log_var, row.reason, row.message) == ([1.0], [2.0], None, None)


@pytest.mark.slow
def test_what_failed_before_is_known(listing, published, quarantine):
    changes = find_changes(
        listing(good="1", bad="1", mended="2"),
        published(good="1"),
        quarantine(bad="1", mended="1", gone="1"),
        None,
    )
    assert ids(changes.todo) == ["mended"] and ids(changes.known) == ["bad", "good"]
    assert changes.carried == 1  # failures are counted elsewhere
    bad = changes.known.where("item_id = 'bad'").first()
    assert (bad.reason, bad.message, bad.mu) == ("truncated", "too short.", None)


def test_what_killed_runs_have_encoded_is_taken_once(listing, published, quarantine, staged):
    changes = find_changes(
        listing(carried="1", bad="1", twice="1", stale="2"),
        published(carried="1"),
        quarantine(bad="1"),
        staged(
            ("carried", "1", 9.0),
            ("bad", "1", 9.0),
            ("twice", "1", 3.0),
            ("twice", "1", 3.0),
            ("stale", "1", 9.0),
            ("gone", "1", 9.0),
        ),
    )
    assert ids(changes.known) == ["bad", "carried", "twice"] and ids(changes.todo) == ["stale"]
    assert (changes.carried, changes.resumed, changes.num_todo) == (1, 1, 1)
    known = {row.item_id: row.mu for row in changes.known.collect()}
    assert known == {"carried": [1.0], "bad": None, "twice": [3.0]}


def test_rows_of_parquet_have_no_bytes_of_their_own(spark):
    rows = [("a", "1", 1.0, "/x.parquet", 0, 500, 0.0), ("b", "1", 1.0, "/x.parquet", 1, 500, 0.0)]
    changes = find_changes(spark.createDataFrame(rows, LISTED), None, None, None)
    assert (changes.num_todo, changes.todo_bytes) == (2, 0)


@pytest.mark.slow
def test_what_the_run_has_encoded_comes_to_what_was_known(listing, published, tmp_path):
    changes = find_changes(listing(a="v", b="v"), published(a="v"), None, None)
    folder = str(tmp_path / "encoded")
    assert ids(with_encoded(changes, folder)) == ["a"]
    for _ in range(2):  # a task that was run twice
        write_chunk(iter([chunk("b")]), folder)
    assert ids(read_chunks(changes.todo.sparkSession, folder)) == ["b", "b"]
    assert ids(with_encoded(changes, folder)) == ["a", "b"]


def test_items_that_are_gone(listing, published):
    assert count_removed(listing(a="1"), published(a="0", b="1", c="1")) == 2
    assert count_removed(listing(a="1", b="1"), published(a="1")) == 0


@pytest.mark.parametrize(
    ("columns", "rows", "same"),
    [
        ("price double", [("a", 1.0), ("b", None), ("gone", 7.0)], True),
        ("price double", [("a", 1.0), ("b", 0.0)], False),
        ("price double", [("a", None), ("b", None)], False),
        ("cost double", [("a", 1.0), ("b", None)], False),
        ("price map<string, double>", [("a", {"x": 1.0}), ("b", None)], False),
    ],
)
def test_payloads(spark, columns, rows, same):
    listing = spark.createDataFrame(
        [("a", 1.0), ("b", None), ("new", 3.0)], "item_id string, price double"
    )
    published = spark.createDataFrame(rows, f"item_id string, {columns}")
    assert same_payload(listing, published) == same


def test_payloads_without_a_column(spark):
    listing = spark.createDataFrame([("a",)], "item_id string")
    assert same_payload(listing, listing)
    assert not same_payload(listing, spark.createDataFrame([("a", 1)], "item_id string, x int"))
