"""How a model is called, found by calling it."""

from __future__ import annotations

import pytest

from tests.support.exports import SPEC, pictures, source
from vaeudf.errors import BundleError
from vaeudf.model.export.calling import find_interface
from vaeudf.model.foreign import build_foreign
from vaeudf.model.pixels import PixelScaler


def found(kind, **said):
    model = build_foreign("tests.support.elsewhere:make", {"kind": kind})
    pixels = PixelScaler(SPEC, channels_last=False).scale_array(pictures(4))
    return find_interface(model, source(kind, **said), pixels)


def test_what_is_found_and_what_is_said():
    recognised, interface = found("LogSigma", clamp=(-3.0, 2.0), activation="sigmoid")
    assert (interface.encoder, interface.mu, interface.spread) == ("encode", "mu", "log_sigma")
    assert (interface.decoder, interface.picture) == ("decode", "")
    assert (interface.latent_shape, interface.latent_layout) == ((3,), "flat")
    assert (interface.clamp, interface.activation) == ((-3.0, 2.0), "sigmoid")
    assert (recognised.variance, recognised.suggested) == (None, "log_sigma")
    _, interface = found("ChannelLast", pixel_layout="hwc")
    assert (interface.latent_shape, interface.latent_layout) == ((4, 4, 2), "chw")


@pytest.mark.parametrize("decoder", ["none", "no_such"])
def test_a_decoder_that_is_left_out_or_not_there(decoder):
    if decoder == "none":
        assert found("Pair", decoder=decoder)[1].decoder is None
    else:
        with pytest.raises(BundleError, match="has no 'no_such'; name another place"):
            found("Pair", decoder=decoder)


def test_what_is_named_must_be_a_tensor():
    with pytest.raises(BundleError, match=r"^'0\.scale\.shape' of .* is a Size of 2: .*; expec"):
        found("WithSample", mu_output="1", variance_output="0.scale.shape")
