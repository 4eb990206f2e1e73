"""A model made elsewhere: made, called, checked, and saved as a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import BundleError, InputError
from vaeudf.images.spec import Scaling
from vaeudf.model.bundle import Bundle, save_bundle
from vaeudf.model.encoder import answer_to_noise
from vaeudf.model.export.calling import find_interface
from vaeudf.model.export.checks import check_decoder, check_encoder, takes_channels_last
from vaeudf.model.export.draft_effect import DraftEffect, measure_draft
from vaeudf.model.export.evidence import last_activation
from vaeudf.model.export.foreign_model import ForeignModel
from vaeudf.model.export.recognition import Recognised
from vaeudf.model.export.trial import Trial
from vaeudf.model.foreign import networks_of
from vaeudf.model.interface import Activation
from vaeudf.model.likelihood import MEASURED, Likelihood
from vaeudf.model.manifest import Manifest
from vaeudf.model.pixels import PixelScaler
from vaeudf.model.variance import VARIANCES, Variance

# Pictures that a model is checked on.
_CHECKED = 4
# Pictures that ways to scale pixels are tried on.
_TRIED = 64

MEASURED_ON_NOTHING = (
    "likelihood is gaussian, whose variance is measured on pictures, and there are none; name some "
    "with --catalog (or pass export_bundle a sample), or the variance, such as gaussian:0.0123."
)


class Probe:
    """A model that has been made and called.

    Attributes:
        source: What a person says of it.
        model: The model, with its weights.
        taken: Which weights of the file these are, in words, if it has several.
        recognised: Where its posterior is.
        interface: How it is called.
        variance: How its variance is read: as said, or as its family does; None if neither.
        trial: What it gives for noise, or for the pictures of :meth:`use`.
    """

    trial: Trial

    def __init__(self, source: ForeignModel) -> None:
        """Make the model, load its weights and call it, on noise.

        Args:
            source: The model.

        Raises:
            BundleError: It cannot be made, the weights do not fit, or it has no diagonal Gaussian.
        """
        self.source = source
        self._origin = source.origin
        self.model, self._facts, self.taken = self._origin.make()
        # For checks, channel-first in memory, which every model takes.
        self._scaler = PixelScaler(source.image, channels_last=False)
        shape = (_CHECKED, source.image.height, source.image.width, source.image.channels)
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        self.recognised, self.interface = find_interface(
            self.model, source, self._scaler.scale_array(noise)
        )
        self.variance = _variance(source.variance, self.recognised)
        self._check_likelihood()
        self._networks = networks_of(self.model, self.interface, source.image)
        self._has_pictures = False
        self._try(noise)

    def use(self, sample: NDArray[np.uint8]) -> None:
        """Try the model on pictures instead of noise.

        Args:
            sample: The pictures, shape (N, H, W, C).

        Raises:
            BundleError: Its answers are not what a bundle promises, or not finite.
        """
        self._try(sample)
        self._has_pictures = True
        self.trial.check_finite()

    def draft_effect(self, drafted: NDArray[np.uint8]) -> DraftEffect | None:
        """Return what becomes of the posteriors if JPEGs are decoded at the size that is needed.

        Args:
            drafted: The pictures of :meth:`use`, decoded so, shape (N, H, W, C).

        Returns:
            None if no picture is another one then.

        Raises:
            BundleError: It is not known how the variance is to be read.
        """
        if self.variance is None:
            raise BundleError(self.question())
        differs = (drafted != self.trial.pixels).any(axis=(1, 2, 3))
        if not differs.any():
            return None
        other = Trial(self._networks, self.interface, self.source.image, drafted)
        other.check_finite()
        return measure_draft(
            self.trial.posteriors(self.variance), other.posteriors(self.variance), differs
        )

    def use_drafted(self, drafted: NDArray[np.uint8]) -> None:
        """Give the model JPEGs decoded at the size that is needed, and try it on such pictures.

        Args:
            drafted: As of :meth:`draft_effect`.
        """
        self.source = replace(self.source, image=replace(self.source.image, jpeg_draft=True))
        self.use(drafted)

    @property
    def likelihood(self) -> Likelihood | None:
        """How likely a picture is: as said, and checked; None if nothing is said.

        Raises:
            InputError: The variance is to be measured, and there are no pictures to do that on.
            BundleError: The decoder gives what cannot have this likelihood.
        """
        stated = self.source.stated_likelihood
        if stated is None:
            return None
        if stated == MEASURED and not self._has_pictures:
            raise InputError(MEASURED_ON_NOTHING)
        evidence = self.trial.evidence
        assert evidence is not None  # without a decoder nothing may be stated
        if stated == MEASURED:
            evidence.check_finite(MEASURED)
            return evidence.gaussian
        evidence.check(stated)
        return stated

    def errors_by_scaling(self) -> dict[str, float]:
        """Return what the reconstruction error would be with each way to scale pixels."""
        scalings: tuple[Scaling, ...] = ("zero_one", "minus_one_one")
        found = {}
        for scaling in scalings:
            spec = replace(self.source.image, scaling=scaling, mean=None, std=None)
            pixels = self.trial.pixels[:_TRIED]
            error = Trial(self._networks, self.interface, spec, pixels).reconstruction_error()
            if error is not None:
                found[str(scaling)] = error
        return found

    def save(self, path: str | Path) -> Bundle:
        """Write the bundle.

        Raises:
            BundleError: It is not known how the variance is to be read, or the posteriors of the
                pictures are not finite by that reading.
        """
        if self.variance is None:
            raise BundleError(self.question())
        self.trial.check_finite()
        mu, log_var = self.trial.posteriors(self.variance)
        finite = np.isfinite(log_var).all(axis=1)
        if not finite.all():
            possible = [v for v in VARIANCES if np.isfinite(self.trial.posteriors(v)[1]).all()]
            raise BundleError(
                f"read as {self.variance}, what the encoder states gives no sigma above 0 for "
                f"{(~finite).sum()} of {len(mu)} pictures; it may be {', '.join(possible)}. Name "
                "the right one with --variance."
            )
        z_range = None
        if self._has_pictures:  # noise says nothing of where items lie
            ends = np.quantile(mu, [0.005, 0.995], axis=0)
            z_range = ends.astype(np.float64).round(3).tolist()
        scaler = PixelScaler(self.source.image, channels_last=self.interface.channels_last)
        manifest = Manifest(
            architecture=self._origin.architecture,
            arguments=self._origin.arguments,
            latent_dim=self.interface.latent_dim,
            image=self.source.image,
            variance=self.variance,
            z_range=z_range,
            training={"exported": {"recognised": self.recognised.family, **self._facts}},
            interface=self.interface,
            # save_bundle compares it with what the loaded bundle gives.
            test_vector=answer_to_noise(self._networks.encoder, scaler),
            likelihood=self.likelihood,
        )
        return save_bundle(path, self._networks, manifest)

    def last_activation(self) -> Activation:
        """Return which activation the pictures have gone through; ``none`` if it is not known."""
        if self.interface.activation != "none" or self.interface.decoder is None:
            return self.interface.activation
        return last_activation(self._networks.decoder, self.interface.latent_dim)

    def question(self) -> str:
        """Return the question to ask if it is not known how the variance is stated."""
        place = self.interface.spread or "the answer"
        hint = self.recognised.suggested
        named = f", whose name suggests {hint}" if hint else ""
        return (
            f"the encoder states its variance in {place!r}{named}; what is it? Say --variance "
            f"{'|'.join(VARIANCES)}. A wrong reading ruins every result without an error, so there "
            "is no default."
        )

    def _check_likelihood(self) -> None:
        """Refuse a likelihood of pictures that nothing gives."""
        if self.source.likelihood is not None and self.interface.decoder is None:
            raise BundleError(
                f"likelihood is said to be {self.source.likelihood}, but the model has no decoder, "
                "and a likelihood is that of pictures around what one gives. Leave --likelihood "
                "out, or name what decodes with --decoder or --onnx-decoder."
            )

    def _try(self, pixels: NDArray[np.uint8]) -> None:
        """Check the model on the first of some pictures, and begin a trial on all of them."""
        encoder, decoder = self._networks
        scaled = self._scaler.scale_array(pixels[:_CHECKED])
        check_encoder(encoder, scaled)
        if self.interface.decoder is not None:
            check_decoder(decoder, self.interface.latent_dim, self.source.image)
        faster = takes_channels_last(encoder, scaled)
        self.interface = replace(self.interface, channels_last=faster)
        self.trial = Trial(self._networks, self.interface, self.source.image, pixels)


def _variance(said: Variance | None, recognised: Recognised) -> Variance | None:
    if said is not None and recognised.variance not in (None, said):
        raise BundleError(
            f"variance is said to be {said}, but the encoder gives {recognised.family} output, in "
            f"which it is {recognised.variance}. Leave --variance out."
        )
    return said or recognised.variance
