"""What the architecture in a manifest can be: one that vaeudf knows, or a factory of the user's.

All that differs between the two is here: how networks are built, which file has the weights of
which network, and what is done once the weights are loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from vaeudf.errors import BundleError
from vaeudf.model.conv_vae import conv_vae
from vaeudf.model.encoder import PosteriorEncoder, answer_to_noise
from vaeudf.model.foreign import ForeignEncoder, build_foreign, networks_of
from vaeudf.model.interface import Interface
from vaeudf.model.manifest import MANIFEST, Manifest
from vaeudf.model.networks import Networks, channels_last
from vaeudf.model.pixels import PixelScaler
from vaeudf.model.weights import size_of

ARCHITECTURES: dict[str, Callable[..., Networks]] = {"conv_vae": conv_vae}

# A manifest can ask for any size, and every executor holds the weights.
_MOST_BYTES_OF_WEIGHTS = 4 * 2**30
# How far off a test vector may be, relative to its largest number: other machines sum in another
# order.
_TEST_TOLERANCE = 1e-3


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


class Architecture(ABC):
    """How the networks of a manifest are built, and made ready once their weights are loaded."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    @abstractmethod
    def build(self, *, trust_model: bool) -> Networks:
        """Build the networks, whose weights are still to be loaded.

        Args:
            trust_model: Whether code that is not vaeudf's may run.

        Raises:
            BundleError: The networks cannot be built, are too large, or the model is not trusted.
        """

    @abstractmethod
    def modules(self, networks: Networks) -> tuple[nn.Module, ...]:
        """Return the modules whose weights the manifest's ``weight_files`` have, in that order."""

    @abstractmethod
    def encoder(self, networks: Networks) -> PosteriorEncoder:
        """Return the encoder, ready to use, once its weights are loaded."""

    @abstractmethod
    def decoder(self, networks: Networks) -> nn.Module:
        """Return the decoder, ready to use, once its weights are loaded."""

    @abstractmethod
    def check(self, networks: Networks) -> None:
        """Check that the code gives the same posteriors as when the bundle was made.

        Raises:
            BundleError: The posteriors differ.
        """

    def parts(self, networks: Networks) -> dict[str, nn.Module]:
        """Return the module that each file of weights is for, by the file's name."""
        return dict(zip(self.manifest.weight_files, self.modules(networks), strict=True))


class KnownArchitecture(Architecture):
    """An architecture of vaeudf, whose encoder and decoder are two networks."""

    def build(self, *, trust_model: bool) -> Networks:
        """Build the networks without memory, which loading the weights gives them."""
        # The sizes in a manifest must not allocate memory, and random weights are not needed.
        with torch.device("meta"):
            networks = build(self.manifest.architecture, self.manifest.arguments)
        for name, network in self.parts(networks).items():
            if size_of(network) > _MOST_BYTES_OF_WEIGHTS:
                raise BundleError(
                    f"{MANIFEST} asks for a model of {size_of(network) / 2**30:,.0f} GiB in "
                    f"{name}; at most {_MOST_BYTES_OF_WEIGHTS // 2**30} GiB are loaded."
                )
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


class Factory(Architecture):
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
        return networks_of(build_foreign(name, self.manifest.arguments), self.interface)

    def modules(self, networks: Networks) -> tuple[nn.Module, ...]:
        """Return the one module."""
        assert isinstance(networks.encoder, ForeignEncoder)
        return (networks.encoder.model,)

    def encoder(self, networks: Networks) -> PosteriorEncoder:
        """Return the encoder, laid out channel-last if it can take that."""
        encoder = PosteriorEncoder(
            networks.encoder,
            self._scaler,
            latent_dim=self.manifest.latent_dim,
            variance=self.manifest.variance,
            latent_scale=self.interface.scale,
            latent_shift=self.interface.shift,
        )
        encoder = channels_last(encoder) if self.interface.channels_last else encoder
        return encoder.eval().requires_grad_(False)

    def decoder(self, networks: Networks) -> nn.Module:
        """Return the decoder as the factory laid it out."""
        return networks.decoder.eval().requires_grad_(False)

    def check(self, networks: Networks) -> None:
        """Compare what the encoder gives for noise with the test vector, if there is one."""
        if self.manifest.test_vector is None:
            return
        expected = np.asarray(self.manifest.test_vector)
        found = answer_to_noise(networks.encoder, self._scaler)
        most = _TEST_TOLERANCE * np.abs(expected).max(axis=1, keepdims=True)
        same_shape = found is not None and np.shape(found) == expected.shape
        if not same_shape or (np.abs(np.asarray(found) - expected) > most).any():
            raise BundleError(
                f"what {self.manifest.architecture} makes here gives other posteriors than it did "
                "when the bundle was made: its code, or a package that it uses, is not the same "
                "any more, or it has numbers that are not among its weights. Export the model "
                "again, and encode everything with it."
            )

    @property
    def _scaler(self) -> PixelScaler:
        return PixelScaler(self.manifest.image, channels_last=self.interface.channels_last)


def architecture_of(manifest: Manifest) -> Architecture:
    """Return how the networks of a manifest are built."""
    if manifest.interface is None:
        return KnownArchitecture(manifest)
    return Factory(manifest, manifest.interface)
