from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyspark.sql import functions as F

from tests.support.scene import NUM_ITEMS, tree
from tests.support.tolerances import assert_same_training, near_float32, near_stated, terms_of
from vaeudf.catalog.collect import collect_pixels
from vaeudf.catalog.source import CatalogSource, list_items
from vaeudf.errors import InputError
from vaeudf.images.decode import decode_image
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle
from vaeudf.training.checkpoints import Checkpoints
from vaeudf.workflows import train_vae as workflow
from vaeudf.workflows.train_vae import CURVE, RECONSTRUCTIONS, TrainVae, train_vae

pytestmark = pytest.mark.spark

SMALL = {"image_size": 16, "latent_dim": 2, "epochs": 2, "batch_size": 8, "base_channels": 4}


def test_writes_a_bundle(spark, image_folder, tmp_path):
    output = str(tmp_path / "models" / "first")
    summary = train_vae(TrainVae(image_folder, output, channels=1, **SMALL))
    assert (summary["images"], summary["unreadable"]) == (NUM_ITEMS, 0)
    bundle = load_bundle(output)
    assert bundle.model_id == summary["model_id"]
    assert summary["likelihood"] == f"gaussian:{bundle.manifest.likelihood.variance}"
    assert bundle.manifest.image == ImageSpec(16, 16, channels=1, jpeg_draft=True)
    mu, log_var = bundle.encoder.encode(np.zeros((3, 16, 16, 1), np.uint8))
    assert mu.shape == log_var.shape == (3, 2)
    assert bundle.decode(mu).shape == (3, 16, 16, 1)
    held_out = summary["held_out"]
    elbo = -held_out["reconstruction"] - held_out["kl"]
    assert held_out["elbo"] == near_stated(elbo, decimals=6, numbers=3)


@pytest.mark.slow
def test_same_seed_same_model(spark, parquet_catalog, tmp_path):
    ids = [
        train_vae(TrainVae(parquet_catalog, str(tmp_path / name), seed=seed, **SMALL))["model_id"]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.slow
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
    items = list_items(spark, CatalogSource(parquet_catalog), versions=False).repartition(7)
    pixels, failed = collect_pixels(items, "image", ImageSpec(16, 16), 1000, 0)
    by_id = sorted(garments.to_pylist(), key=lambda row: row["item_id"])
    expected = np.stack([decode_image(row["image"], ImageSpec(16, 16)) for row in by_id])
    assert failed == 0
    np.testing.assert_array_equal(pixels, expected)


def test_a_sample_that_depends_on_the_seed_alone(spark, parquet_catalog):
    items = list_items(spark, CatalogSource(parquet_catalog), versions=False)

    def draw(frame, seed: int) -> np.ndarray:
        return collect_pixels(frame, "image", ImageSpec(16, 16), 9, seed)[0]

    first = draw(items, 0)
    assert len(first) == 9
    np.testing.assert_array_equal(first, draw(items.repartition(5), 0))
    assert not np.array_equal(first, draw(items, 1))


def test_only_the_images_of_the_sample_are_read(spark, image_folder, monkeypatch, tmp_path):
    folder = tmp_path / "images"
    shutil.copytree(image_folder, folder)
    items = list_items(spark, CatalogSource(str(folder)), versions=False).cache()
    first = collect_pixels(items, "image", ImageSpec(16, 16), 3, 0)[0]
    chosen = items.orderBy(F.xxhash64(F.col("item_id"), F.lit(0)), "item_id").limit(3).collect()
    for row in items.collect():
        if row.item_id not in {row.item_id for row in chosen}:
            Path(row.image_file).unlink()
    again, failed = collect_pixels(items, "image", ImageSpec(16, 16), 3, 0)
    np.testing.assert_array_equal(first, again)
    assert failed == 0
    items.unpersist()


def test_unreadable_images_are_left_out_and_counted(spark, garments, tmp_path):
    images = [garments["image"][0].as_py(), b"x", None]
    path = str(tmp_path / "c.parquet")
    pq.write_table(pa.table({"item_id": ["a", "b", "c"], "image": images}), path)
    items = list_items(spark, CatalogSource(path), versions=False)
    pixels, failed = collect_pixels(items, "image", ImageSpec(16, 16), 10, 0)
    assert (len(pixels), failed) == (1, 2)
    with pytest.raises(InputError, match="none of the 2 images of the catalog could be decoded"):
        collect_pixels(items.where("item_id != 'a'"), "image", ImageSpec(16, 16), 10, 0)


def test_more_pixels_than_the_driver_holds(spark, parquet_catalog, monkeypatch):
    monkeypatch.setattr("vaeudf.catalog.collect._MAX_BYTES", 16 * 16 * 3 * 20)
    items = list_items(spark, CatalogSource(parquet_catalog), versions=False)
    with pytest.raises(InputError, match="Take at most 20: --max-images, or --sample"):
        collect_pixels(items, "image", ImageSpec(16, 16), 1000, 0)
    assert len(collect_pixels(items, "image", ImageSpec(16, 16), 20, 0)[0]) == 20


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


def test_pictures_and_figures_of_the_training(spark, parquet_catalog, tmp_path, caplog):
    output = tmp_path / "m"
    with caplog.at_level("INFO", logger="vaeudf"):
        summary = train_vae(TrainVae(parquet_catalog, str(output), **SMALL))
    assert summary["epochs"] == 2 and summary["resumed_epochs"] == 0
    lines = [line for line in caplog.messages if line.startswith("epoch")]
    assert len(lines) == 2 and lines[1].startswith("epoch  2: held-out ELBO ")
    for name in (CURVE, RECONSTRUCTIONS):
        with Image.open(output / name) as picture:
            assert picture.format == "PNG" and min(picture.size) > 30
    # Four are held out: 16 × 16, shown eight times as large, two of them in a column.
    with Image.open(output / RECONSTRUCTIONS) as picture:
        assert picture.size == (4 * 132 + 4, 2 * 128 + 14 + 8 + 22)
    assert not (tmp_path / "m.training").exists()
    load_bundle(output)


@pytest.mark.slow
def test_a_killed_job_goes_on(spark, parquet_catalog, tmp_path, monkeypatch):
    expected = train_vae(TrainVae(parquet_catalog, str(tmp_path / "whole"), **SMALL))
    original = workflow.train

    def dies(*arguments, checkpoints, **others):
        def write(data):
            checkpoints.write(data)
            raise KeyboardInterrupt

        return original(*arguments, checkpoints=Checkpoints(checkpoints.read, write), **others)

    options = TrainVae(parquet_catalog, str(tmp_path / "killed"), **SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(workflow, "train", dies)
        with pytest.raises(KeyboardInterrupt):
            train_vae(options)
    assert tree(tmp_path / "killed.training").keys() == {"checkpoint.pt"}
    assert not (tmp_path / "killed").exists()
    found = train_vae(options)
    assert found["resumed_epochs"] == 1 and found["model_id"] == expected["model_id"]
    assert not (tmp_path / "killed.training").exists()


@pytest.mark.slow
def test_two_processes_train_the_same_model(spark, parquet_catalog, tmp_path, capsys):
    alone = train_vae(TrainVae(parquet_catalog, str(tmp_path / "one"), **SMALL))
    together = train_vae(TrainVae(parquet_catalog, str(tmp_path / "two"), num_processes=2, **SMALL))
    assert capsys.readouterr().out == ""
    ours, theirs = (load_bundle(tmp_path / name) for name in ("one", "two"))
    terms = terms_of(ours.encoder, ours.decoder)
    elbo = near_float32(alone["held_out"]["elbo"], terms=terms)
    assert together["held_out"]["elbo"] == elbo
    learning_rate = ours.manifest.training["plan"]["learning_rate"]
    for found, right in ((theirs.encoder, ours.encoder), (theirs.decoder, ours.decoder)):
        assert_same_training(found, right, learning_rate=learning_rate)
    assert not (tmp_path / "two.training").exists()


@pytest.mark.slow
def test_an_error_of_one_of_the_processes(spark, parquet_catalog, tmp_path):
    options = TrainVae(
        parquet_catalog,
        str(tmp_path / "m"),
        num_processes=2,
        **{**SMALL, "batch_size": 64},
    )
    with pytest.raises(InputError, match=r"^40 images are too few to train on; expected at least"):
        train_vae(options)
    assert not (tmp_path / "m").exists()
