"""diffusers' AutoencoderKL, with latents in space, against its own output."""

from __future__ import annotations

import numpy as np
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
diffusers = pytest.importorskip("diffusers", reason="needs it: ./spark-submit.sh test-interop")

ARGUMENTS = {
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [8, 16],
    "latent_channels": 2,
    "norm_num_groups": 4,
    "sample_size": 16,
}


@pytest.mark.spark
@pytest.mark.parametrize("scale", [1.0, 0.18215])
def test_equals_diffusers(spark, parquet_catalog, garments, tmp_path, scale):
    torch.manual_seed(2)
    theirs = diffusers.AutoencoderKL(**ARGUMENTS).eval()
    with torch.no_grad():
        # Some of log sigma² beyond the clamp.
        theirs.quant_conv.bias[2:] = torch.tensor([-40.0, 1.0])
    theirs.save_pretrained(tmp_path / "theirs")
    summary = export_model(
        ExportModel(
            factory="diffusers:AutoencoderKL",
            arguments=ARGUMENTS,
            weights=str(tmp_path / "theirs" / "diffusion_pytorch_model.safetensors"),
            trust_model=True,
            image_size=16,
            scaling="minus_one_one",
            latent_scale=scale,
            catalog=parquet_catalog,
            output=str(tmp_path / "bundle"),
        )
    )
    assert summary["variance"] == "log_var" and summary["latent_dim"] == 2 * 8 * 8
    bundle = load_bundle(tmp_path / "bundle", trust_model=True)
    interface = bundle.manifest.interface
    assert interface.latent_shape == (2, 8, 8) and interface.latent_layout == "chw"
    assert interface.clamp == (-30.0, 20.0)
    assert bundle.manifest.training["exported"]["scaling_factor"] == 0.18215

    pixels = pixels_of(garments, bundle)
    with torch.no_grad():
        expected = theirs.encode(pixels).latent_dist
        pictures = theirs.decode(expected.mean).sample
    assert expected.logvar.min() == -30.0
    rows = encoded_by_spark(bundle, tmp_path / "bundle", parquet_catalog, tmp_path, None)
    mu, log_var = expected.mean * scale, expected.logvar + 2 * np.log(scale)
    terms = terms_of(theirs.encoder, theirs.quant_conv)
    assert_same_float32(rows["mu"], mu.flatten(1), terms=terms)
    assert_same_float32(rows["log_var"], log_var.flatten(1), terms=terms)
    found = bundle.decoder(mu.flatten(1))
    assert_same_float32(found, pictures, terms=terms_of(theirs.post_quant_conv, theirs.decoder))


@pytest.mark.parametrize(
    ("factory", "arguments", "reason"),
    [
        ("VQModel", {"block_out_channels": [8], "norm_num_groups": 4}, "vector-quantized"),
        ("AutoencoderTiny", {"encoder_block_out_channels": [8, 8, 8, 8]}, "deterministic"),
    ],
)
def test_posteriors_that_are_no_diagonal_gaussians(factory, arguments, reason):
    source = ForeignModel(f"diffusers:{factory}", ImageSpec(16, 16), arguments)
    with pytest.raises(BundleError, match=f"{factory} cannot be exported: .*{reason}"):
        Probe(source)
