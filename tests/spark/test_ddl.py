from __future__ import annotations

import pyarrow as pa
import pytest

from vaeudf.spark.ddl import ddl


def test_names_and_types():
    schema = pa.schema(
        [
            pa.field("item_id", pa.string(), nullable=False),
            ("mu", pa.list_(pa.float32())),
            ("odd `name`", pa.list_(pa.list_(pa.int32()))),
        ]
    )
    assert ddl(schema) == "`item_id` string, `mu` array<float>, `odd ``name``` array<array<int>>"


def test_types_that_no_task_yields():
    with pytest.raises(KeyError):
        ddl(pa.schema([("x", pa.date32())]))


@pytest.mark.spark
def test_spark_reads_every_type(spark):
    kinds = ("string", "binary", "bool", "int32", "int64", "float32", "float64")
    schema = pa.schema([(name, pa.type_for_alias(name)) for name in kinds])
    found = spark.createDataFrame([], ddl(schema)).toArrow().schema
    assert found.equals(schema)
