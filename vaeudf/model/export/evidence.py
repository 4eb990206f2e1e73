"""What a decoder's outputs say of the likelihood that it was trained with.

They cannot prove it: a sigmoid is trained with either loss. But they show what a Gaussian's
variance would be, and that a decoder whose outputs leave [0, 1] gives no probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vaeudf.errors import BundleError
from vaeudf.model.interface import Activation
from vaeudf.model.likelihood import (
    LEAST_LOG,
    MIN_VARIANCE,
    BernoulliPixels,
    GaussianPixels,
    Likelihood,
)

# What float32 makes of 0 and 1 that were scaled by mean and std.
_ROUNDING = 1e-5
_DIGITS = 4
_MOVES_ONLY = (nn.Flatten, nn.Unflatten, nn.Identity)


@dataclass(frozen=True)
class Evidence:
    """What a decoder gives for the mu of N pictures x, as levels m = decode(mu) in [0, 1].

    Attributes:
        pictures: N.
        levels: D = H * W * C, the levels of a picture.
        squared_error: Mean of (x - m)².
        low: The smallest m; NaN if one is NaN.
        high: The largest.
        cross_entropy: Mean per picture of -sum(x log m + (1 - x) log(1 - m)), nats, as PyTorch has
            it; NaN if an m is beyond [0, 1].
    """

    pictures: int
    levels: int
    squared_error: float
    low: float
    high: float
    cross_entropy: float

    @property
    def is_finite(self) -> bool:
        """Whether all that the decoder gave was finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def are_probabilities(self) -> bool:
        """Whether all m lie in [0, 1], up to rounding, as a Bernoulli needs."""
        return self.low >= -_ROUNDING and self.high <= 1 + _ROUNDING

    @property
    def gaussian(self) -> GaussianPixels:
        """The Gaussian with the variance that makes the pictures most likely.

        It is their squared error, to four digits, as people are shown it.
        """
        return GaussianPixels(float(f"{max(self.squared_error, MIN_VARIANCE):.{_DIGITS}g}"))

    def log_likelihood(self, likelihood: Likelihood) -> float:
        """Return log p(x|mu), mean per picture, nats."""
        if isinstance(likelihood, BernoulliPixels):
            return -self.cross_entropy
        return likelihood.log_density(self.squared_error, self.levels)

    def check_finite(self, kind: str) -> None:
        """Check that a likelihood of this kind has numbers to count with.

        Raises:
            BundleError: The decoder gives numbers that are not finite.
        """
        if not self.is_finite:
            raise BundleError(
                f"likelihood is said to be {kind}, but the decoder gives numbers that are not "
                f"finite for decode(mu) of {self.pictures} pictures. Are the weights and --scaling "
                "right?"
            )

    def check(self, likelihood: Likelihood) -> None:
        """Check that what the decoder gives can have this likelihood.

        Raises:
            BundleError: It gives numbers that are not finite, or that are no probabilities.
        """
        self.check_finite(likelihood.kind)
        if isinstance(likelihood, BernoulliPixels) and not self.are_probabilities:
            raise BundleError(
                f"likelihood is said to be bernoulli, but decode(mu) of {self.pictures} pictures "
                f"has levels from {self.low:.3g} to {self.high:.3g}; expected probabilities, in "
                "[0, 1]. If the decoder gives logits, say --activation sigmoid; if --scaling is "
                "not that of training, mend it; if the model was trained with the squared error, "
                "say --likelihood gaussian."
            )


def measure(batches: Iterable[tuple[NDArray[np.uint8], NDArray[np.float32]]]) -> Evidence:
    """Return the evidence of pictures and what the decoder gives for their mu.

    Args:
        batches: Pictures (B, H, W, C), and levels in [0, 1] of the same shape.
    """
    pictures, levels = 0, 0
    squared, entropy = 0.0, 0.0
    low, high = [], []
    for pixels, decoded in batches:
        x, m = pixels / 255.0, decoded.astype(np.float64)
        pictures, levels = pictures + len(x), math.prod(x.shape[1:])
        low.append(m.min())
        high.append(m.max())
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            squared += float(np.square(x - m).sum())
            p = m.clip(0, 1)
            ones, zeros = (np.maximum(np.log(q), LEAST_LOG) for q in (p, 1 - p))
            entropy -= float((x * ones + (1 - x) * zeros).sum())
    found = Evidence(
        pictures=pictures,
        levels=levels,
        squared_error=squared / (pictures * levels),
        low=float(np.min(low)),
        high=float(np.max(high)),
        cross_entropy=entropy / pictures,
    )
    return found if found.are_probabilities else replace(found, cross_entropy=math.nan)


def format_evidence(evidence: Evidence, chosen: Likelihood | None) -> str:
    """Return the likelihoods as text for a terminal, a line each.

    Args:
        evidence: The evidence.
        chosen: The likelihood that the bundle gets, which is marked.
    """
    shown: list[Likelihood] = [evidence.gaussian] if evidence.is_finite else []
    if chosen is not None and chosen not in (*shown, BernoulliPixels()):
        shown.append(chosen)
    lines = [f"{'likelihood':<12}{'variance':>12}{'log p(x|mu), nats':>20}"]
    for likelihood in (*shown, BernoulliPixels()):
        mark = "*" if likelihood == chosen else " "
        head = f"{mark}{likelihood.kind:<11}"
        if isinstance(likelihood, BernoulliPixels) and not evidence.are_probabilities:
            lines.append(
                f"{head}  impossible: decode(mu) has levels from {evidence.low:.3g} to "
                f"{evidence.high:.3g}, which are no probabilities"
            )
            continue
        variance = "-"
        if isinstance(likelihood, GaussianPixels):
            variance = f"{likelihood.variance:.{_DIGITS}g}"
        lines.append(f"{head}{variance:>12}{evidence.log_likelihood(likelihood):>20.6g}")
    return "\n".join(lines)


@torch.inference_mode()
def last_activation(decoder: nn.Module, latent_dim: int) -> Activation:
    """Return which activation the last layer of a decoder is; ``none`` if that is not known.

    It is not known of a function of torch that somebody's ``forward`` calls, nor of ONNX.

    Args:
        decoder: (B, n) latents → scaled pixels.
        latent_dim: n.
    """
    called: list[tuple[nn.Module, int]] = []

    def note(layer: nn.Module, _: object, answer: object) -> None:
        if isinstance(answer, Tensor) and not isinstance(layer, _MOVES_ONLY):
            called.append((layer, answer.numel()))

    leaves = [part for part in decoder.modules() if next(part.children(), None) is None]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        picture = decoder(torch.zeros(1, latent_dim))
    finally:
        for hook in hooks:
            hook.remove()
    if not called or called[-1][1] != picture.numel():
        return "none"
    names: dict[type[nn.Module], Activation] = {nn.Sigmoid: "sigmoid", nn.Tanh: "tanh"}
    return names.get(type(called[-1][0]), "none")
