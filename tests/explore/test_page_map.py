"""The map, by mouse, by keyboard and by finger, in a browser."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.support.explore_page import HASH, K, Opened
from tests.support.tolerances import near_shown


def places_of(page_shop) -> tuple[np.ndarray, np.ndarray]:
    """Where the items are along their first two components: from 0 to 1, and in units of z."""
    mu = page_shop.items.mu.astype(float)
    centred = mu - mu.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    largest = axes[np.arange(2), np.abs(axes).argmax(axis=1)]
    axes *= np.sign(largest)[:, None]
    places = centred @ axes.T
    return (places - places.min(axis=0)) / np.ptp(places, axis=0), places


def test_the_map(opened, page_shop):
    page, items = opened.page, page_shop.items
    page.locator("#map").scroll_into_view_if_needed()
    place = page.get_by_role("application")
    expect(page.locator("#legend li")).to_have_count(len(set(items.column("category"))))
    box = place.bounding_box()
    places = places_of(page_shop)[0]
    # A point that stands alone.
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    row = int(apart.min(axis=1).argmax())
    x, y = (
        0.5
        + (places[row] - 0.5)
        * (np.array([box["width"], box["height"]]) - 16)
        / [
            box["width"],
            box["height"],
        ]
    ) * [box["width"], box["height"]]
    at = {"x": float(x), "y": float(box["height"] - y)}
    place.hover(position=at)
    expect(page.locator(".tip")).to_contain_text(str(items.ids[row]))
    place.click(position=at)
    expect(page.locator("#slider-z-0")).to_have_value(str(round(float(items.mu[row][0]), 4)))
    assert opened.z == near_shown(items.mu[row])
    assert opened.hits == items.best(opened.z, K)
    # By keyboard: the item nearest to a step up and two to the right of the middle.
    place.focus()
    for key in ("ArrowUp", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    span = np.ptp(places_of(page_shop)[1], axis=0)
    nearest = int(np.square((places - [0.54, 0.52]) * span).sum(axis=1).argmin())
    expect(page.locator("#slider-z-0")).to_have_value(str(round(float(items.mu[nearest][0]), 4)))
    assert opened.z == near_shown(items.mu[nearest])
    before = page.evaluate(PAINTED)
    page.get_by_label("Colour by").select_option("new")
    expect(page.locator("#legend li")).to_have_count(2)
    assert page.evaluate(PAINTED) != before
    page.get_by_label("Colour by").select_option("price")
    cheapest = min(items.column("price"))
    expect(page.locator("#legend li").first).to_have_text(f"from {cheapest:g}")


PAINTED = "() => document.querySelector('#map-place canvas').toDataURL()"
# What is painted over the points, at a place in CSS pixels: red, green, blue and opacity.
MARKED = """([x, y]) => {
  const canvas = document.querySelectorAll("#map-place canvas")[1];
  const ratio = canvas.width / canvas.clientWidth;
  const copy = new OffscreenCanvas(1, 1).getContext("2d");
  copy.drawImage(canvas, -Math.floor(x * ratio), -Math.floor(y * ratio));
  return [...copy.getImageData(0, 0, 1, 1).data];
}"""
ACCENT = [11, 94, 85, 255]
FINGER = 22


def off(points: np.ndarray, place: np.ndarray) -> np.ndarray:
    """How far the points are from a place."""
    return np.linalg.norm(points - place, axis=1)


@pytest.mark.slow
def test_a_finger_chooses_the_nearest_point_that_it_covers(browser, url, page_shop):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with Opened(browser, url, HASH, **phone) as opened:
        page, items = opened.page, page_shop.items
        page.locator("#map").scroll_into_view_if_needed()
        expect(page.locator("#legend li").first).to_be_visible()
        page.evaluate("() => document.querySelector('#map').scrollIntoView({ block: 'end' })")
        box = page.get_by_role("application").bounding_box()
        size = np.array([box["width"], box["height"]])
        parts = places_of(page_shop)[0]
        points = 8 + np.stack([parts[:, 0], 1 - parts[:, 1]], axis=1) * (size - 16)

        def tap(place: np.ndarray) -> None:
            # What is told above the map may have moved it.
            now = page.get_by_role("application").bounding_box()
            page.touchscreen.tap(*(np.array([now["x"], now["y"]]) + place).tolist())

        turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = (FINGER - 4) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        row, place = next(
            (row, point + step)
            for row, point in enumerate(points)
            for step in ring
            if np.partition(off(points, point + step), 1)[1] > FINGER + 2
            and (point + step > 1).all()
            and (point + step < size - 1).all()
        )
        tap(place)
        expect(page.locator("#map-said")).to_have_text(f"Chosen: {items.ids[row]}")
        expect(page.locator(".tip")).to_contain_text(str(items.ids[row]))
        assert opened.z == near_shown(items.mu[row])
        assert page.evaluate(MARKED, points[row].tolist()) == ACCENT
        # Where no point is so near, none is chosen.
        grid = np.stack(np.meshgrid(*(np.arange(2, side - 2) for side in size)), -1).reshape(-1, 2)
        nowhere = next(one for one in grid if off(points, one).min() > FINGER + 2)
        tap(nowhere)
        expect(page.locator("#map-said")).to_contain_text("no item within a finger's width")
        expect(page.locator(".tip")).to_be_hidden()
        assert opened.z == near_shown(items.mu[row])
        assert page.evaluate(MARKED, points[row].tolist()) != ACCENT
        assert opened.violations() == []
        assert opened.logged == []
