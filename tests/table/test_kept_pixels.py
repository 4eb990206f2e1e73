"""The pictures that a table keeps, by row."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.deletion_vectors import delete_items
from tests.support.kept_pixels import pixel_file_of
from tests.support.scene import SPEC
from tests.support.shop import ODD_IDS, Shop, make_shop, publish_shop
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.images.decode import decode_image
from vaeudf.table.kept_pixels import KeptPixels
from vaeudf.table.open import open_posteriors
from vaeudf.table.pixel_files import PictureShape, PixelWriter


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def kept_table(shop, tmp_path_factory):
    table = str(tmp_path_factory.mktemp("kept") / "posteriors")
    return publish_shop(shop, table, "20260101T000000-aaaaaaaa", keep_pixels=True)


def assert_kept(shop, table: str, count: int, *, shuffled: bool = False) -> None:
    loaded = LoadedTable.load(open_posteriors(table), cache=None)
    # Small tables are loaded in the order of their files, whether that is a k-d order or not.
    order = np.random.default_rng(2).permutation(count) if shuffled else np.arange(count)
    ids = loaded.ids.take(pa.array(order))
    kept = KeptPixels(loaded.table, ids)
    assert kept.is_complete and len(ids) == count
    for row, item_id in enumerate(ids.to_pylist()):
        np.testing.assert_array_equal(kept.picture(row), decode_image(shop.images[item_id], SPEC))


def test_kept_pixels_row_by_row(shop, kept_table):
    assert_kept(shop, kept_table.uri, len(shop.images))


def test_kept_pixels_of_rows_in_any_order(shop, kept_table, tmp_path):
    """Without boxes, a table is loaded in another order than that of its files."""
    table = tmp_path / "posteriors"
    shutil.copytree(kept_table.uri, table)
    for file in table.glob("2*/*.parquet"):
        rows = pq.read_table(file)
        rows = rows.take(np.random.default_rng(1).permutation(len(rows)))
        pq.write_table(rows.replace_schema_metadata(None), file, row_group_size=3)
        ids = rows["item_id"].to_pylist()
        with PixelWriter(str(pixel_file_of(str(file))), PictureShape.of(SPEC)) as writer:
            writer.write(ids, np.stack([decode_image(shop.images[i], SPEC) for i in ids]))
    assert_kept(shop, str(table), len(shop.images), shuffled=True)
    delete_items(str(table), [ODD_IDS[0], ODD_IDS[2]])
    assert_kept(shop, str(table), len(shop.images) - 2, shuffled=True)


def test_kept_pixels_beside_rows_that_were_deleted(shop, kept_table, tmp_path):
    table = str(tmp_path / "posteriors")
    shutil.copytree(kept_table.uri, table)
    delete_items(table, [ODD_IDS[0], ODD_IDS[2]])
    assert_kept(shop, table, len(shop.images) - 2)
