"""A model on disk: a folder with a manifest and weights.

``bundle.json`` says what the numbers in the weight files mean. To load a bundle executes no code of
it: the manifest names an architecture of :mod:`vaeudf.model.conv_vae`, and safetensors hold nothing
but arrays. A model made elsewhere has a factory in the place of an architecture,
``module:callable`` in code that is installed here; it is called only for whoever says that the
model is trusted.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import safetensors.torch
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from vaeudf.errors import BundleError, InputError
from vaeudf.images.spec import ImageSpec, check_pixels, unscale_pixels
from vaeudf.model.conv_vae import Networks, build
from vaeudf.model.foreign import (
    ForeignDecoder,
    ForeignEncoder,
    Interface,
    NoDecoder,
    build_foreign,
    is_factory,
    networks_of,
)
from vaeudf.model.variance import VARIANCES, Variance, to_log_var
from vaeudf.storage.outputs import replacing

FORMAT = 2
MANIFEST = "bundle.json"
ENCODER = "encoder.safetensors"
DECODER = "decoder.safetensors"
MODEL = "model.safetensors"
"""The weights of a model made elsewhere, whose halves nobody here can tell apart."""

# A manifest of a few kilobytes; with long arguments, or thousands of dimensions, some more.
_MOST_BYTES_OF_MANIFEST = 2**22
# Names, shapes and metadata at the head of a file of weights.
_MOST_BYTES_OF_HEADER = 2**24
# Dimensions of the test vector, and how far off it may be, of its largest number: another machine
# sums in another order.
_TESTED = 16
_TEST_TOLERANCE = 1e-3
# A sparse file of a terabyte costs whoever sends it nothing. Every executor holds the weights.
_MOST_BYTES_OF_WEIGHTS = 4 * 2**30


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about its weights.

    Attributes:
        architecture: Name in :data:`vaeudf.model.conv_vae.ARCHITECTURES`, or a factory,
            ``module:callable``.
        arguments: Its arguments.
        latent_dim: n, the length of mu and log_var.
        image: The pictures that the encoder takes and the decoder gives.
        variance: What the encoder's second output states.
        z_range: Per dimension, the low and high end of where training items lie, shape (2, n):
            the sensible travel of a slider. None if not known.
        training: Facts about the training, for people.
        interface: How a factory's model is called; None for an architecture.
        test_vector: What a factory's encoder gave for a picture of noise when it was exported, the
            first numbers of mu and of what states the variance: its code may change, and its
            weights' checksums would not tell. None if not known.
        files: sha256 of each weight file.
    """

    architecture: str
    arguments: dict[str, Any]
    latent_dim: int
    image: ImageSpec
    variance: Variance = "log_var"
    z_range: list[list[float]] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    interface: Interface | None = None
    test_vector: list[list[float]] | None = None
    files: dict[str, str] = field(default_factory=dict)

    @property
    def is_foreign(self) -> bool:
        """Whether to build the model is to run code that is not vaeudf's."""
        return isinstance(self.architecture, str) and is_factory(self.architecture)

    def to_json(self) -> bytes:
        """Return the text of ``bundle.json``."""
        interface = None if self.interface is None else self.interface.to_dict()
        content = {
            "format": FORMAT,
            **vars(self),
            "image": self.image.to_dict(),
            "interface": interface,
        }
        text = json.dumps(content, indent=2, allow_nan=False)
        # Each of thousands of numbers on a line of its own helps nobody.
        text = re.sub(r"\[\n[-\d.,\se+]*\]", lambda found: " ".join(found[0].split()), text)
        return f"{text}\n".encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Read ``bundle.json``.

        Raises:
            BundleError: It is not a manifest of this format.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{MANIFEST} is not JSON: {error}.") from None
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        if type(found) is not int or not 1 <= found <= FORMAT:
            raise BundleError(f"{MANIFEST} has format {found!r}; this version reads 1 to {FORMAT}.")
        del content["format"]
        if found == 1:  # before there were models made elsewhere
            content.setdefault("interface", None)
            content.setdefault("test_vector", None)
        expected = set(cls.__dataclass_fields__)
        if set(content) != expected:
            raise BundleError(
                f"{MANIFEST} has the keys {sorted(content)}; expected {sorted(expected)}."
            )
        try:
            content["image"] = ImageSpec.from_dict(content["image"])
            if content["interface"] is not None:
                content["interface"] = Interface.from_dict(content["interface"])
        except InputError as error:
            raise BundleError(f"{MANIFEST}: image: {error}") from None
        except BundleError as error:
            raise BundleError(f"{MANIFEST}: {error}") from None
        manifest = cls(**content)
        manifest._check()
        return manifest

    def _check(self) -> None:
        n = self.latent_dim
        problems = {
            "architecture": isinstance(self.architecture, str),
            "arguments": isinstance(self.arguments, dict),
            "interface": self.interface is None or isinstance(self.interface, Interface),
            "latent_dim": type(n) is int and n >= 1,
            "variance": self.variance in VARIANCES,
            "z_range": self.z_range is None or _is_range(self.z_range, n),
            "training": isinstance(self.training, dict),
            "test_vector": self.test_vector is None
            or (n >= 1 and _is_range(self.test_vector, min(n, _TESTED))),
            "files": isinstance(self.files, dict)
            and set(self.files) == ({MODEL} if self.is_foreign else {ENCODER, DECODER})
            and all(isinstance(digest, str) for digest in self.files.values()),
        }
        for key, good in problems.items():
            if not good:
                raise BundleError(
                    f"{MANIFEST}: {key} is {getattr(self, key)!r}, which is not a value that "
                    "this key can have; see docs/models.md for the format."
                )
        if self.is_foreign != (self.interface is not None):
            raise BundleError(
                f"{MANIFEST}: architecture is {self.architecture!r} and interface is "
                f"{'there' if self.interface else 'null'}; expected an interface for a factory, "
                "module:callable, and for nothing else."
            )
        if self.interface is not None:
            if math.prod(self.interface.latent_shape) != n:
                raise BundleError(
                    f"{MANIFEST}: latent_dim is {n}, but interface.latent_shape "
                    f"{list(self.interface.latent_shape)}; expected its product."
                )
            return  # what a factory's arguments mean is its own affair
        stated = {**self.image.to_dict(), "latent_dim": n}
        for name, value in self.arguments.items():
            if stated.get(name, value) != value:
                raise BundleError(
                    f"{MANIFEST}: the argument {name} of {self.architecture} is {value!r}, but "
                    f"the manifest says {stated[name]!r}; expected the same."
                )


class PosteriorEncoder(nn.Module):
    """An encoder whose variance reading is settled: it always gives (mu, log_var).

    Attributes:
        spec: The pictures it takes.
        latent_dim: n.
    """

    divisor: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, manifest: Manifest) -> None:
        super().__init__()
        self.network = network
        self.spec = manifest.image
        self.latent_dim = manifest.latent_dim
        self.variance = manifest.variance
        self.interface = manifest.interface
        divisor, offset = (torch.from_numpy(a) for a in self.spec.divisor_and_offset)
        self.register_buffer("divisor", divisor, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.takes_channels_last = manifest.interface is None or manifest.interface.channels_last

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map scaled pixels (B, C, H, W) to mu and log sigma², both (B, n)."""
        return self.read(*self.network(pixels))

    def read(self, mu: Tensor, stated: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log_var, from what the network says."""
        # Its own arithmetic is not what an encoder of half precision is to save.
        mu, log_var = mu.float(), to_log_var(stated.float(), self.variance)
        if self.interface is not None:
            mu = (mu - self.interface.shift) * self.interface.scale
            log_var = log_var + 2.0 * math.log(self.interface.scale)
        return mu, log_var

    def scale(self, pixels: Tensor) -> Tensor:
        """Map pictures (B, H, W, C) uint8 to what the network gets, float32 (B, C, H, W).

        The same numbers as :func:`vaeudf.images.spec.scale_pixels`, on the pixels' device.
        """
        # Seen with the channels first, a picture is channel-last already: nothing is moved, which
        # saves an eighth of the time of the reference encoder on a CPU.
        scaled = pixels.permute(0, 3, 1, 2).to(torch.float32)
        scaled /= self.divisor
        if self.spec.scaling != "zero_one":
            scaled -= self.offset
        return scaled if self.takes_channels_last else scaled.contiguous()

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Encode pictures (B, H, W, C) uint8 to mu and log_var, both (B, n) float32."""
        check_pixels(pixels, self.spec)
        # torch warns of arrays that cannot be written to, which is all that Arrow gives.
        owned = np.require(pixels, requirements="W")
        mu, log_var = self(self.scale(torch.from_numpy(owned)))
        return mu.float().numpy(), log_var.float().numpy()


class PictureDecoder:
    """A decoder that gives pictures, a network's batch at a time.

    Attributes:
        network: z (B, n) → (B, C, H, W) scaled pixels.
        spec: The pictures it gives.
        latent_dim: n.
    """

    def __init__(self, network: nn.Module, manifest: Manifest) -> None:
        self.network = network
        self.spec = manifest.image
        self.latent_dim = manifest.latent_dim
        self._device = torch.device("cpu")

    def to(self, device: torch.device) -> PictureDecoder:
        """Move the network to a device, and return this."""
        self.network.to(device)
        self._device = device
        return self

    @torch.inference_mode()
    def decode(self, z: ArrayLike) -> NDArray[np.uint8]:
        """Decode latents (B, n) to pictures (B, H, W, C) uint8.

        Raises:
            InputError: The latents have another shape.
            BundleError: The model has no decoder, or it gives pictures of another shape.
        """
        if np.ndim(z) != 2 or np.shape(z)[1] != self.latent_dim:
            raise InputError(f"z has shape {np.shape(z)}; expected (B, {self.latent_dim}).")
        latents = torch.from_numpy(np.ascontiguousarray(z, dtype=np.float32)).to(self._device)
        try:
            parts = [
                unscale_pixels(self.network(some).float().cpu().numpy(), self.spec)
                for some in torch.split(latents, self.spec.batch_size)
            ]
        except InputError as error:
            raise BundleError(f"the decoder's pictures: {error}") from None
        return np.concatenate(parts)


class NetworkFiles(NamedTuple):
    """What a Spark worker needs to rebuild an encoder, or a decoder.

    Attributes:
        manifest: The bytes of ``bundle.json``.
        weights: The bytes of the file that has its weights.
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
        """Whether :meth:`decode` can do anything."""
        return not isinstance(self.decoder, NoDecoder)

    def decode(self, z: ArrayLike) -> NDArray[np.uint8]:
        """Decode latents (B, n) to pictures (B, H, W, C) uint8.

        Raises:
            InputError: The latents have another shape.
            BundleError: The model has no decoder, or it gives pictures of another shape.
        """
        return PictureDecoder(self.decoder, self.manifest).decode(z)


def load_bundle(path: str | Path, trust_model: bool = False) -> Bundle:
    """Load a model bundle from a folder.

    Args:
        path: The folder.
        trust_model: Whether code that is not vaeudf's may run, if that is what the model needs.

    Raises:
        BundleError: A file is missing or has another checksum, the architecture is unknown, the
            weights do not fit it, or the model needs trust that it does not have.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise BundleError(
            f"{folder} is not a folder; expected a model bundle (from train_vae or export_model)."
        )
    text = _read(folder, MANIFEST, _MOST_BYTES_OF_MANIFEST)
    manifest = Manifest.from_json(text)
    networks = _build(manifest, trust_model)
    data: dict[str, bytes] = {}
    for name, part in _parts(networks).items():
        expected = _bytes_of(part)
        if expected > _MOST_BYTES_OF_WEIGHTS and not manifest.is_foreign:
            raise BundleError(
                f"{MANIFEST} asks for a model of {expected / 2**30:,.0f} GiB in {name}; at most "
                f"{_MOST_BYTES_OF_WEIGHTS // 2**30} GiB are loaded."
            )
        data[name] = _read(folder, name, expected + _MOST_BYTES_OF_HEADER)
        found = hashlib.sha256(data[name]).hexdigest()
        if found != manifest.files[name]:
            raise BundleError(
                f"{folder / name} has sha256 {found[:12]}…, but {MANIFEST} says "
                f"{manifest.files[name][:12]}…: the file is damaged or from another model. "
                "Copy the bundle again, or make it anew."
            )
        _load_weights(part, data[name], name)
    return Bundle(
        manifest=manifest,
        model_id=hashlib.sha256(text).hexdigest(),
        encoder=_ready_encoder(networks.encoder, manifest),
        decoder=_ready_decoder(networks.decoder),
        encoder_files=NetworkFiles(text, next(iter(data.values())), trust_model),
        decoder_files=NetworkFiles(text, list(data.values())[-1], trust_model),
    )


def load_encoder(files: NetworkFiles) -> PosteriorEncoder:
    """Rebuild the encoder from a loaded bundle's ``encoder_files``."""
    manifest, networks = _rebuild(files, 0)
    return _ready_encoder(networks.encoder, manifest)


def load_decoder(files: NetworkFiles) -> PictureDecoder:
    """Rebuild the decoder from a loaded bundle's ``decoder_files``."""
    manifest, networks = _rebuild(files, -1)
    if manifest.is_foreign:
        # One model is both halves: whether it is still the same, its encoder tells.
        _ready_encoder(networks.encoder, manifest)
    return PictureDecoder(_ready_decoder(networks.decoder), manifest)


def _rebuild(files: NetworkFiles, place: int) -> tuple[Manifest, Networks]:
    """Return the networks with the weights of one of their files loaded, the first or the last."""
    manifest = Manifest.from_json(files.manifest)
    networks = _build(manifest, files.trusted)
    name, part = list(_parts(networks).items())[place]
    _load_weights(part, files.weights, name)
    return manifest, networks


def save_bundle(
    path: str | Path,
    networks: Networks,
    manifest: Manifest,
    pictures: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle and return it as loaded from disk.

    The folder appears whole or not at all. An existing one is replaced.

    Args:
        path: The folder to make.
        networks: The trained networks.
        manifest: All but ``files``, which is filled in here.
        pictures: Files for people, by name; nothing reads them.
    """
    weights = {
        name: safetensors.torch.save(_apart(part.state_dict()))
        for name, part in _parts(networks).items()
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in weights.items()}
    complete = Manifest(**{**vars(manifest), "files": digests})
    complete._check()

    with replacing(str(path)) as staging:
        folder = Path(staging)
        folder.mkdir(parents=True)
        for name, data in {**weights, MANIFEST: complete.to_json(), **(pictures or {})}.items():
            (folder / name).write_bytes(data)
        return load_bundle(folder, trust_model=complete.is_foreign)


Module = TypeVar("Module", bound=nn.Module)


def channels_last(module: Module) -> Module:
    """Lay a module's convolutions out channel-last, and return it."""
    for part in module.modules():
        # Of a module with other kinds of four or five axes, .to() would refuse the whole.
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


@torch.inference_mode()
def answer_to_noise(encoder: PosteriorEncoder) -> list[list[float]] | None:
    """Return what an encoder gives for a picture of noise: see :class:`Manifest`."""
    spec = encoder.spec
    shape = (1, spec.height, spec.width, spec.channels)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    answers = encoder.network(encoder.scale(torch.from_numpy(noise)))
    found = [answer[0, :_TESTED].double().tolist() for answer in answers]
    return found if np.isfinite(found).all() else None


def _check_test_vector(encoder: PosteriorEncoder, manifest: Manifest) -> None:
    if manifest.test_vector is None:
        return
    expected, found = np.asarray(manifest.test_vector), answer_to_noise(encoder)
    most = _TEST_TOLERANCE * np.abs(expected).max(axis=1, keepdims=True)
    if found is None or np.shape(found) != expected.shape or (abs(found - expected) > most).any():
        raise BundleError(
            f"what {manifest.architecture} makes here gives other posteriors than it did when the "
            "bundle was made: its code, or a package that it uses, is not the same any more, or "
            "it has numbers that are not among its weights. Export the model again, and encode "
            "everything with it."
        )


def _ready_encoder(network: nn.Module, manifest: Manifest) -> PosteriorEncoder:
    encoder = PosteriorEncoder(network, manifest).eval().requires_grad_(False)
    # 20 % faster than the default layout for convolutions on CPUs (193 against 241 ms for 256
    # images of 64 × 64 on one thread), and the same numbers to within rounding.
    encoder = channels_last(encoder) if encoder.takes_channels_last else encoder
    _check_test_vector(encoder, manifest)
    return encoder


def _ready_decoder(network: nn.Module) -> nn.Module:
    network = network.eval().requires_grad_(False)
    # As above: 1,070 against 940 pictures of 64 × 64 a second. How somebody else's are laid out is
    # for them to say.
    return network if isinstance(network, ForeignDecoder | NoDecoder) else channels_last(network)


def _apart(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Cloned, for parameters that share memory, which safetensors would refuse.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def _build(manifest: Manifest, trust_model: bool) -> Networks:
    if manifest.interface is not None:
        if not trust_model:
            raise BundleError(
                f"the model is made by code of somebody's own, {manifest.architecture}; to load it "
                "is to run that code, with all that it may do here and on the cluster. If you "
                "trust it, say so: --trust-model, or load_bundle(…, trust_model=True)."
            )
        model = build_foreign(manifest.architecture, manifest.arguments)
        return networks_of(model, manifest.interface)
    # The sizes in a manifest may ask for any amount of memory; the weights' file says how much
    # there is to load. Nor are random weights drawn that nobody uses.
    with torch.device("meta"):
        return build(manifest.architecture, manifest.arguments)


def _parts(networks: Networks) -> dict[str, nn.Module]:
    """Return what each file of weights is for; the encoder's comes first."""
    if isinstance(networks.encoder, ForeignEncoder):
        return {MODEL: networks.encoder.model}
    return {ENCODER: networks.encoder, DECODER: networks.decoder}


def _bytes_of(network: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())


def _load_weights(network: nn.Module, data: bytes, name: str) -> None:
    try:
        found = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"{name} is not a safetensors file: {error}.") from None
    expected = network.state_dict()
    if set(found) != set(expected):
        different = sorted(set(found) ^ set(expected))
        raise BundleError(
            f"{name} does not fit the architecture: these weights are missing or surplus: "
            f"{different[:5]}."
        )
    for key, tensor in expected.items():
        if found[key].shape != tensor.shape or found[key].dtype != tensor.dtype:
            raise BundleError(
                f"{name}: {key} is {tuple(found[key].shape)} {found[key].dtype}; the "
                f"architecture expects {tuple(tensor.shape)} {tensor.dtype}."
            )
        if not torch.isfinite(found[key]).all():
            raise BundleError(f"{name}: {key} has NaN or infinite weights.")
    network.load_state_dict(found, assign=True)


def _read(folder: Path, name: str, most: int) -> bytes:
    """Read a file of a bundle, which may be anything: a pipe, a device, or endless."""
    try:
        # Not to wait for the other end of a pipe.
        with open(os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(None, "not a file")
            if status.st_size > most:
                raise BundleError(
                    f"{folder / name} has {status.st_size:,} bytes; {most:,} are the most that "
                    "it can need."
                )
            return file.read(most)
    except OSError as error:
        raise BundleError(
            f"{folder} has no readable {name} ({error.strerror}); a bundle holds "
            f"{MANIFEST}, and {ENCODER} and {DECODER}, or {MODEL}."
        ) from None


def _is_range(value: object, latent_dim: int) -> bool:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return False
    return array.shape == (2, latent_dim) and bool(np.isfinite(array).all())
