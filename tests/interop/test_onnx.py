"""What PyTorch's exporter writes, through export and Spark, against PyTorch's own output."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from tests.interop.compare import encoded_by_spark, pixels_of
from tests.support.tolerances import FUNCTION, assert_same_float32, terms_of
from vaeudf.model.bundle import load_bundle
from vaeudf.workflows.export_model import ExportModel, export_model

pytestmark = [pytest.mark.interop]
pytest.importorskip("onnxscript", reason="needs onnxscript: ./spark-submit.sh test-interop")


class Encoder(nn.Module):
    """Layers that an exporter has to translate, a batch norm that it may fold, and a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1),
            nn.BatchNorm2d(8),
            nn.SiLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=2),
            nn.GroupNorm(2, 8),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
        )
        self.mu, self.log_var = nn.Linear(128, 4), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.mu(h), self.log_var(h)


class ChannelLast(nn.Module):
    """As Keras and JAX have it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.inner(x.permute(0, 3, 1, 2))
        return found


class Decoder(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Linear(4, 8 * 4 * 4),
            nn.Unflatten(1, (8, 4, 4)),
            nn.ConvTranspose2d(8, 8, 4, 2, 1),
            nn.SiLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(8, 3, 3, padding=1),
            nn.Sigmoid(),
        )


def export(model: nn.Module, example: Tensor, path: str, *, dynamic: bool, beside: bool) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.onnx.export(
        model,
        (example,),
        path,
        dynamic_shapes=({0: torch.export.Dim("n")},) if dynamic else None,
        external_data=beside,
        verbose=False,
    )


@pytest.mark.spark
@pytest.mark.parametrize(
    ("layout", "dynamic", "beside"),
    [("chw", True, True), ("chw", False, False), ("hwc", False, True), ("hwc", True, False)],
)
def test_equals_pytorch(spark, parquet_catalog, garments, tmp_path, layout, dynamic, beside):
    torch.manual_seed(1)
    theirs, decoder = Encoder().eval(), Decoder().eval()
    with torch.no_grad():  # statistics that are not those of a fresh one
        theirs.train()(torch.rand(32, 3, 16, 16))
    theirs.eval()
    size = 2 if dynamic else 5
    paths = [str(tmp_path / name) for name in ("encoder.onnx", "decoder.onnx")]
    shape = (size, 16, 16, 3) if layout == "hwc" else (size, 3, 16, 16)
    model = ChannelLast(theirs) if layout == "hwc" else theirs
    export(model, torch.rand(shape), paths[0], dynamic=dynamic, beside=beside)
    export(decoder, torch.rand(size, 4), paths[1], dynamic=dynamic, beside=beside)
    summary = export_model(
        ExportModel(
            onnx=paths[0],
            onnx_decoder=paths[1],
            image_size=16,
            catalog=parquet_catalog,
            variance="log_var",
            output=str(tmp_path / "bundle"),
        )
    )
    assert summary["interface"]["pixel_layout"] == layout
    for path in tmp_path.glob("*.onnx*"):
        path.unlink()  # nothing of them is needed any more
    bundle = load_bundle(tmp_path / "bundle")
    pixels = pixels_of(garments, bundle)
    with torch.no_grad():
        mu, log_var = theirs(pixels)
        pictures = decoder(mu)
    rows = encoded_by_spark(bundle, tmp_path / "bundle", parquet_catalog, tmp_path, None)
    terms = terms_of(theirs) + 4 * FUNCTION
    assert_same_float32(rows["mu"], mu, terms=terms)
    assert_same_float32(rows["log_var"], log_var, terms=terms)
    found = bundle.decoder(mu)
    assert_same_float32(found, pictures, terms=terms_of(decoder) + 2 * FUNCTION)
