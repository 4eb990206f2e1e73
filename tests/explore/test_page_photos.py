"""Photos as queries, in a browser: what is found of them, and what is said of those that will not do."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.support.explore_page import Opened
from tests.support.scene import SPEC, png
from tests.support.tolerances import assert_same_levels
from vaeudf.images.decode import decode_image

K = 24
Z = [0.5, -0.3, 0.2, 0.1]
HASH = "#z=" + ",".join(map(str, Z))


@pytest.fixture
def opened(browser, url):
    with Opened(browser, url, HASH) as found:
        yield found
        assert found.logged == []


def near(mu) -> object:
    """What a mean is after it was rounded to four decimals."""
    return pytest.approx(mu, abs=0.500001e-4)


def encoded(page_shop, data: bytes) -> np.ndarray:
    pixels = decode_image(data, SPEC)[None]
    return page_shop.shop.bundle.encoder.encode(pixels)[0][0]


def test_a_photo_becomes_the_query(opened, page_shop, tmp_path):
    data = next(iter(page_shop.shop.images.values()))
    photo = tmp_path / "photo.png"
    photo.write_bytes(data)
    with opened.page.expect_file_chooser() as chooser:
        opened.button("Search by a photo …").click()
    chooser.value.set_files(photo)
    expect(opened.page.get_by_alt_text("the photo")).to_be_visible()
    mu = encoded(page_shop, data)
    assert opened.z == near(mu)
    assert opened.hits == page_shop.items.best(opened.z, K)
    shown = opened.pixels("#photo-shown img[alt='what its mean decodes to']")
    assert_same_levels(shown, page_shop.shop.bundle.decode(mu[None])[0])
    opened.set(0, 0)
    opened.button("Back to the photo").click()
    assert opened.z == near(mu)
    opened.button("Put the photo away").click()
    expect(opened.page.get_by_alt_text("the photo")).to_be_hidden()


def test_reset_puts_the_photo_away_and_undo_brings_it_back(opened, page_shop):
    photo = opened.page.get_by_alt_text("the photo")
    first, second = (list(page_shop.shop.images.values())[row] for row in (9, 30))
    opened.page.evaluate(DROP, [list(first), "image/png"])
    expect(photo).to_be_visible()
    source = photo.get_attribute("src")
    opened.button("Reset").click()
    assert opened.z == [0, 0, 0, 0]
    expect(photo).to_be_hidden()
    opened.button("Undo").click()
    expect(photo).to_be_visible()
    assert opened.z == near(encoded(page_shop, first))
    opened.page.evaluate(DROP, [list(second), "image/png"])
    expect(photo).not_to_have_attribute("src", source)
    assert opened.z == near(encoded(page_shop, second))
    opened.button("Undo").click()
    expect(photo).to_have_attribute("src", source)
    shown = opened.pixels("#photo-shown img[alt='the photo']")
    assert shown.shape[:2] == (40, 40), "the photo itself"
    opened.button("Undo").click()
    expect(photo).to_be_hidden()
    assert opened.z == Z
    opened.button("Redo").click()
    expect(photo).to_have_attribute("src", source)


DROP = """([octets, type]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(octets)], "dropped", { type }));
  document.body.dispatchEvent(
    new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


@pytest.mark.slow
def test_a_photo_is_dropped(opened, page_shop):
    data = list(page_shop.shop.images.values())[9]
    opened.page.evaluate(DROP, [list(data), "image/png"])
    expect(opened.page.get_by_alt_text("the photo")).to_be_visible()
    assert opened.z == near(encoded(page_shop, data))


def test_what_is_no_photo_is_refused(opened):
    alert = opened.page.get_by_role("alert")
    opened.page.evaluate(DROP, [[1, 2, 3], "text/plain"])
    expect(alert).to_contain_text("dropped is not a picture")
    opened.page.evaluate(DROP, [[1, 2, 3], "image/png"])
    expect(alert).not_to_contain_text("dropped")
    expect(alert).to_be_visible()
    assert opened.z == Z
    # The browser logs answers of 400 and more by itself.
    assert all("status of 4" in line for line in opened.logged)
    opened.logged.clear()


