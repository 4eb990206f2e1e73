"""Weights as somebody's training saved them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support import elsewhere
from tests.support.exports import source, trained
from vaeudf.errors import BundleError
from vaeudf.model.export.api import export_bundle
from vaeudf.model.export.probe import Probe


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 7},
        lambda state: {"model_state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"model": {f"_orig_mod.module.{k}": v for k, v in state.items()}},
        lambda state: {k: v.half() for k, v in state.items()},
    ],
)
def test_weights_of_torch_save(tmp_path, wrap):
    theirs = trained("Pair")
    torch.save(wrap(theirs.state_dict()), tmp_path / "weights.pt")
    bundle = export_bundle(
        tmp_path / "b", source(weights=tmp_path / "weights.pt", variance="log_var")
    )
    state = bundle.encoder.network.model.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert state[name].dtype == torch.float32
        assert any(torch.equal(state[name], kept) for kept in (tensor, tensor.half().float()))


def test_weights_of_a_part(tmp_path):
    state = {f"vae.{k}": v for k, v in trained("Pair").state_dict().items()}
    torch.save({"state_dict": {**state, "loss.weight": torch.ones(3)}}, tmp_path / "w.ckpt")
    given = {"weights": tmp_path / "w.ckpt", "variance": "log_var"}
    with pytest.raises(BundleError, match=r"w.ckpt does not fit the model: 8 missing.*prefix"):
        Probe(source(**given))
    Probe(source(**given, weights_prefix="vae."))


def test_weights_that_do_not_fit(tmp_path):
    def refused(state, name="w.pt", **said):
        torch.save(state, tmp_path / name)
        with pytest.raises(BundleError) as error:
            Probe(source(weights=tmp_path / name, variance="log_var", **said))
        return str(error.value)

    state = trained("Pair").state_dict()
    less = {k: v for k, v in state.items() if k != "dec.bias"}
    assert "1 missing, such as dec.bias." in refused(less)
    assert "1 surplus, such as extra." in refused({**state, "extra": torch.ones(1)})
    assert "head.bias is (5,); the model expects (3,)" in refused(
        {**state, "head.bias": torch.ones(5)}
    )
    assert "head.bias has NaN or infinite" in refused(
        {**state, "head.bias": torch.full((3,), np.nan)}
    )
    assert "holds a list of 1: a tensor of shape (1,); expected a state_dict" in refused(
        [torch.ones(1)]
    )
    with pytest.raises(BundleError, match=r"none\.pt does not exist; expected a file of weights"):
        Probe(source(weights=tmp_path / "none.pt"))
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"no\.safetensors is not a safetensors file"):
        Probe(source(weights=tmp_path / "no.safetensors"))


class Runs:
    """A pickle that runs code when it is opened."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path):
    torch.save({"state_dict": Runs(tmp_path / "ran")}, tmp_path / "w.pt")
    with pytest.raises(
        BundleError, match=r"w\.pt holds more than weights: it holds \S*open, and op"
    ):
        Probe(source(weights=tmp_path / "w.pt"))
    torch.save(trained("Pair"), tmp_path / "whole.pt")  # a whole module
    with pytest.raises(
        BundleError, match=r"it holds tests\.support\.elsewhere\.Pair, and op"
    ) as error:
        Probe(source(weights=tmp_path / "whole.pt"))
    assert not (tmp_path / "ran").exists()
    # What it says to do, for whoever trusts the file, does it.
    loss = {"model_state_dict": trained("Pair").state_dict(), "loss": np.float64(0.1)}
    torch.save({**loss, "options": Namespace(a=1)}, tmp_path / "more.pt")
    importable = {**os.environ, "PYTHONPATH": str(Path(elsewhere.__file__).parents[2])}
    for name in ("whole.pt", "more.pt"):
        with pytest.raises(BundleError) as error:
            Probe(source(weights=tmp_path / name))
        command = re.search(r"weights out: python (-c .*)$", str(error.value))
        subprocess.run(
            [sys.executable, *shlex.split(command[1])], cwd=tmp_path, env=importable, check=True
        )
        assert Probe(source(weights=tmp_path / "weights.pt", variance="log_var"))
