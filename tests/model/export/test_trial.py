"""Models tried on pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.support.exports import SPEC, pictures, source
from tests.support.tolerances import near_float64
from vaeudf.errors import BundleError
from vaeudf.model.export.api import export_bundle
from vaeudf.model.export.probe import Probe


def test_an_encoder_that_gives_nan(tmp_path):
    bright = np.full((5, 16, 16, 3), 250, np.uint8)
    with pytest.raises(
        BundleError, match=r"a variance that is not finite for 5 of 5 pictures\. Are"
    ):
        export_bundle(tmp_path / "b", source("NotANumber", variance="log_var"), bright)


@pytest.mark.parametrize("scaling", ["zero_one", "minus_one_one"])
def test_the_scaling_that_a_model_was_trained_with(scaling):
    """An autoencoder that gives back what it gets tells how its pixels were scaled."""
    spec = replace(SPEC, scaling=scaling)
    model = {"arguments": {"kind": "Echo", "scaling": scaling}, "variance": "log_var"}
    for said in ("zero_one", "minus_one_one"):
        probe = Probe(source(image=replace(spec, scaling=said), **model))
        probe.use(pictures() // 128 * 255)
        errors = probe.errors_by_scaling()
        assert min(errors, key=errors.get) == scaling
        error = near_float64(probe.trial.reconstruction_error(), terms=pictures().size)
        assert errors[said] == error
        assert errors[scaling] < 1e-4 < 0.02 < max(errors.values())
