import colorsys
import pickle
import re
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise

import numpy as np
import pytest

from tests.support.cases import each_value_once
from vaeudf.catalog.garments import CATEGORIES, Garment, draw_garment, sample_garment
from vaeudf.errors import InputError

MIDDLE = {
    "sleeve": 0.5,
    "length": 0.5,
    "width": 0.5,
    "hue": 0.42,
    "brightness": 0.5,
    "pattern": 0.8,
    "motif": 0.5,
    "scale": 0.5,
}


def garment(category, **factors):
    return Garment(category, "any", 1.0, {**MIDDLE, **factors})


def pixels(item, size=64):
    return np.asarray(draw_garment(item, size), np.float64)


@pytest.fixture(scope="module")
def shop():
    return [sample_garment(11, index) for index in range(1000)]


def test_the_same_seed_and_index_give_the_same_garment_in_any_order(shop):
    np.random.seed(5)  # a generator with global state would notice
    for index in (999, 3, 500, 3):
        assert sample_garment(11, index) == shop[index]
    assert pickle.loads(pickle.dumps(shop[3])) == shop[3]
    assert len({item.factors["hue"] for item in shop}) == 1000
    assert sample_garment(12, 3) != shop[3]


def test_the_same_garment_gives_the_same_pixels_in_another_process():
    here = draw_garment(sample_garment(4, 17)).tobytes()
    for index in (2, 40):
        draw_garment(sample_garment(4, index))
    assert draw_garment(sample_garment(4, 17)).tobytes() == here
    code = (
        "from vaeudf.catalog.garments import draw_garment, sample_garment; import sys;"
        "sys.stdout.write(draw_garment(sample_garment(4, 17)).tobytes().hex());"
        "assert 'torch' not in sys.modules and 'pyspark' not in sys.modules"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout == here.hex()


def test_a_garment_cannot_be_changed(shop):
    with pytest.raises(FrozenInstanceError):
        shop[0].price = 0.0


def test_categories_are_evenly_mixed(shop):
    counts = Counter(item.category for item in shop)
    assert set(counts) == set(CATEGORIES)
    expected = 1000 / len(CATEGORIES)
    # Four standard deviations of a binomial count.
    assert all(abs(n - expected) < 4 * expected**0.5 for n in counts.values()), counts


def test_factors_cover_their_range_and_prices_are_whole_cents(shop):
    values = np.array([[item.factors[name] for name in MIDDLE] for item in shop])
    assert all(set(item.factors) == set(MIDDLE) for item in shop)
    assert 0 <= values.min() and values.max() <= 1
    assert np.abs(values.mean(axis=0) - 0.5).max() < 0.05
    # A factor that follows another one would be lost on a model.
    assert np.abs(np.corrcoef(values.T) - np.eye(len(MIDDLE))).max() < 0.15
    assert all(item.price > 5 and round(item.price, 2) == item.price for item in shop)
    mean_price = {
        name: np.mean([item.price for item in shop if item.category == name])
        for name in ("t-shirt", "coat")
    }
    assert mean_price["coat"] > 4 * mean_price["t-shirt"]


@each_value_once(("name", MIDDLE), ("category", CATEGORIES))
def test_every_factor_acts_continuously_and_visibly(category, name):
    low, near, high = (pixels(garment(category, **{name: at})) for at in (0.2, 0.204, 0.9))
    # Mean change in grey levels of 255 over the whole picture, most of it background.
    assert np.abs(low - near).mean() < 1.0
    assert np.abs(low - high).mean() > 1.0


@pytest.mark.parametrize("name", MIDDLE)
def test_no_factor_jumps_anywhere_in_its_range(name):
    sweep = [pixels(garment("skirt", **{name: at})) for at in np.linspace(0, 1, 81)]
    steps = np.array([np.abs(b - a).mean() for a, b in pairwise(sweep)])
    # A jump would make one of the 80 steps stand out from the whole way.
    assert steps.max() < 0.10 * steps.sum(), (steps.max(), steps.sum())


@pytest.mark.parametrize("size", [8, 32, 50, 64, 128, 512])
def test_any_size_is_the_same_picture_in_rgb(size):
    item = garment("dress", pattern=0.0)
    image = draw_garment(item, size)
    assert (image.mode, image.size) == ("RGB", (size, size))
    small = np.asarray(image.resize((8, 8), resample=4), np.float64)  # 4: box
    # Seams are at least one drawn pixel wide, hence the slack.
    assert np.abs(small - np.asarray(draw_garment(item, 64).resize((8, 8), 4))).mean() < 6


def test_garments_are_centred_on_a_near_white_background(shop):
    for item in shop[:60]:
        picture = pixels(item)
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert border.min() > 225, item
        # Coverage from the same shape in black, so that pale garments count in full.
        ink = 255 - pixels(
            replace(item, factors={**item.factors, "hue": 1.0, "brightness": 0.0, "pattern": 0.0})
        ).mean(axis=2)
        rows, columns = (np.nonzero((ink > 60).any(axis=axis))[0] for axis in (1, 0))
        assert abs(rows.mean() - 31.5) < 4 and abs(columns.mean() - 31.5) < 4, item


def test_categories_can_be_told_apart():
    pictures, labels = [], []
    for index in range(250):
        item = sample_garment(2, index)
        black = {**item.factors, "hue": 1.0, "brightness": 0.2, "pattern": 0.0}
        pictures.append(pixels(replace(item, factors=black)).ravel())
        labels.append(item.category)
    data = np.array(pictures)
    squares = (data**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * data @ data.T
    np.fill_diagonal(distances, np.inf)
    hits = [labels[i] == labels[j] for i, j in enumerate(distances.argmin(axis=1))]
    assert np.mean(hits) > 0.9


# Hue on the colour circle in degrees, as a person would bound it.
HUES = {
    "red": (340, 20),
    "orange": (15, 45),
    "mustard": (35, 75),
    "green": (75, 165),
    "teal": (155, 200),
    "blue": (190, 245),
    "purple": (235, 300),
    "magenta": (285, 345),
    "navy": (190, 245),
    "sky blue": (190, 245),
}


def cloth(item):
    """Mean colour of the middle of a plain T-shirt in the item's colour, in [0, 1]."""
    shirt = replace(item, category="t-shirt", factors={**item.factors, "pattern": 0.0})
    return pixels(shirt)[28:36, 26:38].reshape(-1, 3).mean(axis=0) / 255


def test_colour_names_match_the_hue_that_is_seen(shop):
    seen = Counter()
    for item in shop[:400]:
        if item.colour not in HUES:
            continue
        start, end = HUES[item.colour]
        hue = 360 * colorsys.rgb_to_hsv(*cloth(item))[0]
        assert (hue - start) % 360 <= (end - start) % 360, (item.colour, hue)
        seen[item.colour] += 1
    assert set(seen) == set(HUES)


def test_dark_pale_and_grey_names_match_the_lightness_that_is_seen(shop):
    mean, spread = {}, {}
    for name in ("navy", "blue", "sky blue", "black", "grey", "white"):
        colours = np.array([cloth(item) for item in shop if item.colour == name][:20])
        mean[name], spread[name] = colours.mean(), np.ptp(colours, axis=1).mean()
    assert mean["navy"] + 0.1 < mean["blue"] < mean["sky blue"] - 0.1
    assert mean["black"] < 0.25 < mean["grey"] < 0.75 < mean["white"]
    assert max(spread[name] for name in ("black", "grey", "white")) < 0.1 < spread["blue"]


def test_an_unknown_category_is_refused_with_the_known_ones():
    text = f"found category 'scarf'; expected one of {', '.join(CATEGORIES)}"
    with pytest.raises(InputError, match=f"^{re.escape(text)}$"):
        draw_garment(garment("scarf"))


def test_a_size_too_small_to_show_anything_is_refused():
    with pytest.raises(InputError, match=r"^found size 7; expected 8 pixels or more$"):
        draw_garment(garment("hat"), 7)


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan")])
def test_a_factor_outside_its_range_is_refused(value):
    text = f"found factor motif = {value}; expected a number from 0 to 1"
    with pytest.raises(InputError, match=f"^{re.escape(text)}$"):
        draw_garment(garment("hat", motif=value))


def test_a_missing_factor_is_refused():
    with pytest.raises(InputError, match=r"^found factor sleeve = None; expected a number"):
        draw_garment(Garment("hat", "red", 1.0, {}))


def test_a_negative_seed_or_index_is_refused():
    text = "found seed 0 and index -1; expected both to be 0 or more"
    with pytest.raises(InputError, match=f"^{re.escape(text)}$"):
        sample_garment(0, -1)
