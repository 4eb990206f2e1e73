"""The UDF against the encoder called directly."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from pyspark.errors import PythonException

import vaeudf
from tests.support.cases import each_value_once, further_cases_slow
from tests.support.scene import LATENT_DIM, NUM_ITEMS, make_bundle
from tests.support.tolerances import assert_same_float32, terms_of
from vaeudf.catalog.source import CatalogSource, has_hashed_versions, list_items
from vaeudf.encoding.udf import chunks_for, encode, encode_batches, encode_chunks
from vaeudf.errors import InputError
from vaeudf.images.decode import ImageFailure, decode_image
from vaeudf.model.devices import BatchEncoder, Hardware
from vaeudf.model.pixels import PixelScaler

pytestmark = pytest.mark.spark


def directly(bundle, images: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """One image at a time through the torch module that a user gets."""
    results = []
    for data in images:
        spec = bundle.manifest.image
        pixels = PixelScaler(spec).scale_array(decode_image(data, spec)[None])
        with torch.no_grad():
            results.append([out[0].numpy() for out in bundle.encoder(pixels)])
    mu, log_var = zip(*results, strict=True)
    return np.stack(mu), np.stack(log_var)


def same(rows, mu, log_var, bundle) -> None:
    terms = terms_of(bundle.encoder)
    assert_same_float32([row.mu for row in rows], mu, terms=terms)
    assert_same_float32([row.log_var for row in rows], log_var, terms=terms)


def check(frame, bundle, garments) -> None:
    rows = {row.item_id: row for row in frame.collect()}
    assert len(rows) == NUM_ITEMS
    mu, log_var = directly(bundle, garments["image"].to_pylist())
    for item in garments["item_id"].to_pylist():
        assert rows[item].reason is None and rows[item].message is None
    found = [rows[item] for item in garments["item_id"].to_pylist()]
    same(found, mu, log_var, bundle)


@pytest.mark.parametrize("partitions", further_cases_slow([1, 3, 50], [3]))
def test_equals_the_encoder_whatever_the_partitions(
    spark, bundle, parquet_catalog, garments, partitions
):
    catalog = spark.read.parquet(parquet_catalog).repartition(partitions)
    check(encode(catalog, bundle), bundle, garments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")
def test_a_gpu_that_is_not_there_is_an_error_at_every_attempt(spark, bundle, parquet_catalog):
    catalog = spark.read.parquet(parquet_catalog)
    with pytest.raises(PythonException, match=r"DeviceError: --device cuda, but torch \S+ sees no"):
        encode(catalog, bundle, hardware=Hardware("cuda")).collect()


def test_posteriors_differ_from_item_to_item(bundle, garments):
    mu, log_var = directly(bundle, garments["image"].to_pylist())
    assert mu.std(axis=0).min() > 0.01 and log_var.std(axis=0).min() > 0.01


@each_value_once(("count", [0, 1, 3, 40]), ("ahead", [False, True]), ("threads", [0, 1, 3]))
def test_batches_of_the_network(bundle, garments, monkeypatch, threads, ahead, count):
    monkeypatch.setattr("vaeudf.images.spec._BATCH_SIZE", 3)
    images = [*garments["image"].to_pylist(), None, ImageFailure("unavailable", "gone.")]
    images = images[-count:] if count else []
    encoder = BatchEncoder(bundle.encoder, torch.device("cpu"))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        given = pool if threads else None
        frames = list(encode_batches(iter(images), encoder, given, ahead=ahead))
    assert [len(frame) for frame in frames] == [3] * (count // 3) + [count % 3] * (count % 3 > 0)
    if not count:
        return
    found = pd.concat(frames, ignore_index=True)
    good = [image for image in images if isinstance(image, bytes)]
    assert found["reason"].tolist() == [None] * len(good) + ["empty", "unavailable"][-count:]
    if good:
        mu, log_var = directly(bundle, good)
        same(list(found[: len(good)].itertuples()), mu, log_var, bundle)


def test_the_next_batch_is_decoded_while_the_encoder_is_at_one(bundle, garments, monkeypatch):
    monkeypatch.setattr("vaeudf.images.spec._BATCH_SIZE", 4)
    events = []

    def images():
        for i, data in enumerate(garments["image"].to_pylist()[:12]):
            events.append(f"read {i // 4}")
            yield data

    class Slow(BatchEncoder):
        def start(self, pixels):
            batch = len([event for event in events if event.startswith("start")])
            events.append(f"start {batch}")
            wait = super().start(pixels)
            return lambda: (events.append(f"wait {batch}"), wait())[1]

    encoder = Slow(bundle.encoder, torch.device("cpu"))
    with ThreadPoolExecutor(2) as pool:
        assert len(list(encode_batches(images(), encoder, pool, ahead=True))) == 3
    assert list(dict.fromkeys(events)) == [
        *("read 0", "read 1", "start 0", "read 2", "start 1", "wait 0", "start 2", "wait 1"),
        "wait 2",
    ]


def test_small_arrow_batches(spark, bundle, parquet_catalog, garments):
    key = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(key)
    spark.conf.set(key, "7")
    try:
        catalog = spark.read.parquet(parquet_catalog).coalesce(1)
        check(encode(catalog, bundle), bundle, garments)
    finally:
        spark.conf.set(key, before)


def test_public_function_on_any_dataframe(spark, bundle, garments):
    frame = spark.createDataFrame(garments.to_pandas()).withColumnRenamed("image", "photo.jpg")
    encoded = vaeudf.encode(frame, bundle, "photo.jpg")
    assert encoded.columns == [
        *("item_id", "category", "price", "stock", "mu", "log_var", "reason", "message"),
    ]
    check(encoded, bundle, garments)


def test_without_rows(spark, bundle):
    frame = spark.createDataFrame([], "item_id string, image binary")
    assert encode(frame, bundle).count() == 0


def test_what_cannot_be_encoded_says_why(spark, bundle, garments):
    good = garments["image"][0].as_py()
    images = {"good": good, "none": None, "zero": b"", "text": b"hello", "half": good[:100]}
    frame = spark.createDataFrame(list(images.items()), "item_id string, image binary")
    rows = {row.item_id: row for row in encode(frame, bundle).collect()}
    reasons = {item: row.reason for item, row in rows.items()}
    assert reasons == {
        "good": None,
        "none": "empty",
        "zero": "empty",
        "text": "unsupported_format",
        "half": "truncated",
    }
    for item, row in rows.items():
        assert (row.mu is None) == (row.log_var is None) == (item != "good")
        assert (row.message is None) == (item == "good")


def chunks(items, bundle, hashed, folder):
    """What the tasks leave."""
    encode_chunks(items, bundle, "image", hashed=hashed, num_chunks=3, folder=str(folder))
    return items.sparkSession.read.parquet(str(folder)).collect()


@pytest.mark.parametrize(
    "fixture", further_cases_slow(["parquet_catalog", "image_folder"], ["image_folder"])
)
def test_items_are_encoded_from_where_their_images_are(spark, request, bundle, tmp_path, fixture):
    source = CatalogSource(request.getfixturevalue(fixture))
    hashed = has_hashed_versions(spark, source)
    catalog = spark.read.parquet(request.getfixturevalue("parquet_catalog"))
    expected = {r.item_id: r for r in encode(catalog, bundle).collect()}
    known = {r.item_id: r.source_version for r in list_items(spark, source).collect()}
    for versions in (True, False):
        listing = list_items(spark, source, versions=versions)
        rows = chunks(listing, bundle, hashed, tmp_path / f"{versions}")
        assert len(rows) == len(expected) == NUM_ITEMS
        for row in rows:
            assert row.source_version == known[row.item_id]
            assert row.reason is None
        names = [row.item_id.split("/")[-1].removesuffix(" é.png") for row in rows]
        right = [expected[name] for name in names]
        same(rows, [item.mu for item in right], [item.log_var for item in right], bundle)


@pytest.mark.slow
def test_items_whose_image_cannot_be_had(spark, bundle, tmp_path, garments):
    (tmp_path / "good.png").write_bytes(garments["image"][0].as_py())
    rows = [
        ("good", "v1", f"{tmp_path}/good.png", None, 10, 0.0),
        ("gone", "v2", f"{tmp_path}/gone.png", None, 10, 0.0),
        ("big", "v3", f"{tmp_path}/good.png", None, 2**40, 0.0),
    ]
    kinds = "item_id string, source_version string, image_file string, image_row long"
    frame = spark.createDataFrame(
        rows, f"{kinds}, image_length long, image_modified double"
    ).coalesce(1)
    found = {row.item_id: row for row in chunks(frame, bundle, False, tmp_path / "a")}
    assert {name: row.reason for name, row in found.items()} == {
        "good": None,
        "gone": "unavailable",
        "big": "too_large",
    }
    assert found["gone"].source_version == "v2" and "gone.png could not be read" in found["gone"][5]
    hashed = {row.item_id: row for row in chunks(frame, bundle, True, tmp_path / "b")}
    assert hashed["gone"].source_version == "v2"
    assert len(hashed["good"].source_version) == 16


def test_chunks_share_the_work():
    assert [chunks_for(n, 0, cores=2) for n in (1, 64, 65, 400, 6000, 10_000_000)] == [
        *(1, 1, 2, 6, 6, 9766),  # and a multiple of the cores
    ]
    assert chunks_for(100, 2**34, cores=2) == 128
    assert chunks_for(6400, 0, cores=2, batch_size=8) == 100  # large pictures
    assert [chunks_for(25_000, 0, cores=cores) for cores in (1, 2, 3, 8, 100)] == [
        25,
        26,
        27,
        32,
        300,
    ]


def test_posteriors_that_are_not_finite(bundle, garments, tmp_path):
    sick = make_bundle(tmp_path / "sick", LATENT_DIM, seed=0).encoder
    with torch.no_grad():
        sick.network.head.bias[0] = torch.inf
    encoder = BatchEncoder(sick, torch.device("cpu"))
    (frame,) = encode_batches(iter([garments["image"][0].as_py(), None]), encoder)
    assert frame["reason"].tolist() == ["non_finite", "empty"]
    assert frame["mu"].isna().all() and frame["log_var"].isna().all()


def test_missing_column(spark, bundle):
    frame = spark.createDataFrame([("a",)], "item_id string")
    with pytest.raises(InputError, match=re.escape("no column 'image'; it has item_id")):
        encode(frame, bundle)


@pytest.mark.slow
def test_two_models_in_one_worker(spark, bundle, tmp_path, garments, parquet_catalog):
    """A worker that is used again must not go on with the model it had before."""
    other = make_bundle(tmp_path / "other", LATENT_DIM, seed=1)
    catalog = spark.read.parquet(parquet_catalog).coalesce(1)
    for model in (bundle, other, bundle):
        check(encode(catalog, model), model, garments)


def test_columns_that_are_there_already(spark, bundle):
    frame = spark.createDataFrame([("a", b"x", 1.0)], "item_id string, image binary, MU double")
    with pytest.raises(InputError, match="has the columns mu already"):
        encode(frame, bundle)


def test_odd_column_names(spark, bundle):
    names = ["a`b", "posterior", "a.b", "image_length"]
    columns = ", ".join(f"`{name.replace('`', '``')}` int" for name in names)
    frame = spark.createDataFrame([(b"x", 1, 2, 3, 4)], f"image binary, {columns}")
    (row,) = encode(frame, bundle).collect()
    assert [row[name] for name in names] == [1, 2, 3, 4]
    assert row.reason == "unsupported_format"
