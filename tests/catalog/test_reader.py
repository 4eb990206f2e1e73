"""Reading images from where a listing says that they are."""

from __future__ import annotations

import gc
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.scene import NUM_ITEMS
from vaeudf.catalog.reader import ImageReader
from vaeudf.catalog.source import CatalogSource, has_hashed_versions, list_items
from vaeudf.errors import InputError
from vaeudf.images.decode import MAX_BYTES, ImageFailure
from vaeudf.schema import HASH_DIGITS, PLACE

ODD_FOLDER = "new [2026] é%20 {a,b} #+"


@pytest.mark.spark
@pytest.mark.parametrize("fixture", ["parquet_catalog", "image_folder"])
def test_a_listing_leads_to_every_image(spark, request, fixture, garments):
    source = CatalogSource(request.getfixturevalue(fixture))
    images = dict(zip(*(garments[name].to_pylist() for name in ("item_id", "image")), strict=True))
    rows = list_items(spark, source).collect()
    assert len(rows) == len(images) == NUM_ITEMS
    reader = ImageReader("image")
    for row in rows:
        name = row.item_id.split("/")[-1].removesuffix(" é.png")
        assert reader.read(*(row[name] for name in PLACE)) == images[name]
        if fixture == "parquet_catalog":
            assert row.source_version == hashlib.sha256(images[name]).hexdigest()[:HASH_DIGITS]
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
    found = {r.item_id: reader.read(*(r[name] for name in PLACE)) for r in rows}
    assert len(found) == 6
    assert all(image == item_id[-1].encode() for item_id, image in found.items())


def state(path) -> tuple[float, float]:
    """A file's length and time, as a listing gives them."""
    found = Path(path).stat()
    return found.st_size, found.st_mtime


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
            assert plain.read(path, int(row), *state(path)) == images[row]
            expected = None if row % 11 == 5 else images[row]
            assert field.read(path, float(row), *state(path)) == expected


def test_what_cannot_be_read_says_so(tmp_path):
    reader = ImageReader("image")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [b"x"]}), path)

    def failure(path, row=None, length=None) -> ImageFailure:
        own = state(path) if Path(path).exists() else (3, 0.0)
        found = reader.read(str(path), row, own[0] if length is None else length, own[1])
        assert isinstance(found, ImageFailure)
        return found

    assert reader.read(str(path), 0, *state(path)) == b"x"
    gone = failure(path, 1)
    assert gone.reason == "unavailable"
    assert gone.message == f"{path} could not be read: it has no row 1 any more, but 1 rows."
    # And the reader goes on.
    assert reader.read(str(path), 0, *state(path)) == b"x"
    assert failure(tmp_path / "none.png").reason == "unavailable"
    (tmp_path / "half.parquet").write_bytes(path.read_bytes()[:-5])
    assert failure(tmp_path / "half.parquet", 0).reason == "unavailable"
    large = failure(path, None, MAX_BYTES + 1)
    assert large.reason == "too_large"
    assert large.message == f"the file has {MAX_BYTES + 1} bytes; at most {MAX_BYTES} are read."
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"other": [b"x"]}), other)
    assert reader.read(str(other), 0, *state(other)) is None


def test_a_parquet_file_that_is_another_by_now(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [b"x"]}), path)
    size, time = state(path)
    for listed in ((size + 1, time), (size, time + 1.5), (size, time - 1.5)):
        with pytest.raises(InputError, match=r"changed while it was read: .* is not as it was"):
            ImageReader("image").read(str(path), 0, *listed)
    path.unlink()
    with pytest.raises(InputError, match="changed while it was read"):
        ImageReader("image").read(str(path), 0, size, time)
    # A picture's file is read as it is: the next listing tells that it has changed.
    (tmp_path / "a.png").write_bytes(b"x")
    assert ImageReader("image").read(str(tmp_path / "a.png"), None, 7, 0.0) == b"x"


def test_nothing_is_kept_of_a_file_that_is_done(tmp_path):
    """A page of images, and a file may be one page, is large."""
    paths = [str(tmp_path / f"{number}.parquet") for number in range(2)]
    for path in paths:
        pq.write_table(pa.table({"image": [b"x", b"y"]}), path)
    reader = ImageReader("image")

    def opened() -> int:
        return sum(type(one) is pq.ParquetFile for one in gc.get_objects())

    gc.collect()
    before = opened()
    gc.disable()
    try:
        for path in paths:
            assert reader.read(path, 0, *state(path)) == b"x"
        assert opened() == before + 1
    finally:
        gc.enable()
