"""Conditions: what they mean to Spark, and what is refused."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.errors import InputError
from vaeudf.explore import filters
from vaeudf.explore.filters import Filters

ROWS = 60


def _items() -> pa.Table:
    rng = np.random.default_rng(3)
    some = rng.random(ROWS) < 0.8

    def there(values, kind=None):
        values = [v if keep else None for v, keep in zip(values, some, strict=True)]
        return pa.array(values, kind)

    texts = ["a_1", "A%2", "é", "it's", "back\\slash", "", "nan", 'a"b', "10", "ab"]
    days = [date(2020 + i % 6, 1 + i % 12, 1 + i % 28) for i in range(ROWS)]
    halves = [0.1, 0.5, float("nan"), float("inf"), -0.0, 2.5]
    return pa.table(
        {
            "item_id": [f"{i:03d}" for i in range(ROWS)],
            "stock": there([int(i) for i in rng.integers(-5, 6, ROWS)], pa.int32()),
            "many": pa.array(rng.integers(0, 2**40, ROWS)),
            "Brand": there([texts[i % 10] for i in range(ROWS)]),
            "ratio": there([halves[i % 6] for i in range(ROWS)], pa.float32()),
            "weight": there([halves[i % 6] for i in range(ROWS)], pa.float64()),
            "price": there([Decimal(i).scaleb(-1) for i in range(ROWS)], pa.decimal128(10, 2)),
            "day": there(days),
            "seen": there(
                [datetime(2024, 1, 1 + i % 28, i % 24, tzinfo=timezone.utc) for i in range(ROWS)],
                pa.timestamp("us", "UTC"),
            ),
            "ok": there([bool(i % 2) for i in range(ROWS)]),
            "we ird": pa.array(range(ROWS)),
            "sizes": there([[i] for i in range(ROWS)], pa.list_(pa.int64())),
        }
    )


ITEMS = _items()
CONDITIONS = [
    "stock > 1",
    "STOCK >= -2 AND brand <> 'é'",
    "stock = 1 or stock = 2 and not ok",
    "(stock = 1 or stock = 2) and not ok",
    "stock <=> null",
    "not stock <=> null",
    "stock in (1, 2, 3)",
    "stock not in (1, 2, 3)",
    "stock between -1 and 2",
    "stock is null or ok is true",
    "stock is not null and ok is not true",
    "stock % 2 = 1",
    "stock % 2 = -1",
    "-stock < 2 and abs(stock) > 1",
    "stock / 2 > 0.9",
    "stock * many > 1000000000000",
    "many + stock - 1 >= 500000000000",
    "ratio = 0.1",
    "ratio > 0.1",
    "weight = 0.1",
    "weight > 2",
    "weight = 0",
    "isnan(ratio) or isnan(weight)",
    "weight = ratio",
    "price = 1.5",
    "price > 1.55 and price <= 3",
    "price * 2 > stock",
    "price > weight",
    "day >= '2023-02-01'",
    "day = date '2021-02-02'",
    "day > date '2020-06-01' and year(day) < 2024 and month(day) = 3",
    "day(day) = 5",
    "seen > '2024-01-10'",
    "seen >= timestamp '2024-01-10 09:00:00'",
    "seen < date '2024-01-10'",
    "Brand = 'A%2'",
    "brand < 'a'",
    "brand like 'a%'",
    "brand like 'a\\\\_%'",
    "brand like '_!_%' escape '!'",
    "brand like '%\\\\\\\\%'",
    "brand not like '%a%'",
    "brand ilike 'a%'",
    "brand = 'it\\'s'",
    'brand = "it\'s"',
    "brand = ''",
    "length(brand) = 2",
    "length(brand) = 1",
    "lower(brand) = 'a%2' or upper(brand) = 'É'",
    "contains(brand, 'a') and startswith(brand, 'a') or endswith(brand, 'h')",
    "coalesce(brand, 'none') = 'none'",
    "coalesce(stock, 7) > 3",
    "ok",
    "not ok",
    "ok = true",
    "ok = (stock > 0)",
    "`we ird` > 30",
    "item_id < '010'",
    "sizes is null",
    "true",
    "false",
    "1 = 1 -- and false",
    "stock > 1 /* that is all */",
    "stock == 3 or stock != 2",
]


@pytest.mark.spark
def test_conditions_mean_what_they_mean_to_spark(spark, tmp_path):
    pq.write_table(ITEMS, tmp_path / "a.parquet")
    frame = spark.read.parquet(str(tmp_path))
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    try:
        every = frame.selectExpr("item_id", *(f"({c}\n) as c{i}" for i, c in enumerate(CONDITIONS)))
        rows = sorted(every.collect(), key=lambda row: row["item_id"])
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)
    found = Filters(ITEMS)
    for place, condition in enumerate(CONDITIONS):
        expected = [bool(row[f"c{place}"]) for row in rows]
        assert found.matching(condition).tolist() == expected, condition


REFUSED = {
    "": "it is empty",
    "stock": "by itself it is a number, and not true or false; compare it with a value",
    "'yes'": "by itself it is a text, and not true or false",
    "null": "by itself it is unknown (null), and not true or false",
    "day": "by itself it is a date, and not true or false",
    "seen": "by itself it is a date with a time, and not true or false",
    "sizes": "by itself it is a list, and not true or false",
    "stock >": "something is missing after 'stock >'",
    "stock is not null and (brand = 'a' and)": "after \"… not null and (brand = 'a' and\"",
    "= 3": "something is missing in '= 3'",
    "(stock < 3": "a closing bracket is missing after '(stock < 3'",
    "stock 3": "'3' is not expected after 'stock'",
    ") = 3": "it cannot begin with ')'",
    "brand = 'a": "a quotation mark has no second one",
    "stock = 1 /*": "it has a character, or a comment, that does not belong there",
    "brand is 'a'": "is goes with null, true and false; values are compared with =",
    "nosuch = 1": "there is no column nosuch; texts are written in quotes: 'nosuch'",
    "brnd = 'a'": "there is no column brnd; did you mean Brand? Expected",
    "mu[0] > 1": "'mu[0]' is not among columns, values, comparisons",
    "items.stock = 1": "there is no column items.stock",
    "stock.part = 1": "there is no column stock.part",
    "stock = 1; drop table items": "there is more than one; leave out the ';'",
    "drop table items": "'DROP TABLE items' is not among",
    "stock = 1 union select 1": "is not among",
    "stock in (select 1)": "is not among",
    "stock > (select max(stock) from items)": "is not among",
    "exists(select 1)": "is not among",
    "read_csv('/etc/passwd') is null": "is not among",
    "read_text('/etc/passwd') is null": "is not among",
    "getenv('HOME') = 'x'": "is not among",
    "current_setting('memory_limit') = 'x'": "is not among",
    "count(*) > 1": "is not among",
    "row_number() over (order by stock) = 1": "is not among",
    "sum(stock) over () = 1": "is not among",
    "repeat('a', 1000000000) = 'x'": "is not among",
    "rand() < 0.5": "is not among",
    "cast(stock as string) = '1'": "converts, which is for dates alone",
    "brand rlike 'a+'": "is not among",
    "sizes[0] = 1": "is not among",
    "stock = :x": "is not among",
    "stock = ?": "is not among",
    "brand = 5": "the text 'a_1' stands where a number is expected",
    "brand and ok": "the text 'a_1' stands where true or false is expected",
    "day > 'yesterday'": "'yesterday' is no date; dates are written as '2024-01-31'",
    "day > 3": "a date is compared with a number",
    "sizes = 1": "a number stands where a list is expected",
    "stock like 'a%'": "like does not go with a number and a text",
    "lower(stock) = 'a'": "lower does not go with a number",
    "stock = 1 as x": "is not among",
    "*": "is not among",
}


@pytest.mark.parametrize("condition", REFUSED)
def test_refused(condition):
    with pytest.raises(InputError, match=re.escape(REFUSED[condition])) as error:
        Filters(ITEMS).matching(condition)
    assert str(error.value).startswith(
        f"where is {condition!r}, which is not a condition on the table's columns item_id, stock, "
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "startswith(item_id, 'dress')"),
        ({"brand": [None, "it's"]}, "brand = 'it\\'s'"),
        ({"brand": ["a", "b"], "unit price": [float("inf"), 2.5]}, "brand = 'a'"),
        ({"brand": ["a", "b"], "unit price": [Decimal("2.50"), None]}, "`unit price` <= 2.5"),
    ],
)
def test_a_refusal_names_a_condition_that_would_do(columns, expected):
    items = pa.table({"item_id": ["dress/1.jpg", "hat/2.jpg"]} | columns)
    with pytest.raises(InputError, match=r"Expected, for example, ") as error:
        Filters(items).matching("item_id >")
    example = str(error.value).rpartition("Expected, for example, ")[2].removesuffix(".")
    assert example == expected
    assert Filters(items).matching(example).any()


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 3_000 + "stock = 1" + ")" * 3_000,
        " and ".join(["stock = 1"] * 3_000),
        "not " * 5_000 + "ok",
        "-" * 9_999 + "1 = 1",
        "stock in (" + ",".join(map(str, range(5_000))) + ")",
        "\0",
        "\ud800",
        "'" * 9_999,
    ],
)
def test_too_much_is_refused(condition):
    with pytest.raises(InputError) as error:
        Filters(ITEMS).matching(condition)
    assert len(str(error.value)) < 1_500


def test_types_inside_each_other_are_refused_before_they_are_parsed():
    # The parser would take twice as long with every level.
    with pytest.raises(InputError, match=r"'timestamp\(…\)' is not among columns, values"):
        Filters(ITEMS).matching("timestamp(" * 60 + "day" + ")" * 60)


def test_what_is_divided_by_zero_is_unknown():
    items = pa.table({"item_id": ["a", "b", "c"], "Stock": [1, 0, 4]})
    found = Filters(items)
    assert found.matching("4 % stock = 0").tolist() == [True, False, True]
    assert found.matching("4 / stock >= 1").tolist() == [True, False, True]
    assert found.matching("4 % stock is null").tolist() == [False, True, False]


def test_one_that_takes_too_long_is_stopped(monkeypatch):
    monkeypatch.setattr(filters, "_SECONDS", 0.02)
    items = pa.table({"text": ["a" * 300] * 400_000})
    found = Filters(items)
    slow = " or ".join(f"text like '%{'a%' * 40}b{i}%'" for i in range(20))
    with pytest.raises(InputError, match=r"takes longer than 0\.02 seconds; expected a simpler"):
        found.matching(slow)
    monkeypatch.undo()
    assert not found.matching("text = 'b'").any()


def test_a_mask_is_kept_and_not_to_be_written_to(monkeypatch):
    found = Filters(ITEMS)
    mask = found.matching("stock > 1")
    assert found.matching("stock > 1") is mask
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = True
    for number in range(20):
        found.matching(f"stock > {number}")
    assert found.matching("stock > 1") is not mask


def test_columns_of_other_types():
    items = pa.table(
        {
            "code": pa.array(["x", "y", None]).dictionary_encode(),
            "large": pa.array(["x", "y", None], pa.large_string()),
            "half": pa.array([np.float16(0.5), None, np.float16(2)]),
            'quo"te': [1, 2, 3],
        }
    )
    found = Filters(items)
    assert found.matching("code = 'x'").tolist() == [True, False, False]
    assert found.matching("large = 'y'").tolist() == [False, True, False]
    assert found.matching("half > 0.5").tolist() == [False, False, True]
    assert found.matching('`quo"te` = 2').tolist() == [False, True, False]
