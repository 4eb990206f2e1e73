"""How a model wants its pictures, and the numbers that its network gets for their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError
from vaeudf.images.resampling import KERNELS
from vaeudf.images.steps import MAX_SIDE, Resize, format_steps, output_size, parse_steps

RESIZES = ("pad", "crop", "stretch")
"""The ways to fit a picture that have a name; the others are torchvision's steps."""

Scaling = Literal["zero_one", "minus_one_one", "mean_std"]
Interpolation = Literal["bicubic", "bilinear", "lanczos", "box", "nearest"]
Exif = Literal["apply", "ignore"]

JPEG_DRAFT_GAP = 2
"""Pillow's own for thumbnails, ``Image.thumbnail(size, reducing_gap=2.0)``."""
_FIRST_GAP = 1

_BATCH_SIZE = 128
_PIXELS_PER_BATCH = _BATCH_SIZE * 128 * 128


@dataclass(frozen=True)
class ImageSpec:
    """How a model wants its pictures; stored in the model bundle's manifest.

    Attributes:
        height: Pixels, 1 to 4096.
        width: Pixels, 1 to 4096.
        channels: 3 (RGB) or 1 (grey, ITU-R 601 luma).
        resize: ``pad`` keeps the aspect and centres the picture on the background, ``crop`` keeps
            the aspect and cuts what sticks out, ``stretch`` does not keep the aspect. Or the steps
            of torchvision that the model was trained with, such as ``Resize(256),
            CenterCrop(224)``; see `vaeudf.images.steps`.
        background: RGB under transparent pixels and in the padding.
        scaling: What the network gets for a byte x: x / 255 (``zero_one``), x / 127.5 - 1
            (``minus_one_one``), or (x / 255 - mean) / std (``mean_std``).
        interpolation: Pillow's filter for the resize; all but ``nearest`` are antialiased. None,
            as which it is never kept, is ``bicubic``, and for torchvision's steps ``bilinear``,
            which is their default.
        jpeg_draft: Let the JPEG decoder halve the picture, up to three times, before the resize:
            faster on big photos, but other pixels. For models that were trained so, or whose
            posteriors are known to change little.
        mean: For ``mean_std``, per channel, of pixels in [0, 1].
        std: As ``mean``; above 0.
        antialias: Whether the filter spans all pixels that become one; False for ``bilinear`` and
            ``bicubic`` of models whose pictures were resized as tensors, without antialiasing.
        exif: Whether the EXIF orientation is applied, or ignored, as by torchvision's loaders.
        jpeg_draft_gap: With ``jpeg_draft``, the least that is left of a JPEG, in sizes that it is
            resized to, on each side: Pillow's ``reducing_gap``. 1 is how the first bundles had it,
            where also a part of a pixel at the right or bottom edge counted as a whole one.

    Raises:
        InputError: A value is of the wrong type or out of range.
    """

    height: int
    width: int
    channels: int = 3
    resize: str = "pad"
    background: tuple[int, int, int] = (255, 255, 255)
    scaling: Scaling = "zero_one"
    interpolation: Interpolation = None  # type: ignore[assignment]
    jpeg_draft: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    antialias: bool = True
    exif: Exif = "apply"
    jpeg_draft_gap: int = JPEG_DRAFT_GAP

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
        steps = parse_steps(self.resize) if isinstance(self.resize, str) else None
        if steps is not None:
            object.__setattr__(self, "resize", format_steps(steps))
        if self.interpolation is None:
            default = "bicubic" if steps is None else "bilinear"
            object.__setattr__(self, "interpolation", default)
        need(
            "resize",
            steps is not None or self.resize in RESIZES,
            f"one of {', '.join(RESIZES)}, or torchvision's steps with sizes from 1 to {MAX_SIDE}: "
            "Resize(n), Resize((height, width)), CenterCrop(m), CenterCrop((height, width)), "
            "separated by commas",
        )
        kinds = {"scaling": Scaling, "interpolation": Interpolation, "exif": Exif}
        for name, kind in kinds.items():
            allowed = get_args(kind)
            need(name, getattr(self, name) in allowed, "one of " + ", ".join(allowed))
        rgb = self.background
        is_rgb = isinstance(rgb, tuple) and len(rgb) == 3
        is_rgb = is_rgb and all(type(level) is int and 0 <= level <= 255 for level in rgb)
        need("background", is_rgb, "a tuple of three integers from 0 to 255")
        for name in ("jpeg_draft", "antialias"):
            need(name, isinstance(getattr(self, name), bool), "True or False")
        if not self.antialias:
            names = ", ".join(KERNELS)
            expected = f"one of {names}, because antialias is False"
            need("interpolation", self.interpolation in KERNELS, expected)
        if steps is not None:
            size, ours = output_size(steps), (self.width, self.height)
            found = "pictures of many sizes" if size is None else "{1} × {0} pixels".format(*size)
            expected = f"steps that end with {self.height} × {self.width} pixels, not with {found}"
            need("resize", size == ours, expected)
        if self.jpeg_draft:
            expected = "False, because the steps of resize begin with a crop of the whole picture"
            need("jpeg_draft", is_resized_first(self.resize), expected)
        gap, usual = self.jpeg_draft_gap, f"{JPEG_DRAFT_GAP}, because jpeg_draft is False"
        known = f"{_FIRST_GAP} or {JPEG_DRAFT_GAP}"
        need("jpeg_draft_gap", type(gap) is int and gap in (_FIRST_GAP, JPEG_DRAFT_GAP), known)
        need("jpeg_draft_gap", self.jpeg_draft or gap == JPEG_DRAFT_GAP, usual)
        named = steps is None or gap == JPEG_DRAFT_GAP
        need("jpeg_draft_gap", named, f"{JPEG_DRAFT_GAP}, because resize has steps")
        if self.scaling == "mean_std":
            expected = f"a tuple of {self.channels} finite numbers, because scaling is mean_std"
            need("mean", self._are_numbers(self.mean), expected)
            good = self._are_numbers(self.std) and min(self.std or ()) > 0
            need("std", good, expected.replace("finite numbers", "numbers above 0"))
        else:
            for name in ("mean", "std"):
                need(name, getattr(self, name) is None, f"None, because scaling is {self.scaling}")

    def _are_numbers(self, values: object) -> bool:
        return (
            isinstance(values, tuple)
            and len(values) == self.channels
            and all(type(value) in (int, float) and -1e300 < value < 1e300 for value in values)
        )

    @property
    def batch_size(self) -> int:
        """How many pictures networks get at a time: 128 small ones, fewer of large ones.

        A network's memory and its time for a batch grow with the pixels in it.
        """
        return max(1, min(_BATCH_SIZE, _PIXELS_PER_BATCH // (self.height * self.width)))

    @property
    def divisor_and_offset(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Per channel, shape (C, 1, 1): scaled = pixel / divisor - offset."""
        mean, std = {
            "zero_one": (0.0, 1.0),
            "minus_one_one": (0.5, 0.5),
            "mean_std": (self.mean or 0.0, self.std or 1.0),
        }[self.scaling]
        ratio = np.divide(mean, std)
        columns = [np.broadcast_to(x, self.channels) for x in (np.multiply(255.0, std), ratio)]
        divisor, offset = (c.astype(np.float32).reshape(-1, 1, 1) for c in columns)
        return divisor, offset

    def to_dict(self) -> dict[str, object]:
        """The spec as JSON can hold it; `from_dict` reads it back.

        What came after the first bundles is left out where it is as it was for them, so that the
        same model has the same id as then.
        """
        gap = _FIRST_GAP if self.jpeg_draft else JPEG_DRAFT_GAP
        later = {"antialias": True, "exif": "apply", "jpeg_draft_gap": gap}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name not in later or value != later[name]
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> ImageSpec:
        """Reads what `to_dict` wrote; keys left out are as they were for the first bundles.

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
        if values.get("jpeg_draft") is True:
            values.setdefault("jpeg_draft_gap", _FIRST_GAP)
        for name in ("background", "mean", "std"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
        return cls(**values)


def is_resized_first(resize: str) -> bool:
    """Whether the first that is done to a picture is a resize, or a crop together with one."""
    steps = parse_steps(resize)
    return steps is None or isinstance(steps[0], Resize)


def check_pixels(pixels: NDArray[np.uint8], spec: ImageSpec) -> None:
    """Raise InputError unless pixels are uint8 of shape (B, height, width, channels)."""
    shape = (spec.height, spec.width, spec.channels)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != shape:
        raise InputError(
            f"pixels are {pixels.dtype} of shape {pixels.shape}; "
            f"expected uint8 of shape (B, {', '.join(map(str, shape))})."
        )
