"""A square picture under construction, and the curves that are drawn on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import cos, radians, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vaeudf.catalog.garments.cloth import Array, cloth_colour, pattern_of

Point = tuple[float, float]
Points = list[Point]

WHITE = np.array([0.98, 0.975, 0.96], np.float32)
BRASS = np.array([0.80, 0.66, 0.40], np.float32)


class Sheet:
    """A square picture under construction: colour times coverage, and coverage, in float32."""

    def __init__(self, factors: Mapping[str, float], size: int) -> None:
        self.size = size
        # Masks are drawn on at least 256 pixels and averaged down: that is the antialiasing.
        self.scale = max(2, -(-256 // size))
        self.drop = 0.0
        self.colour = cloth_colour(factors["hue"], factors["brightness"])
        self.dark = 0.55 * self.colour
        contrast = 0.9 * float(np.interp(factors["pattern"], (0.4, 1), (0, 1)))
        pattern = contrast * pattern_of(size, factors["motif"], factors["scale"])
        self.cloth = self.colour + pattern[:, :, None] * (WHITE - self.colour)
        self.rgb = np.zeros((size, size, 3), np.float32)
        self.alpha = np.zeros((size, size), np.float32)

    def centre(self, top: float, bottom: float) -> None:
        """Move what is drawn from now on so that it hangs in the middle of the picture."""
        self.drop = 0.5 - (top + bottom) / 2

    def fill(self, *shapes: Points, paint: Array | None = None, tone: float = 1.0) -> None:
        """Fill outlines with the cloth, or with `paint`, rounded by light from the top left."""
        mask = self._mask(shapes, 0)
        soft = self._blur(mask, 0.03)
        light = tone * (0.82 + 0.20 * soft)
        light[1:-1, 1:-1] += self.size / 128 * tone * (soft[2:, 2:] - soft[:-2, :-2])
        paint = self.cloth if paint is None else paint
        self._blend(_unit(mask), paint * light[:, :, None])
        self.stroke(*(shape + shape[:1] for shape in shapes), width=0.008, strength=0.45)

    def stroke(
        self,
        *lines: Points,
        width: float = 0.01,
        paint: Array | None = None,
        strength: float = 0.7,
        blur: float = 0.0,
    ) -> None:
        """Draw lines in the dark shade of the cloth or in `paint`; `blur` makes them folds."""
        mask = self._mask(lines, max(1, round(width * self.size * self.scale)))
        cover = self._blur(mask, blur) if blur else _unit(mask)
        self._blend(strength * cover, self.dark if paint is None else paint)

    def dots(self, *centres: Point, radius: float, paint: Array | None = None) -> None:
        """Buttons, eyelets and clasps."""
        turns = [radians(30 * hour) for hour in range(12)]
        discs = [[(x + radius * cos(t), y + radius * sin(t)) for t in turns] for x, y in centres]
        self._blend(_unit(self._mask(discs, 0)), self.dark if paint is None else paint)

    def develop(self) -> Image.Image:
        """The finished picture: a soft shadow and the background under everything drawn."""
        cover = Image.fromarray((255 * self.alpha).astype(np.uint8))
        shadow = np.roll(self._blur(cover, 0.03), round(0.02 * self.size), axis=0)
        floor = np.linspace(0.985, 0.945, self.size, dtype=np.float32)[:, None] - 0.2 * shadow
        rgb = self.rgb + ((1 - self.alpha) * floor)[:, :, None]
        return Image.fromarray((255 * np.clip(rgb, 0, 1) + 0.5).astype(np.uint8))

    def _mask(self, shapes: Iterable[Points], width: int) -> Image.Image:
        side = self.size * self.scale
        image = Image.new("L", (side, side))
        draw = ImageDraw.Draw(image)
        for shape in shapes:
            points = [(x * side - 0.5, (y + self.drop) * side - 0.5) for x, y in shape]
            if width:
                # Round joints cost more than the line, and do not show on a thin one.
                draw.line(points, fill=255, width=width, joint="curve" if width > 3 else None)
            else:
                draw.polygon(points, fill=255)
        return image.reduce(self.scale)

    def _blur(self, mask: Image.Image, radius: float) -> Array:
        return _unit(mask.filter(ImageFilter.GaussianBlur(radius * self.size)))

    def _blend(self, cover: Array, paint: Array) -> None:
        self.rgb += cover[:, :, None] * (paint - self.rgb)
        self.alpha += cover * (1 - self.alpha)


def _unit(mask: Image.Image) -> Array:
    return np.asarray(mask, np.float32) / np.float32(255)


def bend(start: Point, pull: Point, end: Point) -> Points:
    """A quadratic Bézier curve."""
    return [
        (
            (1 - t) ** 2 * start[0] + 2 * t * (1 - t) * pull[0] + t * t * end[0],
            (1 - t) ** 2 * start[1] + 2 * t * (1 - t) * pull[1] + t * t * end[1],
        )
        for t in (0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1)
    ]


def whole(half: Points) -> Points:
    """A half outline that begins at the centre line, and its mirror image, in one go."""
    return [(0.5 - x, y) for x, y in half[::-1]] + [(0.5 + x, y) for x, y in half]


def both(half: Points) -> tuple[Points, Points]:
    """A part that exists on the right and on the left, such as a sleeve."""
    return [(0.5 + x, y) for x, y in half], [(0.5 - x, y) for x, y in half]
