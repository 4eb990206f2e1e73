"""Passes over a table and over a DataFrame: each part once, merged as a tree, errors of ours."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from tests.support.cases import further_cases_slow
from tests.support.population import NUM_ITEMS
from tests.support.tolerances import near_float64
from vaeudf.errors import InputError, TableError
from vaeudf.numerics.sketches import QuantileSketch
from vaeudf.spark.passes import TablePasses, merge_in_place, pass_over_frame
from vaeudf.table.open import open_posteriors

pytestmark = pytest.mark.spark

ITEM = pa.schema([("item_id", pa.string()), ("first", pa.float64())])


@pytest.fixture
def passes(spark, population):
    return TablePasses(spark, open_posteriors(population.table))


def sketch(batches):
    found = QuantileSketch(3)
    for batch in batches:
        found.add(batch.items.mu)
    return found


def rows_of(batches):
    for batch in batches:
        names = batch.names(np.arange(len(batch.items)))
        yield pa.RecordBatch.from_arrays([names, pa.array(batch.items.mu[:, 0])], schema=ITEM)


def rows_and_count(batches):
    count = 0
    for batch in rows_of(batches):
        count += batch.num_rows
        yield batch
    return count


def refuse(batches, kind):
    raise kind("found x; expected y.")


def add(one, other):
    return one + other


def test_a_pass_reads_every_item_once(passes, population):
    exact = QuantileSketch(3)
    exact.add(population.mu)
    np.testing.assert_array_equal(passes(sketch, merge_in_place).counts, exact.counts)
    assert passes.num_tasks > 1


def test_rows(passes, population):
    rows = passes.rows(rows_of, ITEM).toPandas().set_index("item_id")["first"]
    ids = population.items["item_id"].to_pylist()
    assert len(rows) == NUM_ITEMS
    np.testing.assert_array_equal(rows[ids], population.mu[:, 0])


def test_a_result_and_rows_of_one_pass(passes, population):
    with passes.result_and_rows(rows_and_count, ITEM, add) as (count, rows):
        assert count == NUM_ITEMS
        assert rows.columns == ["item_id", "first"]
        assert rows.count() == NUM_ITEMS
        total = rows.agg(F.sum("first")).first()[0]
        first = population.mu[:, 0].astype(np.float64)
        added = np.abs(first).sum()
        assert total == near_float64(first.sum(), terms=NUM_ITEMS, magnitude=added)


@pytest.mark.parametrize("kind", further_cases_slow([InputError, TableError], [InputError]))
def test_an_error_of_ours_in_a_task_is_ours_on_the_driver(passes, kind):
    with pytest.raises(kind, match=r"^found x; expected y\.$"):
        passes(partial(refuse, kind=kind), add)


def test_a_table_without_rows(spark, tmp_path):
    empty = pa.table(
        {
            "item_id": pa.array([], pa.string()),
            "mu": pa.array([], pa.list_(pa.float32())),
            "log_var": pa.array([], pa.list_(pa.float32())),
        }
    )
    one = pa.table({"item_id": ["a"], "mu": [[1.0]], "log_var": [[0.0]]}).cast(empty.schema)
    pq.write_table(one, tmp_path / "table.parquet")
    table = open_posteriors(str(tmp_path / "table.parquet"))
    pq.write_table(empty, tmp_path / "table.parquet")
    found = TablePasses(spark, table)
    assert found.num_tasks == 1
    assert found(sketch, merge_in_place).count == 0


def numbers(batches):
    return [value for batch in batches for value in batch.column(0).to_pylist()]


@pytest.mark.parametrize("partitions", further_cases_slow([1, 3, 10, 28], [10]))
def test_many_results_are_merged_as_a_tree(spark, partitions, monkeypatch):
    monkeypatch.setattr("vaeudf.spark.passes._MERGED_AT_ONCE", 3)
    frame = spark.range(0, 1000, 1, partitions)
    found = pass_over_frame(frame, partitions, numbers, add)
    assert sorted(found) == list(range(1000))


def test_results_of_neighbours_are_merged_in_order(spark):
    assert pass_over_frame(spark.range(0, 100, 1, 16), 16, numbers, add) == list(range(100))


def test_a_dataframe_without_partitions(spark):
    nothing = spark.range(10).where("false")
    assert pass_over_frame(nothing, 200, numbers, add) == []
