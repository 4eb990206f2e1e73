"""The way from a checkpoint to answers that docs/models.md shows, command by command."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import onnx
import pytest
import torch

from tests.support import onnx_models
from tests.support.jobs import ROOT, submit, summary
from vaeudf.catalog.garments import draw_garment, sample_garment

pytestmark = pytest.mark.slow

MODELS = (ROOT / "docs" / "models.md").read_text()


def block(language: str, after: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", MODELS.split(after, 1)[1], re.S | re.M)
    assert found is not None
    return found[1]


def commands(after: str) -> list[list[str]]:
    lines = block("sh", after).replace("\\\n", "").splitlines()
    return [shlex.split(line)[1:] for line in lines if line]


def test_an_encoder_of_onnx(tmp_path):
    (tmp_path / "photos").mkdir()
    for index in range(20):
        draw_garment(sample_garment(0, index), 48).save(tmp_path / "photos" / f"{index}.png")
    values = np.random.default_rng(0).normal(size=(5, 3 * 64 * 64)).astype(np.float32) / 100
    half = [values.T.copy(), (values.T / 9).copy()]
    for name, shapes, weights in (
        ("encoder", ([3, 64, 64], [5], [5]), {"mu": half[0], "log_var": half[1]}),
        ("decoder", ([5], [3 * 64 * 64]), {"picture": values}),
    ):
        nodes = [onnx.helper.make_node("Flatten", ["x"], ["flat"])]
        nodes += [onnx.helper.make_node("MatMul", ["flat", f"{to}_w"], [to]) for to in weights]
        tensors = [onnx_models.numbers(f"{to}_w", weight) for to, weight in weights.items()]
        x, *answers = (
            onnx_models.described(to, ["n", *shape])
            for to, shape in zip(("x", *weights), shapes, strict=True)
        )
        onnx_models.saved(
            onnx_models.model_of(nodes, [x], answers, tensors), tmp_path / f"{name}.onnx"
        )
    (export,) = commands("### ONNX")
    done = submit(*export, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert summary(done)["latent_dim"] == 5 and summary(done)["reconstruction_error"] is not None


def test_a_vae_of_ones_own_in_five_minutes(tmp_path):
    (tmp_path / "photos" / "dress").mkdir(parents=True)
    for index in range(60):
        picture = draw_garment(sample_garment(0, index), 48)
        picture.save(tmp_path / "photos" / "dress" / f"{index:04d}.jpg")
    code = block("python", "five minutes")
    (tmp_path / "my_vae.py").write_text(code)
    names: dict[str, type[torch.nn.Module]] = {}
    exec(code, names)
    model = names["MyVae"](10)
    torch.save({"epoch": 1, "model_state_dict": model.state_dict()}, tmp_path / "checkpoint.pt")

    (ask,) = commands("**1. Ask.**")
    asked = submit(*ask, cwd=tmp_path)
    assert asked.returncode == 2 and asked.stdout == ""
    for reading in ("log_var", "log_sigma", "sigma", "variance", "softplus"):
        assert re.search(rf"^ {reading} ", asked.stderr, re.M), reading
    assert re.search(
        r"^error: the encoder states its variance in '1'; what is it\?", asked.stderr, re.M
    )
    assert not (tmp_path / "model").exists()

    (say,) = commands("**3. Say.**")
    assert say[: len(ask)] == ask
    done = submit(*say, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert summary(done)["variance"] == "log_sigma"
    assert json.loads((tmp_path / "model" / "bundle.json").read_text())["format"] == 2

    encode, query = commands("**4. Use.**")
    refused = submit(*(word for word in encode if word != "--trust-model"), cwd=tmp_path)
    assert refused.returncode == 2 and "--trust-model" in refused.stderr
    done = submit(*encode, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert summary(done)["encoded"] == 60
    done = submit(*query, cwd=tmp_path)
    assert len(done.stdout.splitlines()) == 1 + 5 + 1
