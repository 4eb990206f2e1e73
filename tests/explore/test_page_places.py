"""Two places, saved places and the command, in a browser."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.support.explore_page import HASH, K, Opened, Z
from tests.support.tolerances import assert_same_levels, near_shown
from vaeudf.query.files.read import read_queries
from vaeudf.workflows.cli import parse
from vaeudf.workflows.query_topk import QueryTopk


@pytest.mark.slow
def test_two_places_and_the_way_between(opened, page_shop):
    first, second = opened.hits[0], opened.hits[9]
    a, b = (np.float64(page_shop.items.mu[page_shop.items.row(one)]) for one in (first, second))
    opened.button(f"Go to {first}").click()
    opened.button("Set A").click()
    opened.button(f"Go to {second}").click()
    assert opened.z == near_shown(b)
    opened.button("Set B").click()
    strip = opened.page.get_by_alt_text("From A to B")
    expect(strip).to_be_visible()
    way = a + np.linspace(0, 1, 7)[:, None] * (b - a)
    decoded = np.concatenate(list(page_shop.shop.bundle.decode(way.round(4))), axis=1)
    shown = opened.pixels("#between .strip")
    # Both ends were rounded to four decimals.
    assert_same_levels(shown, decoded, levels=2)
    opened.button("Go to A").click()
    assert opened.z == near_shown(a)
    opened.button("Go to B").click()
    assert opened.z == near_shown(b)
    walk = opened.page.get_by_label("From A to B", exact=True).and_(
        opened.page.get_by_role("slider")
    )
    walk.fill("0.5")
    assert opened.z == pytest.approx((a + b) / 2, abs=1.01e-4)
    assert opened.hits == page_shop.items.best(opened.z, K)
    opened.button("Walk").click()
    opened.button("Stop").click()
    t = float(walk.input_value())
    assert 0.5 <= t < 1
    opened.button("Walk").click()
    expect(opened.button("Walk")).to_be_visible(timeout=9000)
    assert opened.z == near_shown(b)


def test_the_command_asks_the_same(browser, url, page_shop):
    hash = HASH + "&open=1&k=9&tolerance=0.4&per=category:2&where=price+%3C+60"
    with Opened(browser, url, hash, permissions=["clipboard-read", "clipboard-write"]) as opened:
        opened.settle()
        words = shlex.split(opened.page.locator("#command").inner_text())
        assert words[:4] == ["vaeudf", "query_topk", "--table", page_shop.table]
        assert "--z=0.5,*,0.2,0.1" in words
        for name, value in (("k", "9"), ("tolerance", "0.4"), ("per", "category:2")):
            given = [word for word in words if word == f"--{name}={value}"]
            assert given or words[words.index(f"--{name}") + 1] == value
        assert any("price < 60" in word for word in words)
        opened.button("Copy as command").click()
        expect(opened.button("Copied")).to_be_visible()
        copied = opened.page.evaluate("navigator.clipboard.readText()")
        assert shlex.split(copied) == words


STATES = {
    "z": ("", {}),
    "open": ("&open=1&rough=2:0.5", {"z": ["0.5,*,0.2,0.1"], "tolerance": "0,0,0.5,0"}),
    "tolerance": ("&tolerance=0.25&k=7", {"tolerance": 0.25, "k": 7}),
    "rules": ("&per=category:2", {"per": "category:2"}),
    "copies": ("&distinct=0.75", {"distinct": 0.75}),
    "both": ("&per=category:2&distinct=0.75", {"per": "category:2", "distinct": None}),
    "filters": (
        '&filters={"category":{"values":["dress"]},"price":{"low":3,"high":50}}&where=stock<40',
        {
            "where": "`category` IN ('dress') AND `price` >= 3 AND `price` <= 50 AND (stock<40)",
        },
    ),
    "pictures": ("&rerank=picture", {"rerank": "picture"}),
}


@pytest.mark.slow
def test_the_command_of_each_state_is_one_of_query_topk(opened, url, page_shop):
    for state, (hash, expected) in STATES.items():
        opened.page.goto("about:blank")
        opened.page.goto(url + HASH + hash)
        opened.settle()
        words = shlex.split(opened.page.locator("#command").inner_text())
        assert words[:2] == ["vaeudf", "query_topk"]
        found = parse(QueryTopk, words[2:])
        assert found.table == page_shop.table
        usual = {"z": ["0.5,-0.3,0.2,0.1"], "k": K, "per": None, "distinct": None, "rerank": None}
        assert {name: getattr(found, name) for name in usual | expected} == usual | expected, state


@pytest.mark.slow
def test_the_command_of_likes_is_one_of_query_topk(opened):
    first, second = opened.hits[:2]
    opened.button(f"Like {first}").click()
    opened.button(f"Like {second}").click()
    disliked = opened.hits[-1]
    opened.button(f"Dislike {disliked}").click()
    opened.settle()
    words = shlex.split(opened.page.locator("#command").inner_text())
    found = parse(QueryTopk, words[2:])
    assert (found.like, found.unlike) == ([first, second], [disliked])
    assert found.exclude_self


@pytest.mark.slow
def test_of_variety_and_hidden_copies_there_is_one(opened):
    page = opened.page
    page.locator("#narrow > summary").click()
    box, each = page.get_by_label("Hide near copies"), page.get_by_label("Variety by")
    each.select_option("category")
    box.check()
    assert opened.address["distinct"] == ["0.5"]
    assert "per" not in opened.address
    each.select_option("category")
    assert "distinct" not in opened.address
    expect(box).not_to_be_checked()


@pytest.mark.slow
def test_the_command_for_saved_places_compares_pictures_where_every_place_has_one(opened):
    lines = opened.page.evaluate(
        """async () => {
          const { commandFor } = await import("/static/saved_places.js");
          const state = { k: 2, filters: {}, sql: "", per: null, distinct: 0.5, rerank: true };
          const table = { table: "t", version: 3, pinned: true };
          return [[1, 2], [1, null]].map((z) => commandFor(table, state, [{ z }]));
        }"""
    )
    start = "vaeudf query_topk --table t --queries queries.csv --version=3 --k=2 --distinct=0.5 "
    end = "--output=answers --report=page"
    assert lines == [f"{start}--rerank=picture {end}", f"{start}{end}"]


@pytest.mark.slow
def test_saved_places_are_a_file_for_query_topk(opened, page_shop, tmp_path):
    page = opened.page
    opened.button("Save this place").click()
    opened.button("Any z1: every value will do").click()
    opened.button("About z0: it may be a little off").click()
    opened.button("Save this place").click()
    opened.set(3, -1)
    opened.button("Save this place").click()
    name = page.get_by_label("Name in the file").nth(1)
    name.fill('a "b", c')
    name.press("Tab")
    opened.button("Remove place-3").click()

    def downloaded() -> Path:
        with page.expect_download() as download:
            page.get_by_role("link", name="Download queries.csv").click()
        assert download.value.suggested_filename == "queries.csv"
        path = tmp_path / "queries.csv"
        download.value.save_as(path)
        return path

    file = downloaded()
    latents = read_queries(str(file))
    assert list(latents.ids) == ["place-1", 'a "b", c']
    np.testing.assert_array_equal(latents.z, [Z, [Z[0], np.nan, Z[2], Z[3]]])
    np.testing.assert_array_equal(latents.tolerance, [[0, 0, 0, 0], [0.5, 0, 0, 0]])
    words = shlex.split(page.locator("#saved pre").inner_text())
    assert words[:4] == ["vaeudf", "query_topk", "--table", page_shop.table]
    assert words[words.index("--queries") + 1] == "queries.csv"
    assert words[4:] == [
        *("--queries", "queries.csv", "--k=24", "--output=answers", "--report=page"),
    ]
    page.reload()
    opened.settle()
    page.locator("#saved li").nth(1).get_by_role("button", name="Open").click()
    opened.settle()
    assert opened.hits == page_shop.items.best([Z[0], None, Z[2], Z[3]], K, [0.5, 0, 0, 0])
    page.locator("#saved li").nth(0).get_by_role("button", name="Open").click()
    assert opened.hits == page_shop.items.best(Z, K)
    opened.button("Remove place-1").click()
    page.locator("#saved li").get_by_role("button", name="Remove").click()
    expect(page.locator("#saved")).to_be_hidden()
    with open(file, newline="") as lines:
        assert next(csv.reader(lines))[:5] == ["query_id", "z0", "z1", "z2", "z3"]
