"""The pictures of items, of each kind of catalog, and where they are not."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.deletion_vectors import delete_items
from tests.support.kept_pixels import pixel_file_of
from tests.support.scene import SPEC, tree
from tests.support.shop import CATALOGS, ODD_IDS, folder_catalog, publish_shop
from vaeudf.errors import InputError
from vaeudf.explore.catalog_pictures import catalog_pictures
from vaeudf.explore.item_pictures import KeptPixels
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.pictures import NoPicture, Pictures
from vaeudf.images.decode import ImageFailure, decode_image, thumbnail
from vaeudf.table.open import open_posteriors
from vaeudf.table.pixel_files import PictureShape, PixelWriter


def ids_of(shop) -> pa.Array:
    return shop.rows["item_id"].combine_chunks()


@pytest.mark.parametrize("kind", CATALOGS)
def test_the_pictures_of_every_kind_of_catalog(shop, tmp_path, kind):
    source = CATALOGS[kind](shop, tmp_path / "catalog")
    ids = ids_of(shop)
    found = catalog_pictures(source, ids)
    # In any order: a reader of row groups goes back as well.
    for row in np.random.default_rng(0).permutation(len(ids)).tolist():
        assert found.picture(row) == shop.images[ids[row].as_py()]


@pytest.mark.parametrize("kind", ["folder", "parquet", "delta"])
def test_a_catalog_by_its_path_alone(shop, tmp_path, kind):
    source = CATALOGS[kind](shop, tmp_path / "catalog")
    ids = ids_of(shop)
    found = catalog_pictures(replace(source, format="auto"), ids)
    assert found.picture(0) == shop.images[ids[0].as_py()]


@pytest.mark.parametrize("kind", CATALOGS)
def test_items_that_the_catalog_no_longer_has(shop, tmp_path, kind):
    source = CATALOGS[kind](shop, tmp_path / "catalog")
    found = catalog_pictures(source, pa.array(["gone.png", ODD_IDS[0]]))
    missing = found.picture(0)
    assert isinstance(missing, ImageFailure)
    assert missing.message == "the catalog does not have it any more."
    assert found.picture(1) == shop.images[ODD_IDS[0]]


def test_rows_that_were_deleted_from_a_delta_table(shop, tmp_path):
    """Their deletion vector leaves them in the file, in the middle of others."""
    source = CATALOGS["delta"](shop, tmp_path / "catalog")
    delete_items(source.path, [ODD_IDS[1]])
    ids = ids_of(shop)
    found = catalog_pictures(source, ids)
    for row, item_id in enumerate(ids.to_pylist()):
        expected = None if item_id == ODD_IDS[1] else shop.images[item_id]
        picture = found.picture(row)
        assert (None if isinstance(picture, ImageFailure) else picture) == expected


def test_kept_pixels_beside_rows_that_were_deleted(shop, kept_table, tmp_path):
    table = str(tmp_path / "posteriors")
    shutil.copytree(kept_table.uri, table)
    delete_items(table, [ODD_IDS[0], ODD_IDS[2]])
    assert_kept(shop, table, len(shop.images) - 2)


@pytest.mark.parametrize(
    "item_id",
    ["../secret.png", "/etc/passwd", "a/../../secret.png", "./secret.png", "a//b.png", "..", ""],
)
def test_an_id_does_not_lead_out_of_the_catalog(tmp_path, item_id):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "secret.png").write_bytes(b"secret")
    (tmp_path / "photos" / "a" / "b.png").write_bytes(b"secret")
    source = folder_source(tmp_path / "photos")
    picture = catalog_pictures(source, pa.array([item_id])).picture(0)
    assert isinstance(picture, ImageFailure)
    assert picture.message == "its id is no path below the catalog's folder."


def folder_source(folder: Path):
    from vaeudf.catalog.catalog_source import CatalogSource

    return CatalogSource(str(folder), "images")


def test_what_is_no_catalog_is_told(shop, tmp_path):
    source = CATALOGS["parquet"](shop, tmp_path / "catalog")
    ids = ids_of(shop)
    for wrong, message in (
        (replace(source, path=str(tmp_path / "none")), "does not exist."),
        (replace(source, id_column="item"), "has no column 'item'; it has sku, photo."),
        (replace(source, path=f"{source.path}/*"), "only Spark lists; name the folder"),
    ):
        with pytest.raises(InputError, match=r"^(catalog|file) /") as caught:
            catalog_pictures(wrong, ids)
        assert message in str(caught.value)


def test_a_file_that_has_changed_since_it_was_listed(shop, tmp_path):
    source = CATALOGS["parquet"](shop, tmp_path / "catalog")
    found = catalog_pictures(source, ids_of(shop))
    for file in Path(source.path).iterdir():
        file.write_bytes(file.read_bytes() + b" ")
    # Nothing was read before: what is there now is what is read, and refused.
    assert isinstance(found.picture(0), ImageFailure)


# ---- what the table keeps


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


def test_kept_pixels_are_shown_where_there_is_no_catalog(shop, kept_table):
    ids = LoadedTable.load(kept_table, cache=None).ids
    pictures = Pictures(kept_table, ids)
    assert pictures.why_not is None
    shown = pictures.thumbnail(0)
    assert shown.media_type == "image/png"
    [expected] = [decode_image(shop.images[ids[0].as_py()], SPEC)]
    np.testing.assert_array_equal(decode_image(shown.data, SPEC), expected)


def test_the_catalogs_pictures_are_shown_and_those_that_are_kept_compared(
    shop, kept_table, tmp_path
):
    source = folder_catalog(shop, tmp_path / "photos")
    ids = LoadedTable.load(kept_table, cache=None).ids
    item_id = ids[2].as_py()
    pictures = Pictures(kept_table, ids, source.path)
    assert pictures.thumbnail(2, 30).data == thumbnail(shop.images[item_id], 30)
    (tmp_path / "photos" / item_id).write_bytes(b"not a picture any more")
    expected = decode_image(shop.images[item_id], SPEC)
    np.testing.assert_array_equal(pictures.pixels(2, SPEC), expected)
    kept = pictures.thumbnail(2, 5)
    assert kept.media_type == "image/png", "what is kept, instead"
    assert max(Image.open(io.BytesIO(kept.data)).size) == 5


def test_why_a_picture_is_not_shown(shop, tmp_path):
    source = folder_catalog(shop, tmp_path / "photos")
    table = publish_shop(shop, str(tmp_path / "table"), "r1", catalog=source)
    loaded = LoadedTable.load(table, cache=None)
    pictures = Pictures(table, loaded.ids)
    gone, damaged = loaded.row_of(ODD_IDS[0]), loaded.row_of(ODD_IDS[1])
    (tmp_path / "photos" / ODD_IDS[0]).unlink()
    (tmp_path / "photos" / ODD_IDS[1]).write_bytes(b"\x89PNG\r\n\x1a\n")
    for row, reason in (
        (gone, "the catalog does not have it any more."),
        (damaged, "its image cannot be decoded."),
    ):
        with pytest.raises(NoPicture) as caught:
            pictures.thumbnail(row)
        item_id = loaded.ids[row].as_py()
        assert str(caught.value) == (f"the picture of item {item_id!r} cannot be shown: {reason}")
        assert pictures.pixels(row, SPEC) is None


def test_reading_pictures_writes_nothing(shop, tmp_path):
    source = folder_catalog(shop, tmp_path / "photos")
    before = tree(tmp_path)
    found = catalog_pictures(source, ids_of(shop))
    assert all(isinstance(found.picture(row), bytes) for row in range(len(shop.images)))
    assert tree(tmp_path) == before
    assert pc.count(ids_of(shop)).as_py() == len(before)
