"""How a model made elsewhere is called; a part of the bundle's manifest."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from vaeudf.errors import BundleError

PixelLayout = Literal["chw", "hwc", "flat"]
LatentLayout = Literal["flat", "chw", "hwc"]
Activation = Literal["none", "sigmoid", "tanh"]


@dataclass(frozen=True)
class Interface:
    """How a model made elsewhere is called, by paths (see :mod:`vaeudf.model.answers`).

    Attributes:
        encoder: Path, in what the factory makes, of what is called with pixels.
        mu: Path of mu in the encoder's answer.
        spread: Path of what states the variance.
        decoder: Path of what is called with latents; None if the model has none.
        picture: Path of the picture in the decoder's answer.
        latent_shape: Of one item's mu as the encoder gives it; it is flattened in this order, the
            last axis fastest.
        latent_layout: What the axes are: ``flat``, or channel first or last.
        pixel_layout: Of the pictures that the encoder takes and the decoder gives: channel first or
            last, or flat, (B, C * H * W) with the channel first.
        clamp: What the encoder states of the variance is clamped to this before it is read.
        scale: Latents are (what the encoder gives - shift) * scale.
        shift: See ``scale``.
        activation: What the decoder's answer must go through to be a picture.
        channels_last: Whether the encoder takes tensors laid out channel-last, which is faster.
    """

    encoder: str
    mu: str
    spread: str
    decoder: str | None
    picture: str
    latent_shape: tuple[int, ...]
    latent_layout: LatentLayout = "flat"
    pixel_layout: PixelLayout = "chw"
    clamp: tuple[float, float] | None = None
    scale: float = 1.0
    shift: float = 0.0
    activation: Activation = "none"
    channels_last: bool = False

    def __post_init__(self) -> None:
        shape, clamp = self.latent_shape, self.clamp
        axes = 1 if self.latent_layout == "flat" else 3
        is_good = {
            "encoder": isinstance(self.encoder, str),
            "mu": isinstance(self.mu, str),
            "spread": isinstance(self.spread, str),
            "decoder": self.decoder is None or isinstance(self.decoder, str),
            "picture": isinstance(self.picture, str),
            "latent_layout": self.latent_layout in get_args(LatentLayout),
            "latent_shape": isinstance(shape, tuple)
            and len(shape) == axes
            and all(type(side) is int and side >= 1 for side in shape),
            "pixel_layout": self.pixel_layout in get_args(PixelLayout),
            "clamp": clamp is None
            or (
                (isinstance(clamp, tuple) and len(clamp) == 2 and _are_finite(*clamp))
                and clamp[0] < clamp[1]
            ),
            "scale": _are_finite(self.scale) and self.scale > 0,
            "shift": _are_finite(self.shift),
            "activation": self.activation in get_args(Activation),
            "channels_last": isinstance(self.channels_last, bool),
        }
        for name, good in is_good.items():
            if not good:
                raise BundleError(
                    f"interface.{name} is {getattr(self, name)!r}, which is not a value that it "
                    "can have; see docs/models.md."
                )

    @property
    def latent_dim(self) -> int:
        """The number of latent dimensions n."""
        return math.prod(self.latent_shape)

    def to_dict(self) -> dict[str, Any]:
        """Return the interface as JSON can hold it; :meth:`from_dict` reads it back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Any) -> Interface:
        """Read what :meth:`to_dict` wrote.

        Raises:
            BundleError: A key is missing or unknown, or a value is wrong.
        """
        check_keys("interface", content, [field.name for field in fields(cls)])
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in content.items()
        }
        return cls(**values)


def check_keys(name: str, content: Any, expected: Collection[str]) -> None:
    """Raise BundleError unless what is called this is a dictionary of these keys."""
    if not isinstance(content, dict) or set(content) != set(expected):
        found = sorted(content) if isinstance(content, dict) else content
        raise BundleError(f"{name} has the keys {found}; expected {sorted(expected)}.")


def _are_finite(*values: object) -> bool:
    return all(
        isinstance(v, int | float) and type(v) is not bool and -1e300 < v < 1e300 for v in values
    )
