"""A model made elsewhere, tried on pictures: its posteriors and its reconstructions of them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaeudf.errors import BundleError
from vaeudf.images.difference import squared_error
from vaeudf.images.spec import ImageSpec
from vaeudf.model.decoder import PictureDecoder
from vaeudf.model.export.evidence import Evidence, measure
from vaeudf.model.export.readings import Reading, read
from vaeudf.model.interface import Interface
from vaeudf.model.networks import Networks
from vaeudf.model.pixels import PixelScaler
from vaeudf.model.variance import VARIANCES, Variance, read_posterior


class Trial:
    """What a model gives for pictures.

    Attributes:
        pixels: The pictures, shape (N, H, W, C).
    """

    def __init__(
        self,
        networks: Networks,
        interface: Interface,
        spec: ImageSpec,
        pixels: NDArray[np.uint8],
    ) -> None:
        """Prepare a trial; networks are called when something is asked of it.

        Args:
            networks: The model's.
            interface: Of the model.
            spec: How the pictures are scaled for it.
            pixels: The pictures, shape (N, H, W, C).
        """
        self.pixels = pixels
        self._encoder = networks.encoder
        self._interface = interface
        self._scaler = PixelScaler(spec, channels_last=interface.channels_last)
        self._decoder = PictureDecoder(
            networks.decoder, self._scaler, latent_dim=interface.latent_dim
        )

    @property
    def has_decoder(self) -> bool:
        """Whether there are reconstructions."""
        return self._interface.decoder is not None

    def check_finite(self) -> None:
        """Check what the encoder gives.

        Raises:
            BundleError: A number is not finite.
        """
        for name, answer in zip(("mu", "variance"), self._answers, strict=True):
            bad = int((~torch.isfinite(answer)).any(dim=1).sum())
            if bad:
                raise BundleError(
                    f"the encoder gives a {name} that is not finite for {bad} of {len(answer)} "
                    "pictures. Are the weights and --scaling right?"
                )

    def posteriors(self, variance: Variance) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mu and log_var by one reading of the variance, both (N, n)."""
        scale, shift = self._interface.scale, self._interface.shift
        mu, log_var = read_posterior(*self._answers, variance, scale=scale, shift=shift)
        return mu.numpy(), log_var.numpy()

    def readings(self) -> dict[str, Reading]:
        """Return what each reading of the variance implies for the pictures."""
        decode_error = self._decode_error if self.has_decoder else None
        return {name: read(*self.posteriors(name), decode_error) for name in VARIANCES}

    def reconstruction_error(self) -> float | None:
        """Return the mean squared error of decode(mu) against the pictures, pixels in [0, 1].

        None without a decoder.
        """
        return squared_error(self._reconstructions, self.pixels) if self.has_decoder else None

    @cached_property
    def evidence(self) -> Evidence | None:
        """What decode(mu) of the pictures says of the likelihood; None without a decoder."""
        if not self.has_decoder:
            return None
        mu, _ = self.posteriors("log_var")  # mu is the same by all readings
        size = self._scaler.spec.batch_size
        starts = range(0, len(mu), size)
        # A batch at a time: levels are four times as large as pictures.
        return measure(
            (self.pixels[i : i + size], self._decoder.decode_levels(mu[i : i + size]))
            for i in starts
        )

    def _decode_error(self, z: NDArray[np.float32]) -> float:
        """Return the mean squared error of decode(z) against decode(mu), pixels in [0, 1]."""
        return squared_error(self._decoder.decode(z), self._reconstructions)

    @cached_property
    @torch.inference_mode()
    def _answers(self) -> tuple[Tensor, Tensor]:
        """What the encoder gives: mu, and what states the variance."""
        size = self._scaler.spec.batch_size
        batches = (self.pixels[i : i + size] for i in range(0, len(self.pixels), size))
        answers = [self._encoder(self._scaler.scale_array(batch)) for batch in batches]
        mu, stated = (torch.cat(column) for column in zip(*answers, strict=True))
        return mu, stated

    @cached_property
    def _reconstructions(self) -> NDArray[np.uint8]:
        mu, _ = self.posteriors("log_var")  # mu is the same by all readings
        return self._decoder.decode(mu)
