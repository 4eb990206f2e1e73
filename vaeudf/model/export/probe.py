"""A model made elsewhere, its weights and what it means, to a bundle."""

from __future__ import annotations

import copy
import functools
import importlib.metadata
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vaeudf.errors import BundleError, InputError
from vaeudf.images.spec import ImageSpec, Scaling
from vaeudf.model.answers import describe, pick
from vaeudf.model.bundle import Bundle, save_bundle
from vaeudf.model.encoder import answer_to_noise
from vaeudf.model.export import readings
from vaeudf.model.export.checkpoint import load_checkpoint
from vaeudf.model.export.readings import Reading
from vaeudf.model.export.recognition import (
    Recognised,
    check_family,
    find_decoder,
    find_encoder,
    find_picture,
    recognise,
)
from vaeudf.model.foreign import build_foreign, networks_of
from vaeudf.model.interface import Activation, Interface, LatentLayout, PixelLayout
from vaeudf.model.manifest import Manifest
from vaeudf.model.networks import channels_last
from vaeudf.model.pixels import PixelScaler
from vaeudf.model.variance import VARIANCES, Variance, read_posterior

# Of another batch, in which numbers are summed in another order; and of the very same one.
_TOLERANCE, _SAME = 1e-4, 1e-6
_PROBES = 4
# Pictures that ways to scale pixels are tried on.
_TRIED = 64


@dataclass(frozen=True)
class ForeignModel:
    """A model made elsewhere, and what a person says of it; what is left out is recognised.

    Attributes:
        factory: ``module:callable`` that makes it: one module, or a pair, encoder and decoder.
        image: The pictures that it takes.
        arguments: The factory's, of kinds that JSON has.
        weights: A safetensors file, or one of ``torch.save`` with a state_dict; None if the
            factory's own are the right ones.
        weights_prefix: What to take off the names in that file; those without it are left out.
        variance: How the variance is stated.
        encoder: Path of what encodes (see :mod:`vaeudf.model.foreign`).
        decoder: Path of what decodes; ``none`` leaves it out.
        mu_output: Path of mu in the encoder's answer.
        variance_output: Path of what states the variance.
        picture_output: Path of the picture in the decoder's answer.
        activation: What the decoder's answer must go through to be a picture.
        pixel_layout: Of the pictures that it takes and gives, channel first or last.
        latent_layout: Of latents with three axes, channel first (the default) or last.
        clamp: What is stated of the variance is clamped to this first.
        latent_scale: Latents are (mu - latent_shift) * latent_scale.
        latent_shift: See ``latent_scale``.
    """

    factory: str
    image: ImageSpec
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: str | Path | None = None
    weights_prefix: str | None = None
    variance: Variance | None = None
    encoder: str | None = None
    decoder: str | None = None
    mu_output: str | None = None
    variance_output: str | None = None
    picture_output: str | None = None
    activation: Activation = "none"
    pixel_layout: PixelLayout = "chw"
    latent_layout: LatentLayout | None = None
    clamp: tuple[float, float] | None = None
    latent_scale: float = 1.0
    latent_shift: float = 0.0

    def __post_init__(self) -> None:
        if self.variance is not None and self.variance not in VARIANCES:
            raise InputError(
                f"variance is {self.variance!r}; expected one of {', '.join(VARIANCES)}."
            )


class Probe:
    """A model that has been made and asked.

    Attributes:
        source: What a person said of it.
        model: It, with its weights.
        recognised: Where its posterior is.
        interface: All that the manifest will say of how to call it.
        variance: How its variance is read: as said, or as its family does; None if neither.
        sample: The pictures that it was asked for, shape (N, H, W, C).
    """

    def __init__(self, source: ForeignModel) -> None:
        """Make the model, load its weights and call it, on noise.

        Args:
            source: The model.

        Raises:
            BundleError: It cannot be made, the weights do not fit, or it has no diagonal Gaussian.
        """
        self.source = source
        self.model = build_foreign(source.factory, source.arguments)
        check_family(self.model)
        if source.weights is not None:
            load_checkpoint(self.model, Path(source.weights), source.weights_prefix)
        spec = source.image
        shape = (_PROBES, spec.height, spec.width, spec.channels)
        self.sample = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        self._has_pictures = False
        self.recognised, self.interface = self._ask()
        self.variance: Variance | None = source.variance or self.recognised.variance
        if source.variance and self.recognised.variance not in (None, source.variance):
            raise BundleError(
                f"variance is said to be {source.variance}, but the encoder gives "
                f"{self.recognised.family} output, in which it is {self.recognised.variance}. "
                "Leave --variance out."
            )
        self._check()

    def use(self, sample: NDArray[np.uint8]) -> None:
        """Ask the model for these pictures instead, shape (N, H, W, C).

        Raises:
            BundleError: It does not do for them what a bundle promises.
        """
        self.sample, self._has_pictures = sample, True
        for cached in ("_answers", "_reconstructions"):
            self.__dict__.pop(cached, None)
        self._check()

    def read(self, variance: Variance) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the sample's mu and log_var by one reading of the variance, both (N, n)."""
        mu, log_var = self._read(*self._answers, variance)
        return mu.numpy(), log_var.numpy()

    def readings(self) -> dict[str, Reading]:
        """Return what each reading of the variance implies on the sample."""
        decode = None if self.interface.decoder is None else self._decode
        clean = self._reconstructions
        return {name: readings.read(name, *self.read(name), decode, clean) for name in VARIANCES}

    def reconstruction_error(self) -> float | None:
        """Return the mean squared error of decode(mu) against the sample, pixels in [0, 1]."""
        if self._reconstructions is None:
            return None
        difference = (self._reconstructions.astype(np.float64) - self.sample) / 255.0
        return float(np.mean(difference**2))

    def errors_by_scaling(self) -> dict[str, float]:
        """Return what :meth:`reconstruction_error` would be with each way to scale pixels."""
        if self.interface.decoder is None:
            return {}
        found = {}
        sample, said = self.sample[:_TRIED], self.source.image
        scalings: tuple[Scaling, ...] = ("zero_one", "minus_one_one")
        for scaling in scalings:
            spec = replace(said, scaling=scaling, mean=None, std=None)
            mu, _ = self._read(*self._encode(sample, spec), "log_var")
            difference = (self._decode(mu.numpy(), spec).astype(np.float64) - sample) / 255.0
            found[str(scaling)] = float(np.mean(difference**2))
        return found

    def save(self, path: str | Path) -> Bundle:
        """Write the bundle.

        Raises:
            BundleError: Nobody has said how the variance is to be read, or by that reading the
                sample's posteriors are not finite.
        """
        if self.variance is None:
            raise BundleError(self.question())
        mu, log_var = self.read(self.variance)
        finite = np.isfinite(log_var).all(axis=1)
        if not finite.all():
            possible = [name for name in VARIANCES if np.isfinite(self.read(name)[1]).all()]
            raise BundleError(
                f"read as {self.variance}, what the encoder states gives no sigma above 0 for "
                f"{(~finite).sum()} of {len(mu)} pictures; it may be {', '.join(possible)}. Name "
                "the right one with --variance."
            )
        manifest = self._manifest(self.variance)
        if self._has_pictures:
            ends = np.quantile(mu, [0.005, 0.995], axis=0).astype(np.float64).round(3).tolist()
            manifest = replace(manifest, z_range=ends)
        # By which save_bundle, too, sees that what is loaded again is what was saved.
        vector = answer_to_noise(self._networks.encoder, self._scaler(self.source.image))
        manifest = replace(manifest, test_vector=vector)
        return save_bundle(path, self._networks, manifest)

    def question(self) -> str:
        """Return what a person must be asked if nobody knows how the variance is stated."""
        place = self.interface.spread or "the answer"
        hint = self.recognised.suggested
        named = f", whose name suggests {hint}" if hint else ""
        return (
            f"the encoder states its variance in {place!r}{named}; what is it? Say --variance "
            f"{'|'.join(VARIANCES)}. A wrong reading ruins every result without an error, so there "
            "is no default."
        )

    @functools.cached_property
    @torch.inference_mode()
    def _answers(self) -> tuple[Tensor, Tensor]:
        """What the encoder gives for the sample: mu, and what it states of the variance."""
        mu, stated = self._encode(self.sample, self.source.image)
        for name, found in (("mu", mu), ("variance", stated)):
            bad = int((~torch.isfinite(found)).any(dim=1).sum())
            if bad:
                raise BundleError(
                    f"the encoder gives a {name} that is not finite for {bad} of {len(found)} "
                    "pictures. Are the weights and --scaling right?"
                )
        return mu, stated

    @functools.cached_property
    def _reconstructions(self) -> NDArray[np.uint8] | None:
        """What the decoder makes of mu; None without one."""
        if self.interface.decoder is None:
            return None
        mu, _ = self.read("log_var")
        return self._decode(mu)

    @property
    def _networks(self) -> Any:
        return networks_of(self.model, self.interface)

    def _manifest(self, variance: Variance) -> Manifest:
        source = self.source
        return Manifest(
            architecture=source.factory,
            arguments=dict(source.arguments),
            latent_dim=math.prod(self.interface.latent_shape),
            image=source.image,
            variance=variance,
            training={"exported": _facts(source, self.model, self.recognised)},
            interface=self.interface,
        )

    @torch.inference_mode()
    def _ask(self) -> tuple[Recognised, Interface]:
        source, model = self.source, self.model
        encoder = find_encoder(model) if source.encoder is None else source.encoder
        pixels = PixelScaler(source.image, channels_last=False).scale_array(self.sample[:_PROBES])
        if source.pixel_layout == "hwc":
            pixels = pixels.permute(0, 2, 3, 1).contiguous()
        answer = _call(model, encoder, pixels)
        found = recognise(answer, source.mu_output, source.variance_output)
        mu, stated = (_tensor(answer, path) for path in (found.mu, found.spread))
        shape = _latent_shape(mu, stated, len(pixels), found)
        layout: LatentLayout = "flat" if len(shape) == 1 else source.latent_layout or "chw"
        interface = Interface(
            encoder=encoder,
            mu=found.mu,
            spread=found.spread,
            decoder=None,
            picture="",
            latent_shape=shape,
            latent_layout=layout,
            pixel_layout=source.pixel_layout,
            clamp=source.clamp or found.clamp,
            scale=source.latent_scale,
            shift=source.latent_shift,
            activation=source.activation,
        )
        decoder = find_decoder(model) if source.decoder is None else source.decoder
        if decoder is None or decoder == "none":
            return found, interface
        drawn = _call(model, decoder, mu)
        picture = find_picture(drawn) if source.picture_output is None else source.picture_output
        return found, replace(interface, decoder=decoder, picture=picture)

    def _check(self) -> None:
        """See that the model does what a bundle promises.

        Raises:
            BundleError: It draws random numbers, looks from one picture at another, or decodes to
                pictures of another shape.
        """
        networks = self._networks
        pixels = PixelScaler(self.source.image, channels_last=False).scale_array(
            self.sample[:_PROBES]
        )
        with torch.inference_mode():
            answers, again = (networks.encoder(pixels) for _ in range(2))
            alone = networks.encoder(pixels[:1])
            # Each by itself, and asked the same it must answer the same: the noise of a sample may
            # be a thousandth of mu, and next to nothing beside a log sigma² of -30.
            if not all(map(_same, again, answers)):
                raise BundleError(
                    "the encoder gives another posterior for the same picture when it is asked "
                    "again: one of its outputs is a sample, or noise is added. Name the places of "
                    "mu and the variance with --mu-output and --variance-output, or what encodes "
                    "without sampling with --encoder."
                )
            if not all(_same(a, b[:1], _TOLERANCE) for a, b in zip(alone, answers, strict=True)):
                raise BundleError(
                    "the encoder gives a picture another posterior when others are encoded beside "
                    "it, as a batch norm does that is not in eval mode. A posterior must depend "
                    "on its picture alone."
                )
            if self.interface.decoder is not None:
                drawn = networks.decoder(torch.zeros(2, answers[0].shape[1]))
                spec = self.source.image
                wanted = (2, spec.channels, spec.height, spec.width)
                if tuple(drawn.shape) != wanted:
                    raise BundleError(
                        f"the decoder gives {describe(drawn)}; expected {wanted}, pictures like "
                        "those that the encoder takes. Name another part with --decoder or "
                        "--picture-output, or leave it out with --decoder none."
                    )
            self._try_channels_last(pixels, torch.cat(answers, dim=1))

    def _try_channels_last(self, pixels: Tensor, expected: Tensor) -> None:
        """Use the layout that is faster for convolutions, where the model can take it."""
        self.interface = replace(self.interface, channels_last=False)
        laid_out = pixels.contiguous(memory_format=torch.channels_last)
        try:
            encoder = channels_last(copy.deepcopy(self._networks.encoder))
            found = torch.cat(encoder(laid_out), dim=1)
        except Exception:  # somebody else's code, which may view what lies in another order
            return
        self.interface = replace(self.interface, channels_last=_same(found, expected, _TOLERANCE))

    @torch.inference_mode()
    def _decode(self, z: NDArray[np.float32], spec: ImageSpec | None = None) -> NDArray[np.uint8]:
        spec, decoder = spec or self.source.image, self._networks.decoder
        latents = torch.split(torch.from_numpy(z), spec.batch_size)
        scaler = PixelScaler(spec)
        return np.concatenate([scaler.unscale(decoder(some)) for some in latents])

    def _scaler(self, spec: ImageSpec) -> PixelScaler:
        return PixelScaler(spec, channels_last=self.interface.channels_last)

    @torch.inference_mode()
    def _encode(self, pixels: NDArray[np.uint8], spec: ImageSpec) -> tuple[Tensor, Tensor]:
        scaler, encoder, size = self._scaler(spec), self._networks.encoder, spec.batch_size
        batches = (pixels[i : i + size] for i in range(0, len(pixels), size))
        parts = [encoder(scaler.scale_array(batch)) for batch in batches]
        mu, stated = (torch.cat(column) for column in zip(*parts, strict=True))
        return mu, stated

    def _read(self, mu: Tensor, stated: Tensor, variance: Variance) -> tuple[Tensor, Tensor]:
        scale, shift = self.interface.scale, self.interface.shift
        return read_posterior(mu, stated, variance, scale=scale, shift=shift)


def export_bundle(
    path: str | Path, model: ForeignModel, sample: NDArray[np.uint8] | None = None
) -> Bundle:
    """Write a model made elsewhere as a bundle.

    This calls the model's factory, which is to run its code.

    Args:
        path: The folder to make; an existing one is replaced.
        model: The model, and what is to be said of it.
        sample: Pictures of the catalog, shape (N, H, W, C) uint8: the model is tried on these, and
            they say where sliders make sense.

    Raises:
        BundleError: The model cannot be made, its weights do not fit, it has no diagonal Gaussian,
            or it is not known how its variance is to be read.
    """
    probe = Probe(model)
    if sample is not None:
        probe.use(sample)
    return probe.save(path)


def _call(model: nn.Module, path: str, argument: Tensor) -> Any:
    try:
        return pick(model, path)(argument)
    except BundleError:
        raise
    except Exception as error:  # it is somebody else's code
        raise BundleError(
            f"{path or 'the model'} cannot take {describe(argument)} ({type(error).__name__}: "
            f"{str(error).strip()}). Are the image's size, channels and layout right?"
        ) from error


def _tensor(answer: Any, path: str) -> Tensor:
    found = pick(answer, path)
    if not isinstance(found, Tensor):
        raise BundleError(
            f"{path!r} of the encoder's answer is {describe(found)}; expected a tensor."
        )
    return found


def _latent_shape(mu: Tensor, stated: Tensor, batch: int, found: Recognised) -> tuple[int, ...]:
    if stated.shape != mu.shape:
        same = stated.ndim <= mu.ndim and stated.numel() in (batch, 1)
        why = " One sigma for all dimensions is not known here; expand it in the factory." * same
        raise BundleError(
            f"mu ({found.mu!r}) is {describe(mu)}, but what states the variance "
            f"({found.spread!r}) is {describe(stated)}; expected the same shape.{why}"
        )
    if len(mu) != batch or mu.ndim not in (2, 4) or mu.numel() == 0:
        raise BundleError(
            f"mu ({found.mu!r}) is {describe(mu)} for {batch} pictures; expected (B, n), or "
            "(B, C, h, w) for latents in space."
        )
    return tuple(mu.shape[1:])


def _same(ours: Tensor, theirs: Tensor, tolerance: float = _SAME) -> bool:
    """Whether two answers are equal, to within a fraction of the largest number."""
    scale = float(theirs.abs().nan_to_num(posinf=0.0).max())
    return torch.allclose(ours, theirs, rtol=0.0, atol=tolerance * scale, equal_nan=True)


def _facts(source: ForeignModel, model: nn.Module, found: Recognised) -> dict[str, Any]:
    package = source.factory.split(":")[0].split(".")[0]
    facts: dict[str, Any] = {"model": type(model).__qualname__, "recognised": found.family}
    try:
        facts["package"] = f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        facts["package"] = package
    config = getattr(model, "config", None)
    for name in ("scaling_factor", "shift_factor"):
        value = getattr(config, name, None)
        if isinstance(value, int | float):
            facts[name] = value
    return facts
