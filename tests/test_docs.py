"""The way from a checkpoint to answers that docs/models.md shows, command by command."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import torch

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
