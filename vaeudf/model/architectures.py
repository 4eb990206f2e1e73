"""What the architecture in a manifest can be: vaeudf's own, a factory of the user's, or ONNX.

All that differs between these is in the classes of :class:`vaeudf.model.architecture.Architecture`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from vaeudf.errors import BundleError
from vaeudf.model.architecture import (
    Architecture,
    TorchArchitecture,
    check_size,
    foreign_encoder,
    gives_test_vector,
)
from vaeudf.model.bundle_files import MANIFEST
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.encoder import PosteriorEncoder
from vaeudf.model.foreign import ForeignEncoder, build_foreign, networks_of
from vaeudf.model.interface import Interface
from vaeudf.model.manifest import Manifest
from vaeudf.model.networks import Networks, channels_last
from vaeudf.model.onnx import OnnxArchitecture
from vaeudf.model.pixels import PixelScaler

ARCHITECTURES: dict[str, Callable[..., Networks]] = {"conv_vae": conv_vae}


def build(architecture: str, arguments: Mapping[str, Any]) -> Networks:
    """Build the networks of an architecture that vaeudf knows, with fresh random weights.

    Raises:
        BundleError: The architecture is unknown, or does not take these arguments.
    """
    if architecture not in ARCHITECTURES:
        raise BundleError(
            f"architecture {architecture!r} is unknown; expected one of {sorted(ARCHITECTURES)}."
        )
    if not all(type(value) is int for value in arguments.values()):
        raise BundleError(f"arguments of {architecture} must be whole numbers, found {arguments}.")
    try:
        return ARCHITECTURES[architecture](**arguments)
    except TypeError as error:
        raise BundleError(
            f"architecture {architecture!r} refused its arguments: {error}."
        ) from None


class KnownArchitecture(TorchArchitecture):
    """An architecture of vaeudf, whose encoder and decoder are two networks."""

    def build(self, *, trust_model: bool) -> Networks:
        """Build the networks without memory, which loading the weights gives them."""
        # The sizes in a manifest must not allocate memory, and random weights are not needed.
        with torch.device("meta"):
            networks = build(self.manifest.architecture, self.manifest.arguments)
        for name, network in self.parts(networks).items():
            check_size(network, name, MANIFEST)
        return networks

    def modules(self, networks: Networks) -> tuple[nn.Module, ...]:
        """Return the encoder and the decoder."""
        return networks

    def encoder(self, networks: Networks) -> PosteriorEncoder:
        """Return the encoder, laid out channel-last."""
        encoder = PosteriorEncoder(
            networks.encoder,
            PixelScaler(self.manifest.image),
            latent_dim=self.manifest.latent_dim,
            variance=self.manifest.variance,
        )
        return channels_last(encoder).eval().requires_grad_(False)

    def decoder(self, networks: Networks) -> nn.Module:
        """Return the decoder, laid out channel-last."""
        return channels_last(networks.decoder).eval().requires_grad_(False)

    def check(self, networks: Networks) -> None:
        """Do nothing: vaeudf's own code is not compared."""


class Factory(TorchArchitecture):
    """A factory of the user's, which makes one module that is both encoder and decoder."""

    def __init__(self, manifest: Manifest, interface: Interface) -> None:
        super().__init__(manifest)
        self.interface = interface

    def build(self, *, trust_model: bool) -> Networks:
        """Call the factory, if the model is trusted."""
        name = self.manifest.architecture
        if not trust_model:
            raise BundleError(
                f"the model is made by code of somebody's own, {name}; to load it "
                "is to run that code, with all that it may do here and on the cluster. If you "
                "trust it, say so: --trust-model, or load_bundle(…, trust_model=True)."
            )
        model = build_foreign(name, self.manifest.arguments)
        return networks_of(model, self.interface, self.manifest.image)

    def modules(self, networks: Networks) -> tuple[nn.Module, ...]:
        """Return the one module."""
        assert isinstance(networks.encoder, ForeignEncoder)
        return (networks.encoder.model,)

    def encoder(self, networks: Networks) -> PosteriorEncoder:
        """Return the encoder, laid out channel-last if it can take that."""
        encoder = foreign_encoder(self.manifest, networks)
        encoder = channels_last(encoder) if self.interface.channels_last else encoder
        return encoder.eval().requires_grad_(False)

    def decoder(self, networks: Networks) -> nn.Module:
        """Return the decoder as the factory laid it out."""
        return networks.decoder.eval().requires_grad_(False)

    def check(self, networks: Networks) -> None:
        """Compare what the encoder gives for noise with the test vector, if there is one."""
        if not gives_test_vector(self.manifest, networks):
            raise BundleError(
                f"what {self.manifest.architecture} makes here gives other posteriors than it did "
                "when the bundle was made: its code, or a package that it uses, is not the same "
                "any more, or it has numbers that are not among its weights. Export the model "
                "again, and encode everything with it."
            )


def architecture_of(manifest: Manifest) -> Architecture:
    """Return how the networks of a manifest are built."""
    if manifest.interface is None:
        return KnownArchitecture(manifest)
    if manifest.is_onnx:
        return OnnxArchitecture(manifest, manifest.interface)
    return Factory(manifest, manifest.interface)
