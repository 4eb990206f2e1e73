"""The job export_model, and what the other jobs do with its bundles."""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.support import elsewhere, onnx_models
from tests.support.scene import tree
from tests.support.tolerances import (
    FUNCTION,
    assert_rounded_to_levels,
    assert_same_float32,
    assert_sampled,
    assert_stated,
    near_stated,
    terms_of,
)
from vaeudf.errors import BundleError, InputError
from vaeudf.images.decode import decode_image
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle, load_decoder
from vaeudf.model.likelihood import GaussianPixels
from vaeudf.model.manifest import MODEL
from vaeudf.model.pixels import PixelScaler
from vaeudf.table.open import open_table
from vaeudf.workflows.cli import parse
from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.export_model import ExportModel, export_model
from vaeudf.workflows.query_topk import QueryTopk, query_topk

pytestmark = pytest.mark.spark


def told(caplog: pytest.LogCaptureFixture) -> str:
    """The messages; their text may be JSON by then, as loggers of PySpark have it."""
    return "\n".join(caplog.messages)


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A model that states log sigma, its weights, and the file of its code."""
    code = tmp_path / "theirs" / f"models_{tmp_path.name}.py"
    code.parent.mkdir()
    shutil.copy(elsewhere.__file__, code)
    torch.manual_seed(4)
    model = elsewhere.LogSigma().eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "theirs" / "weights.pt")
    monkeypatch.setattr(sys, "path", list(sys.path))
    return model, code


def options(code, tmp_path, **changes):
    return ExportModel(
        **{
            "factory": f"{code.stem}:make",
            "arguments": {"kind": "LogSigma"},
            "weights": str(code.parent / "weights.pt"),
            "py_files": [str(code)],
            "trust_model": True,
            "image_size": 16,
            "output": str(tmp_path / "bundle"),
            **changes,
        }
    )


@pytest.mark.slow
def test_from_a_checkpoint_to_answers(spark, theirs, tmp_path, parquet_catalog, garments, caplog):
    model, code = theirs
    with caplog.at_level(logging.INFO, logger="vaeudf"):
        summary = export_model(
            options(
                code,
                tmp_path,
                variance="log_sigma",
                catalog=parquet_catalog,
                sample=30,
                likelihood="gaussian",
            )
        )
    assert summary["latent_dim"] == 3 and summary["variance"] == "log_sigma"
    assert "*log_sigma " in told(caplog) and " log_var " in told(caplog)
    assert "On 30 pictures. KL is to the prior" in told(caplog)
    likelihood = load_bundle(tmp_path / "bundle", trust_model=True).likelihood
    assert summary["likelihood"] == f"gaussian:{likelihood.variance}"
    assert f"*gaussian {likelihood.variance:>14.4g} " in told(caplog)
    assert "\n bernoulli  " in told(caplog)
    # Of bytes, which are rounded: half a level beside it.
    assert abs(likelihood.variance**0.5 - summary["reconstruction_error"] ** 0.5) < 0.5 / 255
    assert "squared error (MSE, L2) is gaussian, binary cross-entropy (BCE) is bern" in told(caplog)
    assert "a bernoulli needs [0, 1], and whether its last layer is a sigmoid is" in told(caplog)
    assert "of bernoulli are not normalised for grey levels, and not to be comp" in told(caplog)
    assert "not recorded unless" not in told(caplog)

    table = str(tmp_path / "table")
    night = EncodeCatalog(
        catalog=parquet_catalog,
        model=str(tmp_path / "bundle"),
        table=table,
        trust_model=True,
        py_files=[str(code)],
    )
    assert encode_catalog(night)["encoded"] == garments.num_rows
    spec = ImageSpec(16, 16)
    images = garments.sort_by("item_id")["image"].to_pylist()
    pixels = np.stack([decode_image(image, spec) for image in images])
    with torch.no_grad():
        expected = model.encode(PixelScaler(spec).scale_array(pixels))
    rows = pa.concat_tables(pq.read_table(uri) for uri in open_table(table).files)
    rows = rows.sort_by("item_id")
    mu, log_var = (np.stack(rows[name].to_numpy()) for name in ("mu", "log_var"))
    assert_same_float32(mu, expected["mu"], terms=terms_of(model))
    assert_same_float32(log_var, 2 * expected["log_sigma"], terms=terms_of(model))

    question = {"table": table, "z": ["0,0,0"], "report": str(tmp_path / "page"), "k": 3}
    with pytest.raises(BundleError, match="say so: --trust-model"):
        query_topk(QueryTopk(**question))
    query_topk(QueryTopk(**question, trust_model=True, py_files=[str(code)]))
    assert (tmp_path / "page" / "index.html").is_file()


def test_the_reading_is_asked_for(spark, theirs, tmp_path, parquet_catalog, caplog):
    _, code = theirs
    before = tree(tmp_path)
    with (
        caplog.at_level(logging.INFO, logger="vaeudf"),
        pytest.raises(BundleError) as error,
    ):
        export_model(options(code, tmp_path, catalog=parquet_catalog))
    assert str(error.value).startswith("the encoder states its variance in 'log_sigma', whose name")
    lines = [
        line
        for line in "\n".join(caplog.messages).splitlines()
        if line.startswith((" log_", " soft"))
    ]
    assert [line.split()[0] for line in lines] == ["log_var", "log_sigma", "softplus"]
    assert " sigma        impossible: 1" in told(caplog)
    with pytest.raises(BundleError, match=r"no default\. With --catalog, each reading is tried"):
        export_model(options(code, tmp_path))
    assert tree(tmp_path) == {**before, **{k: v for k, v in tree(tmp_path).items() if "pyc" in k}}


def test_the_table_shows_the_right_reading(spark, theirs, tmp_path, parquet_catalog, caplog):
    """Its numbers are those of the model's own posteriors."""
    _, code = theirs
    with caplog.at_level(logging.INFO, logger="vaeudf"):
        export_model(options(code, tmp_path, variance="log_sigma", catalog=parquet_catalog))
    line = next(
        line for line in "\n".join(caplog.messages).splitlines() if line.startswith("*log_sigma")
    )
    kl, aggregate, noise, *sigma = map(float, line.split()[1:])
    bundle = load_bundle(tmp_path / "bundle", trust_model=True)
    rows = pq.read_table(parquet_catalog)["image"].to_pylist()
    pixels = np.stack([decode_image(image, ImageSpec(16, 16)) for image in rows])
    mu, log_var = map(torch.from_numpy, bundle.encoder.encode(pixels))
    posterior = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    prior = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(posterior, prior).sum(dim=1).mean()
    assert kl == near_stated(float(expected), digits=4)
    assert_stated(sigma, posterior.scale.quantile(0.5, dim=0), digits=3)
    total = (posterior.variance.mean(dim=0) + mu.var(dim=0, correction=0)).median()
    assert aggregate == near_stated(float(total), digits=3)
    torch.manual_seed(0)
    clean, noisy = (bundle.decode(z) / 255.0 for z in (mu.numpy(), posterior.sample().numpy()))
    errors = np.mean((clean - noisy) ** 2, axis=(1, 2, 3))
    # Both are of random draws.
    standard_error = 2**0.5 * errors.std() / len(errors) ** 0.5
    assert_sampled(noise, errors.mean(), standard_error=standard_error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trust_model": False}, r"is to run its code, .* say so: --trust-model"),
        ({"weights": "/none.pt"}, r"/none\.pt does not exist; expected a file of weights"),
        ({"py_files": ["/none.py"]}, r"--py-files names /none\.py, which does not exist"),
    ],
)
def test_what_ends_it(theirs, tmp_path, change, message):
    with pytest.raises((BundleError, InputError), match=message):
        export_model(options(theirs[1], tmp_path, variance="log_sigma", **change))
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": None}, "size of the model's pictures is not known; name it with --image-s"),
        ({"image_size": None, "height": 16}, "size of the model's pictures is not known"),
        ({"sample": 1}, "sample is 1; expected at least 2"),
        ({"clamp": "3"}, "clamp is '3'; expected LOW,HIGH"),
        ({"background": "1,2"}, "background is '1,2'; expected three whole numbers from 0 to"),
        ({"background": "1,2,256"}, "background is '1,2,256'; expected three whole numbers"),
        ({"background": "1,2,0.5"}, r"background is '1,2,0\.5'; expected three whole numbers"),
        ({"mean": "a,b"}, "mean is 'a,b'; expected numbers"),
        ({"scaling": "mean_std"}, r"ImageSpec\.mean is None; expected a tuple of 3 finite"),
        (
            {"onnx": "e.onnx"},
            "made by --factory, or read from --onnx, and both are given; name one",
        ),
        ({"factory": None}, "made by --factory, or read from --onnx, and neither is given"),
        ({"onnx_decoder": "d.onnx"}, "onnx-decoder goes with --onnx; name that, too"),
        ({"factory": None, "onnx": "e.onnx"}, "arguments goes with a factory; files of ONNX have"),
        ({"mean": "1,1,1"}, r"ImageSpec\.mean is \(1\.0, 1\.0, 1\.0\); expected None, because"),
        ({"likelihood": "gaussian"}, "is measured on pictures, and there are none; name some with"),
        ({"likelihood": "l1"}, "likelihood is 'l1'; expected gaussian:VARIANCE, such as gaussian"),
        ({"likelihood": "gaussian:0"}, "likelihood is 'gaussian:0'; expected a finite variance ab"),
    ],
)
def test_bad_options(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        options(Path("m.py"), tmp_path, **change)


def test_an_output_that_is_in_the_way(theirs, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "precious").write_text("x")
    with pytest.raises(InputError, match="bundle"):
        export_model(options(theirs[1], tmp_path, variance="log_sigma", overwrite=True))
    assert (tmp_path / "bundle" / "precious").exists()


def test_from_the_command_line(theirs, tmp_path):
    arguments = json.dumps({"kind": "LogSigma", "latent_dim": 2})
    given = parse(
        ExportModel,
        [
            *("--factory", "m:make", "--output", "b", "--arguments", arguments),
            *("--height", "16", "--width", "32", "--clamp", "-30,20", "--variance", "softplus"),
            *("--py-files", "a.py", "--py-files", "b.zip", "--trust-model"),
            *("--scaling", "mean_std", "--mean", "0.5,0.4,0.3", "--std", "1,2,3"),
            *("--background", "0,10,255", "--likelihood", "gaussian:0.01"),
        ],
    )
    assert given.arguments == {"kind": "LogSigma", "latent_dim": 2}
    assert given.py_files == ["a.py", "b.zip"] and given.trust_model
    model = given.model
    assert model.clamp == (-30.0, 20.0) and model.variance == "softplus"
    assert (model.image.height, model.image.width) == (16, 32)
    assert model.image.background == (0, 10, 255)
    assert model.stated_likelihood == GaussianPixels(0.01)
    assert model.image.mean == (0.5, 0.4, 0.3) and model.image.std == (1.0, 2.0, 3.0)


def test_one_weights_file(theirs, tmp_path):
    summary = export_model(options(theirs[1], tmp_path, variance="log_sigma"))
    assert sorted(p.name for p in Path(summary["model"]).iterdir()) == ["bundle.json", MODEL]


@pytest.mark.slow
def test_a_page_needs_a_decoder(spark, theirs, tmp_path, parquet_catalog):
    said = {"variance": "log_sigma", "decoder": "none"}
    export_model(options(theirs[1], tmp_path, **said))
    table, trusted = str(tmp_path / "t"), {"trust_model": True, "py_files": [str(theirs[1])]}
    encode_catalog(EncodeCatalog(parquet_catalog, str(tmp_path / "bundle"), table, **trusted))
    places = {"output": str(tmp_path / "results"), "report": str(tmp_path / "page")}
    with pytest.raises(
        BundleError, match="has no decoder, and a page shows what each z decodes to"
    ):
        query_topk(QueryTopk(table, z=["0,0,0"], k=3, **places, **trusted))
    assert not (tmp_path / "results").exists() and not (tmp_path / "page").exists()


@pytest.mark.slow
def test_an_image_that_the_models_code_raises_for(spark, theirs, tmp_path, garments):
    """It is this image's fault, and is told by the words of the error."""
    images = garments["image"].to_pylist()[:10]
    black = io.BytesIO()
    Image.new("RGB", (16, 16)).save(black, "PNG")
    rows = {"item_id": [f"{i:02d}" for i in range(11)], "image": [*images, black.getvalue()]}
    pq.write_table(pa.table(rows), tmp_path / "c.parquet")
    code, table = theirs[1], str(tmp_path / "t")
    said = {"arguments": {"kind": "FailsOnDark"}, "weights": None, "variance": "log_var"}
    export_model(options(code, tmp_path, **said))
    night = EncodeCatalog(
        str(tmp_path / "c.parquet"),
        str(tmp_path / "bundle"),
        table,
        max_error_fraction=0.2,
        trust_model=True,
        py_files=[str(code)],
    )
    summary = encode_catalog(night)
    assert summary["encoded"] == 10 and summary["quarantined"] == {"crashed": 1}
    (row,) = spark.read.parquet(f"{table}/_quarantine").collect()
    assert (row.item_id, row.message) == ("10", "the encoder raised ValueError: too dark to see")


@pytest.mark.slow
def test_from_onnx_to_answers(spark, tmp_path, parquet_catalog, garments, caplog):
    """Without trust, and with pictures of what a z decodes to."""
    torch.manual_seed(4)
    model = elsewhere.Encoder().eval()
    encoder, decoder = str(tmp_path / "e.onnx"), str(tmp_path / "d.onnx")
    onnx_models.saved(onnx_models.encoder_of(model, batch=8, layout="hwc"), encoder)
    onnx_models.saved(onnx_models.decoder_of(model, layout="hwc"), decoder)
    said = {"onnx": encoder, "onnx_decoder": decoder, "image_size": 16, "sample": 30}
    bundle, table = str(tmp_path / "bundle"), str(tmp_path / "table")
    asked = ExportModel(output=bundle, catalog=parquet_catalog, **said)
    with (
        caplog.at_level(logging.INFO, logger="vaeudf"),
        pytest.raises(BundleError, match="what is"),
    ):
        export_model(asked)
    assert " log_var " in told(caplog) and "On 30 pictures. KL is to the prior" in told(caplog)
    summary = export_model(replace(asked, variance="log_var"))
    assert summary["factory"] == encoder and summary["interface"]["pixel_layout"] == "hwc"
    assert 0 < summary["reconstruction_error"] < 1
    assert summary["likelihood"] is None and load_bundle(bundle).likelihood is None
    assert "is not recorded unless --likelihood says it." in told(caplog)
    decided = replace(asked, variance="log_var", likelihood="bernoulli", overwrite=True)
    assert export_model(decided)["likelihood"] == "bernoulli"
    made = load_decoder(load_bundle(bundle).decoder_files)
    with torch.no_grad():
        drawn = model.decode(torch.tensor([[0.5, -1.0, 2.0]])).permute(0, 2, 3, 1)
    levels = made.decode_levels([[0.5, -1.0, 2.0]])
    assert_same_float32(levels, drawn, terms=terms_of(model))

    assert encode_catalog(EncodeCatalog(parquet_catalog, bundle, table))["quarantined"] == {}
    spec = ImageSpec(16, 16)
    images = garments.sort_by("item_id")["image"].to_pylist()
    pixels = np.stack([decode_image(image, spec) for image in images])
    with torch.no_grad():
        expected, stated = model(PixelScaler(spec).scale_array(pixels))
    rows = pa.concat_tables(pq.read_table(uri) for uri in open_table(table).files)
    rows = rows.sort_by("item_id")
    mu, log_var = (np.stack(rows[name].to_numpy()) for name in ("mu", "log_var"))
    assert_same_float32(mu, expected, terms=terms_of(model) + FUNCTION)
    assert_same_float32(log_var, stated, terms=terms_of(model) + FUNCTION)

    query_topk(QueryTopk(table, z=["0,0,0"], k=3, report=str(tmp_path / "page")))
    assert (tmp_path / "page" / "index.html").is_file()
    z, out = "0.5,-1,2", tmp_path / "pictures"
    decode_latents(DecodeLatents(model=bundle, z=[z], output=str(out)))
    with torch.no_grad():
        drawn = model.decode(torch.tensor([[0.5, -1.0, 2.0]]))
    (picture,) = out.glob("images/*.png")
    levels = np.asarray(Image.open(picture))
    assert_rounded_to_levels(levels, 255 * drawn[0].permute(1, 2, 0), terms=terms_of(model))


@pytest.mark.slow
def test_a_package_folder_and_a_factory_in_a_file(spark, theirs, tmp_path, parquet_catalog):
    _, code = theirs
    by_file = options(code, tmp_path, variance="log_sigma", factory=f"{code}:make", py_files=None)
    summary = export_model(by_file)
    assert summary["factory"] == f"{code}:make"
    assert load_bundle(summary["model"], True).manifest.architecture == f"{code.stem}:make"

    package = tmp_path / f"package_{tmp_path.name}"
    package.mkdir()
    (package / "__init__.py").write_text("from .nets import make\n")
    shutil.copy(code, package / "nets.py")
    bundle, table = str(tmp_path / "b"), str(tmp_path / "t")
    given = {"factory": f"{package.name}:make", "py_files": [str(package)], "output": bundle}
    export_model(options(code, tmp_path, variance="log_sigma", **given))
    trusted = {"trust_model": True, "py_files": [str(package)]}
    assert encode_catalog(EncodeCatalog(parquet_catalog, bundle, table, **trusted))["encoded"] > 0


def test_which_weights_were_taken_is_said(theirs, tmp_path, caplog):
    model, code = theirs
    state = model.state_dict()
    averaged = {name: 2 * tensor for name, tensor in state.items()}
    torch.save({"model": state, "ema": averaged}, tmp_path / "both.pt")
    given = {"variance": "log_sigma", "weights": str(tmp_path / "both.pt")}
    with caplog.at_level(logging.INFO, logger="vaeudf"):
        summary = export_model(options(code, tmp_path, **given))
    words = "'model'; 'ema' fits, too: --weights-key ema takes that"
    assert summary["weights"] == words and f"the weights are {words}." in told(caplog)
    taken = options(code, tmp_path, weights_key="ema", overwrite=True, **given)
    bundle = load_bundle(export_model(taken)["model"], trust_model=True)
    found = bundle.encoder.network.model.state_dict()
    assert torch.equal(found["head.bias"], averaged["head.bias"])
