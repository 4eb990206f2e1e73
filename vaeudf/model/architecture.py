"""How the networks of a manifest are built and made ready, and what their files are."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from torch import nn

from vaeudf.errors import BundleError
from vaeudf.model.encoder import PosteriorEncoder, answer_to_noise
from vaeudf.model.manifest import Manifest
from vaeudf.model.networks import Networks
from vaeudf.model.pixels import PixelScaler
from vaeudf.model.weights import has_lazy_weights, load_weights, size_of, to_safetensors

MOST_BYTES_OF_WEIGHTS = 4 * 2**30
"""A manifest can ask for any size, and every executor holds the weights."""

# Names, shapes and metadata at the head of a file of weights.
_MOST_BYTES_OF_HEADER = 2**24
# How far off a test vector may be, relative to its largest number: other machines sum in another
# order.
_TEST_TOLERANCE = 1e-3


class Architecture(ABC):
    """How the networks of a manifest are built, and made ready once their files are loaded."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    @abstractmethod
    def build(self, *, trust_model: bool) -> Networks:
        """Build the networks, whose files are still to be loaded.

        Args:
            trust_model: Whether code that is not vaeudf's may run.

        Raises:
            BundleError: The networks cannot be built, are too large, or the model is not trusted.
        """

    @abstractmethod
    def most_bytes(self, networks: Networks, name: str) -> int:
        """Return how large a file of these networks can be."""

    @abstractmethod
    def load(self, networks: Networks, name: str, content: bytes) -> None:
        """Load the content of a file into the networks.

        Raises:
            BundleError: It is damaged, or does not fit.
        """

    @abstractmethod
    def contents(self, networks: Networks) -> dict[str, bytes]:
        """Return the files of networks, by name, those of ``manifest.weight_files``."""

    @abstractmethod
    def encoder(self, networks: Networks) -> PosteriorEncoder:
        """Return the encoder, ready to use, once its file is loaded."""

    @abstractmethod
    def decoder(self, networks: Networks) -> nn.Module:
        """Return the decoder, ready to use, once its file is loaded."""

    @abstractmethod
    def check(self, networks: Networks) -> None:
        """Check that the networks give the same posteriors as when the bundle was made.

        Raises:
            BundleError: The posteriors differ.
        """


class TorchArchitecture(Architecture):
    """Networks of torch, whose files are their weights."""

    @abstractmethod
    def modules(self, networks: Networks) -> tuple[nn.Module, ...]:
        """Return the modules whose weights the manifest's ``weight_files`` have, in that order."""

    def most_bytes(self, networks: Networks, name: str) -> int:
        """Return how large a file of weights can be."""
        part = self.parts(networks)[name]
        size = MOST_BYTES_OF_WEIGHTS if has_lazy_weights(part) else size_of(part)
        return size + _MOST_BYTES_OF_HEADER

    def load(self, networks: Networks, name: str, content: bytes) -> None:
        """Load a file of weights."""
        load_weights(self.parts(networks)[name], content, name)

    def contents(self, networks: Networks) -> dict[str, bytes]:
        """Return the weights, as safetensors."""
        return {name: to_safetensors(part) for name, part in self.parts(networks).items()}

    def parts(self, networks: Networks) -> dict[str, nn.Module]:
        """Return the module that each file of weights is for, by the file's name."""
        return dict(zip(self.manifest.weight_files, self.modules(networks), strict=True))


def foreign_encoder(manifest: Manifest, networks: Networks) -> PosteriorEncoder:
    """Return the encoder of a model made elsewhere."""
    assert manifest.interface is not None
    return PosteriorEncoder(
        networks.encoder,
        foreign_scaler(manifest),
        latent_dim=manifest.latent_dim,
        variance=manifest.variance,
        latent_scale=manifest.interface.scale,
        latent_shift=manifest.interface.shift,
    )


def foreign_scaler(manifest: Manifest) -> PixelScaler:
    """Return what scales the pictures of a model made elsewhere."""
    assert manifest.interface is not None
    return PixelScaler(manifest.image, channels_last=manifest.interface.channels_last)


def gives_test_vector(manifest: Manifest, networks: Networks) -> bool:
    """Whether an encoder made elsewhere gives for noise what it gave when it was exported."""
    if manifest.test_vector is None:
        return True
    expected = np.asarray(manifest.test_vector)
    found = answer_to_noise(networks.encoder, foreign_scaler(manifest))
    if found is None or np.shape(found) != expected.shape:
        return False
    most = _TEST_TOLERANCE * np.abs(expected).max(axis=1, keepdims=True)
    return bool((np.abs(np.asarray(found) - expected) <= most).all())


def check_size(network: nn.Module, name: str, asked_by: str) -> None:
    """Refuse a network that is larger than what is loaded.

    Raises:
        BundleError: It is.
    """
    if size_of(network) > MOST_BYTES_OF_WEIGHTS:
        raise BundleError(
            f"{asked_by} asks for a model of {size_of(network) / 2**30:,.0f} GiB in "
            f"{name}; at most {MOST_BYTES_OF_WEIGHTS // 2**30} GiB are loaded."
        )
