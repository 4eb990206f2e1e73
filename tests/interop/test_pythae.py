"""pythae's models through export and Spark, against pythae's own output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.interop.compare import encoded_by_spark, pixels_of
from tests.support.tolerances import assert_same_float32, terms_of
from vaeudf.errors import BundleError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import load_bundle
from vaeudf.model.export.foreign_model import ForeignModel
from vaeudf.model.export.probe import Probe
from vaeudf.workflows.export_model import ExportModel, export_model

pytestmark = [pytest.mark.interop]
pytest.importorskip("pythae", reason="needs pythae: ./spark-submit.sh test-interop")

CODE = str(Path(__file__).with_name("their_models.py"))


@pytest.mark.spark
@pytest.mark.parametrize(
    ("maker", "arguments"),
    [
        ("vae", {"latent_dim": 4}),
        ("beta_vae", {"latent_dim": 3, "beta": 4.0}),
        ("custom", {"latent_dim": 5}),
    ],
)
def test_equals_pythae(spark, parquet_catalog, garments, tmp_path, maker, arguments):
    from tests.interop import their_models

    torch.manual_seed(1)
    theirs = getattr(their_models, maker)(**arguments)
    if maker == "custom":  # whose statistics are not those of a fresh one
        with torch.no_grad():
            theirs.train()(type("Data", (dict,), {})(data=torch.rand(32, 3, 16, 16)))
    theirs.eval()
    theirs.save(str(tmp_path / "theirs"))
    summary = export_model(
        ExportModel(
            factory=f"their_models:{maker}",
            arguments=arguments,
            weights=str(tmp_path / "theirs" / "model.pt"),
            py_files=[CODE],
            trust_model=True,
            image_size=16,
            catalog=parquet_catalog,
            output=str(tmp_path / "bundle"),
        )
    )
    assert summary["variance"] == "log_var" and summary["recognised"] == "pythae"

    bundle = load_bundle(tmp_path / "bundle", trust_model=True)
    pixels = pixels_of(garments, bundle)
    with torch.no_grad():
        expected = theirs.encoder(pixels)
        reconstruction = theirs.decoder(expected.embedding).reconstruction
    rows = encoded_by_spark(bundle, tmp_path / "bundle", parquet_catalog, tmp_path, [CODE])
    terms = terms_of(theirs.encoder)
    assert_same_float32(rows["mu"], expected.embedding, terms=terms)
    assert_same_float32(rows["log_var"], expected.log_covariance, terms=terms)
    found = bundle.decoder(expected.embedding)
    assert_same_float32(found, reconstruction, terms=terms_of(theirs.decoder))


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("VAE_IAF", "normalizing flow"),
        ("VAE_LinNF", "normalizing flow"),
        ("HVAE", "Hamiltonian"),
        ("SVAE", "von Mises–Fisher"),
        ("PoincareVAE", "hyperbolic"),
        ("AE", "deterministic"),
        ("RAE_L2", "deterministic"),
        ("WAE_MMD", "deterministic"),
    ],
)
def test_posteriors_that_are_no_diagonal_gaussians(family, reason):
    source = ForeignModel(
        "tests.interop.their_models:another", ImageSpec(16, 16), {"family": family}
    )
    with pytest.raises(BundleError, match=f"{family} cannot be exported: .*{reason}"):
        Probe(source)


@pytest.mark.parametrize("family", ["INFOVAE_MMD", "IWAE", "DisentangledBetaVAE", "VAMP"])
def test_other_families_with_gaussians(family):
    source = ForeignModel(
        "tests.interop.their_models:another", ImageSpec(16, 16), {"family": family}
    )
    assert Probe(source).variance == "log_var"


def test_another_reading_than_pythaes_is_refused():
    source = ForeignModel(
        "tests.interop.their_models:vae",
        ImageSpec(16, 16),
        {"latent_dim": 2},
        variance="log_sigma",
    )
    with pytest.raises(BundleError, match=r"said to be log_sigma, but .* pythae .* log_var"):
        Probe(source)


def test_the_manifest_says_where_it_is_from(tmp_path):
    source = ForeignModel("tests.interop.their_models:vae", ImageSpec(16, 16), {"latent_dim": 2})
    Probe(source).save(tmp_path / "bundle")
    content = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    assert content["interface"]["mu"] == "embedding"
    assert content["interface"]["spread"] == "log_covariance"
