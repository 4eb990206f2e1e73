"""Reading images from where a listing says that they are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import NUM_ITEMS
from vaeudf.catalog import CatalogSource, has_hashed_versions, list_items, read_catalog
from vaeudf.image_reader import ImageReader
from vaeudf.images import MAX_BYTES, ImageFailure

ODD_FOLDER = "new [2026] é%20 {a,b} #+"


@pytest.mark.spark
@pytest.mark.parametrize("fixture", ["parquet_catalog", "image_folder"])
def test_a_listing_leads_to_every_image(spark, request, fixture):
    source = CatalogSource(request.getfixturevalue(fixture))
    whole = {row.item_id: row for row in read_catalog(spark, source).collect()}
    rows = list_items(spark, source).collect()
    assert len(rows) == len(whole) == NUM_ITEMS
    reader = ImageReader("image")
    for row in rows:
        found = reader.read(row.image_file, row.image_row, row.image_length)
        assert found == bytes(whole[row.item_id].image)
        assert row.source_version == whole[row.item_id].source_version
    payload = [name for name in whole[rows[0].item_id].asDict() if not name.startswith("image")]
    others = [name for name in rows[0].asDict() if not name.startswith("image")]
    assert others == payload
    hashed = has_hashed_versions(spark, source)
    assert hashed == (fixture == "parquet_catalog")
    (first, *_) = list_items(spark, source, versions=False).take(1)
    assert (first.source_version is None) == hashed


@pytest.mark.spark
def test_names_that_need_care(spark, tmp_path):
    folder = tmp_path / ODD_FOLDER
    folder.mkdir()
    for name in ("x y%41.parquet", "ü?+&=.parquet"):
        rows = {
            "item_id": [f"{name} {i}" for i in range(3)],
            "image": [b"%d" % i for i in range(3)],
        }
        pq.write_table(pa.table(rows), folder / name)
    reader = ImageReader("image")
    rows = list_items(spark, CatalogSource(str(folder))).collect()
    found = {r.item_id: reader.read(r.image_file, r.image_row, r.image_length) for r in rows}
    assert len(found) == 6
    assert all(image == item_id[-1].encode() for item_id, image in found.items())


def test_rows_in_any_order(tmp_path):
    path = str(tmp_path / "a.parquet")
    images = [None if i % 7 == 3 else b"%d" % i for i in range(1000)]
    photos = [None if i % 11 == 5 else {"bytes": image} for i, image in enumerate(images)]
    table = pa.table({"image": images, "photo": photos})
    pq.write_table(table, path, row_group_size=130)
    rng = np.random.default_rng(0)
    orders = [np.arange(1000), np.arange(1000)[::-1], rng.permutation(1000), [999, 999, 0, 130]]
    for order in orders:
        plain, field = ImageReader("image"), ImageReader("photo.bytes")
        for row in order:
            assert plain.read(path, int(row), None) == images[row]
            expected = None if row % 11 == 5 else images[row]
            assert field.read(path, float(row), float("nan")) == expected


def test_what_cannot_be_read_says_so(tmp_path):
    reader = ImageReader("image")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [b"x"]}), path)

    def failure(*arguments) -> ImageFailure:
        found = reader.read(*arguments)
        assert isinstance(found, ImageFailure)
        return found

    assert reader.read(str(path), 0, None) == b"x"
    gone = failure(str(path), 1, None)
    assert gone.reason == "unavailable"
    assert gone.message == f"{path} could not be read: it has no row 1 any more, but 1 rows."
    # And the reader goes on.
    assert reader.read(str(path), 0, None) == b"x"
    assert failure(str(tmp_path / "none.png"), None, 3).reason == "unavailable"
    (tmp_path / "half.parquet").write_bytes(path.read_bytes()[:-5])
    assert failure(str(tmp_path / "half.parquet"), 0, None).reason == "unavailable"
    large = failure(str(path), None, MAX_BYTES + 1)
    assert large.reason == "too_large"
    assert large.message == f"the file has {MAX_BYTES + 1} bytes; at most {MAX_BYTES} are read."
    pq.write_table(pa.table({"other": [b"x"]}), tmp_path / "other.parquet")
    assert reader.read(str(tmp_path / "other.parquet"), 0, None) is None
