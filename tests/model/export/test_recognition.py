"""Where mu, the variance and the picture are found, and answers without a diagonal Gaussian."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from tests.support import elsewhere
from tests.support.exports import SPEC, pictures, source
from tests.support.tolerances import assert_same_float32, terms_of
from vaeudf.errors import BundleError
from vaeudf.model.export.api import export_bundle
from vaeudf.model.export.probe import Probe
from vaeudf.model.export.recognition import find_picture, recognise
from vaeudf.model.manifest import MODEL
from vaeudf.model.pixels import PixelScaler


def test_a_name_that_is_given_stands_and_the_other_is_recognised(tmp_path):
    said = {"variance": "log_var", "mu_output": "1", "variance_output": "0"}
    swapped = export_bundle(tmp_path / "a", source("SwappedPair", **said), pictures())
    with torch.inference_mode():
        model = elsewhere.make("SwappedPair")
        load = safetensors.torch.load_file(tmp_path / "a" / MODEL)
        model.load_state_dict(load)
        mu, log_var = model.outputs(PixelScaler(SPEC).scale_array(pictures()))
    found = swapped.encoder.encode(pictures())
    assert_same_float32(found[0], mu, terms=terms_of(model))
    assert_same_float32(found[1], log_var, terms=terms_of(model))
    named = Probe(
        source("OddlyNamed", variance="log_var", variance_output="spread", mu_output="mu")
    )
    assert (named.interface.mu, named.interface.spread) == ("mu", "spread")
    # The type says what the scale is; of another place it says nothing.
    assert Probe(source("ANormal", mu_output="mean")).variance == "sigma"
    assert Probe(source("ANormal", variance_output="variance")).variance is None


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Full", r"a torch\.distributions\.multivariate_normal\.MultivariateNormal: its covari"),
        ("Flow", r"TransformedDistribution: its posterior is a Gaussian sent through a normali"),
        ("Laplace", r"Laplace: it is not a diagonal Gaussian\. Expected a Normal, or an Indep"),
        (
            "Sphere",
            r"tests\.support\.elsewhere\.VonMisesFisher: its posterior is a von Mises–Fisher",
        ),
        ("Concentrated", r"gives a log_concentration: its posterior is a von Mises–Fisher"),
        ("Noisy", r"gives another posterior for the same picture when it is asked again"),
        ("SlightlyNoisy", r"gives another posterior for the same picture when it is asked again"),
        ("Neighbourly", r"gives a picture another posterior when others are encoded beside"),
        ("Isotropic", r"tensor of shape \(4, 1\); expected the same shape\. One sigma for all"),
        ("Point", r"tensor of shape \(4, 3\): where are mu and the variance in it\? .*first-half"),
        ("KerasStyle", r"a list of 3: .*: which are mu and the variance\? .*--mu-output 0"),
        ("Odd", r"decoder gives a tensor of shape \(2, 700\); expected \(2, 3, 16, 16\)"),
    ],
)
def test_models_that_are_refused(kind, message):
    with pytest.raises(BundleError, match=message):
        Probe(source(kind, variance="log_var"))


def test_a_picture_is_found_where_it_is_usually_named():
    picture = torch.zeros(2, 3, 4, 4)
    normal = torch.distributions.Normal(picture, 1.0)
    for answer, path in (
        (picture, ""),
        (normal, "mean"),
        ({"loss": 1.0, "recon": picture}, "recon"),
        ((picture, "more"), "0"),
    ):
        assert find_picture(answer) == path
    with pytest.raises(
        BundleError, match=r"^the decoder gives a dict of 'a', in which the picture"
    ):
        find_picture({"a": picture})


def test_what_a_name_suggests_is_not_how_it_is_read():
    mu = torch.zeros(2, 3)
    found = recognise({"latent_dist": {"mu": mu, "logvar": mu}})
    assert (found.mu, found.spread) == ("latent_dist.mu", "latent_dist.logvar")
    assert found.variance is None and found.suggested == "log_var"
