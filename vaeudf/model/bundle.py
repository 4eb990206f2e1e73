"""A model on disk: a folder with a manifest and weights.

``bundle.json`` says what the numbers in the weight files mean. Loading a bundle executes no code of
it: the manifest names an architecture of :mod:`vaeudf.model.architectures`, and safetensors hold
nothing but arrays. A model made elsewhere names a factory instead of an architecture,
``module:callable`` in code that is installed here; it is called only if the caller says that the
model is trusted. A model of ONNX is a file of operators, which onnxruntime runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from vaeudf.model.architecture import Architecture
from vaeudf.model.architectures import architecture_of
from vaeudf.model.bundle_files import MANIFEST, bundle_files
from vaeudf.model.decoder import PictureDecoder
from vaeudf.model.encoder import PosteriorEncoder
from vaeudf.model.foreign import NoDecoder
from vaeudf.model.likelihood import MIN_VARIANCE, GaussianPixels, Likelihood
from vaeudf.model.manifest import Manifest
from vaeudf.model.networks import Networks
from vaeudf.model.pixels import PixelScaler
from vaeudf.storage.uploads import replacing_from_here


class NetworkFiles(NamedTuple):
    """What a Spark worker needs to rebuild an encoder or a decoder.

    Attributes:
        manifest: The content of ``bundle.json``.
        weights: The content of the file with its weights.
        trusted: Whether code that is not vaeudf's may run.
    """

    manifest: bytes
    weights: bytes
    trusted: bool = False


@dataclass(frozen=True)
class Bundle:
    """A loaded model.

    Attributes:
        manifest: What the bundle says about itself.
        model_id: sha256 of the manifest, which holds the sha256 of the weights: two bundles
            with the same id give the same posteriors.
        encoder: torch module, (B, C, H, W) scaled pixels → (mu, log_var), both (B, n).
        decoder: torch module, z (B, n) → (B, C, H, W) scaled pixels.
        encoder_files: What a Spark worker needs to rebuild the encoder.
        decoder_files: What it needs to rebuild the decoder.
    """

    manifest: Manifest
    model_id: str
    encoder: PosteriorEncoder = field(repr=False)
    decoder: nn.Module = field(repr=False)
    encoder_files: NetworkFiles = field(repr=False)
    decoder_files: NetworkFiles = field(repr=False)

    @property
    def latent_dim(self) -> int:
        """The number of latent dimensions n."""
        return self.manifest.latent_dim

    @property
    def has_decoder(self) -> bool:
        """Whether the model can decode."""
        return not isinstance(self.decoder, NoDecoder)

    @property
    def likelihood(self) -> Likelihood | None:
        """How likely a picture is under what the decoder gives; None if it is not known.

        Of a model that ``train_vae`` made before manifests had it, it is what that had trained: the
        held-out squared error is the variance.
        """
        return self.manifest.likelihood or _trained_likelihood(self.manifest)

    def decode(self, z: ArrayLike) -> NDArray[np.uint8]:
        """Decode latents (B, n) to pictures (B, H, W, C) uint8.

        Raises:
            InputError: The latents have another shape.
            BundleError: The model has no decoder, or it gives pictures of another shape.
        """
        return _picture_decoder(self.decoder, self.manifest).decode(z)


def load_bundle(path: str | Path, trust_model: bool = False) -> Bundle:
    """Load a model bundle.

    Of one in a store, the files of weights are kept on this machine, in ``vaeudf/models`` of the
    user's cache, and fetched again only when they are others there, or damaged here.

    Args:
        path: The folder, as a path or URI.
        trust_model: Whether code that is not vaeudf's may run, if the model needs it.

    Raises:
        BundleError: A file is missing or has another checksum, the architecture is unknown, the
            weights do not fit it, or the model needs trust that it does not have.
        StoreError: The store does not answer.
    """
    files = bundle_files(path)
    text = files.manifest()
    manifest = Manifest.from_json(text)
    architecture = architecture_of(manifest)
    networks = architecture.build(trust_model=trust_model)
    weights: dict[str, bytes] = {}
    for name in manifest.weight_files:
        most = architecture.most_bytes(networks, name)
        weights[name] = files.weights(name, manifest.files[name], most)
        architecture.load(networks, name, weights[name])
    bundle = Bundle(
        manifest=manifest,
        model_id=hashlib.sha256(text).hexdigest(),
        encoder=architecture.encoder(networks),
        decoder=architecture.decoder(networks),
        encoder_files=NetworkFiles(text, weights[manifest.weight_files[0]], trust_model),
        decoder_files=NetworkFiles(text, weights[manifest.weight_files[-1]], trust_model),
    )
    architecture.check(networks)
    return bundle


def load_encoder(files: NetworkFiles) -> PosteriorEncoder:
    """Rebuild the encoder from a loaded bundle's ``encoder_files``."""
    architecture, networks = _rebuild(files, 0)
    encoder = architecture.encoder(networks)
    architecture.check(networks)
    return encoder


def load_decoder(files: NetworkFiles) -> PictureDecoder:
    """Rebuild the decoder from a loaded bundle's ``decoder_files``."""
    architecture, networks = _rebuild(files, -1)
    decoder = _picture_decoder(architecture.decoder(networks), architecture.manifest)
    architecture.check(networks)
    return decoder


def _rebuild(files: NetworkFiles, place: int) -> tuple[Architecture, Networks]:
    """Return networks with the weights of one file, the first or the last, loaded."""
    manifest = Manifest.from_json(files.manifest)
    architecture = architecture_of(manifest)
    networks = architecture.build(trust_model=files.trusted)
    name = manifest.weight_files[place]
    architecture.load(networks, name, files.weights)
    return architecture, networks


def _trained_likelihood(manifest: Manifest) -> Likelihood | None:
    held_out = manifest.training.get("held_out")
    error: object = held_out.get("squared_error") if isinstance(held_out, dict) else None
    # Only where the pixels are scaled to [0, 1] is their error one of levels.
    ours = manifest.interface is None and manifest.image.scaling == "zero_one"
    if not ours or not isinstance(error, float) or not 0 <= error <= 1:
        return None
    return GaussianPixels(max(error, MIN_VARIANCE))


def _picture_decoder(network: nn.Module, manifest: Manifest) -> PictureDecoder:
    return PictureDecoder(network, PixelScaler(manifest.image), latent_dim=manifest.latent_dim)


def save_bundle(
    path: str | Path,
    networks: Networks,
    manifest: Manifest,
    pictures: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle and return it as loaded from disk.

    The folder appears whole or not at all. An existing one is replaced.

    Args:
        path: The folder to make, as a path or URI.
        networks: The trained networks.
        manifest: All but ``files``, which is filled in here.
        pictures: Files for people, by name; nothing reads them.

    Raises:
        StoreError: A store has not taken it; the message says where it is on this machine.
    """
    weights = architecture_of(manifest).contents(networks)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in weights.items()}
    complete = replace(manifest, files=digests)
    complete.check()
    with replacing_from_here(str(path), last=MANIFEST) as folder:
        for name, data in {**weights, **(pictures or {}), MANIFEST: complete.to_json()}.items():
            (folder / name).write_bytes(data)
        # The networks of a factory are here, so its code has run already.
        bundle = load_bundle(folder, trust_model=manifest.is_foreign)
    return bundle
