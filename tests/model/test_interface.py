"""How a model made elsewhere is called, as a manifest says it."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.exports import source
from vaeudf.errors import BundleError
from vaeudf.model.bundle import load_bundle
from vaeudf.model.export.api import export_bundle
from vaeudf.model.interface import Interface
from vaeudf.model.manifest import MANIFEST, MODEL


def test_the_manifest_says_how_the_model_is_called(tmp_path):
    bundle = export_bundle(tmp_path / "bundle", source(variance="log_var"))
    content = json.loads((tmp_path / "bundle" / MANIFEST).read_text())
    assert content["architecture"] == "tests.support.elsewhere:make"
    assert content["arguments"] == {"kind": "Pair"}
    assert Interface.from_dict(content["interface"]) == bundle.manifest.interface
    assert sorted(p.name for p in (tmp_path / "bundle").iterdir()) == [MANIFEST, MODEL]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_shape": [4]}, "latent_dim is 3, but interface.latent_shape [4]; expected its"),
        ({"latent_shape": []}, "interface.latent_shape is (), which is not a value"),
        ({"latent_shape": [3, 1, 1]}, "interface.latent_shape is (3, 1, 1), which is not a value"),
        ({"latent_shape": "3"}, "interface.latent_shape is '3', which is not a value"),
        ({"latent_layout": "nchw"}, "interface.latent_layout is 'nchw', which is not a value"),
        ({"clamp": [0.0]}, "interface.clamp is (0.0,), which is not a value"),
        ({"clamp": ["a", "b"]}, "interface.clamp is ('a', 'b'), which is not a value"),
        ({"scale": -1.0}, "interface.scale is -1.0, which is not a value"),
        ({"scale": "1"}, "interface.scale is '1', which is not a value"),
        ({"shift": None}, "interface.shift is None, which is not a value"),
        ({"activation": "relu"}, "interface.activation is 'relu', which is not a value"),
        ({"channels_last": 1}, "interface.channels_last is 1, which is not a value"),
        ({"extra": 1}, "interface has the keys"),
    ],
)
def test_interfaces_that_cannot_be(tmp_path, change, message):
    export_bundle(tmp_path / "bundle", source(variance="log_var"))
    content = json.loads((tmp_path / "bundle" / MANIFEST).read_text())
    content["interface"].update(change)
    (tmp_path / "bundle" / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(BundleError, match=re.escape(message)):
        load_bundle(tmp_path / "bundle", trust_model=True)


def test_an_interface_is_for_factories_alone(tmp_path):
    export_bundle(tmp_path / "bundle", source(variance="log_var"))
    content = json.loads((tmp_path / "bundle" / MANIFEST).read_text())
    (tmp_path / "bundle" / MANIFEST).write_text(json.dumps({**content, "interface": None}))
    with pytest.raises(BundleError, match="and interface is null; expected an interface for a fac"):
        load_bundle(tmp_path / "bundle", trust_model=True)
