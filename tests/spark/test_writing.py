"""One partition to one file, without Spark; and the whole, with."""

from __future__ import annotations

import random
import tracemalloc
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from pyspark.sql import functions as F

from tests.support.kept_pixels import read_kept
from vaeudf.errors import InputError, TableError
from vaeudf.numerics.boxes import Boxes
from vaeudf.numerics.kd_tree import CellTree
from vaeudf.schema import posterior_schema
from vaeudf.spark.writing import rows_per_group, write_data_files, write_partition
from vaeudf.table import pixel_copy, pixel_files
from vaeudf.table.footers import read_footer, read_footers
from vaeudf.table.pixel_files import PictureShape, PixelFile, PixelWriter

SCHEMA = posterior_schema(pa.schema([("price", pa.float64())]), {})
# As Spark hands it over: everything may be null.
LOOSE = pa.schema([pa.field(f.name, f.type) for f in SCHEMA])


def rows(count: int, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {
            "item_id": f"{i:04d}",
            "mu": rng.normal(size=2).astype(np.float32).tolist(),
            "log_var": rng.normal(size=2).astype(np.float32).tolist(),
            "source_version": "v",
            "price": None,
        }
        for i in range(count)
    ]


def write(table: list[dict], folder, cuts: tuple[int, ...] = ()) -> list[dict]:
    """Write a partition that comes in batches; return the descriptions."""
    edges = [0, *cuts, len(table)]
    batches = [pa.RecordBatch.from_pylist(table[a:b], schema=LOOSE) for a, b in pairwise(edges)]
    described = write_partition(iter(batches), str(folder), "run", SCHEMA)
    return [row for batch in described for row in batch.to_pylist()]


@pytest.fixture
def small_groups(monkeypatch):
    monkeypatch.setattr("vaeudf.spark.writing.BLOCK_SIZE", 4)
    monkeypatch.setattr("vaeudf.spark.writing.rows_per_group", lambda latent_dim: 16)


def sort_key(row: dict) -> str:
    return row["item_id"]


def test_a_partition_becomes_a_file(small_groups, tmp_path):
    table = rows(70)
    (found,) = write(random.Random(0).sample(table, 70), tmp_path, (0, 3, 3, 9, 16, 57))
    path = tmp_path / found["path"]
    assert found["path"].startswith("run/part-") and path.parent.name == "run"
    assert found == {
        "path": found["path"],
        "size": path.stat().st_size,
        "num_rows": 70,
        "min_id": "0000",
        "max_id": "0069",
        "pixel_bytes": 0,
        "repeated_id": None,
    }
    file = pq.ParquetFile(path)
    assert sorted(file.read().to_pylist(), key=sort_key) == table
    assert file.schema_arrow.equals(SCHEMA)


def test_row_groups_are_cells_and_the_footer_has_their_boxes(small_groups, tmp_path):
    (found,) = write(rows(70), tmp_path)
    path = str(tmp_path / found["path"])
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(i).to_pylist() for i in range(file.num_row_groups)]
    assert [len(group) for group in groups] == [16, 16, 16, 16, 6]
    footer = read_footer(path)
    for group, told in zip(groups, footer, strict=True):
        for name in ("mu", "log_var"):
            columns = list(zip(*(row[name] for row in group), strict=True))
            assert getattr(told.box, f"{name}_min").tolist() == [[min(c) for c in columns]]
            assert getattr(told.box, f"{name}_max").tolist() == [[max(c) for c in columns]]
    assert file.metadata.metadata[b"vaeudf.block_size"] == b"4"

    # The tree of 70 rows in blocks of 4: 64 and 6, the 64 in halves, and so on down to 4.
    mu = np.array([row["mu"] for group in groups for row in group])
    for size in (64, 32, 16, 8):
        for start in range(0, 64, size):
            left, right = mu[start : start + size // 2], mu[start + size // 2 : start + size]
            assert (left.max(axis=0) <= right.min(axis=0)).any()


def test_dimensions_count_by_their_sigma(small_groups, tmp_path):
    table = rows(32)
    for row in table:
        row["mu"][1] *= 2
        row["log_var"] = [-6.0, 0.0]
    (found,) = write(table, tmp_path)
    mu = np.array(pq.read_table(tmp_path / found["path"])["mu"].to_pylist())
    assert mu[:16, 0].max() <= mu[16:, 0].min()


def test_the_file_does_not_depend_on_the_order_of_arrival(small_groups, tmp_path):
    table = rows(70)
    for row in table[10:50]:
        row["mu"] = [0.5, 0.5]
    written = []
    for seed in range(3):
        shuffled = random.Random(seed).sample(table, len(table))
        (found,) = write(shuffled, tmp_path, (10 * seed, 40))
        written.append((tmp_path / found["path"]).read_bytes())
    assert written[0] == written[1] == written[2]


def test_lowest_and_highest_id_are_those_of_bytes(tmp_path):
    table = rows(4)
    for row, item_id in zip(table, ("é", "Z", "a", "\U0001f9e5"), strict=True):
        row["item_id"] = item_id
    (found,) = write(table, tmp_path)
    assert (found["min_id"], found["max_id"]) == ("Z", "\U0001f9e5")


def test_an_empty_partition_writes_nothing(tmp_path):
    assert write([], tmp_path) == []
    assert list(write_partition(iter([]), str(tmp_path), "run", SCHEMA)) == []
    assert list(tmp_path.iterdir()) == []


def test_attempts_of_one_task_write_different_files(tmp_path):
    (one,), (two,) = (write(rows(2), tmp_path) for _ in range(2))
    assert one["path"] != two["path"]


def test_how_columns_are_stored(small_groups, tmp_path):
    (found,) = write(rows(16), tmp_path)
    file = pq.ParquetFile(tmp_path / found["path"])
    columns = [file.metadata.row_group(0).column(i) for i in range(file.metadata.num_columns)]
    by_name = {column.path_in_schema: column for column in columns}
    for name in ("mu.list.element", "log_var.list.element"):
        # What every Spark from 4.0 on can read inside a list.
        assert set(by_name[name].encodings) <= {"PLAIN", "RLE"}
        assert by_name[name].statistics is None
    assert by_name["item_id"].statistics.max == "0015"
    assert {column.compression for column in columns} == {"ZSTD"}


def test_far_too_many_rows_of_one_cell_become_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr("vaeudf.spark.writing.BYTES_PER_FILE", 500)
    table = rows(200)
    found = write(table, tmp_path, tuple(range(10, 200, 10)))
    assert 3 < len(found) < 20
    written = [pq.read_table(tmp_path / file["path"]).to_pylist() for file in found]
    assert [len(part) for part in written] == [file["num_rows"] for file in found]
    assert sorted((row for part in written for row in part), key=sort_key) == table


SHAPE = PictureShape(2, 3, 1)


def with_places(table: list[dict], folder) -> tuple[pa.Table, dict[str, bytes]]:
    """Rows whose pixels lie in several files, in another order; and the pixels by item."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (len(table), *SHAPE), dtype=np.uint8)
    order = rng.permutation(len(table))
    placed = pa.Table.from_pylist(table, schema=LOOSE).to_pylist()
    for number, part in enumerate(np.array_split(order, 7)):
        uri = str(folder / f"{number}.arrow")
        with PixelWriter(uri, SHAPE) as writer:
            writer.write([table[i]["item_id"] for i in part], pixels[part])
        for row, i in enumerate(part):
            placed[i] |= {"__vaeudf_pixel_file": uri, "__vaeudf_pixel_row": row}
    loose = pa.schema(
        [*LOOSE, ("__vaeudf_pixel_file", pa.string()), ("__vaeudf_pixel_row", pa.int64())]
    )
    by_item = {row["item_id"]: one.tobytes() for row, one in zip(table, pixels, strict=True)}
    return pa.Table.from_pylist(placed, loose), by_item


@pytest.mark.parametrize(
    ("block", "is_store"), [(6, False), (31, False), (2**20, False), (31, True), (2**20, True)]
)
def test_pixels_follow_their_rows(small_groups, tmp_path, monkeypatch, block, is_store):
    monkeypatch.setattr(pixel_copy, "_BYTES_PER_BLOCK", block)
    monkeypatch.setattr(pixel_copy, "_OPEN_FILES", 2)
    if is_store:
        store = fs.SubTreeFileSystem("/", fs.LocalFileSystem())
        for module in (pixel_copy, pixel_files):
            monkeypatch.setattr(module, "filesystem", lambda uri: (store, uri))
        (tmp_path / "_pixels" / "run").mkdir(parents=True)
    table = rows(70)
    placed, pixels = with_places(table, tmp_path)
    batches = placed.to_batches(max_chunksize=16)
    (described,) = write_partition(iter(batches), str(tmp_path), "run", SCHEMA, SHAPE)
    (found,) = described.to_pylist()
    kept = tmp_path / "_pixels" / found["path"].replace(".parquet", ".arrow")
    assert found["pixel_bytes"] == kept.stat().st_size
    written = read_kept(kept)
    ids = pq.read_table(tmp_path / found["path"])["item_id"].to_pylist()
    assert written["item_id"].to_pylist() == ids
    assert written["pixels"].to_pylist() == [pixels[item] for item in ids]
    # The data file is what it is without.
    (plain,) = write(table, tmp_path)
    assert (tmp_path / plain["path"]).read_bytes() == (tmp_path / found["path"]).read_bytes()
    assert plain["pixel_bytes"] == 0 and len(list(tmp_path.glob("_pixels/run/*"))) == 1


def test_an_item_without_pixels_is_an_error(tmp_path):
    placed, _ = with_places(rows(9), tmp_path)
    column = placed["__vaeudf_pixel_file"].to_pylist()
    column[4] = None
    placed = placed.set_column(5, "__vaeudf_pixel_file", pa.array(column, pa.string()))
    with pytest.raises(TableError, match="no pixels were kept of item '0004'; run again with"):
        list(write_partition(iter(placed.to_batches()), str(tmp_path), "run", SCHEMA, SHAPE))
    assert not (tmp_path / "_pixels").exists()


def test_a_task_holds_a_block_of_pixels(tmp_path, monkeypatch):
    """However many pictures a file has: here 24 MB of them."""
    monkeypatch.setattr(pixel_copy, "_BYTES_PER_BLOCK", 2**18)
    shape, uri = PictureShape(64, 64, 3), f"{tmp_path}/from.arrow"
    with PixelWriter(uri, shape) as writer:
        for start in range(0, 2000, 50):
            pixels = np.full((50, *shape), start // 50, np.uint8)
            writer.write([str(i) for i in range(start, start + 50)], pixels)
    order = np.random.default_rng(0).permutation(2000)
    places = pa.table(
        {
            "item_id": [str(i) for i in order],
            "__vaeudf_pixel_file": [uri] * 2000,
            "__vaeudf_pixel_row": order,
        }
    )
    tracemalloc.start()
    size = pixel_copy.copy_pixels(places, f"{tmp_path}/to.arrow", shape)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 2000 * shape.num_bytes and most < 4 * 2**20
    with PixelFile(f"{tmp_path}/to.arrow") as file:
        found = file.rows(range(2000))
    assert (found == (order // 50)[:, None, None, None]).all()


def test_how_many_rows_a_group_has():
    assert rows_per_group(10) == rows_per_group(1) == rows_per_group(32) == 4_096
    assert rows_per_group(33) == rows_per_group(64) == 2048
    assert rows_per_group(512) == rows_per_group(100_000) == 1024
    for latent_dim in range(1, 600):
        count = rows_per_group(latent_dim)
        assert count % 64 == 0 and count & (count - 1) == 0
        assert 4 * latent_dim * count <= 2**19 or count == 1024


def posteriors(spark, count: int, latent_dim: int = 2, partitions: int = 3):
    """Rows as encoded ones are, and the same as a table."""
    rng = np.random.default_rng(7)
    mu, log_var = (rng.normal(size=(count, latent_dim)).astype(np.float32) for _ in range(2))
    table = [(f"{i:05d}", mu[i].tolist(), log_var[i].tolist(), "v", float(i)) for i in range(count)]
    names = "item_id string, mu array<float>, log_var array<float>"
    frame = spark.createDataFrame(table, f"{names}, source_version string, price double")
    return frame.repartition(partitions), mu, log_var


def read(files, folder) -> list[list[dict]]:
    return [pq.read_table(folder / file.path).to_pylist() for file in files]


@pytest.mark.spark
def test_files_are_cells_of_latent_space(spark, tmp_path, monkeypatch):
    monkeypatch.setattr("vaeudf.spark.writing.BYTES_PER_FILE", 6500)
    frame, mu, log_var = posteriors(spark, 1000)
    files = write_data_files(frame, 1000, str(tmp_path), "run", SCHEMA)
    parts = read(files, tmp_path)
    assert 7 <= len(files) <= 9, "some 50 bytes a row"
    assert max(map(len, parts)) <= 2 * min(map(len, parts))
    ids = [row["item_id"] for part in parts for row in part]
    assert sorted(ids) == [f"{i:05d}" for i in range(1000)]
    for file, part in zip(files, parts, strict=True):
        here = [row["item_id"] for row in part]
        assert (file.num_rows, file.min_id, file.max_id) == (len(part), min(here), max(here))
        for row in part:
            i = int(row["item_id"])
            assert row["mu"] == mu[i].tolist() and row["log_var"] == log_var[i].tolist()
            assert row["price"] == i

    cells = [np.array([row["mu"] for row in part]) for part in parts]
    for i, one in enumerate(cells):
        for other in cells[i + 1 :]:
            apart = (one.max(axis=0) <= other.min(axis=0)) | (other.max(axis=0) <= one.min(axis=0))
            assert apart.any(), "no two files share a part of latent space"
    footers = read_footers([str(tmp_path / file.path) for file in files])
    boxes = Boxes.concatenate([group.box for group in footers])
    assert boxes.mu_min.min(axis=0).tolist() == mu.min(axis=0).tolist()
    assert boxes.log_var_max.max(axis=0).tolist() == log_var.max(axis=0).tolist()


@pytest.mark.slow
@pytest.mark.spark
def test_a_sample_says_where_to_cut(spark, tmp_path, monkeypatch):
    """The driver sees a bounded number of rows, and the same rows give the same files."""
    monkeypatch.setattr("vaeudf.spark.writing.BYTES_PER_FILE", 6500)
    monkeypatch.setattr("vaeudf.spark.writing._SAMPLE_ROWS", 200)
    monkeypatch.setattr("vaeudf.spark.writing._MEASURED_ROWS", 50)
    sampled, fit = [], CellTree.fit
    monkeypatch.setattr(
        CellTree, "fit", lambda mu, *rest: sampled.append(len(mu)) or fit(mu, *rest)
    )
    written = []
    for partitions in (2, 5):
        frame, *_ = posteriors(spark, 1000, partitions=partitions)
        folder = tmp_path / str(partitions)
        written.append(read(write_data_files(frame, 1000, str(folder), "run", SCHEMA), folder))
    assert sampled[0] == sampled[1] and 140 < sampled[0] < 260
    assert written[0] == written[1] and len(written[0]) > 5


@pytest.mark.spark
def test_what_fits_one_file_is_not_sampled(spark, tmp_path, monkeypatch):
    monkeypatch.setattr("vaeudf.spark.writing._repartition", lambda *_: pytest.fail("was cut"))
    frame, *_ = posteriors(spark, 300)
    (file,) = write_data_files(frame, 300, str(tmp_path), "run", SCHEMA)
    assert file.num_rows == 300


@pytest.mark.slow
@pytest.mark.spark
def test_equal_posteriors(spark, tmp_path, monkeypatch):
    monkeypatch.setattr("vaeudf.spark.writing.BYTES_PER_FILE", 6500)
    frame, *_ = posteriors(spark, 1000)
    frame = frame.withColumn("mu", F.expr("array(1.5F, -2F)"))
    files = write_data_files(frame, 1000, str(tmp_path), "run", SCHEMA)
    assert sum(file.num_rows for file in files) == 1000


@pytest.mark.spark
def test_an_id_that_comes_twice(spark, tmp_path, monkeypatch):
    monkeypatch.setattr("vaeudf.spark.writing.BYTES_PER_FILE", 6500)
    frame, *_ = posteriors(spark, 1000)
    twice = frame.where("item_id in ('00700', '00070')").withColumn(
        "mu", F.expr("transform(mu, x -> -x)")
    )
    with pytest.raises(InputError) as caught:
        write_data_files(frame.unionByName(twice), 1002, str(tmp_path), "run", SCHEMA)
    assert str(caught.value) == (
        "item_id '00070' came twice: the catalog changed while it was read. "
        "Nothing was published; run again."
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.spark
def test_ids_whose_hashes_are_equal_are_not_the_same(spark, tmp_path, monkeypatch):
    frame, *_ = posteriors(spark, 20)
    monkeypatch.setattr("vaeudf.spark.writing.F.xxhash64", lambda *_: F.lit(1))
    (file,) = write_data_files(frame, 20, str(tmp_path), "run", SCHEMA)
    assert file.num_rows == 20
    with pytest.raises(InputError, match="item_id '00000' came twice"):
        write_data_files(frame.union(frame), 40, str(tmp_path), "run", SCHEMA)
