"""How likely a picture x is under what a decoder gives for z: which distribution p(x|z) is.

A decoder gives one number m for each level of a picture. What m means follows from the loss that
the model was trained with: if it was the squared error, the mean of a Gaussian; if it was the
binary cross-entropy, the probability of a Bernoulli. The weights do not show which.

Everything here counts in levels in [0, 1], byte / 255, whatever the scaling of the model's pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import BundleError, InputError

MIN_VARIANCE = 1.0 / (12 * 255**2)
"""The squared error, on average, of pixels that are rounded to 256 levels: the least variance that
is measured. At an error of 0, that of pictures that are all white, there is no density."""

LEAST_LOG = -100.0
"""PyTorch's ``binary_cross_entropy`` has no logarithm below this."""

Numbers = TypeVar("Numbers", float, NDArray[np.float64])


@dataclass(frozen=True)
class GaussianPixels:
    """Levels x are Gaussian around what the decoder gives, m, with one common variance v.

        log p(x|z) = -1/2 sum((x - m)^2) / v - D/2 log(2 pi v)

    in nats, over the D = H * W * C levels of a picture. m is taken as it is, not clipped to [0, 1].

    Attributes:
        variance: v, of one channel of one pixel, of levels in [0, 1].

    Raises:
        BundleError: The variance is not a finite number above 0.
    """

    kind: ClassVar[str] = "gaussian"

    variance: float

    def __post_init__(self) -> None:
        # Also of a whole number that is too large for a float, which JSON can hold.
        if type(self.variance) not in (int, float) or not 0 < self.variance < 1e300:
            raise BundleError(
                f"the variance of a gaussian likelihood is {self.variance!r}; expected a finite "
                "number above 0, of levels in [0, 1], such as 0.0123."
            )

    def log_density(self, squared_error: Numbers, levels: int) -> Numbers:
        """Return log p(x|z) in nats.

        Args:
            squared_error: The mean of (x - m)².
            levels: D.
        """
        v = self.variance
        return -0.5 * levels * (squared_error / v + math.log(2 * math.pi * v))

    def __str__(self) -> str:
        """Return what :func:`parse_likelihood` reads."""
        return f"{self.kind}:{self.variance!r}"


@dataclass(frozen=True)
class BernoulliPixels:
    """A level x in [0, 1] is the share of ones of a Bernoulli with probability m.

        log p(x|z) = sum(x log m + (1 - x) log(1 - m))

    in nats, over the levels of a picture, where m is what the decoder gives, clipped to [0, 1], and
    no logarithm is below -100: so does PyTorch's ``binary_cross_entropy``, whose negative sum it
    is. For levels other than 0 and 1 it is the usual cross-entropy, and not normalised: e to this
    power does not integrate to 1 over x, so it ranks pictures but is no density of them.
    """

    kind: ClassVar[str] = "bernoulli"

    def __str__(self) -> str:
        """Return what :func:`parse_likelihood` reads."""
        return self.kind


Likelihood = GaussianPixels | BernoulliPixels
"""p(x|z), of one of these kinds."""

MEASURED: Literal["gaussian"] = "gaussian"
"""What a person types for a Gaussian whose variance is still to be measured."""

KINDS: Mapping[str, type[Likelihood]] = {
    GaussianPixels.kind: GaussianPixels,
    BernoulliPixels.kind: BernoulliPixels,
}


def to_dict(likelihood: Likelihood) -> dict[str, Any]:
    """Return a likelihood as JSON can hold it; :func:`from_dict` reads it back."""
    return {"kind": likelihood.kind, **asdict(likelihood)}


def from_dict(content: Any) -> Likelihood:
    """Read what :func:`to_dict` wrote.

    Raises:
        BundleError: It is of no known kind, a key is missing or unknown, or a value is wrong.
    """
    if not isinstance(content, dict):
        raise BundleError(
            f"likelihood is a {type(content).__name__}; expected a dictionary with the key kind."
        )
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BundleError(f"likelihood.kind is {kind!r}; expected {' or '.join(KINDS)}.")
    expected = {"kind", *(field.name for field in fields(KINDS[kind]))}
    if set(content) != expected:
        raise BundleError(
            f"a likelihood of kind {kind} has the keys {sorted(content)}; expected "
            f"{sorted(expected)}."
        )
    return KINDS[kind](**{key: value for key, value in content.items() if key != "kind"})


def parse_likelihood(text: str) -> Likelihood:
    """Read what a person types: ``bernoulli``, or ``gaussian:VARIANCE``, as ``gaussian:0.0123``.

    Raises:
        InputError: It is something else.
    """
    kind, colon, number = text.strip().partition(":")
    if kind == BernoulliPixels.kind and not colon:
        return BernoulliPixels()
    if kind == GaussianPixels.kind and colon:
        try:
            return GaussianPixels(float(number))
        except (ValueError, BundleError):
            raise InputError(
                f"likelihood is {text!r}; expected a finite variance above 0, of levels in "
                "[0, 1], such as gaussian:0.0123."
            ) from None
    raise InputError(
        f"likelihood is {text!r}; expected gaussian:VARIANCE, such as gaussian:0.0123, or "
        "bernoulli."
    )
