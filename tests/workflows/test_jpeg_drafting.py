"""JPEGs decoded at the size that is needed, from the flag to the posteriors."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.support.exports import trained, weights_of
from tests.support.files import encoded
from tests.support.tolerances import assert_stated, near_stated
from vaeudf.errors import InputError
from vaeudf.images.decode import decode_image
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle
from vaeudf.model.export.draft_effect import measure_draft
from vaeudf.model.export.probe import Probe
from vaeudf.workflows import train_vae as training
from vaeudf.workflows.cli import parse
from vaeudf.workflows.export_model import ExportModel, export_model
from vaeudf.workflows.jpeg_drafting import choose_draft
from vaeudf.workflows.train_vae import TrainVae, train_vae

COUNT = 24
DRAFTED = ImageSpec(16, 16, jpeg_draft=True)


def photos() -> list[bytes]:
    """JPEGs of 130 × 97 pixels with cells of random colours; the last one is a PNG."""
    cells = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8)
    pictures = [Image.fromarray(one).resize((130, 97), Image.Resampling.BICUBIC) for one in cells]
    return [encoded(one, "JPEG", quality=90) for one in pictures[1:]] + [encoded(pictures[0])]


def catalog(folder: Path, images: list[bytes]) -> str:
    ids = [f"{i:02d}" for i in range(len(images))]
    pq.write_table(pa.table({"item_id": ids, "image": images}), folder / "c.parquet")
    return str(folder / "c.parquet")


def decoded(images: list[bytes], spec: ImageSpec) -> np.ndarray:
    return np.stack([decode_image(image, spec) for image in images])


# ---- training


@pytest.mark.parametrize(
    ("said", "is_drafted"),
    [
        ({}, True),
        ({"jpeg_draft": "on"}, True),
        ({"jpeg_draft": "off"}, False),
        ({"jpeg_draft": False}, False),
        ({"resize": "Resize((64, 64))"}, True),
        ({"resize": "CenterCrop(300), Resize((64, 64))"}, False),
        ({"interpolation": "nearest"}, False),
        ({"interpolation": "nearest", "jpeg_draft": True}, True),
        ({"interpolation": "bilinear", "antialias": False}, False),
    ],
)
def test_what_training_asks_of_the_decoder(said, is_drafted):
    assert TrainVae("c", "m", **said).spec.jpeg_draft == is_drafted


def test_a_crop_of_the_whole_picture_has_no_draft():
    message = (
        "ImageSpec.jpeg_draft is True; expected False, because the steps of resize begin with a "
        "crop of the whole picture."
    )
    with pytest.raises(InputError, match=re.escape(message)):
        TrainVae("c", "m", resize="CenterCrop(300), Resize((64, 64))", jpeg_draft="on")


@pytest.mark.slow
@pytest.mark.spark
def test_training_sees_what_the_bundle_says(spark, tmp_path, monkeypatch):
    images = photos()
    seen = []
    original = training.train

    def train(pixels, spec, *rest, **others):
        seen.append((pixels, spec))
        return original(pixels, spec, *rest, **others)

    monkeypatch.setattr(training, "train", train)
    small = {"image_size": 16, "latent_dim": 2, "epochs": 1, "batch_size": 8, "base_channels": 4}
    train_vae(TrainVae(catalog(tmp_path, images), str(tmp_path / "m"), **small))
    kept = load_bundle(tmp_path / "m").manifest.image
    ((pixels, spec),) = seen
    assert kept == spec == DRAFTED
    assert (pixels == decoded(images, kept)).all()
    assert (pixels != decoded(images, ImageSpec(16, 16))).any(axis=(1, 2, 3)).sum() == COUNT - 1


# ---- a model from elsewhere


def weights(path: Path, steepness: float) -> str:
    """Weights with which mu changes so many times as fast as usual, and sigma as usual."""
    model = trained("Pair")
    with torch.no_grad():
        model.head.weight *= steepness
    return str(weights_of(model, path))


def export(folder: Path, images: list[bytes], steepness: float = 1, **said) -> ExportModel:
    return ExportModel(
        **{
            "factory": "tests.support.elsewhere:make",
            "arguments": {"kind": "Pair"},
            "weights": weights(folder / "w.safetensors", steepness),
            "trust_model": True,
            "image_size": 16,
            "variance": "log_sigma",
            "catalog": catalog(folder, images),
            "output": str(folder / "m"),
            **said,
        }
    )


def measured(options: ExportModel, images: list[bytes]):
    """The effect, by the pictures decoded here; and a probe of the pictures decoded in full."""
    whole, drafted = (decoded(images, spec) for spec in (ImageSpec(16, 16), DRAFTED))
    posteriors = []
    for pixels in (drafted, whole):
        probe = Probe(options.model)
        probe.use(pixels)
        posteriors.append(probe.trial.posteriors("log_sigma"))
    differs = (whole != drafted).any(axis=(1, 2, 3))
    return measure_draft(*posteriors[::-1], differs), probe, drafted


@pytest.mark.parametrize(
    ("steepness", "asked", "is_drafted", "told"),
    [
        (1, "auto", True, "The bundle has them decoded so, because {} is below 0.05; --jpeg-draft "
         "off decodes in full, as in its training."),
        (20, "auto", False, "The bundle has them decoded in full, because {} is not below 0.05; "
         "--jpeg-draft on decodes faster."),
        (1, "on", True, "{} is below 0.05, so that this is recommended."),
        (20, "on", True, "stay."),
    ],
)  # fmt: skip
def test_what_is_measured_decides(tmp_path, caplog, steepness, asked, is_drafted, told):
    images = photos()
    effect, probe, drafted = measured(export(tmp_path, images, steepness), images)
    assert effect.is_small == (steepness == 1) == (effect.mu[1] < 0.05)
    with caplog.at_level(logging.INFO, logger="vaeudf"):
        choose_draft(probe, drafted, asked)
    assert probe.source.image.jpeg_draft == is_drafted
    assert (probe.trial.pixels == drafted).all() == is_drafted

    line, *warned = caplog.messages
    start = f"{COUNT - 1} of {COUNT} pictures are JPEGs of at least four times the model's size. "
    assert line.startswith(start)
    shown = re.search(
        r"mu moves by (\S+) sigma \(median\) and (\S+) \(99 %\), log_var by (\S+) and (\S+)\. "
        r"Of the 10 hits of each picture's mu, (\S+) stay\.",
        line,
    ).groups()
    for text, exact in zip(shown, (*effect.mu, *effect.log_var), strict=False):
        assert float(text) == near_stated(exact, digits=2)
    assert shown[4] == f"{effect.kept:.2f}"
    assert line.endswith(told.format(shown[1]))
    expected = (
        f"warning: with --jpeg-draft on, mu moves by {shown[1]} sigma at 99 %; expected less than "
        "0.05. Was the model trained on pictures decoded so? Else say --jpeg-draft off."
    )
    assert warned == ([expected] if asked == "on" and steepness == 20 else [])


@pytest.mark.spark
def test_an_export_measures_on_its_catalog(spark, tmp_path, caplog):
    images = photos()
    options = export(tmp_path, images)
    with caplog.at_level(logging.INFO, logger="vaeudf"):
        summary = export_model(options)
    kept = load_bundle(tmp_path / "m", trust_model=True).manifest
    assert summary["jpeg_draft"] is True and kept.image == DRAFTED
    effect, probe, drafted = measured(options, images)
    (line,) = [one for one in caplog.messages if "are JPEGs of at least four times" in one]
    assert f" {effect.mu[0]:.2g} sigma (median) and {effect.mu[1]:.2g} (99 %)" in line
    # What else the bundle says is measured on the pictures that it gets.
    probe.use(drafted)
    ends = np.quantile(probe.trial.posteriors("log_sigma")[0], [0.005, 0.995], axis=0)
    assert_stated(kept.z_range, ends, decimals=3)


@pytest.mark.spark
@pytest.mark.slow
def test_off_measures_nothing(spark, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="vaeudf"):
        assert not export_model(export(tmp_path, photos(), jpeg_draft="off"))["jpeg_draft"]
    assert not any("four times" in one for one in caplog.messages)
    assert load_bundle(tmp_path / "m", trust_model=True).manifest.image == ImageSpec(16, 16)


def test_without_a_catalog_only_what_is_said(tmp_path):
    for asked, is_drafted in (("auto", False), ("on", True)):
        said = {"catalog": None, "jpeg_draft": asked, "overwrite": True}
        assert export_model(export(tmp_path, [b"none"], **said))["jpeg_draft"] == is_drafted
        assert load_bundle(tmp_path / "m", trust_model=True).manifest.image.jpeg_draft == is_drafted


@pytest.mark.parametrize(
    ("words", "asked"),
    [([], "auto"), (["--jpeg-draft", "on"], "on"), (["--jpeg-draft=off"], "off")],
)
def test_the_flag(words, asked):
    assert parse(TrainVae, ["--catalog", "c", "--output", "m", *words]).asked_draft == asked


@pytest.mark.parametrize(("word", "asked"), [("on", "on"), ("off", "off"), ("auto", "auto")])
def test_the_word_in_a_config_file(tmp_path, word, asked):
    file = tmp_path / "c.yaml"
    file.write_text(f"catalog: c\noutput: m\njpeg_draft: {word}\n")
    assert parse(TrainVae, ["--config", str(file)]).asked_draft == asked


def test_another_word():
    with pytest.raises(InputError, match=r"--jpeg-draft is 'fast'; expected auto or on or off or"):
        parse(TrainVae, ["--catalog", "c", "--output", "m", "--jpeg-draft", "fast"])
