"""Garments of a drawn shop: drawn by chance, and as pictures.

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
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vaeudf.catalog.garments.categories import CATEGORIES, KINDS
from vaeudf.catalog.garments.cloth import colour_name
from vaeudf.catalog.garments.sheet import Sheet
from vaeudf.errors import InputError

_FACTORS = ("sleeve", "length", "width", "hue", "brightness", "pattern", "motif", "scale")


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
    price = round(KINDS[category][1] * dearness) - 0.05
    name = colour_name(factors["hue"], factors["brightness"])
    return Garment(category, name, round(price, 2), factors)


def draw_garment(garment: Garment, size: int = 64) -> Image.Image:
    """Draw the product shot: RGB, `size` x `size`, on a near-white studio background.

    Raises:
        InputError: If the category is unknown, a factor is missing or outside [0, 1], or the
            size is below 8.
    """
    if garment.category not in KINDS:
        known = ", ".join(CATEGORIES)
        raise InputError(f"found category {garment.category!r}; expected one of {known}")
    if size < 8:
        raise InputError(f"found size {size}; expected 8 pixels or more")
    for name in _FACTORS:
        value = garment.factors.get(name)
        if value is None or not 0 <= value <= 1:
            raise InputError(f"found factor {name} = {value}; expected a number from 0 to 1")
    sheet = Sheet(garment.factors, size)
    KINDS[garment.category][0](sheet, garment.factors)
    return sheet.develop()
