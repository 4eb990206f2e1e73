"""The page's sliders in a browser: what they ask, and that the hits are the answer to it."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.support.explore_page import Opened, eventually
from tests.support.tolerances import assert_same_levels

K = 24
# What Box and Muller (1958) make of two random numbers, both of them 0.2.
SAMPLE = np.sqrt(-2 * np.log(0.8)) * np.cos(2 * np.pi * 0.2)


@pytest.fixture
def opened(browser, url):
    with Opened(browser, url) as found:
        yield found
        assert found.logged == []


def test_it_starts_in_the_middle(opened, page_shop):
    items = page_shop.items
    assert opened.hits == items.best([0, 0, 0, 0], K)
    names = opened.page.locator("#sliders .line > label:first-child").all_inner_texts()
    variance = np.exp(items.log_var)
    kl = 0.5 * (items.mu**2 + variance - 1 - items.log_var).mean(axis=0)
    assert names == [f"z{i}" for i in np.argsort(-kl)]
    assert "of the 60 items" in opened.page.locator("#here").inner_text()
    decoded = page_shop.shop.bundle.decode(np.zeros((1, 4)))[0]
    shown = opened.pixels("#decoded")
    assert_same_levels(shown, decoded)


def test_it_asks_for_nothing_elsewhere(opened, url):
    opened.settle()
    assert opened.asked
    assert [one for one in opened.asked if not one.startswith((url, "blob:"))] == []


@pytest.mark.slow
def test_keys_move_a_slider(opened, page_shop):
    slider = opened.slider(1)
    for keys, expected in (("ArrowRight", 0.1), ("Shift+ArrowRight", 0.11), ("PageUp", 0.61)):
        slider.press(keys)
        assert opened.z == [0, expected, 0, 0]
        assert opened.hits == page_shop.items.best([0, expected, 0, 0], K)
    slider.press("ArrowLeft")
    slider.press("PageDown")
    assert opened.z == [0, 0.01, 0, 0]


@pytest.mark.slow
def test_a_typed_value_may_lie_beyond_the_travel(opened, page_shop):
    opened.set(2, 4.75)
    assert opened.z == [0, 0, 4.75, 0]
    assert opened.hits == page_shop.items.best([0, 0, 4.75, 0], K)
    assert float(opened.slider(2).get_attribute("max")) >= 4.75
    opened.set(2, 99)
    assert opened.z[2] <= 10, "beyond what any slider reaches"


@pytest.mark.slow
def test_what_is_typed_wrongly_is_told_beside_the_field(opened):
    row = opened.row(2)
    said, field = row.locator(".correction"), opened.page.get_by_label("Value of z2")
    expect(said).to_be_hidden()
    for typed, used, text in (
        ("99", 5, "99 is beyond the ends of this slider (−5 and 5): 5 is used."),
        ("-7.5", -5, "−7.5 is beyond the ends of this slider (−5 and 5): −5 is used."),
        ("", -5, "That is not a number: expected a number. −5 stays."),
    ):
        field.fill(typed)
        field.press("Enter")
        expect(said).to_have_text(text)
        expect(field).to_have_value(str(used))
        assert opened.z == [0, 0, used, 0]
    # It is said of this slider, and until another value is chosen.
    opened.set(1, 1)
    expect(said).to_be_visible()
    expect(opened.row(1).locator(".correction")).to_be_hidden()
    opened.set(2, 4.5)
    expect(said).to_be_hidden()
    opened.button("About z2: it may be a little off").click()
    tolerance = opened.page.get_by_label("Tolerance of z2")
    tolerance.fill("-1")
    tolerance.press("Enter")
    expect(said).to_have_text("−1 will not do: expected a number of at least 0. 0.5 stays.")
    expect(tolerance).to_have_value("0.5")
    tolerance.fill("0.7")
    tolerance.press("Enter")
    expect(said).to_be_hidden()
    assert opened.address["rough"] == ["2:0.7"]


@pytest.mark.slow
def test_wrong_options_are_told_beside_the_field(opened):
    page = opened.page
    page.locator("#narrow > summary").click()
    for name, typed, text in (
        ("Items to show", "999", "999 will not do: expected a whole number from 1 to 200. 24"),
        ("Items to show", "2.5", "2.5 will not do: expected a whole number from 1 to 200. 24"),
        ("Tolerance", "-1", "−1 will not do: expected a number of at least 0. 0 stays."),
    ):
        field = page.get_by_label(name, exact=True)
        said = page.locator(".field", has=field).locator(".correction")
        field.fill(typed)
        field.press("Enter")
        expect(said).to_contain_text(text)
        field.fill("3")
        field.press("Enter")
        expect(said).to_be_hidden()
        opened.button("Undo").click()
    assert len(opened.hits) == K


@pytest.mark.slow
def test_further_widens_the_travel(opened):
    before = float(opened.slider(0).get_attribute("max"))
    opened.page.get_by_label("Wider range").check()
    assert float(opened.slider(0).get_attribute("max")) >= 5 > before


# Counts the searches whose answers the page does not have yet.
COUNT = """() => {
  const real = window.fetch;
  window.running = window.most = 0;
  window.fetch = async (address, options) => {
    if (address !== "/api/search") return real(address, options);
    window.most = Math.max(window.most, ++window.running);
    try {
      const response = await real(address, options);
      const text = await response.text();
      return new Response(text, response);
    } finally {
      window.running--;
    }
  };
}"""


def test_a_drag_shows_what_it_passes_and_drops_what_is_stale(opened, page_shop):
    page = opened.page
    page.evaluate(COUNT)
    box = opened.slider(0).bounding_box()
    middle = box["y"] + box["height"] / 2
    opened.settle()
    asked = len(opened.asked)
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    page.mouse.down()
    for step in range(60):
        page.mouse.move(box["x"] + box["width"] * (0.3 + 0.01 * step), middle)
    page.mouse.up()
    z = opened.z
    assert opened.hits == page_shop.items.best(z, K)
    shown = opened.pixels("#decoded")
    decoded = page_shop.shop.bundle.decode([z])[0]
    assert_same_levels(shown, decoded)
    searches = sum("/api/search" in one for one in opened.asked[asked:])
    assert page.evaluate("window.most") == 1, "one at a time"
    assert 2 <= searches <= 62


@pytest.mark.slow
def test_slow_answers_to_what_has_passed_are_not_shown(browser, url, page_shop):
    with Opened(browser, url) as opened:
        held = []

        def hold(route):
            # The first waits until its turn is over; the others go on.
            held.append(route) if not held else route.continue_()

        opened.page.route("**/api/search", hold)
        opened.set(0, 1)
        opened.page.wait_for_function("() => document.body.dataset.settled === 'false'")
        opened.set(0, -1)
        assert opened.hits == page_shop.items.best([-1, 0, 0, 0], K)
        assert len(held) == 1
        assert opened.logged == []


@pytest.mark.slow
def test_locked_sliders_stay(opened):
    opened.set(1, 0.7)
    opened.button("Lock z1: it stays where it is").click()
    assert opened.slider(1).is_disabled()
    # By Box and Muller, all of these samples of the prior are the same.
    opened.page.evaluate("Math.random = () => 0.2")
    opened.button("Random").click()
    z = opened.z
    sample = round(SAMPLE, 2)
    assert z == [sample, 0.7, sample, sample]
    opened.page.locator(".hit .go").first.click()
    assert opened.z[1] == 0.7
    assert opened.z != z
    assert opened.address["lock"] == ["1"]


@pytest.mark.slow
def test_what_does_not_matter_is_open(opened, page_shop):
    opened.set(0, 1.5)
    opened.button("Any z2: every value will do").click()
    assert opened.hits == page_shop.items.best([1.5, 0, None, 0], K)
    assert opened.slider(2).is_disabled()
    decoded = page_shop.shop.bundle.decode([[1.5, 0, 0, 0]])[0]
    assert_same_levels(opened.pixels("#decoded"), decoded)
    opened.button("Any z2: every value will do").click()
    assert opened.hits == page_shop.items.best([1.5, 0, 0, 0], K)


@pytest.mark.slow
def test_roughly_is_a_tolerance_of_its_own(opened, page_shop):
    opened.set(0, 1.5)
    opened.button("About z0: it may be a little off").click()
    assert opened.hits == page_shop.items.best([1.5, 0, 0, 0], K, [0.5, 0, 0, 0])
    field = opened.page.get_by_label("Tolerance of z0")
    field.fill("2")
    field.press("Enter")
    assert opened.hits == page_shop.items.best([1.5, 0, 0, 0], K, [2, 0, 0, 0])
    assert opened.address["rough"] == ["0:2"]


@pytest.mark.slow
def test_strips_show_what_each_slider_does(opened, page_shop):
    opened.set(1, 0.5)
    strip = opened.row(0).locator(".strip")
    expect(strip).to_be_visible()
    expect(opened.row(3).locator(".strip")).to_be_visible()
    low, high = (float(opened.slider(0).get_attribute(end)) for end in ("min", "max"))
    at = low + (np.arange(7) + 0.5) / 7 * (high - low)
    z = np.tile([0, 0.5, 0, 0], (7, 1))
    z[:, 0] = at
    decoded = np.concatenate(list(page_shop.shop.bundle.decode(z)), axis=1)

    def is_shown() -> bool:
        shown = opened.pixels(".slider:has(#slider-z-0) .strip").astype(int)
        return shown.shape == decoded.shape and np.abs(shown - decoded).max() <= 1

    # Those from before the change are there for a moment.
    eventually(is_shown)
    box = strip.bounding_box()
    strip.click(position={"x": box["width"] * 0.75, "y": 5})
    assert opened.z[0] == pytest.approx(low + 0.75 * (high - low), abs=0.05)


@pytest.mark.slow
def test_directions_move_along_what_items_differ_in(opened, page_shop):
    centred = page_shop.items.mu.astype(float) - page_shop.items.mu.mean(axis=0, dtype=float)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    opened.page.get_by_label("Combined sliders").check()
    before = np.array(opened.z)
    slider = opened.page.locator("#slider-direction-0")
    start = float(slider.input_value())
    slider.press("PageUp")
    step = np.array(opened.z) - before
    assert abs(step @ axis) == pytest.approx(np.linalg.norm(step), rel=1e-3)
    assert float(slider.input_value()) == pytest.approx(start + 0.5, abs=1e-3)
    assert opened.hits == page_shop.items.best(opened.z, K)


@pytest.mark.slow
def test_undo_redo_and_the_address(opened, browser, url, page_shop):
    opened.set(0, 1)
    opened.set(3, -1)
    opened.button("Any z1: every value will do").click()
    hits = opened.hits
    hash = "#" + opened.page.url.split("#")[1]
    with Opened(browser, url, hash) as other:
        assert other.hits == hits == page_shop.items.best([1, None, 0, -1], K)
        assert other.page.url.endswith(hash)
    opened.button("Undo").click()
    assert "open" not in opened.address
    opened.page.keyboard.press("Control+z")
    assert opened.z == [1, 0, 0, 0]
    opened.page.keyboard.press("Control+Shift+z")
    assert opened.z == [1, 0, 0, -1]
    opened.button("Redo").click()
    assert opened.hits == hits
    assert opened.button("Redo").is_disabled()
    opened.button("Reset").click()
    assert opened.hits == page_shop.items.best([0, 0, 0, 0], K)
    opened.page.evaluate(f"() => {{ location.hash = {hash!r}; }}")
    assert opened.hits == hits


@pytest.mark.slow
def test_collapsed_dimensions_are_folded_away(browser, url):
    with Opened(browser, url) as opened:

        def collapse(route):
            table = route.fetch().json()
            table["dimensions"][2]["collapsed"] = True
            route.fulfill(json=table)

        opened.page.route("**/api/table", collapse)
        opened.page.reload()
        opened.settle()
        assert not opened.slider(2).is_visible()
        opened.page.get_by_text("1 slider that changes nothing").click()
        assert opened.slider(2).is_visible()
