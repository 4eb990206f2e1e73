"""What a person says of a model made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vaeudf.errors import InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.export.origin import FactoryOrigin, OnnxFiles, Origin
from vaeudf.model.interface import Activation, LatentLayout, PixelLayout
from vaeudf.model.likelihood import MEASURED, Likelihood, parse_likelihood
from vaeudf.model.variance import VARIANCES, Variance


@dataclass(frozen=True)
class ForeignModel:
    """A model made elsewhere, and what a person says of it; what is left out is recognised.

    Attributes:
        factory: ``module:callable`` or ``file.py:callable`` that makes it: one module, or a pair,
            encoder and decoder. Or :class:`OnnxFiles`, which need no factory.
        image: The pictures that it takes.
        arguments: The factory's, of types that JSON has.
        weights: A safetensors file, or one of ``torch.save`` with a state_dict; None if the
            factory's own are the right ones.
        weights_prefix: What to take off the names in that file; those without it are left out.
        weights_key: Where in that file the weights are, such as ``ema``; None to look for them.
        variance: How the variance is stated.
        encoder: Path of the encoder (see :mod:`vaeudf.model.answers`).
        decoder: Path of the decoder; ``none`` leaves it out.
        mu_output: Path of mu in the encoder's answer.
        variance_output: Path of what states the variance.
        picture_output: Path of the picture in the decoder's answer.
        activation: What the decoder's answer must go through to be a picture.
        pixel_layout: Of the pictures that it takes and gives: channel first or last, or flat; None
            to try these in turn.
        latent_layout: Of latents with three axes, channel first (the default) or last.
        clamp: What states the variance is clamped to this first.
        latent_scale: Latents are (mu - latent_shift) * latent_scale.
        latent_shift: See ``latent_scale``.
        likelihood: How likely a picture is under what the decoder gives; in words ``bernoulli``,
            ``gaussian:0.0123``, or ``gaussian``, whose variance is measured. What the loss of the
            training was, which nothing else shows: it is never recognised.
    """

    factory: str | OnnxFiles
    image: ImageSpec
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: str | Path | None = None
    weights_prefix: str | None = None
    weights_key: str | None = None
    variance: Variance | None = None
    encoder: str | None = None
    decoder: str | None = None
    mu_output: str | None = None
    variance_output: str | None = None
    picture_output: str | None = None
    activation: Activation = "none"
    pixel_layout: PixelLayout | None = None
    latent_layout: LatentLayout | None = None
    clamp: tuple[float, float] | None = None
    latent_scale: float = 1.0
    latent_shift: float = 0.0
    likelihood: Likelihood | str | None = None

    def __post_init__(self) -> None:
        if self.variance is not None and self.variance not in VARIANCES:
            raise InputError(
                f"variance is {self.variance!r}; expected one of {', '.join(VARIANCES)}."
            )
        self.stated_likelihood  # noqa: B018 - checks the words
        if isinstance(self.factory, OnnxFiles):
            for name in ("arguments", "weights", "weights_prefix", "weights_key"):
                if getattr(self, name):
                    raise InputError(
                        f"{name.replace('_', '-')} goes with a factory; files of ONNX have "
                        "their weights in them."
                    )

    @property
    def stated_likelihood(self) -> Likelihood | Literal["gaussian"] | None:
        """What is said of the likelihood: all of it, or that it is a Gaussian, or nothing.

        Raises:
            InputError: The words are none that are known.
        """
        if not isinstance(self.likelihood, str):
            return self.likelihood
        if self.likelihood.strip() == MEASURED:
            return MEASURED
        try:
            return parse_likelihood(self.likelihood)
        except InputError as error:
            raise InputError(
                f"{str(error).rstrip('.')}, or gaussian alone, whose variance is measured."
            ) from None

    @property
    def origin(self) -> Origin:
        """Where it comes from."""
        if isinstance(self.factory, OnnxFiles):
            return self.factory
        return FactoryOrigin(
            self.factory, self.arguments, self.weights, self.weights_prefix, self.weights_key
        )
