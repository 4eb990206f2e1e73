"""Photos as queries, in a browser: what is found of them, and what is said of the others."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.support.browser import FAINT
from tests.support.explore_page import K, Opened, Z, eventually
from tests.support.live import live
from tests.support.scene import SPEC, png
from tests.support.shop import folder_catalog, make_shop, publish_shop
from tests.support.tolerances import assert_same_levels, near_shown
from vaeudf.images.decode import decode_image


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
    assert opened.z == near_shown(mu)
    assert opened.hits == page_shop.items.best(opened.z, K)
    shown = opened.pixels("#photo-shown img[alt='what its mean decodes to']")
    assert_same_levels(shown, page_shop.shop.bundle.decode(mu[None])[0])
    opened.set(0, 0)
    opened.button("Back to the photo").click()
    assert opened.z == near_shown(mu)
    opened.button("Put the photo away").click()
    expect(opened.page.get_by_alt_text("the photo")).to_be_hidden()


@pytest.mark.slow
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
    assert opened.z == near_shown(encoded(page_shop, first))
    opened.page.evaluate(DROP, [list(second), "image/png"])
    expect(photo).not_to_have_attribute("src", source)
    assert opened.z == near_shown(encoded(page_shop, second))
    opened.button("Undo").click()
    expect(photo).to_have_attribute("src", source)
    shown = opened.pixels("#photo-shown img[alt='the photo']")
    assert shown.shape[:2] == (40, 40), "the photo itself"
    opened.button("Undo").click()
    expect(photo).to_be_hidden()
    assert opened.z == Z
    opened.button("Redo").click()
    expect(photo).to_have_attribute("src", source)


@pytest.fixture(scope="module")
def white_url(tmp_path_factory):
    """A shop whose model makes everything nearly white, which garments on white are, too."""
    folder = tmp_path_factory.mktemp("white")
    shop = make_shop(folder / "made", brightness=3.0)
    table = str(folder / "posteriors")
    publish_shop(shop, table, "r1", catalog=folder_catalog(shop, folder / "photos"))
    with live(table) as address:
        yield address, list(shop.images.values())[5]


DARK = png(np.zeros((40, 40, 3), np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_photo_that_is_unlike_the_catalogs_is_told(browser, white_url, scheme):
    address, own = white_url
    with Opened(browser, address, color_scheme=scheme) as opened:
        shown = opened.page.locator("#photo-shown")
        said = shown.get_by_text("This picture is unlike the catalog's: the model redraws it")
        opened.page.evaluate(DROP, [list(DARK), "image/png"])
        # The catalog's pictures are read first: the page asks again.
        expect(said).to_be_visible(timeout=30_000)
        expect(said).to_contain_text("times as badly as is usual for them. What is found may have")
        opened.settle()
        assert opened.page.evaluate(FAINT) == []
        assert opened.violations() == []
        opened.page.evaluate(DROP, [list(own), "image/png"])
        expect(said).to_be_hidden()
        expect(shown).to_be_visible()
        opened.button("Undo").click()
        expect(said).to_be_visible()
        assert opened.logged == []


@pytest.mark.slow
def test_where_photos_cannot_be_compared_the_page_says_so(opened, page_shop):
    def alone(route):
        reason = "catalog x is gone."
        without = {"comparison": None, "why_not_compared": reason, "comparison_pending": False}
        route.fulfill(json=route.fetch().json() | without)

    opened.page.route("**/api/encode", alone)
    photo = next(iter(page_shop.shop.images.values()))
    opened.page.evaluate(DROP, [list(photo), "image/png"])
    expect(opened.page.locator("#photo-shown")).to_contain_text(
        "Whether it is like the catalog's pictures cannot be told. Catalog x is gone"
    )


# By its answer, what was asked before is known here.
ASK_ANOTHER = "async () => (await fetch('/api/health')).text()"
PENDING = {
    "comparison": None,
    "why_not_compared": "the catalog's pictures are being read; ask again in a moment.",
    "comparison_pending": True,
}


@pytest.mark.slow
def test_a_comparison_that_is_pending_is_asked_for_while_the_photo_is_shown(opened, page_shop):
    photo = next(iter(page_shop.shop.images.values()))
    asked, known = [], [PENDING]

    def answer(route):
        asked.append(route.request.post_data_buffer)
        route.fulfill(json=route.fetch().json() | known[-1])

    page = opened.page
    page.clock.install()
    page.clock.pause_at(datetime.now() + timedelta(hours=1))
    page.route("**/api/encode", answer)
    page.evaluate(DROP, [list(photo), "image/png"])
    said = page.locator("#photo-shown .said")
    expect(said).to_have_text(
        "The catalog's pictures are being read; whether the photo is like them is said here in a "
        "moment."
    )
    opened.button("Put the photo away").click()
    before = len(asked)
    page.clock.run_for(60_000)
    page.evaluate(ASK_ANOTHER)
    assert len(asked) == before, "nobody waits for it"
    opened.button("Undo").click()
    expect(said).to_contain_text("are being read")
    with page.expect_response("**/api/encode"):
        page.clock.run_for(1000)
    known.append(TOLD)

    def is_told() -> bool:
        page.clock.run_for(2000)
        return said.inner_text() == "It is unlike them."

    eventually(is_told)
    before = len(asked)
    page.clock.run_for(60_000)
    page.evaluate(ASK_ANOTHER)
    assert len(asked) == before, "it is known"
    assert set(asked) == {photo}


TOLD = {
    "comparison": {
        **{"error": 0.3, "usual": 0.1, "limit": 0.2, "sampled": 60, "unlike": True},
        "message": "It is unlike them.",
    },
    "why_not_compared": None,
    "comparison_pending": False,
}
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
    assert opened.z == near_shown(encoded(page_shop, data))


LARGE = """() => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(26 * 2 ** 20)], "large.png", { type: "image/png" }));
  document.body.dispatchEvent(
    new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


def test_what_is_no_photo_is_refused(opened):
    alert = opened.page.get_by_role("alert")
    opened.page.evaluate(DROP, [[1, 2, 3], "text/plain"])
    expected = (
        "Expected a picture as JPEG, PNG, WEBP, BMP, GIF or TIFF, of at most 25 MB and 50 "
        "megapixels."
    )
    expect(alert).to_have_text(f"“dropped” is not a picture. {expected}")
    for octets, found in (
        ([1, 2, 3], "unknown bytes that begin 01 02 03"),
        (list(b"%PDF-1.4"), "PDF"),
        (list(b"GIF89a"), "this GIF file of 6 bytes ends too early"),
    ):
        opened.page.evaluate(DROP, [octets, "image/png"])
        expect(alert).to_have_text(f"The photo cannot be read: {found}. {expected}")
    opened.page.evaluate(LARGE)
    expect(alert).to_have_text(f"“large.png” has 26 MB. {expected}")
    assert opened.z == Z
    # The browser logs answers of 400 and more by itself.
    assert all("status of 4" in line for line in opened.logged)
    opened.logged.clear()
