"""Types that are carried, and what widens to what, without Spark."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from vaeudf.catalog.names import find_column
from vaeudf.catalog.partitions import partition_values
from vaeudf.catalog.types import carried_type, converted, is_exact, same_text, widest
from vaeudf.errors import InputError

I8, I16, I32, I64 = pa.int8(), pa.int16(), pa.int32(), pa.int64()
F32, F64, TEXT = pa.float32(), pa.float64(), pa.string()
INSTANT, LOCAL = pa.timestamp("us", "UTC"), pa.timestamp("us")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (I8, I64, I64),
        (I16, F32, F32),
        (I32, F32, F64),  # of 2**24 + 1 a float is not exact
        (I32, F64, F64),
        (I64, F32, F64),
        (F32, F64, F64),
        (pa.null(), TEXT, TEXT),
        (pa.decimal128(5, 2), pa.decimal128(7, 0), pa.decimal128(9, 2)),
        (pa.decimal128(5, 2), I64, pa.decimal128(21, 2)),
        (pa.decimal128(38, 30), I64, None),
        (pa.decimal128(5, 2), F64, None),
        (pa.bool_(), I8, None),
        (TEXT, I64, None),
        (TEXT, pa.binary(), None),
        (INSTANT, LOCAL, None),
        (INSTANT, pa.date32(), None),
        (pa.list_(I8), pa.list_(pa.null()), pa.list_(I8)),
        (pa.list_(I8), pa.list_(TEXT), None),
        (pa.list_(I8), I8, None),
        (pa.map_(TEXT, I8), pa.map_(TEXT, F32), pa.map_(TEXT, F32)),
        (pa.map_(TEXT, I8), pa.map_(I8, I8), None),
        (
            pa.struct([("x", I8), ("y", TEXT)]),
            pa.struct([("z", F32), ("x", I32)]),
            pa.struct([("x", I32), ("y", TEXT), ("z", F32)]),
        ),
        (pa.struct([("x", I8)]), pa.struct([("x", TEXT)]), None),
        (pa.struct([("x", I8)]), pa.struct([("X", I8)]), None),
    ],
)
def test_the_type_that_holds_both(first, second, expected):
    for found in (widest(first, second), widest(second, first)):
        if expected is not None and pa.types.is_struct(expected):
            assert {field.name: field.type for field in found} == {
                field.name: field.type for field in expected
            }
        else:
            assert found == expected


def test_ids_widen_only_if_their_text_stays_the_same():
    assert same_text(I8, I64) == I64
    assert same_text(TEXT, TEXT) == TEXT
    for first, second in [(I64, F64), (I64, TEXT), (F32, F64), (I64, pa.decimal128(5, 2))]:
        assert same_text(first, second) is None


def test_a_variant_is_not_carried_as_its_bytes():
    blob = pa.binary()
    variant = pa.struct([("metadata", blob), ("value", blob)])
    assert carried_type(variant) is None
    assert carried_type(pa.struct([("metadata", TEXT), ("value", blob)])) is not None
    assert carried_type(pa.struct([("metadata", blob), ("value", blob), ("x", I8)])) is not None


def test_nanoseconds_are_cut_off_downwards():
    array = pa.array([-1, 0, 999, 1000, None], pa.timestamp("ns"))
    assert converted(array, LOCAL).cast(I64).to_pylist() == [-1, 0, 0, 1, None]
    assert not is_exact(array, LOCAL)
    assert is_exact(pa.array([-1000, 0, None], pa.timestamp("ns")), LOCAL)
    nested = pa.array([[1]], pa.list_(pa.timestamp("ns")))
    assert converted(nested, pa.list_(LOCAL)).flatten().cast(I64).to_pylist() == [0]
    assert not is_exact(nested, pa.list_(LOCAL))


def test_numbers_that_do_not_fit_are_refused():
    assert converted(pa.array([2**53]), F64).to_pylist() == [float(2**53)]
    with pytest.raises(pa.ArrowInvalid):
        converted(pa.array([2**53 + 1]), F64)


NOON = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        # What Spark 4.3 infers from the same folders.
        (["007", "8"], I32, [7, 8]),
        (["-5", "+5"], I32, [-5, 5]),
        (["1", "3000000000"], I64, [1, 3000000000]),
        (["1", "1.5"], F64, [1.0, 1.5]),
        (["3000000000", "1.5"], TEXT, ["3000000000", "1.5"]),
        (["9" * 20, "5"], pa.decimal128(20, 0), [Decimal("9" * 20), Decimal(5)]),
        (["9" * 20, "1.5"], TEXT, ["9" * 20, "1.5"]),
        (["1e5"], pa.decimal128(6, 0), [Decimal(100000)]),
        (["1e5", "3"], pa.decimal128(10, 0), [Decimal(100000), Decimal(3)]),
        (["9" * 40], F64, [1e40]),
        (["1d", ".5", "Infinity"], F64, [1.0, 0.5, float("inf")]),
        (["0x10", "1_000"], TEXT, ["0x10", "1_000"]),
        (["a", "1"], TEXT, ["a", "1"]),
        (["true"], TEXT, ["true"]),
        (["2024-01-01"], pa.date32(), [NOON.date()]),
        (["2024-02-30"], TEXT, ["2024-02-30"]),
        (["2024-01-01 12%3A00%3A00"], INSTANT, [NOON]),
        (["2024-01-01", "2024-01-01 12:00:00"], INSTANT, [NOON.replace(hour=0), NOON]),
        (["2024-01-01 12:00"], TEXT, ["2024-01-01 12:00"]),
        (["a%20b%2Fc", "d=e"], TEXT, ["a b/c", "d=e"]),
        (["__HIVE_DEFAULT_PARTITION__", "3"], I32, [None, 3]),
    ],
)
def test_folders_names_are_typed_as_by_spark(values, kind, expected):
    files = [f"/data/k={value}/deep/x.parquet" for value in values]
    found = partition_values(files, ["/data"] * len(files))
    assert found.schema == pa.schema([("k", kind)])
    assert found["k"].to_pylist() == expected


def test_folders_that_are_no_columns():
    assert partition_values(["/a=1/x.parquet"], ["/a=1"]) is None
    with pytest.raises(InputError) as caught:
        partition_values(["/d/a=1/x", "/d/b=1/y"], ["/d", "/d"])
    assert str(caught.value) == (
        "the folders above /d/b=1/y name other columns than those above /d/a=1/x: b beside a; "
        "expected the same. Move the files, or name some of them."
    )


def test_which_column_is_meant():
    inner = pa.struct([("bytes", pa.binary()), ("b.c", TEXT)])
    kinds = {"image": inner, "Photo": TEXT, "x": TEXT, "X": TEXT}
    assert find_column(kinds, "image.bytes") == ("image", "bytes")
    assert find_column(kinds, "IMAGE.Bytes") == ("image", "bytes")
    assert find_column(kinds, "image.b.c") == ("image", "b.c")
    assert find_column(kinds, "photo") == ("Photo",)
    assert find_column(kinds, "X") == ("X",)
    assert find_column({"x1": TEXT, "X1": TEXT}, "x1") == ("x1",)
    assert find_column({"Ab": TEXT, "AB": TEXT}, "ab") is None
    assert find_column({**kinds, "image.bytes": TEXT}, "image.bytes") == ("image.bytes",)
    for name in ("image.gone", "photo.x", "", "x."):
        assert find_column(kinds, name) is None


@pytest.mark.parametrize("view", [pa.list_view, pa.large_list_view])
def test_views_of_lists_keep_all_elements(view):
    rows = [[1], None, [2, 3], []]
    for start in (0, 2):
        array = pa.array(rows, view(pa.int32()))[start:]
        found = converted(array, carried_type(array.type))
        found.validate(full=True)
        assert found.type == pa.list_(pa.int32()) and found.to_pylist() == rows[start:]
