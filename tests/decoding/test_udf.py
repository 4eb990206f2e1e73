"""The UDF against the decoder called directly."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pyspark.errors import PythonException
from pyspark.sql import functions as F

import vaeudf
from tests.support.scene import LATENT_DIM
from tests.support.tolerances import assert_same_levels, assert_sampled
from vaeudf.decoding.udf import (
    decode,
    decode_rows,
    decode_to_files,
    samples_of,
    tasks_for,
    with_samples,
)
from vaeudf.errors import BundleError, InputError
from vaeudf.model.bundle import Bundle, NetworkFiles, load_bundle, load_decoder
from vaeudf.model.devices import Hardware, load_batch_decoder
from vaeudf.model.manifest import DECODER, MANIFEST

pytestmark = pytest.mark.spark

COUNT = 50
Z = np.random.default_rng(3).normal(size=(COUNT, LATENT_DIM)) * 2


def pixels(data: bytes) -> np.ndarray:
    assert data[:4] == b"\x89PNG"
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture(scope="module")
def latents(spark):
    rows = [(f"q{i}", row.tolist(), i) for i, row in enumerate(Z)]
    return spark.createDataFrame(rows, "query_id string, z array<double>, place int")


def found(frame) -> np.ndarray:
    rows = {row.query_id: bytes(row.image) for row in frame.collect()}
    assert len(rows) == COUNT
    return np.stack([pixels(rows[f"q{i}"]) for i in range(COUNT)])


def test_equals_the_decoder(latents, bundle):
    """Of one batch, bit for bit."""
    decoded = decode(latents.coalesce(1), bundle)
    assert decoded.columns == ["query_id", "z", "place", "image"]
    assert (found(decoded) == bundle.decode(Z)).all()
    assert vaeudf.decode is decode


@pytest.mark.parametrize("batch", [1, 7, 128])
def test_batches_do_not_matter(bundle, monkeypatch, batch):
    """A batch of another size sums in another order: 1e-7, which may turn x.5 the other way."""
    expected = bundle.decode(Z)
    monkeypatch.setattr("vaeudf.images.spec._BATCH_SIZE", batch)
    parts = list(decode_rows(Z.tolist(), load_decoder(bundle.decoder_files)))
    assert [len(part) for part in parts] == [len(p) for p in np.split(Z, range(batch, 50, batch))]
    assert_same_levels(np.concatenate(parts), expected)


def test_partitions_do_not_matter(latents, bundle):
    """Nor do empty ones; up to a level, as above."""
    there = found(decode(latents.repartition(9).union(latents.limit(0)), bundle))
    assert_same_levels(there, bundle.decode(Z))


def test_small_arrow_batches(spark, latents, bundle):
    key = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(key)
    spark.conf.set(key, "7")
    try:
        assert_same_levels(found(decode(latents, bundle)), bundle.decode(Z))
    finally:
        spark.conf.set(key, before)


def test_another_column_and_kind_of_number(latents, bundle):
    names = ("mu", "odd.name `here`")
    for name, kind in zip(names, ("array<float>", "array<decimal(20,10)>"), strict=True):
        frame = latents.withColumn(name, F.col("z").cast(kind)).drop("z")
        assert_same_levels(found(decode(frame, bundle, name)), bundle.decode(Z))
    assert decode(latents.limit(0), bundle).count() == 0


def test_bad_frames(spark, latents, bundle):
    def refused(message, frame, column="z"):
        with pytest.raises(InputError, match=re.escape(message)):
            decode(frame, bundle, column)

    refused("the latents have no column 'mu'; they have query_id, z, place.", latents, "mu")
    refused("column 'place' of the latents is int; expected arrays of numbers.", latents, "place")
    refused("have a column image already, which decode adds", latents.withColumn("Image", F.lit(1)))
    with pytest.raises(InputError, match="device is 'tpu'; expected one of auto, cpu, cuda"):
        decode(latents, bundle, hardware=Hardware("tpu"))  # type: ignore[arg-type]
    decoder = load_decoder(bundle.decoder_files)
    for value, message in (
        ([0.0] * 3, "a row has 3 dimensions, but the model has latent_dim 4."),
        (None, "a row has no z, but the model has latent_dim 4."),
        ([0.0, 1.0, float("nan"), 2.0], "a row has nan in dimension 2; expected numbers that are"),
        ([0.0, 1.0, 2.0, 1e39], "a row has 1e+39 in dimension 3; expected numbers that are finite"),
        ([0.0, 1.0, 2.0, None], "a row has nan in dimension 3"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            list(decode_rows([[0.0] * 4, value], decoder))
        named = message.replace("a row", "query_id 'b'")
        with pytest.raises(InputError, match=re.escape(named)):
            list(decode_rows([[0.0] * 4, value], decoder, ["a", "b"]))
    frame = spark.createDataFrame([([0.0] * 3,)], "z array<double>")
    with pytest.raises(PythonException, match="InputError: a row has 3 dimensions, but the model"):
        decode(frame, bundle).collect()


NAMES = ["../x", "a/b", "A", "a", "", "é 衣", "x" * 300, "..", "con", "index.parquet"]


def test_files(spark, bundle, tmp_path):
    z = Z[: len(NAMES)]
    rows = [(name, row.tolist()) for name, row in zip(NAMES, z, strict=True)]
    frame = spark.createDataFrame(rows, "query_id string, z array<double>").repartition(3)
    folder = tmp_path / "out [1] é"
    files = {row.query_id: row for row in decode_to_files(frame, bundle, str(folder)).collect()}
    assert set(files) == set(NAMES)
    expected = bundle.decode(z)
    for name, row, picture in zip(NAMES, z, expected, strict=True):
        assert files[name].z == row.tolist()
        path = folder / files[name].file
        assert path.resolve().parent == (folder / "images").resolve()
        assert_same_levels(pixels(path.read_bytes()), picture)
    assert len({row.file.lower() for row in files.values()}) == len(NAMES)
    assert files["a"].file == "images/a.png"
    assert len(list((folder / "images").iterdir())) == len(NAMES), "no drafts are left"


def test_a_worker_needs_the_bytes_alone(spark, latents, bundle, bundle_path, tmp_path):
    import shutil

    path = tmp_path / "model"
    shutil.copytree(bundle_path, path)
    loaded = load_bundle(path)
    shutil.rmtree(path)
    assert (found(decode(latents.coalesce(1), loaded)) == bundle.decode(Z)).all()


def test_a_worker_checks_as_well(bundle, bundle_path):
    manifest, weights, _ = bundle.decoder_files
    assert weights == Path(bundle_path, DECODER).read_bytes()
    assert manifest == Path(bundle_path, MANIFEST).read_bytes()
    with pytest.raises(BundleError, match=r"^decoder.safetensors is not a safetensors file"):
        load_decoder(NetworkFiles(manifest, weights[:100]))
    with pytest.raises(BundleError, match=r"^decoder.safetensors does not fit the architecture"):
        load_decoder(NetworkFiles(manifest, bundle.encoder_files.weights))
    decoder = load_batch_decoder(bundle.decoder_files, Hardware("cpu"), None, 0)
    assert (decoder.decode(Z) == bundle.decode(Z)).all()
    assert not any(p.requires_grad for p in decoder.network.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")
def test_a_gpu_gives_the_same_pictures(bundle):
    decoder = load_batch_decoder(bundle.decoder_files, Hardware("cuda"), None, 0)
    assert_same_levels(decoder.decode(Z), bundle.decode(Z))


def test_a_model_without_a_decoder(latents, bundle):
    from dataclasses import replace

    from vaeudf.model.foreign import NoDecoder

    blind: Bundle = replace(bundle, decoder=NoDecoder())
    with pytest.raises(BundleError, match="the model has no decoder, so nothing can be decoded"):
        decode(latents, blind)


def test_draws_are_what_they_say():
    mu, log_var = np.array([1.0, -5.0]), np.array([0.0, -4.0])
    many = samples_of("a", mu, log_var, 20_000, 1)
    sigma = np.exp(log_var / 2)
    assert_sampled(many.mean(axis=0), mu, standard_error=sigma / 20_000**0.5)
    assert_sampled(many.std(axis=0), sigma, standard_error=sigma / (2 * 20_000) ** 0.5)
    assert (samples_of("a", mu, log_var, 3, 1) == many[:3]).all()
    assert (samples_of("b", mu, log_var, 3, 1) != many[:3]).all()
    assert (samples_of("a", mu, log_var, 3, 2) != many[:3]).all()


def test_samples_on_spark_are_the_same(spark):
    rows = [(f"g{i}", [float(i), 0.0], [-2.0, 1.0]) for i in range(5)]
    frame = spark.createDataFrame(rows, "query_id string, z array<double>, log_var array<double>")
    sampled = with_samples(frame.repartition(3), 2, seed=7).collect()
    assert len(sampled) == 15
    z = {row.query_id: row.z for row in sampled}
    for name, mu, log_var in rows:
        assert z[name] == mu
        expected = samples_of(name, mu, log_var, 2, 7).tolist()
        assert [z[f"{name}-sample-{k}"] for k in (1, 2)] == expected


def test_tasks(bundle):
    assert tasks_for(1, bundle, 8) == 1
    assert tasks_for(0, bundle, 8) == 1
    assert tasks_for(5_000, bundle, 2) == 6
    assert tasks_for(10**9, bundle, 100) == -(-(10**9) * 768 // (128 * 2**20))
