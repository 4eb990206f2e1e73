"""The page's hits, filters and options in a browser, each beside the definition's answer."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from tests.support.blends import blend_scores
from tests.support.explore_page import HASH, K, Opened, Z
from tests.support.scene import SPEC
from vaeudf.images.decode import decode_image
from vaeudf.model.likelihood import GaussianPixels


def options(opened):
    opened.page.locator("#narrow > summary").click()
    return opened.page


def enter(field, value) -> None:
    field.fill(str(value))
    field.press("Enter")


def test_a_card_says_what_an_item_is(opened, page_shop):
    items = page_shop.items
    best = opened.hits[0]
    row = items.row(best)
    values = items.rows.slice(row, 1).to_pylist()[0]
    card = opened.hit(best)
    assert card.locator(".rank").inner_text() == "1"
    facts = card.locator(".facts span").all_inner_texts()
    assert facts == [
        values["category"],
        f"price {values['price']:g}",
        f"stock {values['stock']}",
        "new" if values["new"] else "not new",
    ]
    variance = np.exp(np.float64(items.log_var[row]))
    costs = 0.5 * (Z - np.float64(items.mu[row])) ** 2 / variance
    volume = -0.5 * np.log(2 * np.pi * variance).sum()
    card.locator(".go").hover()
    lines = card.locator(".why > div")
    expect(lines.first).to_be_visible()

    def shown(text: str) -> float:
        return float(text.split("\n")[-1].replace("−", "-"))

    texts = lines.all_inner_texts()
    score = volume - costs.sum()
    assert [shown(text) for text in texts[:3]] == pytest.approx(
        [score, -costs.sum(), volume], abs=0.00501
    )
    worst = np.argsort(-costs)[:3]
    assert texts[3].split("\n")[0] == "d²/n"  # tested with the distances
    assert [text.split("\n")[0] for text in texts[4:]] == [f"z{i}" for i in worst]
    assert [shown(text) for text in texts[4:]] == pytest.approx(-costs[worst], abs=0.00501)
    assert shown(card.locator(".score").inner_text()) == pytest.approx(score, abs=0.00501)
    ghost = opened.row(0).locator(".ghost")
    expect(ghost).to_be_visible()
    opened.page.mouse.move(0, 0)
    expect(ghost).to_be_hidden()


@pytest.mark.slow
def test_pictures_are_the_items(opened):
    opened.settle()
    opened.page.wait_for_function(
        "() => [...document.querySelectorAll('.hit img')].every(i => i.complete && i.naturalWidth)"
    )


def test_names_are_text_and_not_markup(browser, url, page_shop):
    odd = next(one for one in page_shop.items.ids if "<script>" in one)
    mu = page_shop.items.mu[page_shop.items.row(odd)]
    with Opened(browser, url, "#z=" + ",".join(map(str, mu))) as opened:
        assert odd in opened.hits
        assert opened.logged == []


@pytest.mark.slow
def test_why_is_there_for_keyboards_and_fingers(opened):
    card = opened.page.locator(".hit").nth(2)
    why = card.get_by_role("button", name="Why")
    expect(why).to_have_attribute("aria-expanded", "false")
    why.press("Enter")
    expect(why).to_have_attribute("aria-expanded", "true")
    opened.page.mouse.move(0, 0)
    expect(card.locator(".why")).to_be_visible()


@pytest.mark.slow
def test_a_click_goes_to_the_item(opened, page_shop):
    wanted = opened.hits[5]
    opened.button(f"Go to {wanted}").click()
    mu = page_shop.items.mu[page_shop.items.row(wanted)]
    assert opened.z == pytest.approx(mu, abs=0.500001e-4)
    assert opened.hits == page_shop.items.best(opened.z, K)


@pytest.mark.slow
def test_sliders_go_there_smoothly(browser, url, page_shop):
    with Opened(browser, url, HASH, reduced_motion="no-preference") as opened:
        slider = opened.slider(0)
        wanted = opened.hits[-1]
        opened.page.evaluate(
            """() => {
              window.places = new Set();
              const slider = document.querySelector("#slider-z-0");
              const look = () => { window.places.add(slider.value); requestAnimationFrame(look); };
              look();
            }"""
        )
        opened.button(f"Go to {wanted}").click()
        opened.page.wait_for_function("() => document.body.dataset.settled === 'false'")
        mu = page_shop.items.mu[page_shop.items.row(wanted)]
        assert opened.z == pytest.approx(mu, abs=0.500001e-4)
        assert opened.page.evaluate("window.places.size") > 4
        assert float(slider.input_value()) == pytest.approx(mu[0], abs=0.500001e-4)
        opened.button("Undo").click()
        assert opened.z == Z, "one step"


@pytest.mark.slow
def test_likes_and_dislikes(opened, page_shop):
    items = page_shop.items
    mu, log_var = np.float64(items.mu), np.float64(items.log_var)
    liked, disliked = opened.hits[2], opened.hits[7]
    a, b = items.row(liked), items.row(disliked)

    def expected(rows, weights, **how):
        among = np.ones(len(mu), bool)
        among[list(rows)] = False
        scores, _ = blend_scores(mu[rows], log_var[rows], weights, mu, log_var, score="kl")
        return items.ranked(-scores, K, among)

    opened.button(f"Like {liked}").click()
    assert opened.hits == expected([a], [1])
    assert opened.z == pytest.approx(items.mu[a], abs=0.500001e-4)
    other = opened.hits[4]
    opened.button(f"Like {other}").click()
    c = items.row(other)
    assert opened.hits == expected([a, c], [0.5, 0.5])
    if disliked not in opened.hits:
        disliked = opened.hits[-1]
        b = items.row(disliked)
    opened.button(f"Dislike {disliked}").click()
    assert opened.hits == expected([a, c, b], [0.5, 0.5, -0.5])
    assert opened.z == pytest.approx(mu[a] + mu[c] - mu[b], abs=0.500001e-4)
    assert opened.address["like"] == [liked, other]
    assert opened.address["unlike"] == [disliked]
    opened.button(f"No longer like {other}").click()
    assert opened.hits == expected([a, b], [1, -0.5])
    opened.button("Undo").click()
    assert opened.hits == expected([a, c, b], [0.5, 0.5, -0.5])
    # Whoever moves a slider asks from there.
    opened.set(0, 0.25)
    assert "like" not in opened.address
    z = np.array(opened.z)
    parts = blend_scores(
        np.stack([z, mu[b]]), None, [1, -0.5], mu, log_var, score="log_likelihood"
    )[0]
    among = np.arange(len(mu)) != b
    assert opened.hits == items.ranked(parts, K, among)


@pytest.mark.slow
def test_filters(opened, page_shop):
    page, items = options(opened), page_shop.items
    category, price = items.column("category"), items.column("price").astype(float)
    categories = page.get_by_role("group", name="category")
    categories.get_by_role("checkbox", name="dress").check()
    categories.get_by_role("checkbox", name="hat").check()
    among = np.isin(category, ["dress", "hat"])
    assert opened.hits == items.best(Z, K, among=among)
    assert f"{among.sum()} of 60" in page.locator("#matching").inner_text()
    enter(page.get_by_label("price from"), 30)
    enter(page.get_by_label("price to"), 60.5)
    among &= (price >= 30) & (price <= 60.5)
    assert opened.hits == items.best(Z, K, among=among)
    enter(page.get_by_label("Condition in SQL"), "stock % 2 = 0 OR new")
    stock, new = items.column("stock").astype(int), items.column("new").astype(bool)
    among &= (stock % 2 == 0) | new
    assert opened.hits == items.best(Z, K, among=among)
    assert page.locator("#narrowed").inner_text() == "3"
    hash = "#" + page.url.split("#")[1]
    page.goto("about:blank")
    page.goto(opened.url + hash)
    assert opened.hits == items.best(Z, K, among=among)
    page.locator("#narrow > summary").click()
    expect(categories.get_by_role("checkbox", name="hat")).to_be_checked()
    categories.get_by_role("checkbox", name="dress").uncheck()
    categories.get_by_role("checkbox", name="hat").uncheck()
    enter(page.get_by_label("price from"), "")
    enter(page.get_by_label("price to"), "")
    enter(page.get_by_label("Condition in SQL"), "")
    assert opened.hits == items.best(Z, K)
    assert page.locator("#narrowed").is_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("text", ["SHIRT/", "_%\\'", "<script>", "é&x"])
def test_names_are_filtered_by_what_they_contain(opened, page_shop, text):
    page, items = options(opened), page_shop.items
    enter(page.get_by_label("item_id contains"), text)
    among = [text.lower() in one.lower() for one in items.ids]
    assert opened.hits == items.best(Z, K, among=among)


@pytest.mark.slow
def test_folders_are_a_filter(opened, page_shop):
    page, items = options(opened), page_shop.items
    folders = page.get_by_role("group", name="item_id")
    folders.get_by_role("checkbox", name="hat").check()
    among = np.array([one.startswith("hat/") for one in items.ids])
    assert 0 < among.sum() < len(among)
    assert opened.hits == items.best(Z, K, among=among)
    folders.get_by_role("checkbox", name="dress").check()
    among |= np.array([one.startswith("dress/") for one in items.ids])
    assert opened.hits == items.best(Z, K, among=among)
    enter(page.get_by_label("item_id contains"), "2.png")
    among &= np.array(["2.png" in one for one in items.ids])
    assert opened.hits == items.best(Z, K, among=among)
    words = shlex.split(page.locator("#command").inner_text())
    [where] = [word for word in words if word.startswith("--where=")]
    assert where == (
        "--where=(startswith(`item_id`, 'hat/') OR startswith(`item_id`, 'dress/'))"
        " AND contains(lower(`item_id`), '2.png')"
    )
    hash = "#" + page.url.split("#")[1]
    page.goto("about:blank")
    page.goto(opened.url + hash)
    assert opened.hits == items.best(Z, K, among=among)
    page.locator("#narrow > summary").click()
    expect(folders.get_by_role("checkbox", name="hat")).to_be_checked()
    expect(folders.get_by_role("checkbox", name="trousers")).not_to_be_checked()
    expect(page.get_by_label("item_id contains")).to_have_value("2.png")


@pytest.mark.slow
def test_a_truth_value_is_a_filter(opened, page_shop):
    page = options(opened)
    page.get_by_role("group", name="new").get_by_role("checkbox", name="true").check()
    new = page_shop.items.column("new").astype(bool)
    assert opened.hits == page_shop.items.best(Z, K, among=new)


@pytest.mark.slow
def test_a_condition_that_nothing_fulfils(opened):
    page = options(opened)
    enter(page.get_by_label("Condition in SQL"), "price < 0")
    assert opened.hits == []
    assert "0 of 60" in page.locator("#matching").inner_text()


@pytest.mark.slow
def test_a_condition_that_is_wrong(opened, page_shop):
    page = options(opened)
    page.get_by_role("group", name="category").get_by_role("checkbox", name="dress").check()
    before = opened.hits
    field = page.get_by_label("Condition in SQL")
    enter(field, "price < 20 and colour = 'red'")
    # Neither the filters' part of it nor all columns' names are repeated.
    price = page_shop.items.column("price").astype(float)
    expect(page.locator("#sql-error")).to_have_text(
        "This is not a condition: there is no column colour; texts are written in quotes: "
        f"'colour'. Expected, for example, price <= {price[0]:g}."
    )
    expect(field).to_have_attribute("aria-invalid", "true")
    assert opened.hits == before
    notice = page.locator("#unanswered")
    expect(notice).to_have_text(
        "The condition in SQL is wrong. These items still answer the question before it."
    )
    for stale in ("#here", "#matching", "#command", ".hit .score >> nth=0"):
        expect(page.locator(stale)).to_have_css("visibility", "hidden")
    expect(page.locator(".hit img").first).to_have_css("opacity", "0.35")
    expect(opened.button("Copy as command")).to_be_disabled()
    assert opened.violations() == []
    page.get_by_role("group", name="category").get_by_role("checkbox", name="dress").uncheck()
    enter(field, "price < 50")
    assert opened.hits == page_shop.items.best(Z, K, among=price < 50)
    expect(page.locator("#sql-error")).to_be_hidden()
    expect(notice).to_be_hidden()
    expect(page.locator(".hit img").first).to_have_css("opacity", "1")
    expect(opened.button("Copy as command")).to_be_enabled()
    # The browser logs answers of 400 by itself.
    assert all("400" in line for line in opened.logged)
    opened.logged.clear()


@pytest.mark.slow
def test_options(opened, page_shop):
    page, items = options(opened), page_shop.items
    enter(page.get_by_label("Items to show"), 7)
    assert opened.hits == items.best(Z, 7)
    enter(page.get_by_label("Tolerance", exact=True), 0.8)
    assert opened.hits == items.best(Z, 7, 0.8)
    page.get_by_label("Variety by").select_option("category")
    category = items.column("category")
    each = []
    for item_id in items.best(Z, 60, 0.8):
        if category[items.row(item_id)] not in [category[items.row(one)] for one in each]:
            each.append(item_id)
    assert opened.hits == each[:7]
    assert opened.address["per"] == ["category:1"]
    enter(page.get_by_label("Items to show"), 0)
    assert opened.hits == each[:7], "no number of items"


@pytest.mark.slow
def test_near_copies_are_hidden(opened, page_shop):
    page, items = options(opened), page_shop.items
    enter(page.get_by_label("Tolerance", exact=True), 0.5)
    page.get_by_label("Hide near copies").check()
    field = page.get_by_label("Least distance between hits")
    enter(field, 1.5)
    mu = np.float64(items.mu)
    variance = np.exp(np.float64(items.log_var)) + 0.25

    def distance(a: int, b: int) -> float:
        mean = 0.5 * (variance[a] + variance[b])
        parts = 0.125 * (mu[a] - mu[b]) ** 2 / mean
        return float((parts + 0.5 * np.log(mean / np.sqrt(variance[a] * variance[b]))).sum())

    kept: list[int] = []
    for item_id in items.best(Z, 60, 0.5):
        row = items.row(item_id)
        if all(distance(row, other) >= 1.5 for other in kept):
            kept.append(row)
    expected = [str(items.ids[row]) for row in kept[:K]]
    assert len(kept) < 60
    assert opened.hits == expected


@pytest.mark.slow
def test_pictures_are_compared(opened, page_shop):
    page, items = options(opened), page_shop.items
    box = page.get_by_label("Rank by comparing pictures")
    box.check()
    decoded = page_shop.shop.bundle.decoder(torch.tensor([Z]))[0].permute(1, 2, 0).detach().numpy()
    errors = np.array(
        [
            np.square(decode_image(page_shop.shop.images[one], SPEC) / 255 - decoded).mean()
            for one in items.ids
        ]
    )
    assert isinstance(page_shop.shop.bundle.likelihood, GaussianPixels)
    assert opened.hits == items.ranked(-errors, K)
    opened.button("Any z2: every value will do").click()
    assert opened.hits == items.best([Z[0], Z[1], None, Z[3]], K)
    assert box.is_disabled()
