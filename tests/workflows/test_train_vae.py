from __future__ import annotations

import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import NUM_ITEMS, tree
from vaeudf.bundle import load_bundle
from vaeudf.catalog import CatalogSource, read_catalog
from vaeudf.errors import InputError
from vaeudf.image_spec import ImageSpec
from vaeudf.images import decode_image
from vaeudf.pixels import collect_pixels
from vaeudf.workflows.train_vae import TrainVae, train_vae

pytestmark = pytest.mark.spark

SMALL = {"image_size": 16, "latent_dim": 2, "epochs": 2, "batch_size": 8, "base_channels": 4}


def test_writes_a_bundle(spark, image_folder, tmp_path):
    output = str(tmp_path / "models" / "first")
    summary = train_vae(TrainVae(image_folder, output, channels=1, **SMALL))
    assert (summary["images"], summary["unreadable"]) == (NUM_ITEMS, 0)
    bundle = load_bundle(output)
    assert bundle.model_id == summary["model_id"]
    assert bundle.manifest.image == ImageSpec(16, 16, channels=1)
    mu, log_var = bundle.encoder.encode(np.zeros((3, 16, 16, 1), np.uint8))
    assert mu.shape == log_var.shape == (3, 2)
    assert bundle.decode(mu).shape == (3, 16, 16, 1)
    held_out = summary["held_out"]
    assert held_out["elbo"] == pytest.approx(-held_out["reconstruction"] - held_out["kl"], abs=1e-3)


def test_same_seed_same_model(spark, parquet_catalog, tmp_path):
    ids = [
        train_vae(TrainVae(parquet_catalog, str(tmp_path / name), seed=seed, **SMALL))["model_id"]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert ids[0] == ids[1] != ids[2]


def test_overwrite(spark, parquet_catalog, tmp_path):
    output = str(tmp_path / "m")
    train_vae(TrainVae(parquet_catalog, output, **SMALL))
    before = tree(output)
    with pytest.raises(InputError, match="exists already"):
        train_vae(TrainVae(parquet_catalog, output, seed=1, **SMALL))
    assert tree(output) == before
    train_vae(TrainVae(parquet_catalog, output, seed=1, overwrite=True, **SMALL))
    assert load_bundle(output).manifest.training["plan"]["seed"] == 1


def test_pixels_in_the_order_of_ids(spark, parquet_catalog, garments):
    catalog = read_catalog(spark, CatalogSource(parquet_catalog)).repartition(7)
    pixels, failed = collect_pixels(catalog, ImageSpec(16, 16), 1000, 0)
    by_id = sorted(garments.to_pylist(), key=lambda row: row["item_id"])
    expected = np.stack([decode_image(row["image"], ImageSpec(16, 16)) for row in by_id])
    assert failed == 0
    np.testing.assert_array_equal(pixels, expected)


def test_a_sample_that_depends_on_the_seed_alone(spark, parquet_catalog):
    catalog = read_catalog(spark, CatalogSource(parquet_catalog))

    def draw(frame, seed: int) -> np.ndarray:
        return collect_pixels(frame, ImageSpec(16, 16), 9, seed)[0]

    first = draw(catalog, 0)
    assert len(first) == 9
    np.testing.assert_array_equal(first, draw(catalog.repartition(5), 0))
    assert not np.array_equal(first, draw(catalog, 1))


def test_unreadable_images_are_left_out_and_counted(spark, garments):
    rows = [("a", garments["image"][0].as_py()), ("b", b"x"), ("c", None)]
    frame = spark.createDataFrame(rows, "item_id string, image binary")
    pixels, failed = collect_pixels(frame, ImageSpec(16, 16), 10, 0)
    assert (len(pixels), failed) == (1, 2)
    with pytest.raises(InputError, match="none of the 2 images of the catalog could be decoded"):
        collect_pixels(frame.where("item_id != 'a'"), ImageSpec(16, 16), 10, 0)


def test_more_pixels_than_the_driver_holds(spark, parquet_catalog, monkeypatch):
    monkeypatch.setattr("vaeudf.pixels._MAX_BYTES", 16 * 16 * 3 * 20)
    catalog = read_catalog(spark, CatalogSource(parquet_catalog))
    with pytest.raises(InputError, match="Lower --max-images to 20"):
        collect_pixels(catalog, ImageSpec(16, 16), 1000, 0)
    assert len(collect_pixels(catalog, ImageSpec(16, 16), 20, 0)[0]) == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 20}, "image-size is 20; expected a multiple of 16"),
        ({"max_images": 0}, "max-images is 0"),
        ({"channels": 2}, "channels is 2"),
        ({"epochs": 0}, "epochs is 0"),
        ({"beta": -1.0}, "beta is -1.0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        TrainVae("c", "m", **options)


def test_bad_catalogs_write_nothing(spark, parquet_catalog, tmp_path):
    for catalog, message in (
        (str(tmp_path / "none"), "does not exist"),
        (parquet_catalog, "images are too few to train on"),
    ):
        with pytest.raises(InputError, match=message):
            train_vae(TrainVae(catalog, str(tmp_path / "m"), batch_size=64, image_size=16))
    assert list(tmp_path.iterdir()) == []


def test_overwrite_replaces_only_bundles(spark, image_folder, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(image_folder, photos)
    before = tree(photos)
    for output in (photos, photos / "model", tmp_path):
        with pytest.raises(InputError, match="are one, or one is inside the other"):
            train_vae(TrainVae(str(photos), str(output), overwrite=True, **SMALL))
    other = tmp_path / "other"
    shutil.copytree(image_folder, other)
    with pytest.raises(InputError, match=r"has no bundle\.json"):
        train_vae(TrainVae(str(photos), str(other), overwrite=True, **SMALL))
    assert tree(photos) == tree(other) == before


def test_a_catalog_with_columns_named_like_the_tables(spark, garments, tmp_path):
    path = str(tmp_path / "c.parquet")
    pq.write_table(garments.append_column("reason", garments["category"]), path)
    assert train_vae(TrainVae(path, str(tmp_path / "m"), **SMALL))["images"] == NUM_ITEMS
