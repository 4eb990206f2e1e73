"""Where the rows of a new version come from, on small DataFrames."""

from __future__ import annotations

import pytest
from pyspark.sql.pandas.types import from_arrow_schema

from tests.support.chunks import rows as chunk
from vaeudf.encoding.changes import CARRIED, RESUMED, TODO, compare
from vaeudf.encoding.gathering import (
    all_failures,
    once,
    read_chunks,
    read_encoded,
    with_added,
    with_posteriors,
)
from vaeudf.encoding.staging import CHUNK_SCHEMA, write_chunk

pytestmark = pytest.mark.spark

LISTED = (
    "item_id string, source_version string, price double, image_file string, image_row long, "
    "image_length long, image_modified double"
)


@pytest.fixture
def listing(spark):
    def make(**versions: str | None):
        rows = [(name, v, 7.0, f"/{name}.png", None, 10, 0.0) for name, v in versions.items()]
        return spark.createDataFrame(rows, LISTED)

    return make


@pytest.fixture
def published(spark):
    def make(**versions: str):
        rows = [(name, [1.0], [1.0], v, 7.0) for name, v in versions.items()]
        return spark.createDataFrame(
            rows,
            "item_id string, mu array<float>, log_var array<float>, source_version string, "
            "price double",
        )

    return make


@pytest.fixture
def chunks(spark):
    def make(*rows: tuple[str, str, float | None]):
        """Items, their versions, and mu; without one they failed."""
        filled = [
            (name, v, [mu], [mu], None, None)
            if mu is not None
            else (name, v, None, None, "hung", "too long.")
            for name, v, mu in rows
        ]
        return spark.createDataFrame(filled, from_arrow_schema(CHUNK_SCHEMA))

    return make


def test_each_posterior_comes_from_where_it_is_known(listing, published, chunks):
    last = published(carried="1", changed="1", again="1", gone="1")
    staged = chunks(
        *[("resumed", "1", 2.0), ("resumed", "1", 2.0), ("resumed", "0", 9.0)],
        *[("carried", "1", 9.0), ("changed", "1", 9.0), ("hung", "1", None), ("gone", "1", 9.0)],
    )
    listed = listing(carried="1", changed="2", again="2", resumed="1", hung="1", bad="1")
    compared = compare(listed, last, None, staged)
    encoded = chunks(("changed", "2", 3.0), ("again", "2", 3.0), ("bad", "1", None))
    rows = with_posteriors(compared, {CARRIED: last, RESUMED: staged, TODO: encoded})
    assert sorted(rows.columns) == ["item_id", "log_var", "mu", "price", "source_version"]
    found = sorted((r.item_id, r.source_version, r.mu, r.log_var, r.price) for r in rows.collect())
    assert found == [
        ("again", "2", [3.0], [3.0], 7.0),
        ("carried", "1", [1.0], [1.0], 7.0),
        ("changed", "2", [3.0], [3.0], 7.0),
        ("resumed", "1", [2.0], [2.0], 7.0),
    ]
    failed = sorted(tuple(row) for row in all_failures(compared, encoded).collect())
    assert failed == [("bad", "1", "hung", "too long."), ("hung", "1", "hung", "too long.")]
    assert [row.item_id for row in all_failures(compared, None).collect()] == ["hung"]


def test_the_version_is_the_one_that_was_encoded(listing, chunks):
    compared = compare(listing(a=None, b=None), None)
    encoded = chunks(("a", "hash a", 1.0), ("b", "hash b", 2.0))
    rows = with_posteriors(compared, {CARRIED: None, RESUMED: None, TODO: encoded})
    assert sorted((row.item_id, row.source_version) for row in rows.collect()) == [
        ("a", "hash a"),
        ("b", "hash b"),
    ]


def test_the_places_of_pixels_come_along(spark, listing, chunks):
    from pyspark.sql import functions as F

    place = {"__vaeudf_pixel_file": F.lit("/p"), "__vaeudf_pixel_row": F.lit(3).cast("long")}
    encoded = chunks(("a", "1", 1.0)).withColumns(place)
    (row,) = with_posteriors(compare(listing(a="1"), None), {TODO: encoded}).collect()
    assert (row["__vaeudf_pixel_file"], row["__vaeudf_pixel_row"]) == ("/p", 3)


def test_one_row_of_each_item(chunks):
    rows = chunks(("a", "1", None), ("a", "1", 1.0), ("a", "2", None), ("b", "1", 2.0))
    by_both = sorted(
        (r.item_id, r.source_version, r.mu)
        for r in once(rows, "item_id", "source_version").collect()
    )
    assert by_both == [("a", "1", [1.0]), ("a", "2", None), ("b", "1", [2.0])]
    by_id = once(rows, "item_id")
    assert by_id.columns == rows.columns
    assert sorted((r.item_id, r.mu) for r in by_id.collect()) == [("a", [1.0]), ("b", [2.0])]


@pytest.mark.slow
def test_what_the_run_has_encoded(spark, tmp_path):
    folder = str(tmp_path / "encoded")
    assert read_encoded(spark, folder, 0) == (None, {})
    write_chunk(iter([chunk("b", "c")]), folder)
    rows, failed = read_encoded(spark, folder, 2)
    assert sorted(row.item_id for row in rows.collect()) == ["b", "c"] and failed == {}
    write_chunk(iter([chunk("c")]), folder)  # a task that was run twice
    assert sorted(row.item_id for row in read_chunks(spark, folder).collect()) == ["b", "c", "c"]
    rows, failed = read_encoded(spark, folder, 2)
    assert sorted(row.item_id for row in rows.collect()) == ["b", "c"] and failed == {}


def test_failures_are_counted_by_reason(spark, chunks, tmp_path):
    rows = chunks(("a", "1", None), ("b", "1", 1.0), ("c", "1", None), ("c", "1", 1.0))
    rows.coalesce(1).write.parquet(str(tmp_path / "encoded"))
    assert read_encoded(spark, str(tmp_path / "encoded"), 4)[1] == {"hung": 2}
    assert read_encoded(spark, str(tmp_path / "encoded"), 3)[1] == {"hung": 1}


def test_columns_that_others_have_added(spark, published):
    rows = published(a="1", b="1").select("item_id")
    last = spark.createDataFrame([("a", "x", 1)], "item_id string, `an.other` string, n int")
    assert with_added(rows, last, []) is rows and with_added(rows, None, ["n"]) is rows
    found = with_added(rows, last, ["an.other"])
    assert sorted(tuple(row) for row in found.collect()) == [("a", "x"), ("b", None)]
