"""Splits of a table's row groups, and what is read of them."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.errors import InputError
from vaeudf.numerics.boxes import Boxes
from vaeudf.table.footers import BOXES_KEY, RowGroup, read_footer
from vaeudf.table.splits import SplitReader, join

FLOATS = pa.list_(pa.float32())


def posteriors(count: int, n: int = 3, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng([count, n, seed])
    return pa.table(
        {
            "item_id": [f"item-{seed}-{i}" for i in range(count)],
            "mu": pa.array(list(rng.normal(size=(count, n)).astype("f4")), FLOATS),
            "log_var": pa.array(list(rng.normal(size=(count, n)).astype("f4")), FLOATS),
            "price": rng.random(count),
            "note": [f"n{i}" for i in range(count)],
        }
    )


def matrix(column) -> np.ndarray:
    return np.array(column.to_pylist())


def write(path, table: pa.Table, group: int, boxed: bool = True) -> list[RowGroup]:
    """Write a file; return its row groups."""
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table, row_group_size=group)
        if boxed:
            boxes = Boxes.of_blocks(matrix(table["mu"]), matrix(table["log_var"]), group)
            writer.add_key_value_metadata({BOXES_KEY: boxes.to_bytes()})
    return read_footer(str(path))


def group_of(file: str, index: int, num_rows: int, value: float | None) -> RowGroup:
    box = None if value is None else Boxes(*np.full((4, 1, 2), value))
    return RowGroup(file, index, num_rows, box)


# ---- join


def joined(groups, num_rows) -> list[tuple[str, tuple[int, ...], int]]:
    splits = join(groups, num_rows)
    for split in splits:
        own = [g for g in groups if g.file == split.file and g.index in split.indices]
        assert split.num_rows == sum(g.num_rows for g in own)
        assert (split.box is None) == (own[0].box is None)
    return [(split.file, split.indices, split.num_rows) for split in splits]


def test_neighbours_are_joined_up_to_so_many_rows():
    groups = [group_of("a", i, 10, float(i)) for i in range(5)]
    assert joined(groups, 0) == [("a", (i,), 10) for i in range(5)]
    assert joined(groups, 19) == [("a", (i,), 10) for i in range(5)]
    assert joined(groups, 20) == [("a", (0, 1), 20), ("a", (2, 3), 20), ("a", (4,), 10)]
    assert joined(groups, 1000) == [("a", (0, 1, 2, 3, 4), 50)]
    assert joined([], 1000) == []


def test_a_row_group_that_is_too_large_stands_alone():
    groups = [group_of("a", i, rows, 0.0) for i, rows in enumerate([5, 500, 5, 5])]
    assert joined(groups, 100) == [("a", (0,), 5), ("a", (1,), 500), ("a", (2, 3), 10)]


def test_what_is_not_next_to_each_other_stays_apart():
    groups = [group_of("a", 0, 1, 0.0), group_of("a", 1, 1, 0.0), group_of("b", 2, 1, 0.0)]
    groups += [group_of("b", 4, 1, 0.0), group_of("b", 5, 1, None), group_of("b", 6, 1, None)]
    groups += [group_of("c", 0, 1, 0.0), group_of("a", 3, 1, 0.0), group_of("a", 2, 1, 0.0)]
    assert joined(groups, 100) == [
        ("a", (0, 1), 2),
        ("b", (2,), 1),
        ("b", (4,), 1),
        ("b", (5, 6), 2),
        ("c", (0,), 1),
        ("a", (3,), 1),
        ("a", (2,), 1),
    ]


def test_boxes_of_splits_contain_their_rows(tmp_path):
    table = posteriors(105)
    groups = write(tmp_path / "a.parquet", table, 10)
    splits = join([g for g in groups if g.index != 4], 35)
    assert [split.indices for split in splits] == [(0, 1, 2), (3,), (5, 6, 7), (8, 9, 10)]
    reader = SplitReader(3, ())
    for split in splits:
        assert len(split.box) == 1
        for name, rows in zip(("mu", "log_var"), reader.posteriors(split), strict=True):
            assert len(rows) == split.num_rows
            assert getattr(split.box, f"{name}_min").tolist() == [rows.min(axis=0).tolist()]
            assert getattr(split.box, f"{name}_max").tolist() == [rows.max(axis=0).tolist()]


# ---- reading


def test_splits_of_files_in_any_order(tmp_path):
    tables = [posteriors(25, seed=seed) for seed in range(2)]
    groups = [
        write(tmp_path / f"{i} é.parquet", table, 10, boxed=i > 0) for i, table in enumerate(tables)
    ]
    splits = [split for part in groups for split in join(part, 20)]
    starts = [(0, 0), (0, 20), (1, 0), (1, 20)]
    reader = SplitReader(3, ("note", "mu"))
    for place in (3, 0, 2, 1, 1):
        number, start = starts[place]
        expected = tables[number].slice(start, splits[place].num_rows)
        mu, log_var = reader.posteriors(splits[place])
        assert mu.dtype == log_var.dtype == np.float32
        assert mu.tolist() == expected["mu"].to_pylist()
        assert log_var.tolist() == expected["log_var"].to_pylist()
        for rows in (np.array([4, 0, 0]), np.empty(0, np.int64), np.array([2])):
            items = reader.items(rows)
            assert (
                items.to_pylist()
                == expected.take(rows).select(["item_id", "note", "mu"]).to_pylist()
            )


def test_what_is_counted(tmp_path):
    groups = write(tmp_path / "a.parquet", posteriors(50), 10)
    footer = pq.read_metadata(tmp_path / "a.parquet")

    def sizes(names, indices) -> int:
        chunks = [footer.row_group(i).column(j) for i in indices for j in range(5)]
        return sum(
            chunk.total_compressed_size
            for chunk in chunks
            if chunk.path_in_schema.split(".")[0] in names
        )

    first, second, third = join(groups, 20)
    reader = SplitReader(3, ("note",))
    assert (reader.num_read, reader.num_bytes) == (0, 0)
    reader.posteriors(first)
    expected = sizes(["mu", "log_var"], [0, 1])
    assert expected > 0 and (reader.num_read, reader.num_bytes) == (2, expected)
    # What items are is read for those that are hit alone, and once.
    reader.posteriors(second)
    expected += sizes(["mu", "log_var"], [2, 3])
    assert (reader.num_read, reader.num_bytes) == (4, expected)
    for rows in ([1], [0, 7]):
        reader.items(np.array(rows))
        assert reader.num_bytes == expected + sizes(["item_id", "note"], [2, 3])
    expected += sizes(["item_id", "note"], [2, 3])
    reader.posteriors(third)
    reader.posteriors(first)
    expected += sizes(["mu", "log_var"], [4, 0, 1])
    assert (reader.num_read, reader.num_bytes) == (7, expected)


def test_numbers_as_item_ids(tmp_path):
    table = posteriors(5).set_column(0, "item_id", pa.array([7, 30, -1, 2**40, 0]))
    (split,) = join(write(tmp_path / "a.parquet", table, 5), 0)
    reader = SplitReader(3, ())
    reader.posteriors(split)
    items = reader.items(np.arange(5))
    assert items.schema == pa.schema([("item_id", pa.string())])
    assert items["item_id"].to_pylist() == ["7", "30", "-1", "1099511627776", "0"]


def test_a_column_that_one_file_lacks(tmp_path):
    (split,) = join(write(tmp_path / "a.parquet", posteriors(5), 5), 0)
    reader = SplitReader(3, ("brand", "price"))
    reader.posteriors(split)
    assert reader.items(np.arange(2)).column_names == ["item_id", "price"]


def test_timestamps_as_spark_writes_them(tmp_path):
    """INT96 holds any year, nanoseconds from 1677 to 2262 alone."""
    times = [datetime(9999, 12, 31), datetime(1, 1, 1), None, datetime(2020, 1, 2, 3, 4, 5, 6)]
    table = posteriors(4).append_column("until", pa.array(times, pa.timestamp("us")))
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    (split,) = join(read_footer(str(tmp_path / "a.parquet")), 0)
    reader = SplitReader(3, ("until",))
    reader.posteriors(split)
    assert reader.items(np.arange(4))["until"].to_pylist() == times


def test_row_groups_without_rows(tmp_path):
    (split,) = join(write(tmp_path / "a.parquet", posteriors(0), 5, boxed=False), 0)
    mu, log_var = SplitReader(3, ()).posteriors(split)
    assert mu.shape == log_var.shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mu", [1.0, 2.0], "item 'item-0-2' has a mu of 2 numbers, but the queries have 3 di"),
        ("log_var", None, "item 'item-0-2' has a log_var of 0 numbers, but the queries have"),
        ("mu", [1.0, np.nan, 2.0], "item 'item-0-2' has a mu that is null, NaN or infinite."),
        ("log_var", [1.0, np.inf, 2.0], "item 'item-0-2' has a log_var that is null, NaN or"),
        ("mu", [1.0, None, 2.0], "item 'item-0-2' has a mu that is null, NaN or infinite."),
        ("item_id", None, "the posteriors have an item_id that is null."),
    ],
)
def test_rows_that_do_not_fit(tmp_path, name, value, message):
    table = posteriors(4)
    place = table.schema.get_field_index(name)
    column = pa.array([*table[name].to_pylist()[:2], value, [0.0] * 3 if place else "x"])
    table = table.set_column(place, name, column.cast(table.schema.field(name).type))
    (split,) = join(write(tmp_path / "a.parquet", table, 4, boxed=False), 0)
    reader = SplitReader(3, ())
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        reader.posteriors(split)
        reader.items(np.array([0]))
