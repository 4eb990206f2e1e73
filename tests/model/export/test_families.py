"""Families of models that are refused by the classes of their parts."""

from __future__ import annotations

import pytest
import torch

from tests.support import elsewhere
from vaeudf.errors import BundleError
from vaeudf.model.export.families import check_family


def test_a_flow_is_a_fine_prior():
    class Coupling(torch.nn.Linear):
        __module__ = "nflows.transforms"

    for name in ("prior", "decoder_flow"):
        model = elsewhere.make("Pair")
        setattr(model, name, Coupling(1, 1))
        check_family(model)
    model.posterior = Coupling(1, 1)
    with pytest.raises(BundleError, match=r"nflows\.transforms\.\S*Coupling cannot be exported"):
        check_family(model)


def test_a_class_is_refused_for_what_it_inherits_from():
    class VAE_IAF(torch.nn.Linear):
        __module__ = "pythae.models.vae_iaf"

    class Mine(VAE_IAF):
        __module__ = "mine"

    message = r"VAE_IAF cannot be exported: its posterior is a Gaussian sent through a normalizing"
    with pytest.raises(BundleError, match=message):
        check_family(torch.nn.Sequential(Mine(1, 1)))
