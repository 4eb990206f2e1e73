"""One function per category of garment, which draws it.

Geometry is written in a unit square, y downwards; a "half" outline gives x as the distance from the
vertical centre line, and is mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, radians, sin

from vaeudf.catalog.garments.cloth import mix
from vaeudf.catalog.garments.sheet import BRASS, WHITE, Point, Points, Sheet, bend, both, whole

Factors = Mapping[str, float]


def _sleeves(
    sheet: Sheet,
    shoulder: Point,
    armpit: Point,
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
    top = bend(shoulder, (x + 0.02 + 0.4 * across * reach, y + 0.3 * along * reach), outer)
    sheet.fill(*both([(x - 0.06, y), *top, inner, armpit, (armpit[0] - 0.06, armpit[1])]))
    if band:
        back = [(px - across * band, py - along * band) for px, py in (inner, outer)]
        sheet.fill(*both([outer, inner, *back]), tone=0.88)


def _neck(sheet: Sheet, width: float, top: float, depth: float) -> Points:
    """Draw the inside of the back, seen through the neck hole; return the front's neckline."""
    back = bend((width, top), (width * 0.6, top + 0.02), (0, top + 0.02))
    front = bend((0, depth), (width * 0.85, depth), (width, top))
    sheet.fill(whole([*front, *back]), tone=0.6)
    return front


def _t_shirt(sheet: Sheet, f: Factors) -> None:
    chest, hem, s = mix(0.165, 0.23, f["width"]), mix(0.70, 0.90, f["length"]), f["sleeve"]
    sheet.centre(0.145, hem)
    shoulder, armpit = (chest + 0.005, 0.20), (chest, 0.37)
    _sleeves(sheet, shoulder, armpit, mix(0.11, 0.52, s), mix(50, 22, s), mix(0.15, 0.08, s))
    neck = _neck(sheet, 0.085, 0.145, 0.22)
    side = bend(armpit, (chest - 0.012, 0.55), (chest + 0.008, hem))
    sheet.fill(whole([*neck, shoulder, *side, (0, hem + 0.01)]))
    sheet.stroke(whole(neck), width=0.026, strength=0.45)
    sheet.stroke(whole([(0, hem - 0.018), (chest, hem - 0.028)]), width=0.006, strength=0.4)


def _shirt(sheet: Sheet, f: Factors) -> None:
    chest, hem, s = mix(0.155, 0.21, f["width"]), mix(0.72, 0.92, f["length"]), f["sleeve"]
    sheet.centre(0.115, hem)
    shoulder, armpit, reach = (chest, 0.19), (chest, 0.35), mix(0.15, 0.56, s)
    _sleeves(sheet, shoulder, armpit, reach, mix(44, 19, s), mix(0.13, 0.075, s), band=0.045)
    neck = _neck(sheet, 0.075, 0.135, 0.19)
    tail = bend((chest + 0.01, hem - 0.06), (chest * 0.7, hem + 0.03), (0, hem + 0.01))
    sheet.fill(whole([*neck, shoulder, armpit, *tail]))
    sheet.stroke(*both([(0.022, 0.21), (0.022, hem)]), width=0.006, strength=0.45)
    sheet.dots(*((0.5, mix(0.27, hem - 0.06, i / 5)) for i in range(6)), radius=0.011)
    pocket = [(0.555, 0.34), (0.555, 0.42), (0.59, 0.435), (0.625, 0.42), (0.625, 0.34)]
    sheet.stroke([*pocket, pocket[0]], width=0.008, strength=0.6)
    sheet.fill(*both([(0, 0.205), (0.06, 0.115), (0.09, 0.135), (0.105, 0.2), (0.06, 0.265)]))


def _coat(sheet: Sheet, f: Factors) -> None:
    chest, hem, s = mix(0.15, 0.20, f["width"]), mix(0.74, 0.95, f["length"]), f["sleeve"]
    sheet.centre(0.07, hem)
    shoulder, armpit = (chest, 0.15), (chest - 0.005, 0.32)
    _sleeves(sheet, shoulder, armpit, mix(0.34, 0.54, s), 17, 0.095, band=0.05)
    _neck(sheet, 0.07, 0.08, 0.40)
    side = bend(armpit, (chest - 0.02, 0.45), (chest + 0.05, hem))
    sheet.fill(whole([(0, 0.40), (0.068, 0.085), shoulder, *side, (0, hem + 0.012)]))
    sheet.stroke([(0.435, 0.45), (0.435, hem)], strength=0.8)
    sheet.fill(*both([(0.085, 0.59), (0.15, 0.575), (0.152, 0.605), (0.087, 0.62)]), tone=0.92)
    collar = [(-0.01, 0.42), (0.055, 0.07), (0.09, 0.085)]
    sheet.fill(*both([*collar, (0.125, 0.20), (0.10, 0.205), (0.12, 0.24)]), tone=0.85)
    sheet.dots(*((x, y) for x in (0.465, 0.535) for y in (0.45, 0.54, 0.63)), radius=0.016)


def _dress(sheet: Sheet, f: Factors) -> None:
    waist, hem, s = mix(0.095, 0.125, f["width"]), mix(0.68, 0.96, f["length"]), f["sleeve"]
    flare = mix(0.17, 0.33, f["width"])
    sheet.centre(0.10, hem)
    shoulder, armpit = (0.125, 0.135), (0.135, 0.28)
    # With no reach at all the sleeve hides behind the body: a sleeveless dress.
    _sleeves(sheet, shoulder, armpit, 0.50 * s, mix(48, 22, s), mix(0.13, 0.075, s))
    neck = _neck(sheet, 0.082, 0.10, 0.20)
    side = bend(armpit, (waist, 0.36), (waist, 0.42))
    skirt = bend((waist, 0.42), (waist + 0.04, 0.55), (flare, hem - 0.02))
    base = bend((flare, hem - 0.02), (flare * 0.5, hem + 0.02), (0, hem + 0.02))
    sheet.fill(whole([*neck, shoulder, *side, *skirt, *base]))
    folds = [bend((x * waist, 0.45), (x * waist, 0.6), (x * flare, hem)) for x in (0.25, 0.7)]
    sheet.stroke(*both(folds[0]), *both(folds[1]), width=0.02, strength=0.5, blur=0.012)
    sheet.stroke(whole([(0, 0.424), (waist - 0.004, 0.416)]), width=0.034, strength=1.0)


def _skirt(sheet: Sheet, f: Factors) -> None:
    hem, flare, waist = mix(0.36, 0.74, f["length"]), mix(0.19, 0.38, f["width"]), 0.15
    sheet.centre(0, hem)
    side = bend((waist, 0), (waist + 0.05, hem * 0.3), (flare, hem - 0.025))
    base = bend((flare, hem - 0.025), (flare * 0.5, hem + 0.02), (0, hem + 0.02))
    sheet.fill(whole([(0, 0), *side, *base]))
    spots = (-0.83, -0.5, -0.17, 0.17, 0.5, 0.83)
    pleats = [[(0.5 + x * waist, 0.06), (0.5 + x * flare, hem)] for x in spots]
    sheet.stroke(*pleats, width=0.014, strength=0.1 + 0.8 * f["sleeve"], blur=0.008)
    sheet.fill(whole([(0, 0), (waist, 0), (waist + 0.008, 0.05), (0, 0.055)]), tone=0.85)
    sheet.dots((0.5, 0.027), radius=0.014)


def _legs(sheet: Sheet, waist: float, hem: float, middle: float, ankle: float) -> None:
    """Trousers down to `hem`, where each leg reaches `ankle` to either side of `middle`."""
    sheet.centre(0, hem)
    fork = 1.85 * waist
    outer = bend((waist, 0), (waist + 0.045, 0.2), (middle + ankle, hem))
    inner = bend((middle - ankle, hem), (0.02, fork + 0.08), (0, fork))
    sheet.fill(whole([(0, 0), *outer, *inner]))
    sheet.stroke([(0.5, 0), (0.5, fork)], width=0.009)
    sheet.stroke(*both([(waist - 0.06, 0.05), (waist + 0.015, 0.13)]))
    sheet.stroke(bend((0.535, 0.05), (0.535, 0.15), (0.5, 0.17)), width=0.007, strength=0.5)
    sheet.fill(whole([(0, 0), (waist, 0), (waist + 0.008, 0.045), (0, 0.045)]), tone=0.88)
    sheet.dots((0.5, 0.022), radius=0.013, paint=BRASS)


def _trousers(sheet: Sheet, f: Factors) -> None:
    hem = mix(0.60, 0.90, f["length"])
    ankle = mix(0.045, 0.085, f["width"]) * mix(0.8, 1.5, f["sleeve"])
    middle = 0.07 + 0.6 * ankle
    _legs(sheet, 0.135, hem, middle, ankle)
    sheet.stroke(*both([(0.085, 0.14), (middle, hem)]), strength=0.4, blur=0.006)


def _shorts(sheet: Sheet, f: Factors) -> None:
    hem, ankle = mix(0.40, 0.58, f["length"]), mix(0.10, 0.14, f["width"])
    middle = ankle + 0.02
    _legs(sheet, 0.165, hem, middle, ankle)
    fold, edge = 0.02 + 0.10 * f["sleeve"], middle + ankle + 0.006
    cuff = [(0.016, hem), (edge, hem), (edge - 0.15 * fold, hem - fold), (0.013, hem - fold)]
    sheet.fill(*both(cuff), tone=0.78)


def _shoes(sheet: Sheet, f: Factors) -> None:
    foot, shaft = mix(0.64, 0.86, f["length"]), mix(0.16, 0.42, f["sleeve"])
    sole = mix(0.045, 0.10, f["width"])
    sheet.centre(-shaft - 0.04, sole)

    def at(*points: Point) -> Points:
        """From (share of the foot's length, height above the sole)."""
        return [(0.5 + (u - 0.5) * foot, -v) for u, v in points]

    rim = bend((0.04, shaft), (0.2, shaft + 0.05), (0.36, shaft))
    sheet.fill(at(*rim, (0.3, shaft - 0.05), (0.1, shaft - 0.05)), tone=0.5)
    tongue = [(0.36, shaft + 0.05), (0.42, shaft + 0.04)]
    sheet.fill(at((0.3, shaft - 0.04), *tongue, (0.5, 0.12)), tone=0.8)
    heel = bend((0.02, 0), (0.07, shaft * 0.5), (0.04, shaft))
    opening = bend((0.04, shaft), (0.2, shaft - 0.06), (0.38, shaft - 0.01))
    instep = bend((0.38, shaft - 0.01), (0.48, 0.13), (0.76, 0.105))
    toe = bend((0.76, 0.105), (0.98, 0.09), (0.985, 0))
    sheet.fill(at(*heel, *opening, *instep, *toe))
    sheet.fill(at(*toe, (0.72, 0)), paint=WHITE)
    sheet.fill(at((0.02, 0), (0.055, shaft * 0.6), (0.14, shaft * 0.5), (0.18, 0)), tone=0.8)
    laces = [at((u - 0.05, v - 0.035), (u + 0.02, v + 0.008)) for u, v in instep[1::2]]
    stripes = [at((u, 0.01), (u - 0.08, 0.09)) for u in (0.42, 0.50)]
    sheet.stroke(*laces, *stripes, width=0.018, paint=WHITE, strength=0.95)
    tread = bend((0.97, -sole), (1.02, -sole), (1.0, 0.015))
    sheet.fill(at((0, 0.01), (0.02, -sole), *tread), paint=WHITE, tone=0.95)
    sheet.stroke(at((0.01, -sole * 0.65), (0.99, -sole * 0.65)), strength=0.8)


def _hat(sheet: Sheet, f: Factors) -> None:
    brim, head = mix(0.29, 0.46, f["sleeve"]), mix(0.15, 0.22, f["width"])
    crown = mix(0.17, 0.36, f["length"])
    sheet.centre(-crown, 0.07)
    rear = bend((0, -0.07), (brim * 0.8, -0.07), (brim, -0.03))
    front = bend((brim, -0.03), (brim * 0.7, 0.10), (0, 0.10))
    sheet.fill(whole([*rear, *front]))
    seat = bend((head, -0.01), (head * 0.8, 0.04), (0, 0.04))
    top = bend((0, 0.015 - crown), (head * 0.75, -0.05 - crown), (head * 0.85, 0.07 - crown))
    sheet.fill(whole([*top, *seat]))
    ribbon = bend((0, -0.025), (head * 0.8, -0.025), (head * 0.965, -0.075))
    sheet.fill(whole([*ribbon, *seat]), paint=sheet.dark)
    crease = bend((0, 0.06 - crown), (head * 0.2, 0.05 - crown), (head * 0.35, 0.02 - crown))
    sheet.stroke(whole(crease), width=0.02, strength=0.5, blur=0.01)


def _bag(sheet: Sheet, f: Factors) -> None:
    wide, tall = mix(0.21, 0.35, f["width"]), mix(0.28, 0.48, f["length"])
    loop = mix(0.12, 0.34, f["sleeve"])
    sheet.centre(-loop, tall)
    grip = bend((0, -loop), (0.13, -loop), (0.13, 0.03))
    sheet.stroke(whole([(x * 0.9, y - 0.02) for x, y in grip]), width=0.02, strength=1.0)
    side = bend((wide - 0.03, 0), (wide, tall), (wide - 0.01, tall - 0.02))
    sheet.fill(whole([(0, 0), *side, (wide - 0.04, tall), (0, tall)]))
    flap = bend((0, tall * 0.5), (wide - 0.03, tall * 0.45), (wide - 0.028, 0.01))
    sheet.fill(whole([*flap, (wide - 0.03, 0)]), tone=0.92)
    sheet.stroke(whole(grip), width=0.03, strength=1.0)
    sheet.dots((0.37, 0.03), (0.63, 0.03), radius=0.02, paint=BRASS)
    sheet.dots((0.5, tall * 0.5), radius=0.032, paint=BRASS)


# How each is drawn, and the middle of its price range.
KINDS: dict[str, tuple[Callable[[Sheet, Factors], None], int]] = {
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
CATEGORIES: tuple[str, ...] = tuple(KINDS)
