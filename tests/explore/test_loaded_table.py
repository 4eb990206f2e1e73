"""One version of a table in memory: its rows, its facts, and the folder it is kept in."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.loaded import ask, by_row, load
from tests.support.tables import matrix
from tests.support.tolerances import FUNCTION, assert_same_float64
from vaeudf.errors import InputError
from vaeudf.explore.columns import (
    CategoryColumn,
    DateColumn,
    NumberColumn,
    OtherColumn,
    TimestampColumn,
    ValueCount,
    describe,
    folders,
)
from vaeudf.explore.filters import Filters
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.search.index import PosteriorIndex
from vaeudf.table.open import open_posteriors

PAYLOAD = ["stock", "brand", "seen", "price", "sizes"]


@pytest.fixture(params=["table", "parquet"])
def uri(request, population) -> str:
    return getattr(population, request.param)


@pytest.fixture(params=[False, True], ids=["in memory", "kept"])
def cache(request, tmp_path) -> Path | None:
    return tmp_path / "cache" if request.param else None


def test_rows_are_the_tables_items(population, uri, cache):
    loaded = load(uri, cache)
    assert (loaded.num_items, loaded.latent_dim) == (len(population.items), 3)
    assert loaded.names == tuple(PAYLOAD)
    assert sorted(loaded.ids.to_pylist()) == sorted(population.items["item_id"].to_pylist())
    items = by_row(loaded, population.items)
    assert loaded.payload.to_pylist() == items.select(PAYLOAD).to_pylist()
    mu, log_var = loaded.posteriors(np.arange(len(items)))
    assert (mu == matrix(items, "mu")).all()
    assert (log_var == matrix(items, "log_var")).all()
    for row in (0, 1_234, 2_999):
        assert loaded.row_of(loaded.ids[row].as_py()) == row
        assert (loaded.posterior(row)[0] == mu[row]).all()


@pytest.mark.parametrize("item_id", ["", "a", "zzz", "😀", "b1234567", "\ud800"])
def test_no_such_item(population, item_id):
    with pytest.raises(KeyError):
        load(population.table).row_of(item_id)


def test_a_table_keeps_its_order(population):
    ids = [
        name
        for file in sorted(Path(population.table).rglob("*.parquet"))
        for name in pq.read_table(file, columns=["item_id"])["item_id"].to_pylist()
    ]
    found = load(population.table).ids.to_pylist()
    assert sorted(found) == sorted(ids)
    # File by file, in whatever order the log names these.
    size = len(ids) // 4
    runs = {tuple(ids[start : start + size]) for start in range(0, len(ids), size)}
    assert {tuple(found[start : start + size]) for start in range(0, len(ids), size)} == runs


def test_statistics_of_the_dimensions(population):
    loaded = load(population.table)
    mu, log_var = population.mu.astype(float), population.log_var.astype(float)
    kl = 0.5 * (mu**2 + np.exp(log_var) - log_var - 1)
    assert [one.index for one in loaded.dimensions] == [0, 1, 2]
    assert not any(one.collapsed for one in loaded.dimensions)
    for dim, one in enumerate(loaded.dimensions):
        own = mu[:, dim]
        found = [one.kl, one.mean, one.sd]
        magnitude = [np.abs(kl[:, dim]).mean() + 1, np.abs(own).mean(), own.std()]
        expected = [kl[:, dim].mean(), own.mean(), own.std()]
        assert_same_float64(found, expected, terms=3_000 + FUNCTION, magnitude=magnitude)
        inside = (own > one.low) & (own < one.high)
        assert 0.985 < inside.mean() < 0.995
        assert (own < one.low).mean() < 0.0055 and (own > one.high).mean() < 0.0055
        assert one.far == 5.0
        assert_same_float64(one.sigma, np.exp(0.5 * np.median(log_var[:, dim])), terms=FUNCTION)


def test_a_dimension_that_does_not_vary_is_collapsed(tmp_path):
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(500, 2)) * [0.05, 9.0]
    rows = pa.table({"item_id": map(str, range(500)), "mu": list(mu), "log_var": list(mu * 0)})
    pq.write_table(rows, tmp_path / "a.parquet")
    first, second = load(str(tmp_path)).dimensions
    assert first.collapsed and not second.collapsed
    assert second.far == max(-second.low, second.high) > 5.0


def test_principal_components(population):
    loaded = load(population.table)
    found = loaded.components
    mu = population.mu.astype(float)
    centred = mu - mu.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    assert_same_float64(found.mean, mu.mean(axis=0), terms=3_000, magnitude=np.abs(mu).mean())
    assert_same_float64(found.share, values**2 / (values**2).sum(), terms=9_000)
    # An axis is as certain as the gap between its variance and the others' is wide.
    variances = values**2
    gap = np.abs(np.subtract.outer(variances, variances) + np.eye(3) * 1e9).min() / variances.max()
    same = np.abs(np.array(found.axes) @ axes.T)
    assert_same_float64(same, np.eye(3), terms=9_000, magnitude=1 / gap)
    assert all(max(axis, key=abs) > 0 for axis in found.axes)
    along = centred @ np.array(found.axes).T
    assert (np.abs((along < found.low).mean(axis=0) - 0.005) < 0.001).all()
    assert (np.abs((along > found.high).mean(axis=0) - 0.005) < 0.001).all()


def test_what_the_columns_hold(population):
    stock, brand, seen, price, sizes = load(population.table).columns
    numbers = [n for n in population.items["stock"].to_pylist() if n is not None]
    assert stock == NumberColumn(
        name="stock",
        low=min(numbers),
        high=max(numbers),
        integers=True,
        nulls=3_000 - len(numbers),
    )
    brands = [b for b in population.items["brand"].to_pylist() if b is not None]
    counts = sorted({ValueCount(b, brands.count(b)) for b in brands}, key=lambda one: -one.count)
    assert isinstance(brand, CategoryColumn)
    assert (list(brand.values), brand.nulls) == (counts, 3_000 - len(brands))
    times = [t for t in population.items["seen"].to_pylist() if t is not None]
    low, high = (end.replace(tzinfo=None).isoformat(" ") for end in (min(times), max(times)))
    nulls = 3_000 - len(times)
    assert seen == TimestampColumn(name="seen", low=low, high=high, nulls=nulls)
    prices = [p for p in population.items["price"].to_pylist() if p is not None]
    assert isinstance(price, NumberColumn)
    assert (price.low, price.high, price.integers) == (
        float(min(prices)),
        float(max(prices)),
        False,
    )
    assert isinstance(sizes, OtherColumn)


def test_columns_of_many_values_of_truth_and_of_nothing(tmp_path):
    columns = {
        "many": [f"{i}" for i in range(60)],
        "fifty": [f"{i % 50}" for i in range(60)],
        "ok": [True, False, None] * 20,
        "empty": pa.nulls(60, pa.float32()),
        "none": pa.nulls(60, pa.string()),
        "half": [float("nan"), float("inf"), 0.5] * 20,
    }
    vectors = {name: [[0.0, 1.0]] * 60 for name in ("mu", "log_var")}
    rows = pa.table({"item_id": map(str, range(60)), **vectors, **columns})
    pq.write_table(rows, tmp_path / "a.parquet")
    many, fifty, ok, empty, none, half = load(str(tmp_path)).columns
    assert isinstance(many, OtherColumn)
    assert isinstance(fifty, CategoryColumn) and len(fifty.values) == 50
    assert ok == CategoryColumn(
        name="ok", values=(ValueCount(False, 20), ValueCount(True, 20)), nulls=20
    )
    assert empty == NumberColumn(name="empty", low=None, high=None, integers=False, nulls=60)
    assert none == CategoryColumn(name="none", values=(), nulls=60)
    assert half == NumberColumn(name="half", low=0.5, high=0.5, integers=False, nulls=40)


NANOS = 1_706_690_000_123_456_789
LATE = "2024-01-31 08:33:20.123456"
EARLY = "1969-12-31 23:59:59.999999"
MOMENTS = [
    (pa.timestamp("s"), NANOS // 10**9, "2024-01-31 08:33:20", "2024-01-31 08:33:20"),
    (pa.timestamp("ms"), NANOS // 10**6, LATE[:-3] + "000", LATE[:-3] + "000"),
    (pa.timestamp("us"), NANOS // 10**3, LATE, LATE),
    (pa.timestamp("ns"), NANOS, LATE, LATE[:-1] + "7"),
    (pa.timestamp("ns", "UTC"), NANOS, LATE, LATE[:-1] + "7"),
    (pa.timestamp("us", "+02:00"), -1, EARLY, EARLY),
    (pa.timestamp("ns"), -1, EARLY, "1970-01-01 00:00:00"),
    (pa.timestamp("s"), 253_402_300_800, None, None),
    (pa.date32(), 19_753, "2024-01-31", "2024-01-31"),
    (pa.date64(), 19_753 * 86_400_000, "2024-01-31", "2024-01-31"),
    (pa.date32(), 2_932_897, None, None),
    (pa.date32(), None, None, None),
    (pa.timestamp("us"), None, None, None),
]


@pytest.mark.parametrize(("kind", "stored", "low", "high"), MOMENTS)
def test_ends_of_days_and_times_are_what_conditions_have(kind, stored, low, high):
    """Between its ends, a column has all of its items."""
    whole = pa.int32() if kind == pa.date32() else pa.int64()
    values = pa.chunked_array([pa.array([None, stored], whole).cast(kind)])
    column = describe("seen", values)
    is_day = pa.types.is_date(kind)
    expected = DateColumn if is_day else TimestampColumn
    nulls = 1 + (stored is None)
    assert column == expected(name="seen", low=low, high=high, nulls=nulls)
    if low is not None:
        word = "DATE" if is_day else "TIMESTAMP"
        where = f"seen >= {word} '{low}' AND seen <= {word} '{high}'"
        matching = Filters(pa.table({"seen": values})).matching(where)
        assert matching.tolist() == [False, True]


def test_what_is_kept_is_mapped_the_next_time(population, tmp_path, monkeypatch):
    first = load(population.table, tmp_path)
    monkeypatch.setattr("vaeudf.explore.loaded_table.read_items", None)
    again = load(population.table, tmp_path)
    assert again.ids == first.ids and again.payload == first.payload
    assert (again.dimensions, again.components, again.columns) == (
        first.dimensions,
        first.components,
        first.columns,
    )
    z = [0.3, -0.2, 1.0]
    assert ask(again, z=z, where="stock > 100").hits == ask(first, z=z, where="stock > 100").hits


@pytest.mark.parametrize("name", ["items.arrow", "order.npy", "facts.json", "mu.npy", "psi.npy"])
def test_what_is_damaged_is_made_again(population, tmp_path, caplog, name):
    expected = ask(load(population.table, tmp_path), z=[0, 0, 0]).hits
    (file,) = tmp_path.rglob(name)
    file.write_bytes(file.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        assert ask(load(population.table, tmp_path), z=[0, 0, 0]).hits == expected
    assert "is damaged" in caplog.text and "is made again" in caplog.text
    caplog.clear()
    load(population.table, tmp_path)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "name", ["items.arrow", "order.npy", "facts.json", "mu.npy", "psi.npy", "checksums.json"]
)
def test_damage_that_leaves_files_as_long_as_they_were_is_noticed(
    population, tmp_path, caplog, name
):
    expected = ask(load(population.table, tmp_path), z=[0, 0, 0]).hits
    (file,) = tmp_path.rglob(name)
    content = bytearray(file.read_bytes())
    # In the middle, where no reader looks for what a file is.
    content[len(content) * 2 // 3] ^= 1
    file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert ask(load(population.table, tmp_path), z=[0, 0, 0]).hits == expected
    assert "is damaged" in caplog.text and "is made again" in caplog.text
    caplog.clear()
    load(population.table, tmp_path)
    assert caplog.text == ""


def test_a_folder_that_cannot_be_written_is_told_of(population, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file")
    with caplog.at_level(logging.WARNING):
        loaded = load(population.table, tmp_path / "cache")
    assert "cannot be written" in caplog.text
    assert "held in memory, and read anew at the next start" in caplog.text
    assert len(ask(loaded, z=[0, 0, 0]).hits) == 12


def test_a_version_that_was_named_is_named_in_commands(population):
    table = open_posteriors(population.table, 1)
    for pinned, words in ((False, ""), (True, "--version 1 ")):
        loaded = LoadedTable.load(table, cache=None, pinned=pinned)
        expected = f"vaeudf query_topk --table {population.table} {words}--z=0,0,0 --k 12"
        assert ask(loaded, z=[0, 0, 0]).command == expected


def test_parquet_that_changes_is_read_anew(population, tmp_path):
    folder = tmp_path / "parquet"
    shutil.copytree(population.parquet, folder)
    assert load(str(folder), tmp_path / "cache").num_items == 3_000
    (folder / "2.parquet").unlink()
    assert load(str(folder), tmp_path / "cache").num_items == 2_000
    rows = pq.read_table(folder / "1.parquet")
    pq.write_table(rows.slice(0, 500), folder / "1.parquet")
    assert load(str(folder), tmp_path / "cache").num_items == 1_500
    # Two of the three are kept.
    (versions,) = (tmp_path / "cache" / "tables").iterdir()
    assert len(list(versions.iterdir())) == 2
    # What was being written when its process was killed goes after a day.
    for name, age in ((".new-1", 0), (".old-1", 90_000)):
        (versions / name).mkdir()
        os.utime(versions / name, (time.time() - age,) * 2)
    (folder / "1.parquet").unlink()
    assert load(str(folder), tmp_path / "cache").num_items == 1_000
    assert [one.name for one in versions.iterdir() if one.name[0] == "."] == [".new-1"]


def test_no_items(population, tmp_path):
    rows = population.items.slice(0, 1)
    pq.write_table(rows, tmp_path / "a.parquet")
    only = load(str(tmp_path))
    assert [hit.item_id for hit in ask(only, z=[0, 0, 0]).hits] == rows["item_id"].to_pylist()
    pq.write_table(rows.slice(0, 0), tmp_path / "a.parquet")
    with pytest.raises(Exception, match="no posteriors"):
        load(str(tmp_path))


def test_the_index_is_the_librarys(population):
    loaded = load(population.table)
    assert isinstance(loaded.index, PosteriorIndex)
    with pytest.raises(InputError, match=r"z has shape \(2,\); expected \(Q, 3\)"):
        loaded.index.search([0.0, 0.0])


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["b/1", "a/1", "b/c/2", "c/"], [("b", 2), ("a", 1), ("c", 1)]),
        (["é ü/1", "a\nb/1\nx"], [("a\nb", 1), ("é ü", 1)]),
        (["a/1", "2", "b/1", "/x/1"], [("a", 1), ("b", 1)]),
        # Most in no folder, or all in one, or nearly each in one of its own.
        (["a/1", "b/1", "2", "3", "4"], []),
        (["a/1", "a/2"], []),
        ([f"{i}/1" for i in range(51)], []),
        ([f"{i % 50}/{i}" for i in range(20_000)] + ["x/1"], []),
    ],
)
def test_folders_are_the_first_parts_of_the_names(ids, expected):
    found = folders(pa.chunked_array([ids]))
    assert [(one.value, one.count) for one in found] == expected
