"""The page on three sizes of screen, by keyboard, with a reader, and when the service is gone."""

from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import expect

from tests.support.browser import FAINT, OVERFLOW
from tests.support.cases import further_cases_slow
from tests.support.explore_page import Opened

SIZES = {"desk": (1440, 900), "tablet": (900, 1100), "phone": (390, 844)}


@pytest.mark.parametrize(
    ("size", "scheme"),
    further_cases_slow(
        itertools.product(SIZES, ["light", "dark"]), [("phone", "dark")], several=True
    ),
)
def test_everybody_can_use_it(browser, url, size, scheme):
    width, height = SIZES[size]
    options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
    with Opened(browser, url, "#z=0.5,-0.3,0.2,0.1&open=1&rough=2:0.5&lock=3", **options) as opened:
        page = opened.page
        opened.hits  # noqa: B018 - all is there
        opened.button("Save this place").click()
        opened.button("Set A").click()
        page.locator("#narrow > summary").click()
        page.locator(".hit").first.get_by_role("button", name="Why").press("Enter")
        opened.button(f"Like {opened.hits[0]}").press("Enter")
        page.locator("#map").scroll_into_view_if_needed()
        expect(page.locator("#legend li").first).to_be_visible()
        opened.settle()
        assert opened.violations() == []
        assert page.evaluate(FAINT) == [], "text that is hard to read"
        assert page.evaluate(OVERFLOW) <= 0, f"wider than a screen of {width} pixels"
        assert opened.logged == []


@pytest.mark.slow
def test_the_picture_stays_beside_the_hits_and_off_the_map(browser, url):
    with Opened(browser, url, viewport={"width": 1280, "height": 720}) as opened:
        opened.settle()
        opened.page.locator("#map").scroll_into_view_if_needed()
        expect(opened.page.locator("#map canvas").first).to_be_visible()
        opened.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        stage, drawn = (opened.page.locator(one).bounding_box() for one in (".stage", "#map"))
        assert stage["y"] + stage["height"] <= drawn["y"]


@pytest.mark.slow
def test_a_link_with_a_wrong_condition_says_so(browser, url):
    with Opened(browser, url, "#where=price<") as opened:
        expect(opened.page.locator("#sql-error")).to_be_visible()
        expect(opened.page.locator("#sql-error")).to_contain_text(
            "something is missing after 'price<'. Expected, for example, price <= "
        )
        expect(opened.page.locator("#unanswered")).to_have_text(
            "The condition in SQL is wrong. No items are shown."
        )


@pytest.mark.slow
def test_a_link_that_says_something_wrong_is_told_of(browser, url):
    hash = "#z=1,2&open=9&k=999&tolerance=-1&per=category&distinct=x&filters={&rough=1:-2"
    with Opened(browser, url, hash) as opened:
        said = opened.page.locator("#misread")
        expect(said).to_have_text(
            "In the address, z is “1,2”; expected 4 numbers with commas between. The sliders stand "
            "at 0. "
            "open is “9”; expected numbers of sliders, from 0 to 3. The others are left out. "
            "rough is “1:-2”; expected a slider's number, a colon and a tolerance of at least 0. "
            "The others are left out. "
            "filters is “{”; expected filters on this table's columns. The others are left out. "
            "k is “999”; expected a whole number from 1 to 200. 24 is used. "
            "tolerance is “-1”; expected a number of at least 0. 0 is used. "
            "per is “category”; expected a column, a colon and a whole number of at least 1. It is "
            "left out. "
            "distinct is “x”; expected a number above 0. It is left out."
        )
        assert opened.z == [0, 0, 0, 0]
        opened.set(0, 1)
        expect(said).to_be_hidden()
        opened.page.evaluate("() => { location.hash = '#z=0,0,0,0&k=0'; }")
        expect(said).to_have_text(
            "In the address, k is “0”; expected a whole number from 1 to 200. 24 is used."
        )
        opened.page.evaluate("() => { location.hash = '#z=0,0,0.5,0&k=7'; }")
        expect(said).to_be_hidden()
        assert opened.logged == []


@pytest.mark.slow
def test_a_link_that_was_edited_by_hand_keeps_what_it_can(browser, url):
    filters = '{"item_id":{"values":"x"},"category":{"values":["dress"]},"price":{"low":"a"}}'
    with Opened(browser, url, f"#filters={filters}") as opened:
        assert opened.page.locator("#narrowed").inner_text() == "1"
        assert opened.logged == []


@pytest.mark.slow
def test_everything_is_reached_by_keyboard(browser, url):
    with Opened(browser, url) as opened:
        page = opened.page
        opened.settle()
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text("To the sliders")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Sliders")).to_be_focused()
        assert "z" in opened.address, "the link leaves the state alone"
        seen = set()
        for _ in range(160):
            page.keyboard.press("Tab")
            seen.add(page.evaluate(NAME))
        for name in (
            *(
                "Wider range",
                "Combined sliders",
                "z0",
                "Value of z1",
                "Lock z2: it stays where it is",
            ),
            *("Search by a photo …", "Set A", "Copy as command", "Save this place"),
            "Filters and options",
            f"Go to {opened.hits[3]}",
            f"Like {opened.hits[3]}",
            f"Why {opened.hits[3]}",
        ):
            assert name in seen


NAME = """() => {
  const at = document.activeElement;
  return at.getAttribute("aria-label") ?? at.labels?.[0]?.innerText.trim() ?? at.innerText.trim();
}"""


@pytest.mark.slow
def test_readers_hear_what_was_found(browser, url):
    with Opened(browser, url) as opened:
        best = opened.hits[0]
        status = opened.page.locator("#status")
        expect(status).to_contain_text(f"24 items, the best is {best}")
        opened.set(0, 1)
        expect(status).to_contain_text(f"the best is {opened.hits[0]}")


@pytest.mark.slow
def test_on_a_phone_the_picture_stays_in_sight(browser, url):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with Opened(browser, url, **phone) as opened:
        page = opened.page
        opened.settle()
        opened.slider(3).scroll_into_view_if_needed()
        page.evaluate("() => scrollBy(0, 200)")
        box = page.locator("#decoded").bounding_box()
        assert 0 <= box["y"] < 60
        expect(page.locator("#mini img").first).to_be_visible()
        columns = {
            round(page.locator(f"section.{name}").bounding_box()["x"])
            for name in ("sliders", "answer", "map")
        }
        assert len(columns) == 1, "one column"
        opened.page.locator(".hit").first.get_by_role("button", name="Why").tap()
        expect(opened.page.locator(".hit .why").first).to_be_visible()


@pytest.mark.slow
def test_a_service_that_is_gone_is_said_and_forgotten(browser, url, page_shop):
    with Opened(browser, url) as opened:
        before = opened.hits
        opened.page.route("**/api/**", lambda route: route.abort())
        opened.set(0, 1)
        alert = opened.page.get_by_role("alert")
        expect(alert).to_contain_text("The service does not answer")
        notice = opened.page.locator("#unanswered")
        expect(notice).to_contain_text("The last question has no answer. These items still")
        assert opened.hits == before
        opened.page.unroute("**/api/**")
        # It asks again by itself.
        expect(alert).to_be_hidden()
        expect(notice).to_be_hidden()
        assert opened.hits == page_shop.items.best([1, 0, 0, 0], 24)


@pytest.mark.slow
def test_a_table_without_model_and_pictures(browser, url):
    reason = "the table does not say where its model is."

    def bare(route):
        table = route.fetch().json()
        table |= {"picture": None, "can": dict.fromkeys(table["can"], False)}
        table["why_not"] = dict.fromkeys(table["can"], reason)
        route.fulfill(json=table)

    with Opened(browser, url) as opened:
        opened.page.route("**/api/table", bare)
        opened.page.reload()
        opened.settle()
        expect(opened.page.locator("#no-decoder")).to_have_text(reason.capitalize())
        assert opened.page.locator(".hit").count() == 24
        assert opened.page.locator(".hit img, .strip:visible").count() == 0
        expect(opened.button("Search by a photo …")).to_be_hidden()
        opened.page.locator("#narrow > summary").click()
        expect(opened.page.get_by_label("Rank by comparing pictures")).to_be_disabled()
        assert opened.violations() == []
        assert opened.logged == []


@pytest.mark.slow
def test_a_new_version_is_said(browser, url):
    with Opened(browser, url) as opened:

        def newer(route):
            answer = route.fetch().json()
            answer["version"] += 1
            route.fulfill(json=answer)

        opened.page.route("**/api/search", newer)
        opened.set(0, 1)
        notice = opened.page.locator("#renewed")
        expect(notice).to_contain_text("of the table has come")
        opened.page.unroute("**/api/search")
        opened.button("Renew sliders and filters").click()
        opened.settle()
        assert opened.z[0] == 1
        expect(notice).to_be_hidden()
