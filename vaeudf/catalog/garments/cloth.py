"""The colour of a garment's cloth, what a shop calls it, and its pattern."""

from __future__ import annotations

from math import cos, radians, sin

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

# Upper end of an OKLCH hue range in degrees, and its names when dark, medium and pale.
_COLOUR_NAMES = (
    (42, ("burgundy", "red", "coral")),
    (80, ("brown", "orange", "peach")),
    (112, ("olive", "mustard", "yellow")),
    (132, ("moss", "lime", "pistachio")),
    (165, ("forest green", "green", "mint")),
    (225, ("petrol", "teal", "aqua")),
    (278, ("navy", "blue", "sky blue")),
    (325, ("aubergine", "purple", "lilac")),
    (360, ("plum", "magenta", "pink")),
)
_GREY_NAMES = ("black", "grey", "white")
_OKLAB_TO_LMS = np.array(
    [[1, 0.39633778, 0.21580376], [1, -0.10556135, -0.06385417], [1, -0.08948418, -1.29148555]]
)
_LMS_TO_RGB = np.array(
    [
        [4.07674166, -3.30771159, 0.23096993],
        [-1.26843800, 2.60975740, -0.34131940],
        [-0.00419609, -0.70341861, 1.70761470],
    ]
)


def _wheel(hue: float) -> tuple[float, float]:
    """The OKLCH hue in degrees, and how colourful, in [0, 1]: the end of the range is grey."""
    return 20 + 338 * min(hue / 0.86, 1.0), float(np.interp(hue, (0.82, 0.90), (1, 0)))


def colour_name(hue: float, brightness: float) -> str:
    """Return what a shop would call the colour of two factors, such as "navy"."""
    degrees, colourful = _wheel(hue)
    names = next(names for end, names in _COLOUR_NAMES if degrees <= end)
    return (names if colourful > 0.5 else _GREY_NAMES)[(brightness > 0.3) + (brightness > 0.75)]


def cloth_colour(hue: float, brightness: float) -> Array:
    """The sRGB colour in [0, 1], by way of OKLCH, where equal steps look equal (Ottosson 2020)."""
    degrees, colourful = _wheel(hue)
    angle = radians(degrees)
    # Yellow only looks like yellow when it is light, violet when it is dark.
    tinted = 0.33 + 0.50 * brightness + 0.07 * cos(angle - radians(100))
    # Greys reach further, and dwell at black and at white, where a shop has most of them.
    plain = 0.22 + 0.73 * brightness * brightness * (3 - 2 * brightness)
    chroma = 0.155 - 0.28 * (brightness - 0.5) ** 2 + 0.025 * cos(angle - radians(25))
    light, chroma = mix(plain, tinted, colourful), colourful * chroma
    lab = (light, chroma * cos(angle), chroma * sin(angle))
    linear = np.clip(_LMS_TO_RGB @ (_OKLAB_TO_LMS @ lab) ** 3, 0, 1)
    rgb = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb.astype(np.float32)


def pattern_of(size: int, motif: float, scale: float) -> Array:
    """How much of the second colour each pixel `(size, size)` of the cloth shows, in [0, 1]."""
    period = 0.09 + 0.09 * scale
    # Edges one pixel wide at any size: crisp, and no motif aliases.
    sharp = max(0.5, period * size / (2 * np.pi))
    wave = np.cos(2 * np.pi / period * ((np.arange(size) + 0.5) / size - 0.5))
    band = np.clip(0.5 + sharp * wave, 0, 1)
    across, down, dots = (
        float(np.interp(motif, (0.1, 0.3, 0.4, 0.6, 0.75, 0.85), weight))
        for weight in ((1, 0.5, 0.5, 0, 0, 0), (0, 0.5, 0.5, 1, 1, 0), (0, 0, 0, 0, 0, 1))
    )
    cloth = across * band[:, None] + down * band[None, :]
    if dots:
        # The positive peaks of a product of cosines stand staggered, as in a real print.
        bumps = wave[:, None] * wave[None, :] - 0.45
        cloth = cloth + dots * np.clip(0.5 + sharp * bumps, 0, 1)
    return np.asarray(cloth, np.float32)


def mix(low: float, high: float, share: float) -> float:
    """Return the number at a share of the way from low to high."""
    return low + (high - low) * share
