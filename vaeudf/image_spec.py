"""How a model wants its pictures, and the numbers that its network gets for their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError

Resize = Literal["pad", "crop", "stretch"]
Scaling = Literal["zero_one", "minus_one_one"]
_SCALES = {  # scaled = pixel / divisor - offset
    "zero_one": (np.float32(255), np.float32(0)),
    "minus_one_one": (np.float32(127.5), np.float32(1)),
}


@dataclass(frozen=True)
class ImageSpec:
    """How a model wants its pictures; stored in the model bundle's manifest.

    Attributes:
        height: Pixels, 1 to 4096.
        width: Pixels, 1 to 4096.
        channels: 3 (RGB) or 1 (grey, ITU-R 601 luma).
        resize: ``pad`` keeps the aspect and centres the picture on the background, ``crop`` keeps
            the aspect and cuts what sticks out, ``stretch`` does not keep the aspect.
        background: RGB under transparent pixels and in the padding.
        scaling: What the network gets (`scale_pixels`); arrays of uint8 are unscaled.

    Raises:
        InputError: A value is of the wrong type or out of range.
    """

    height: int
    width: int
    channels: int = 3
    resize: Resize = "pad"
    background: tuple[int, int, int] = (255, 255, 255)
    scaling: Scaling = "zero_one"

    def __post_init__(self) -> None:
        def need(name: str, ok: bool, expected: str) -> None:
            if not ok:
                raise InputError(
                    f"ImageSpec.{name} is {getattr(self, name)!r}; expected {expected}."
                )

        for name in ("height", "width"):
            value = getattr(self, name)
            need(name, type(value) is int and 1 <= value <= 4096, "an integer from 1 to 4096")
        need("channels", type(self.channels) is int and self.channels in (1, 3), "1 or 3")
        for name, kind in (("resize", Resize), ("scaling", Scaling)):
            allowed = get_args(kind)
            need(name, getattr(self, name) in allowed, "one of " + ", ".join(allowed))
        rgb = self.background
        is_rgb = isinstance(rgb, tuple) and len(rgb) == 3
        is_rgb = is_rgb and all(type(level) is int and 0 <= level <= 255 for level in rgb)
        need("background", is_rgb, "a tuple of three integers from 0 to 255")

    def to_dict(self) -> dict[str, object]:
        """The spec as JSON can hold it; `from_dict` reads it back."""
        return {**asdict(self), "background": list(self.background)}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> ImageSpec:
        """Reads what `to_dict` wrote; keys left out take their default.

        Raises:
            InputError: A key is unknown, ``height`` or ``width`` is missing, or a value is wrong.
        """
        if not isinstance(d, Mapping):
            raise InputError(f"the image spec is a {type(d).__name__}; expected a dictionary.")
        known = [field.name for field in fields(cls)]
        if unknown := [key for key in d if key not in known]:
            raise InputError(f"the image spec has unknown keys {unknown}; known are {known}.")
        if missing := [key for key in ("height", "width") if key not in d]:
            raise InputError(f"the image spec lacks {missing}; expected height and width.")
        values = dict(d)
        if isinstance(values.get("background"), list):
            values["background"] = tuple(values["background"])
        return cls(**values)


def scale_pixels(pixels: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.float32]:
    """What the network gets: x / 255 (``zero_one``) or x / 127.5 - 1 (``minus_one_one``).

    Args:
        pixels: uint8 of shape (B, height, width, channels).
        spec: The shape and the scaling.

    Returns:
        float32 of shape (B, channels, height, width), contiguous.

    Raises:
        InputError: ``pixels`` has another type or shape.
    """
    shape = (spec.height, spec.width, spec.channels)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != shape:
        raise InputError(
            f"pixels are {pixels.dtype} of shape {pixels.shape}; "
            f"expected uint8 of shape (B, {', '.join(map(str, shape))})."
        )
    divisor, offset = _SCALES[spec.scaling]
    # Transposed as bytes first: half the time of a division that walks the pixels out of order.
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    scaled: NDArray[np.float32] = np.divide(planes, divisor, dtype=np.float32)
    scaled -= offset
    return scaled


def unscale_pixels(scaled: NDArray[np.float32], spec: ImageSpec) -> NDArray[np.uint8]:
    """The inverse of `scale_pixels`, for a decoder's output: rounded, and clipped to 0 … 255.

    Args:
        scaled: float of shape (B, channels, height, width).
        spec: The shape and the scaling.

    Returns:
        uint8 of shape (B, height, width, channels), contiguous; NaN becomes 0.

    Raises:
        InputError: ``scaled`` has another shape.
    """
    shape = (spec.channels, spec.height, spec.width)
    if scaled.shape[1:] != shape:
        raise InputError(
            f"scaled pixels have shape {scaled.shape}; expected (B, {', '.join(map(str, shape))})."
        )
    divisor, offset = _SCALES[spec.scaling]
    levels = np.rint((scaled.transpose(0, 2, 3, 1) + offset) * divisor)
    levels = np.nan_to_num(levels, nan=0.0).clip(0, 255)
    return np.ascontiguousarray(levels, dtype=np.uint8)
