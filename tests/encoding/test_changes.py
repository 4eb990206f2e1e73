"""What must be encoded, on small DataFrames."""

from __future__ import annotations

from datetime import datetime

import pytest
from pyspark.sql.pandas.types import from_arrow_schema

from tests.support.cases import further_cases_slow
from vaeudf.encoding.changes import compare, count_changes, listed, payload_columns, to_encode
from vaeudf.encoding.staging import CHUNK_SCHEMA

pytestmark = pytest.mark.spark

LISTED = (
    "item_id string, source_version string, price double, image_file string, image_row long, "
    "image_length long, image_modified double"
)
PUBLISHED = (
    "item_id string, mu array<float>, log_var array<float>, source_version string, price double"
)
QUARANTINE = "item_id string, source_version string, reason string, message string"


@pytest.fixture
def listing(spark):
    def make(**versions: str | None):
        rows = [(name, v, 1.0, f"/{name}.png", None, 10, 0.0) for name, v in versions.items()]
        return spark.createDataFrame(rows, LISTED)

    return make


@pytest.fixture
def published(spark):
    def make(**versions: str):
        rows = [(name, [1.0], [2.0], v, 1.0) for name, v in versions.items()]
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
    def make(*rows: tuple[str, str, str | None]):
        filled = [
            (name, v, None if why else [3.0], None if why else [0.0], why, why)
            for name, v, why in rows
        ]
        return spark.createDataFrame(filled, from_arrow_schema(CHUNK_SCHEMA))

    return make


def ids(frame) -> list[str]:
    return sorted(row.item_id for row in frame.collect())


def origins(compared) -> dict[str | None, str]:
    return {row.item_id: row["__vaeudf_origin"] for row in compared.collect()}


def test_all_is_new_where_nothing_is_known(listing):
    compared = compare(listing(a="1", b="1"), None)
    changes = count_changes(compared)
    assert (changes.num_items, changes.num_todo, changes.todo_bytes) == (2, 2, 20)
    assert (changes.carried, changes.resumed, changes.removed, changes.failed) == (0, 0, 0, {})
    todo = to_encode(compared)
    assert ids(todo) == ["a", "b"]
    assert "image_file" in todo.columns and "price" not in todo.columns
    assert payload_columns(compared) == ["price"]


def test_an_item_is_known_by_id_and_version(listing, published):
    compared = compare(
        listing(same="1", changed="2", new="1"), published(same="1", changed="1", gone="1")
    )
    assert origins(compared) == {
        "same": "carried",
        "changed": "todo",
        "new": "todo",
        None: "removed",
    }
    assert ids(to_encode(compared)) == ["changed", "new"]
    assert ids(listed(compared)) == ["changed", "new", "same"]
    assert not {"mu", "log_var"} & set(compared.columns)
    changes = count_changes(compared)
    assert (changes.num_items, changes.num_todo, changes.todo_bytes) == (3, 2, 20)
    assert (changes.carried, changes.removed, changes.new_payloads) == (1, 1, 0)


def test_nothing_is_known_of_another_models_table(listing, published):
    compared = compare(listing(same="1", new="1"), published(same="1", gone="1"), comparable=False)
    assert origins(compared) == {"same": "todo", "new": "todo", None: "removed"}
    changes = count_changes(compared)
    assert (changes.num_todo, changes.carried, changes.removed) == (2, 0, 1)


def test_a_version_that_is_not_known_is_not_the_last_one(listing, published):
    changes = count_changes(compare(listing(a=None, b="1"), published(a="1", b="1")))
    assert (changes.num_todo, changes.carried, changes.without_version) == (1, 1, 1)


@pytest.mark.slow
def test_what_failed_before_is_known(listing, published, quarantine):
    compared = compare(
        listing(good="1", bad="1", mended="2"),
        published(good="1"),
        quarantine(bad="1", mended="1", gone="1"),
    )
    assert origins(compared) == {"good": "carried", "bad": "quarantined", "mended": "todo"}
    changes = count_changes(compared)
    assert (changes.carried, changes.resumed, changes.num_todo) == (1, 0, 1)
    assert (changes.failed, changes.new_failures) == ({"truncated": 1}, 0)
    why = {row.item_id: (row.reason, row.message) for row in compared.collect()}
    assert why == {
        "good": (None, None),
        "bad": ("truncated", "too short."),
        "mended": (None, None),
    }


def test_what_killed_runs_have_encoded_is_taken_once(listing, published, quarantine, staged):
    compared = compare(
        listing(carried="1", bad="1", twice="1", either="1", hung="1", stale="2"),
        published(carried="1"),
        quarantine(bad="1"),
        staged(
            ("carried", "1", "hung"),
            ("bad", "1", None),
            ("twice", "1", None),
            ("twice", "1", None),
            ("either", "1", "crashed"),
            ("either", "1", None),
            ("hung", "1", "hung"),
            ("stale", "1", None),
            ("gone", "1", None),
        ),
    )
    assert origins(compared) == {
        "carried": "carried",
        "bad": "quarantined",
        **dict.fromkeys(("twice", "either", "hung"), "resumed"),
        "stale": "todo",
    }
    changes = count_changes(compared)
    assert (changes.num_items, changes.carried, changes.resumed, changes.num_todo) == (6, 1, 3, 1)
    # One that was encoded once has not failed.
    assert changes.failed == {"truncated": 1, "hung": 1}
    assert changes.new_failures == 1


def test_rows_of_parquet_have_no_bytes_of_their_own(spark):
    rows = [("a", "1", 1.0, "/x.parquet", 0, 500, 0.0), ("b", "1", 1.0, "/x.parquet", 1, 500, 0.0)]
    changes = count_changes(compare(spark.createDataFrame(rows, LISTED), None))
    assert (changes.num_todo, changes.todo_bytes) == (2, 0)


@pytest.mark.parametrize("before", further_cases_slow([False, True], [True]))
def test_ids_that_are_no_ids(spark, published, before):
    rows = [(name, "1", 1.0, "/x", None, 1, 0.0) for name in ("a", "a", "b", None, None, "c")]
    changes = count_changes(
        compare(spark.createDataFrame(rows, LISTED), published(a="1", gone="1") if before else None)
    )
    assert (changes.num_items, changes.wrong_ids) == (6, 4)
    assert changes.removed == before


def test_items_whose_pixels_are_wanted(spark, listing, published):
    from pyspark.sql import functions as F

    kept = F.when(F.col("item_id") != "bare", F.lit("/p.arrow"))
    last = published(kept="1", bare="1", changed="0").withColumns(
        {"__vaeudf_pixel_file": kept, "__vaeudf_pixel_row": F.lit(0)}
    )
    compared = compare(listing(kept="1", bare="1", changed="1"), last, keep_pixels=True)
    assert origins(compared) == {"kept": "carried", "bare": "todo", "changed": "todo"}
    changes = count_changes(compared)
    assert (changes.without_pixels, changes.carried, changes.new_payloads) == (1, 1, 0)


NOON = datetime(2026, 1, 2, 12)


@pytest.mark.parametrize(
    ("ours", "rows", "theirs", "published_rows", "new_payloads"),
    further_cases_slow(
        [
            ("price double", [1.0, None], "price double", [1.0, None], 0),
            ("price double", [1.0, None], "price double", [1.0, 0.0], 1),
            ("price double", [1.0, None], "price double", [None, None], 1),
            ("price double", [1.0, None], "cost double", [1.0, None], 2),
            ("price double", [1.0, None], "x map<string, double>", [{"x": 1.0}, None], 2),
            ("x map<string, int>", [{"a": 1}, None], "x map<string, int>", [{"a": 1}, None], 0),
            ("x map<string, int>", [{"a": 1}, {}], "x map<string, int>", [{"a": 2}, None], 2),
            ("price double", [1.0, None], "price map<string, double>", [{"x": 1.0}, None], 1),
            ("`a.b``c` string", ["x", None], "`a.b``c` string", ["y", None], 1),
            ("x array<int>", [[1], [None]], "x array<int>", [[1], []], 1),
            ("x timestamp", [NOON, None], "x timestamp", [NOON.replace(microsecond=1), None], 1),
        ],
        [
            ("price double", [1.0, None], "price double", [1.0, 0.0], 1),
            ("price double", [1.0, None], "cost double", [1.0, None], 2),
            ("x map<string, int>", [{"a": 1}, {}], "x map<string, int>", [{"a": 2}, None], 2),
        ],
        several=True,
    ),
)
def test_payloads(spark, ours, rows, theirs, published_rows, new_payloads):
    place = [None, None, None, None]
    listing = spark.createDataFrame(
        [("a", "1", rows[0], *place), ("b", "1", rows[1], *place), ("new", "1", rows[0], *place)],
        f"item_id string, source_version string, {ours}, image_file string, image_row long, "
        "image_length long, image_modified double",
    )
    published = spark.createDataFrame(
        [("a", "1", published_rows[0]), ("b", "1", published_rows[1]), ("gone", "1", None)],
        f"item_id string, source_version string, {theirs}",
    )
    changes = count_changes(compare(listing, published))
    assert changes.new_payloads == new_payloads
    assert (changes.carried, changes.num_todo, changes.removed) == (2, 1, 1)


def test_a_value_in_another_column_is_another_payload(spark):
    place = "image_file string, image_row long, image_length long, image_modified double"
    columns = (
        "item_id string, source_version string, x string, y string, v array<int>, w array<int>"
    )
    listing = spark.createDataFrame(
        [
            ("a", "1", "s", None, [1], [2, 3], None, None, None, None),
            ("b", "1", None, "t", [1, 2], [3], None, None, None, None),
        ],
        f"{columns}, {place}",
    )
    published = spark.createDataFrame(
        [("a", "1", None, "s", [1], [2, 3]), ("b", "1", None, "t", [1], [2, 3])], columns
    )
    assert count_changes(compare(listing, published)).new_payloads == 2
