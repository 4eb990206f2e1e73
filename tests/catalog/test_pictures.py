"""The pictures of items, of each kind of catalog, without Spark."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, current_thread

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.support.deletion_vectors import delete_items
from tests.support.scene import tree
from tests.support.shop import CATALOGS, ODD_IDS, Shop, folder_catalog, make_shop
from vaeudf.catalog.pictures import catalog_pictures
from vaeudf.catalog.reader import ParquetImages
from vaeudf.errors import InputError
from vaeudf.images.decode import ImageFailure


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"))


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


@pytest.mark.parametrize("kind", CATALOGS)
def test_a_sample_of_the_pictures(shop, tmp_path, kind):
    source = CATALOGS[kind](shop, tmp_path / "catalog")
    ids = ids_of(shop)
    rows = np.random.default_rng(1).permutation(len(ids))[:15].tolist()
    found = list(catalog_pictures(source, ids).sample(rows))
    assert sorted(row for row, _ in found) == sorted(rows)
    for row, picture in found:
        assert picture == shop.images[ids[row].as_py()]


def test_a_sample_of_parquet_holds_nobody_up_and_goes_through_the_files_once(
    shop, tmp_path, monkeypatch
):
    found = catalog_pictures(CATALOGS["parquet"](shop, tmp_path / "catalog"), ids_of(shop))
    order, begun, go_on = [], Event(), Event()
    read = ParquetImages.image

    def slow(self, row):
        if current_thread().name.startswith("sample"):
            order.append((self.uri, row))
            begun.set()
            assert go_on.wait(60)
        return read(self, row)

    monkeypatch.setattr(ParquetImages, "image", slow)
    rows = np.random.default_rng(2).permutation(len(shop.images)).tolist()
    with ThreadPoolExecutor(1, "sample") as pool, ThreadPoolExecutor(1) as other:
        sampled = pool.submit(lambda: list(found.sample(rows)))
        try:
            assert begun.wait(60)
            picture = other.submit(found.picture, 0).result(20)
        finally:
            go_on.set()
        assert picture == shop.images[ODD_IDS[0]]
        assert len(sampled.result()) == len(order) == len(rows)
    assert order == sorted(order)


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


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_a_store_that_refuses_is_told_and_asked_again(shop, tmp_path, monkeypatch, kind):
    source = CATALOGS[kind](shop, tmp_path / "catalog")
    ids = ids_of(shop)
    found = catalog_pictures(source, ids)

    class Refuses:
        def get_file_info(self, path):
            raise OSError("AWS Error ACCESS_DENIED during HeadObject operation.")

    with monkeypatch.context() as patched:
        patched.setattr("vaeudf.catalog.pictures.filesystem", lambda uri: (Refuses(), uri))
        picture = found.picture(0)
    assert isinstance(picture, ImageFailure)
    assert picture.reason == "unavailable"
    assert picture.message.startswith(f"{source.path}/")
    assert picture.message.endswith(
        " could not be read: AWS Error ACCESS_DENIED during HeadObject operation."
    )
    assert found.picture(0) == shop.images[ids[0].as_py()]


def test_reading_pictures_writes_nothing(shop, tmp_path):
    source = folder_catalog(shop, tmp_path / "photos")
    before = tree(tmp_path)
    found = catalog_pictures(source, ids_of(shop))
    assert all(isinstance(found.picture(row), bytes) for row in range(len(shop.images)))
    assert tree(tmp_path) == before
    assert pc.count(ids_of(shop)).as_py() == len(before)
