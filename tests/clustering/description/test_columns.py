"""Which columns clusters can be described by."""

from __future__ import annotations

import datetime
import decimal
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.clustering.description.columns import Column, find_columns
from vaeudf.errors import InputError
from vaeudf.table.open import open_posteriors


def plain(folder, name="items", **columns):
    """Plain Parquet of two items with these columns."""
    folder.mkdir(exist_ok=True)
    rows = {"item_id": [f"{name}0", f"{name}1"], "mu": [[0.0], [1.0]], "log_var": [[0.0], [0.0]]}
    pq.write_table(pa.table({**rows, **columns}), folder / f"{name}.parquet")
    return open_posteriors(str(folder))


@pytest.mark.parametrize(
    ("kind", "counted", "ordered"),
    [
        (pa.string(), True, False),
        (pa.large_string(), True, False),
        (pa.dictionary(pa.int32(), pa.string()), True, False),
        (pa.bool_(), True, False),
        (pa.null(), True, False),
        (pa.list_(pa.string()), True, False),
        (pa.large_list(pa.large_string()), True, False),
        (pa.list_(pa.int64()), True, False),
        (pa.int8(), True, True),
        (pa.uint64(), True, True),
        (pa.float32(), False, True),
        (pa.decimal128(10, 2), False, True),
        (pa.date32(), False, True),
        (pa.timestamp("ns", "UTC"), False, True),
    ],
)
def test_how_a_type_is_summarised(kind, counted, ordered):
    column = Column.of("x", kind)
    assert (column.counted, column.ordered) == (counted, ordered)
    assert column.is_list == ("list" in str(kind))


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.struct([("a", pa.int8())]), pa.list_(pa.float64()), pa.time64("us")]
)
def test_types_that_tell_nothing(kind):
    message = f"describe-by is the column 'x', which holds {kind}; expected text, lists of text"
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        Column.of("x", kind)


def test_columns_of_a_table(tmp_path):
    table = plain(
        tmp_path / "t",
        price=[decimal.Decimal("1.50"), None],
        day=[datetime.date(2024, 1, 31), None],
        colour=["red", "blue"],
    )
    found = find_columns(table, ["colour", "price"])
    assert [column.name for column in found] == ["colour", "price"]
    assert find_columns(table, []) == ()
    for names, message in (
        (["size"], "describe-by is 'size'; expected a payload column of the table: found price, d"),
        (["item_id"], "describe-by is 'item_id', which every item has for itself; expected a pay"),
        (["colour", "colour"], "describe-by names 'colour' twice; name each column once."),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(message)}"):
            find_columns(table, names)
    with pytest.raises(InputError, match="payload column of the table: it has none"):
        find_columns(plain(tmp_path / "none"), ["colour"])


def test_files_of_plain_parquet_that_differ(tmp_path):
    plain(tmp_path, "a", price=pa.array([1, 2]), colour=pa.nulls(2), tag=["x", "y"])
    table = plain(tmp_path, "b", price=pa.array([1.5, 2.5]), colour=["red", "blue"], tag=[1, 2])
    price, colour = find_columns(table, ["price", "colour"])
    assert (price.type, colour.type) == (pa.float64(), pa.string())
    message = "describe-by is the column 'tag', which holds string in one file and int64 in"
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        find_columns(table, ["tag"])
