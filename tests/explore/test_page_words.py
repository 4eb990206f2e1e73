"""What the page tells somebody who sees it for the first time, and where it stands for nothing."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.support.browser import FAINT
from tests.support.cases import each_value_once
from tests.support.explore_page import Opened, check_nearness

FAR = "#z=3.9,3.9,3.9,3.9"


@pytest.fixture
def opened(browser, url):
    with Opened(browser, url) as found:
        yield found
        assert found.logged == []


@pytest.mark.slow
def test_the_introduction_is_there_until_it_is_closed(opened):
    page = opened.page
    intro = page.get_by_role("region", name="How to use this page")
    assert intro.get_by_role("listitem").count() == 3
    help_button = opened.button("Help")
    expect(help_button).to_have_attribute("aria-expanded", "true")
    intro.get_by_text("What the words mean").click()
    expect(intro.get_by_text("have no names")).to_be_visible()
    assert opened.violations() == []
    opened.button("Close the introduction").click()
    expect(intro).to_be_hidden()
    expect(help_button).to_be_focused()
    page.reload()
    opened.settle()
    expect(intro).to_be_hidden()
    help_button.click()
    expect(intro).to_be_visible()
    help_button.click()
    expect(intro).to_be_hidden()


@pytest.mark.slow
def test_how_many_items_are_at_a_place_is_a_sentence(opened):
    cases = {
        (0.01, 3068, 3068): "None of the 3,068 items is at this place.",
        (0.01, 241, 3068): "None of the 241 items that pass the filters is at this place.",
        (0.3, 60, 60): "The nearest of the 60 items are close to this place, but not at it.",
        (1.2, 60, 60): "About 1 of the 60 items is at this place.",
        (5678, 10_000, 10_000): "About 5,700 of the 10,000 items are at this place.",
        (0.3, 1, 60): "The only item that passes the filters is not at this place.",
        (1, 1, 1): "The only item is at this place.",
    }
    found = opened.page.evaluate(
        """async (cases) => {
          const { howMany } = await import("/static/numbers.js");
          return cases.map((one) => howMany(...one));
        }""",
        [list(case) for case in cases],
    )
    assert found == list(cases.values())


@pytest.mark.slow
def test_from_a_place_without_items_a_button_leads_to_the_nearest(browser, url, page_shop):
    with Opened(browser, url, FAR) as opened:
        here, nearest = opened.page.locator("#here"), opened.button("Go to the nearest item")
        opened.settle()
        expect(here).to_have_text("None of the 60 items is at this place.")
        expect(opened.page.locator("#here-means")).to_contain_text("model imagines this picture")
        best = opened.hits[0]
        nearest.press("Enter")
        mu = page_shop.items.mu[page_shop.items.row(best)]
        assert opened.z == pytest.approx(mu, abs=0.500001e-4)
        # However wide it is, it counts as one where its mean is.
        expect(here).to_contain_text("About ")
        expect(nearest).to_be_hidden()
        expect(here).to_be_focused()
        expect(opened.page.locator("#here-means")).to_be_empty()


@pytest.mark.slow
def test_the_item_at_the_place_is_shown_large_with_its_whole_name(opened, page_shop):
    own = opened.page.locator("#own")
    opened.settle()
    expect(own).to_be_hidden()
    second = opened.hits[1]
    opened.hit(second).locator(".go").click()
    expect(own).to_be_visible()
    expect(opened.page.locator("#own-name")).to_have_text(second)
    expect(opened.page.locator("#own-picture")).to_have_attribute("src", re.compile("side=720$"))
    expect(opened.page.locator(".hit.here .name")).to_have_text(second)
    opened.set(0, 1.5)
    expect(own).to_be_hidden()
    expect(opened.page.locator(".hit.here")).to_have_count(0)


@pytest.mark.slow
def test_why_a_hit_is_there_begins_with_where_it_differs(opened, page_shop):
    best = opened.hits[0]
    row = page_shop.items.row(best)
    z = np.array(opened.z)
    variance = np.exp(np.float64(page_shop.items.log_var[row]))
    costs = 0.5 * (z - np.float64(page_shop.items.mu[row])) ** 2 / variance
    first, second, third = (f"z{place}" for place in np.argsort(-costs)[:3])
    opened.hit(best).locator(".go").hover()
    text = f"It differs most in {first}, {second}, and {third}."
    expect(opened.hit(best).locator(".why > p")).to_have_text(text)


@pytest.mark.slow
@each_value_once(("tolerance", [0, 3]), ("open_", [None, 1]))
def test_each_hit_says_how_near_it_is(browser, url, page_shop, tolerance, open_):
    z = [0.8, 0.2, -0.4, 0.1]
    hash = f"#z={','.join(map(str, z))}&k=60&tolerance={tolerance}"
    with Opened(browser, url, hash + ("" if open_ is None else f"&open={open_}")) as opened:
        check_nearness(opened, page_shop, z, tolerance, open_)
        expect(opened.page.locator(".hit .nearness").first).to_be_visible()


@pytest.mark.slow
def test_words_for_distances(opened):
    found = opened.page.evaluate(
        """async (distances) => {
          const { nearnessWord } = await import("/static/nearness.js");
          return distances.map(nearnessWord);
        }""",
        [0, 1, 1.01, 2, 2.01, 4, 4.01, 1e300],
    )
    words = ("very near", "near", "far", "very far")
    assert found == [word for word in words for _ in range(2)]


@pytest.mark.slow
def test_what_is_liked_is_told_with_how_near_too(opened, page_shop):
    first = opened.hits[0]
    opened.button(f"Like {first}").click()
    opened.settle()
    mu = page_shop.items.mu[page_shop.items.row(first)]
    check_nearness(opened, page_shop, mu, 0, None)


@pytest.mark.slow
def test_without_any_closed_slider_the_page_says_what_to_do(opened):
    opened.settle()
    for place in range(4):
        opened.button(f"Any z{place}: every value will do").click()
    alert = opened.page.get_by_role("alert")
    text = "Every slider is on “any”. Switch one of them back, or like an item."
    expect(alert).to_have_text(text)
    expect(opened.page.locator("#unanswered")).to_contain_text("still answer the question before")
    opened.button("Any z0: every value will do").click()
    expect(alert).to_be_hidden()


@pytest.mark.slow
def test_dislikes_are_told_in_the_words_of_the_number(opened):
    first, second, *_ = opened.hits
    opened.button(f"Dislike {second}").click()
    tray = opened.page.locator("#likes")
    expect(tray).to_contain_text("most like the sliders, away from those struck out")
    score = opened.page.locator(".hit .score").first
    expect(score).to_have_attribute("data-name", "score less dislikes")
    opened.button(f"Like {first}").click()
    expect(tray).to_contain_text("most like these, away from those struck out; the sliders stand")
    expect(score).to_have_attribute("data-name", "distance less dislikes")


@pytest.mark.slow
def test_an_item_of_whatever_width_is_at_its_own_mean(browser, url, page_shop):
    widest = page_shop.items.log_var.sum(axis=1).argmax()
    hash = "#z=" + ",".join(f"{value:.4f}" for value in page_shop.items.mu[widest])
    with Opened(browser, url, hash) as opened:
        hits = opened.hits
        assert str(page_shop.items.ids[widest]) in hits
        expect(opened.page.locator("#here")).to_contain_text("About ")
        expect(opened.button("Go to the nearest item")).to_be_hidden()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hash", "misfits", "count"),
    [
        ("", [-0.1, -79, -90], "About 1 of the 60 items is"),
        ("", [-0.1, -7.9, -8.1], "About 2 of the 60 items are"),
        ("", [-0.1, -0.2, -0.3], "About 3 of the 60 items are"),
        ("", [-9, -10, -11], "About 3 of the 60 items are"),
        # Some that are near may have been left out.
        ("#per=category:1", [-0.1, -79, -90], "About 3 of the 60 items are"),
    ],
)
def test_a_narrow_item_is_one_item(browser, url, hash, misfits, count):
    def narrow(route):
        answer = route.fetch().json()
        answer["here"] = 3.2
        answer["hits"] = answer["hits"][:3]
        for hit, misfit in zip(answer["hits"], misfits, strict=True):
            hit["misfit"] = misfit
        route.fulfill(json=answer)

    with Opened(browser, url, hash) as opened:
        opened.page.route("**/api/search", narrow)
        opened.set(0, 0.05)
        expect(opened.page.locator("#here")).to_have_text(f"{count} at this place.")


@pytest.mark.slow
def test_without_a_place_nothing_is_said_of_it(browser, url):
    with Opened(browser, url, FAR) as opened:
        opened.button(f"Like {opened.hits[0]}").click()
        opened.settle()
        expect(opened.page.locator("#here")).to_be_empty()
        expect(opened.button("Go to the nearest item")).to_be_hidden()


@pytest.mark.slow
def test_each_control_says_what_it_is_for(opened):
    page = opened.page
    page.get_by_text("What do these do?").click()
    expect(page.get_by_text("Any value will do: the search leaves the slider out.")).to_be_visible()
    page.locator("#narrow > summary").click()
    for name, means in {
        "Wider range": "where the model has seen few items",
        "Combined sliders": "several of z0, z1, … together",
        "Items to show": "from 1 to 200",
        "Tolerance": "0 takes the sliders literally",
        "Variety by": "so many items with the same value",
        "Hide near copies": "A larger distance hides more",
        "Rank by comparing pictures": "the 200 best items again",
        "Condition in SQL": "once you press Enter",
    }.items():
        control = page.get_by_label(name, exact=True)
        expect(control).to_have_accessible_description(re.compile(re.escape(means)))
        expect(page.get_by_text(means)).to_be_visible()
    box = page.get_by_label("Rank by comparing pictures")
    opened.button("Any z2: every value will do").click()
    expect(box).to_be_disabled()
    expect(page.get_by_text("with that of a z without open dimensions")).to_be_visible()


@pytest.mark.slow
def test_what_is_pressed_is_readable_under_the_pointer(opened):
    about = opened.button("About z0: it may be a little off")
    about.click()
    about.hover()
    assert opened.page.evaluate(FAINT) == []
    opened.page.locator(".hit").first.hover()
    opened.page.locator(".hit .like").first.click()
    assert opened.page.evaluate(FAINT) == []


@pytest.mark.slow
def test_a_number_below_an_item_has_a_name(opened):
    name = "element => getComputedStyle(element, '::before').content"
    score = opened.page.locator(".hit .score").first
    opened.settle()
    assert score.evaluate(name) == '"score "'
    opened.page.locator(".hit .go").first.hover()
    expect(opened.page.locator(".why > div").first).to_contain_text("score")
    expect(opened.page.locator("#meaning")).to_contain_text("Score is log q(z|x) in nats")
    opened.button(f"Like {opened.hits[0]}").click()
    opened.settle()
    assert score.evaluate(name) == '"distance "'
    expect(opened.page.locator("#meaning")).to_contain_text("Distance is the KL divergence")


@pytest.mark.slow
def test_a_filter_is_asked_while_it_is_typed_and_is_one_step(opened, page_shop):
    page, items = opened.page, page_shop.items
    page.locator("#narrow > summary").click()
    page.get_by_label("item_id contains").press_sequentially("shirt")
    among = ["shirt" in one.lower() for one in items.ids]
    expect(page.locator("#matching")).to_contain_text(f"{sum(among)} of 60")
    assert opened.hits == items.best([0, 0, 0, 0], 24, among=among)
    page.get_by_label("item_id contains").press("Tab")
    page.get_by_label("price from").press_sequentially("40")
    among &= items.column("price").astype(float) >= 40
    expect(page.locator("#matching")).to_contain_text(f"{sum(among)} of 60")
    page.get_by_label("price from").press("Tab")
    opened.button("Undo").click()
    opened.button("Undo").click()
    assert opened.hits == items.best([0, 0, 0, 0], 24)
    assert opened.button("Undo").is_disabled()
