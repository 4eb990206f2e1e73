"""Errors of reconstructions against NumPy, and items that have none."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyspark.sql import functions as F

from tests.support.cases import further_cases_slow
from tests.support.scene import NUM_ITEMS, SPEC
from tests.support.tolerances import assert_same_levels, near_squared_error, terms_of
from vaeudf.catalog.source import CatalogSource, list_items
from vaeudf.decoding.reconstruction import reconstruct
from vaeudf.encoding.udf import encode
from vaeudf.images.decode import decode_image

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def posteriors(spark, bundle, garments):
    """(item_id → mu), and a DataFrame of them with a source_version that nobody knows."""
    rows = encode(spark.createDataFrame(garments.select(["item_id", "image"])), bundle).collect()
    return {row.item_id: row.mu for row in rows}


def frame_of(spark, posteriors, versions=None):
    rows = [(name, mu, (versions or {}).get(name)) for name, mu in posteriors.items()]
    return spark.createDataFrame(rows, "item_id string, mu array<float>, source_version string")


def expected(garments, bundle, posteriors):
    """Item → (original, reconstruction, error), one by one."""
    found = {}
    for row in garments.to_pylist():
        original = decode_image(row["image"], SPEC)
        decoded = bundle.decode([posteriors[row["item_id"]]])[0]
        error = float((((original / 255.0) - (decoded / 255.0)) ** 2).mean())
        found[row["item_id"]] = original, decoded, error
    return found


def pixels(data) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(bytes(data))))


@pytest.mark.parametrize("kind", further_cases_slow(["parquet", "folder"], ["parquet"]))
def test_errors_are_those_of_the_pictures(
    request, spark, bundle, garments, posteriors, parquet_catalog, tmp_path, kind
):
    wanted = expected(garments, bundle, posteriors)
    if kind == "parquet":
        source, names = CatalogSource(parquet_catalog), {name: name for name in posteriors}
    else:
        source = CatalogSource(request.getfixturevalue("image_folder"))
        names = {name: f"{name.rsplit('-', 1)[0]}/{name} é.png" for name in posteriors}
    listing = list_items(spark, source, versions=True).select("item_id", "source_version")
    versions = {row.item_id: row.source_version for row in listing.collect()}
    items = {names[name]: mu for name, mu in posteriors.items()}
    first = next(iter(items))
    versions[first] = "another"
    frame = frame_of(spark, items, versions)
    rows = reconstruct(frame, NUM_ITEMS, source, bundle, "bytes").collect()
    assert len(rows) == NUM_ITEMS
    for row in rows:
        own = next(name for name, other in names.items() if other == row.item_id)
        original, decoded, error = wanted[own]
        assert (pixels(row.original) == original).all()
        assert_same_levels(pixels(row.reconstruction), decoded)
        assert row.squared_error == near_squared_error(error, terms=terms_of(bundle.decoder))
        assert (row.reason, row.message) == (None, None)
        assert row.changed == (row.item_id == first)


def test_nothing_is_kept_unless_asked_for(spark, bundle, posteriors, parquet_catalog):
    frame = frame_of(spark, posteriors).drop("source_version")
    found = reconstruct(frame, NUM_ITEMS, CatalogSource(parquet_catalog), bundle)
    assert found.columns == ["item_id", "squared_error", "changed", "reason", "message"]
    row = found.agg(F.count("squared_error"), F.count("changed")).collect()[0]
    assert tuple(row) == (NUM_ITEMS, 0)


def test_items_without_a_picture(spark, bundle, garments, posteriors, tmp_path):
    table = garments.select(["item_id", "image"]).to_pylist()
    table[1]["image"] = b"no picture"
    table[2]["image"] = None
    pq.write_table(pa.Table.from_pylist(table[1:]), tmp_path / "a.parquet")
    source = CatalogSource(str(tmp_path / "a.parquet"))
    out = tmp_path / "out"
    found = reconstruct(frame_of(spark, posteriors), NUM_ITEMS, source, bundle, "files", str(out))
    rows = {row.item_id: row for row in found.collect()}
    names = [row["item_id"] for row in table]
    reasons = [rows[name].reason for name in names]
    assert reasons[:4] == ["missing", "unsupported_format", "empty", None] and not any(reasons[3:])
    for name in names[:3]:
        assert rows[name].squared_error is None and rows[name].original is None
        assert rows[name].message.endswith(".")
    for name in names:
        assert rows[name].reconstruction == f"images/{name}-reconstruction.png"
    files = sorted(path.name for path in (out / "images").iterdir())
    assert len(files) == 2 * NUM_ITEMS - 3
    original = pixels((out / rows[names[5]].original).read_bytes())
    assert (original == expected(garments, bundle, posteriors)[names[5]][0]).all()
    shutil.rmtree(out)
