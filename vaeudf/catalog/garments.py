"""Drawn apparel: a shop's product shots without a download, for demos and tests.

A garment is a category and a handful of continuous factors, each in [0, 1] and each visible:

| factor       | tops and dresses | trousers  | shorts  | skirt  | shoes | hat   | bag    |
|--------------|------------------|-----------|---------|--------|-------|-------|--------|
| `sleeve`     | sleeve length    | leg flare | turn-up | pleats | shaft | brim  | handle |
| `length`     | hem              | hem       | hem     | hem    | foot  | crown | height |
| `width`      | fit              | fit       | fit     | flare  | sole  | crown | width  |

For every category `hue` runs from red through the colour wheel to pink and then fades to grey
(above 0.86), `brightness` from dark to pale, `pattern` is the contrast of the pattern (plain
below 0.4), `motif` which one it is (stripes across, checks, stripes down, dots, with short blends
between) and `scale` how coarse.

Geometry is written in a unit square, y downwards; a "half" outline gives x as the distance from
the vertical centre line, and is mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from vaeudf.errors import InputError

_Point = tuple[float, float]
_Points = list[_Point]
_Array = npt.NDArray[np.float32]
_Factors = Mapping[str, float]

_FACTORS = ("sleeve", "length", "width", "hue", "brightness", "pattern", "motif", "scale")

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
_WHITE = np.array([0.98, 0.975, 0.96], np.float32)
_BRASS = np.array([0.80, 0.66, 0.40], np.float32)


@dataclass(frozen=True)
class Garment:
    """One item of the drawn shop.

    Attributes:
        category: One of `CATEGORIES`.
        colour: What a shop would call the cloth's colour, such as "navy". A label: the picture
            follows `factors`.
        price: In currency units, whole cents.
        factors: The continuous factors of the module's table, each in [0, 1].
    """

    category: str
    colour: str
    price: float
    factors: Mapping[str, float]


def sample_garment(seed: int, index: int) -> Garment:
    """Draw garment number `index` of the shop `seed`; independent of every other index.

    Raises:
        InputError: If `seed` or `index` is negative.
    """
    if seed < 0 or index < 0:
        raise InputError(f"found seed {seed} and index {index}; expected both to be 0 or more")
    sequence = np.random.SeedSequence(seed, spawn_key=(index,))
    draws = np.random.Generator(np.random.Philox(sequence)).random(2 + len(_FACTORS)).tolist()
    category = CATEGORIES[int(draws[0] * len(CATEGORIES))]
    factors = dict(zip(_FACTORS, draws[2:], strict=True))
    # Longer and patterned costs more; the rest is the brand.
    dearness = 0.6 + 0.25 * factors["length"] + 0.15 * factors["pattern"] + 0.4 * draws[1]
    price = round(_KINDS[category][1] * dearness) - 0.05
    name = _colour_name(factors["hue"], factors["brightness"])
    return Garment(category, name, round(price, 2), factors)


def draw_garment(garment: Garment, size: int = 64) -> Image.Image:
    """Draw the product shot: RGB, `size` x `size`, on a near-white studio background.

    Raises:
        InputError: If the category is unknown, a factor is missing or outside [0, 1], or the
            size is below 8.
    """
    if garment.category not in _KINDS:
        known = ", ".join(CATEGORIES)
        raise InputError(f"found category {garment.category!r}; expected one of {known}")
    if size < 8:
        raise InputError(f"found size {size}; expected 8 pixels or more")
    for name in _FACTORS:
        value = garment.factors.get(name)
        if value is None or not 0 <= value <= 1:
            raise InputError(f"found factor {name} = {value}; expected a number from 0 to 1")
    sheet = _Sheet(garment.factors, size)
    _KINDS[garment.category][0](sheet, garment.factors)
    return sheet.develop()


# --- colour and pattern ---------------------------------------------------------------------


def _wheel(hue: float) -> tuple[float, float]:
    """The OKLCH hue in degrees, and how colourful, in [0, 1]: the end of the range is grey."""
    return 20 + 338 * min(hue / 0.86, 1.0), float(np.interp(hue, (0.82, 0.90), (1, 0)))


def _colour_name(hue: float, brightness: float) -> str:
    degrees, colourful = _wheel(hue)
    names = next(names for end, names in _COLOUR_NAMES if degrees <= end)
    return (names if colourful > 0.5 else _GREY_NAMES)[(brightness > 0.3) + (brightness > 0.75)]


def _cloth_colour(hue: float, brightness: float) -> _Array:
    """The sRGB colour in [0, 1], by way of OKLCH, where equal steps look equal (Ottosson 2020)."""
    degrees, colourful = _wheel(hue)
    angle = radians(degrees)
    # Yellow only looks like yellow when it is light, violet when it is dark.
    tinted = 0.33 + 0.50 * brightness + 0.07 * cos(angle - radians(100))
    # Greys reach further, and dwell at black and at white, where a shop has most of them.
    plain = 0.22 + 0.73 * brightness * brightness * (3 - 2 * brightness)
    chroma = 0.155 - 0.28 * (brightness - 0.5) ** 2 + 0.025 * cos(angle - radians(25))
    light, chroma = _mix(plain, tinted, colourful), colourful * chroma
    lab = (light, chroma * cos(angle), chroma * sin(angle))
    linear = np.clip(_LMS_TO_RGB @ (_OKLAB_TO_LMS @ lab) ** 3, 0, 1)
    rgb = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb.astype(np.float32)


def _pattern(size: int, motif: float, scale: float) -> _Array:
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


# --- drawing --------------------------------------------------------------------------------


class _Sheet:
    """A square picture under construction: colour times coverage, and coverage, in float32."""

    def __init__(self, factors: Mapping[str, float], size: int) -> None:
        self.size = size
        # Masks are drawn on at least 256 pixels and averaged down: that is the antialiasing.
        self.scale = max(2, -(-256 // size))
        self.drop = 0.0
        self.colour = _cloth_colour(factors["hue"], factors["brightness"])
        self.dark = 0.55 * self.colour
        contrast = 0.9 * float(np.interp(factors["pattern"], (0.4, 1), (0, 1)))
        pattern = contrast * _pattern(size, factors["motif"], factors["scale"])
        self.cloth = self.colour + pattern[:, :, None] * (_WHITE - self.colour)
        self.rgb = np.zeros((size, size, 3), np.float32)
        self.alpha = np.zeros((size, size), np.float32)

    def centre(self, top: float, bottom: float) -> None:
        """Move what is drawn from now on so that it hangs in the middle of the picture."""
        self.drop = 0.5 - (top + bottom) / 2

    def fill(self, *shapes: _Points, paint: _Array | None = None, tone: float = 1.0) -> None:
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
        *lines: _Points,
        width: float = 0.01,
        paint: _Array | None = None,
        strength: float = 0.7,
        blur: float = 0.0,
    ) -> None:
        """Draw lines in the dark shade of the cloth or in `paint`; `blur` makes them folds."""
        mask = self._mask(lines, max(1, round(width * self.size * self.scale)))
        cover = self._blur(mask, blur) if blur else _unit(mask)
        self._blend(strength * cover, self.dark if paint is None else paint)

    def dots(self, *centres: _Point, radius: float, paint: _Array | None = None) -> None:
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

    def _mask(self, shapes: Iterable[_Points], width: int) -> Image.Image:
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

    def _blur(self, mask: Image.Image, radius: float) -> _Array:
        return _unit(mask.filter(ImageFilter.GaussianBlur(radius * self.size)))

    def _blend(self, cover: _Array, paint: _Array) -> None:
        self.rgb += cover[:, :, None] * (paint - self.rgb)
        self.alpha += cover * (1 - self.alpha)


def _unit(mask: Image.Image) -> _Array:
    return np.asarray(mask, np.float32) / np.float32(255)


def _mix(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _bend(start: _Point, pull: _Point, end: _Point) -> _Points:
    """A quadratic Bézier curve."""
    return [
        (
            (1 - t) ** 2 * start[0] + 2 * t * (1 - t) * pull[0] + t * t * end[0],
            (1 - t) ** 2 * start[1] + 2 * t * (1 - t) * pull[1] + t * t * end[1],
        )
        for t in (0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1)
    ]


def _whole(half: _Points) -> _Points:
    """A half outline that begins at the centre line, and its mirror image, in one go."""
    return [(0.5 - x, y) for x, y in half[::-1]] + [(0.5 + x, y) for x, y in half]


def _both(half: _Points) -> tuple[_Points, _Points]:
    """A part that exists on the right and on the left, such as a sleeve."""
    return [(0.5 + x, y) for x, y in half], [(0.5 - x, y) for x, y in half]


def _sleeves(
    sheet: _Sheet,
    shoulder: _Point,
    armpit: _Point,
    reach: float,
    angle: float,
    cuff: float,
    band: float = 0.0,
) -> None:
    """Both sleeves, `angle` degrees away from hanging straight; drawn before the body."""
    across, along = sin(radians(angle)), cos(radians(angle))
    x, y = shoulder
    outer = (x + across * reach, y + along * reach)
    inner = (outer[0] - along * cuff, outer[1] + across * cuff)
    top = _bend(shoulder, (x + 0.02 + 0.4 * across * reach, y + 0.3 * along * reach), outer)
    sheet.fill(*_both([(x - 0.06, y), *top, inner, armpit, (armpit[0] - 0.06, armpit[1])]))
    if band:
        back = [(px - across * band, py - along * band) for px, py in (inner, outer)]
        sheet.fill(*_both([outer, inner, *back]), tone=0.88)


def _neck(sheet: _Sheet, width: float, top: float, depth: float) -> _Points:
    """Draw the inside of the back, seen through the neck hole; return the front's neckline."""
    back = _bend((width, top), (width * 0.6, top + 0.02), (0, top + 0.02))
    front = _bend((0, depth), (width * 0.85, depth), (width, top))
    sheet.fill(_whole([*front, *back]), tone=0.6)
    return front


# --- one function per category --------------------------------------------------------------


def _t_shirt(sheet: _Sheet, f: _Factors) -> None:
    chest, hem, s = _mix(0.165, 0.23, f["width"]), _mix(0.70, 0.90, f["length"]), f["sleeve"]
    sheet.centre(0.145, hem)
    shoulder, armpit = (chest + 0.005, 0.20), (chest, 0.37)
    _sleeves(sheet, shoulder, armpit, _mix(0.11, 0.52, s), _mix(50, 22, s), _mix(0.15, 0.08, s))
    neck = _neck(sheet, 0.085, 0.145, 0.22)
    side = _bend(armpit, (chest - 0.012, 0.55), (chest + 0.008, hem))
    sheet.fill(_whole([*neck, shoulder, *side, (0, hem + 0.01)]))
    sheet.stroke(_whole(neck), width=0.026, strength=0.45)
    sheet.stroke(_whole([(0, hem - 0.018), (chest, hem - 0.028)]), width=0.006, strength=0.4)


def _shirt(sheet: _Sheet, f: _Factors) -> None:
    chest, hem, s = _mix(0.155, 0.21, f["width"]), _mix(0.72, 0.92, f["length"]), f["sleeve"]
    sheet.centre(0.115, hem)
    shoulder, armpit, reach = (chest, 0.19), (chest, 0.35), _mix(0.15, 0.56, s)
    _sleeves(sheet, shoulder, armpit, reach, _mix(44, 19, s), _mix(0.13, 0.075, s), band=0.045)
    neck = _neck(sheet, 0.075, 0.135, 0.19)
    tail = _bend((chest + 0.01, hem - 0.06), (chest * 0.7, hem + 0.03), (0, hem + 0.01))
    sheet.fill(_whole([*neck, shoulder, armpit, *tail]))
    sheet.stroke(*_both([(0.022, 0.21), (0.022, hem)]), width=0.006, strength=0.45)
    sheet.dots(*((0.5, _mix(0.27, hem - 0.06, i / 5)) for i in range(6)), radius=0.011)
    pocket = [(0.555, 0.34), (0.555, 0.42), (0.59, 0.435), (0.625, 0.42), (0.625, 0.34)]
    sheet.stroke([*pocket, pocket[0]], width=0.008, strength=0.6)
    sheet.fill(*_both([(0, 0.205), (0.06, 0.115), (0.09, 0.135), (0.105, 0.2), (0.06, 0.265)]))


def _coat(sheet: _Sheet, f: _Factors) -> None:
    chest, hem, s = _mix(0.15, 0.20, f["width"]), _mix(0.74, 0.95, f["length"]), f["sleeve"]
    sheet.centre(0.07, hem)
    shoulder, armpit = (chest, 0.15), (chest - 0.005, 0.32)
    _sleeves(sheet, shoulder, armpit, _mix(0.34, 0.54, s), 17, 0.095, band=0.05)
    _neck(sheet, 0.07, 0.08, 0.40)
    side = _bend(armpit, (chest - 0.02, 0.45), (chest + 0.05, hem))
    sheet.fill(_whole([(0, 0.40), (0.068, 0.085), shoulder, *side, (0, hem + 0.012)]))
    sheet.stroke([(0.435, 0.45), (0.435, hem)], strength=0.8)
    sheet.fill(*_both([(0.085, 0.59), (0.15, 0.575), (0.152, 0.605), (0.087, 0.62)]), tone=0.92)
    collar = [(-0.01, 0.42), (0.055, 0.07), (0.09, 0.085)]
    sheet.fill(*_both([*collar, (0.125, 0.20), (0.10, 0.205), (0.12, 0.24)]), tone=0.85)
    sheet.dots(*((x, y) for x in (0.465, 0.535) for y in (0.45, 0.54, 0.63)), radius=0.016)


def _dress(sheet: _Sheet, f: _Factors) -> None:
    waist, hem, s = _mix(0.095, 0.125, f["width"]), _mix(0.68, 0.96, f["length"]), f["sleeve"]
    flare = _mix(0.17, 0.33, f["width"])
    sheet.centre(0.10, hem)
    shoulder, armpit = (0.125, 0.135), (0.135, 0.28)
    # With no reach at all the sleeve hides behind the body: a sleeveless dress.
    _sleeves(sheet, shoulder, armpit, 0.50 * s, _mix(48, 22, s), _mix(0.13, 0.075, s))
    neck = _neck(sheet, 0.082, 0.10, 0.20)
    side = _bend(armpit, (waist, 0.36), (waist, 0.42))
    skirt = _bend((waist, 0.42), (waist + 0.04, 0.55), (flare, hem - 0.02))
    base = _bend((flare, hem - 0.02), (flare * 0.5, hem + 0.02), (0, hem + 0.02))
    sheet.fill(_whole([*neck, shoulder, *side, *skirt, *base]))
    folds = [_bend((x * waist, 0.45), (x * waist, 0.6), (x * flare, hem)) for x in (0.25, 0.7)]
    sheet.stroke(*_both(folds[0]), *_both(folds[1]), width=0.02, strength=0.5, blur=0.012)
    sheet.stroke(_whole([(0, 0.424), (waist - 0.004, 0.416)]), width=0.034, strength=1.0)


def _skirt(sheet: _Sheet, f: _Factors) -> None:
    hem, flare, waist = _mix(0.36, 0.74, f["length"]), _mix(0.19, 0.38, f["width"]), 0.15
    sheet.centre(0, hem)
    side = _bend((waist, 0), (waist + 0.05, hem * 0.3), (flare, hem - 0.025))
    base = _bend((flare, hem - 0.025), (flare * 0.5, hem + 0.02), (0, hem + 0.02))
    sheet.fill(_whole([(0, 0), *side, *base]))
    spots = (-0.83, -0.5, -0.17, 0.17, 0.5, 0.83)
    pleats = [[(0.5 + x * waist, 0.06), (0.5 + x * flare, hem)] for x in spots]
    sheet.stroke(*pleats, width=0.014, strength=0.1 + 0.8 * f["sleeve"], blur=0.008)
    sheet.fill(_whole([(0, 0), (waist, 0), (waist + 0.008, 0.05), (0, 0.055)]), tone=0.85)
    sheet.dots((0.5, 0.027), radius=0.014)


def _legs(sheet: _Sheet, waist: float, hem: float, middle: float, ankle: float) -> None:
    """Trousers down to `hem`, where each leg reaches `ankle` to either side of `middle`."""
    sheet.centre(0, hem)
    fork = 1.85 * waist
    outer = _bend((waist, 0), (waist + 0.045, 0.2), (middle + ankle, hem))
    inner = _bend((middle - ankle, hem), (0.02, fork + 0.08), (0, fork))
    sheet.fill(_whole([(0, 0), *outer, *inner]))
    sheet.stroke([(0.5, 0), (0.5, fork)], width=0.009)
    sheet.stroke(*_both([(waist - 0.06, 0.05), (waist + 0.015, 0.13)]))
    sheet.stroke(_bend((0.535, 0.05), (0.535, 0.15), (0.5, 0.17)), width=0.007, strength=0.5)
    sheet.fill(_whole([(0, 0), (waist, 0), (waist + 0.008, 0.045), (0, 0.045)]), tone=0.88)
    sheet.dots((0.5, 0.022), radius=0.013, paint=_BRASS)


def _trousers(sheet: _Sheet, f: _Factors) -> None:
    hem = _mix(0.60, 0.90, f["length"])
    ankle = _mix(0.045, 0.085, f["width"]) * _mix(0.8, 1.5, f["sleeve"])
    middle = 0.07 + 0.6 * ankle
    _legs(sheet, 0.135, hem, middle, ankle)
    sheet.stroke(*_both([(0.085, 0.14), (middle, hem)]), strength=0.4, blur=0.006)


def _shorts(sheet: _Sheet, f: _Factors) -> None:
    hem, ankle = _mix(0.40, 0.58, f["length"]), _mix(0.10, 0.14, f["width"])
    middle = ankle + 0.02
    _legs(sheet, 0.165, hem, middle, ankle)
    fold, edge = 0.02 + 0.10 * f["sleeve"], middle + ankle + 0.006
    cuff = [(0.016, hem), (edge, hem), (edge - 0.15 * fold, hem - fold), (0.013, hem - fold)]
    sheet.fill(*_both(cuff), tone=0.78)


def _shoes(sheet: _Sheet, f: _Factors) -> None:
    foot, shaft = _mix(0.64, 0.86, f["length"]), _mix(0.16, 0.42, f["sleeve"])
    sole = _mix(0.045, 0.10, f["width"])
    sheet.centre(-shaft - 0.04, sole)

    def at(*points: _Point) -> _Points:
        """From (share of the foot's length, height above the sole)."""
        return [(0.5 + (u - 0.5) * foot, -v) for u, v in points]

    rim = _bend((0.04, shaft), (0.2, shaft + 0.05), (0.36, shaft))
    sheet.fill(at(*rim, (0.3, shaft - 0.05), (0.1, shaft - 0.05)), tone=0.5)
    tongue = [(0.36, shaft + 0.05), (0.42, shaft + 0.04)]
    sheet.fill(at((0.3, shaft - 0.04), *tongue, (0.5, 0.12)), tone=0.8)
    heel = _bend((0.02, 0), (0.07, shaft * 0.5), (0.04, shaft))
    opening = _bend((0.04, shaft), (0.2, shaft - 0.06), (0.38, shaft - 0.01))
    instep = _bend((0.38, shaft - 0.01), (0.48, 0.13), (0.76, 0.105))
    toe = _bend((0.76, 0.105), (0.98, 0.09), (0.985, 0))
    sheet.fill(at(*heel, *opening, *instep, *toe))
    sheet.fill(at(*toe, (0.72, 0)), paint=_WHITE)
    sheet.fill(at((0.02, 0), (0.055, shaft * 0.6), (0.14, shaft * 0.5), (0.18, 0)), tone=0.8)
    laces = [at((u - 0.05, v - 0.035), (u + 0.02, v + 0.008)) for u, v in instep[1::2]]
    stripes = [at((u, 0.01), (u - 0.08, 0.09)) for u in (0.42, 0.50)]
    sheet.stroke(*laces, *stripes, width=0.018, paint=_WHITE, strength=0.95)
    tread = _bend((0.97, -sole), (1.02, -sole), (1.0, 0.015))
    sheet.fill(at((0, 0.01), (0.02, -sole), *tread), paint=_WHITE, tone=0.95)
    sheet.stroke(at((0.01, -sole * 0.65), (0.99, -sole * 0.65)), strength=0.8)


def _hat(sheet: _Sheet, f: _Factors) -> None:
    brim, head = _mix(0.29, 0.46, f["sleeve"]), _mix(0.15, 0.22, f["width"])
    crown = _mix(0.17, 0.36, f["length"])
    sheet.centre(-crown, 0.07)
    rear = _bend((0, -0.07), (brim * 0.8, -0.07), (brim, -0.03))
    front = _bend((brim, -0.03), (brim * 0.7, 0.10), (0, 0.10))
    sheet.fill(_whole([*rear, *front]))
    seat = _bend((head, -0.01), (head * 0.8, 0.04), (0, 0.04))
    top = _bend((0, 0.015 - crown), (head * 0.75, -0.05 - crown), (head * 0.85, 0.07 - crown))
    sheet.fill(_whole([*top, *seat]))
    ribbon = _bend((0, -0.025), (head * 0.8, -0.025), (head * 0.965, -0.075))
    sheet.fill(_whole([*ribbon, *seat]), paint=sheet.dark)
    crease = _bend((0, 0.06 - crown), (head * 0.2, 0.05 - crown), (head * 0.35, 0.02 - crown))
    sheet.stroke(_whole(crease), width=0.02, strength=0.5, blur=0.01)


def _bag(sheet: _Sheet, f: _Factors) -> None:
    wide, tall = _mix(0.21, 0.35, f["width"]), _mix(0.28, 0.48, f["length"])
    loop = _mix(0.12, 0.34, f["sleeve"])
    sheet.centre(-loop, tall)
    grip = _bend((0, -loop), (0.13, -loop), (0.13, 0.03))
    sheet.stroke(_whole([(x * 0.9, y - 0.02) for x, y in grip]), width=0.02, strength=1.0)
    side = _bend((wide - 0.03, 0), (wide, tall), (wide - 0.01, tall - 0.02))
    sheet.fill(_whole([(0, 0), *side, (wide - 0.04, tall), (0, tall)]))
    flap = _bend((0, tall * 0.5), (wide - 0.03, tall * 0.45), (wide - 0.028, 0.01))
    sheet.fill(_whole([*flap, (wide - 0.03, 0)]), tone=0.92)
    sheet.stroke(_whole(grip), width=0.03, strength=1.0)
    sheet.dots((0.37, 0.03), (0.63, 0.03), radius=0.02, paint=_BRASS)
    sheet.dots((0.5, tall * 0.5), radius=0.032, paint=_BRASS)


# How each is drawn, and the middle of its price range.
_KINDS: dict[str, tuple[Callable[[_Sheet, _Factors], None], int]] = {
    "t-shirt": (_t_shirt, 19),
    "shirt": (_shirt, 39),
    "dress": (_dress, 69),
    "trousers": (_trousers, 59),
    "skirt": (_skirt, 45),
    "shorts": (_shorts, 29),
    "shoes": (_shoes, 89),
    "hat": (_hat, 35),
    "bag": (_bag, 99),
    "coat": (_coat, 149),
}
CATEGORIES: tuple[str, ...] = tuple(_KINDS)
