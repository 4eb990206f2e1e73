"""Filters for each kind of column, and what is said of columns with nothing to choose."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.support.explore_page import Opened
from vaeudf.workflows.cli import parse
from vaeudf.workflows.explore import Explore, explore

COLUMNS = [
    {"kind": "date", "name": "added", "low": "2024-01-31", "high": "2024-12-24", "nulls": 0},
    {
        "kind": "timestamp",
        "name": "seen",
        "low": "2024-01-31 12:00:00",
        "high": "2024-12-24 08:30:00.250000",
        "nulls": 3,
    },
    {
        "kind": "timestamp",
        "name": "shot at",
        "low": "2024-05-01 07:00:00",
        "high": "2024-05-01 21:00:00",
        "nulls": 0,
    },
    {"kind": "category", "name": "colour", "values": [{"value": "red", "count": 60}], "nulls": 0},
    {"kind": "category", "name": "used", "values": [{"value": True, "count": 48}], "nulls": 12},
    {"kind": "number", "name": "sizes", "low": 2, "high": 2, "integers": True, "nulls": 0},
    {"kind": "number", "name": "width", "low": None, "high": None, "integers": False, "nulls": 60},
    {"kind": "date", "name": "sold", "low": None, "high": None, "nulls": 60},
    {"kind": "category", "name": "brand", "values": [], "nulls": 60},
    {"kind": "text", "name": "tags", "type": "list<item: string>"},
]


class Asked:
    """A page of a table that seems to have these columns, and the conditions that it asks with."""

    def __init__(self, opened):
        self.conditions = []
        opened.page.route("**/api/table", self.table)
        opened.page.route("**/api/search", self.search)

    def table(self, route):
        table = route.fetch().json()
        table["columns"] += COLUMNS
        route.fulfill(json=table)

    def search(self, route):
        question = route.request.post_data_json
        self.conditions.append(question.pop("where", None))
        route.continue_(post_data=json.dumps(question))


def changed(field, value):
    field.fill(value)
    field.press("Tab")


@pytest.fixture
def asked(browser, url):
    with Opened(browser, url) as opened:
        found = Asked(opened)
        opened.page.reload()
        opened.settle()
        opened.page.locator("#narrow > summary").click()
        yield opened, found
        assert opened.logged == []


@pytest.mark.slow
def test_dates_are_filters(asked):
    opened, found = asked
    page = opened.page
    first, last = page.get_by_label("added from"), page.get_by_label("added to")
    assert first.get_attribute("min") == "2024-01-31"
    assert last.get_attribute("max") == "2024-12-24"
    expect(page.get_by_role("group", name="added")).to_contain_text("2024-01-31 to 2024-12-24")
    changed(first, "2024-03-01")
    opened.settle()
    assert found.conditions[-1] == "`added` >= DATE '2024-03-01'"
    changed(last, "2024-04-30")
    opened.settle()
    assert found.conditions[-1] == ("`added` >= DATE '2024-03-01' AND `added` <= DATE '2024-04-30'")
    changed(first, "")
    changed(last, "")
    opened.settle()
    assert found.conditions[-1] is None


@pytest.mark.slow
def test_times_are_filters_by_day_or_within_one(asked):
    opened, found = asked
    page = opened.page
    changed(page.get_by_label("seen from"), "2024-03-01")
    changed(page.get_by_label("seen to"), "2024-03-02")
    opened.settle()
    days = (
        "`seen` >= TIMESTAMP '2024-03-01 00:00:00' "
        "AND `seen` <= TIMESTAMP '2024-03-02 23:59:59.999999'"
    )
    assert found.conditions[-1] == days
    changed(page.get_by_label("shot at on 2024-05-01 from, UTC"), "08:00")
    changed(page.get_by_label("shot at on 2024-05-01 to, UTC"), "09:30:15")
    opened.settle()
    assert found.conditions[-1] == (
        f"{days} AND `shot at` >= TIMESTAMP '2024-05-01 08:00:00' "
        "AND `shot at` <= TIMESTAMP '2024-05-01 09:30:15.999999'"
    )
    expect(page.get_by_role("group", name="seen (UTC)")).to_be_visible()
    # The address brings it back.
    condition = found.conditions[-1]
    opened.settle()
    page.reload()
    opened.settle()
    assert found.conditions[-1] == condition
    page.locator("#narrow > summary").click()
    expect(page.get_by_label("seen to")).to_have_value("2024-03-02")
    expect(page.get_by_label("shot at on 2024-05-01 to, UTC")).to_have_value("09:30:15")
    assert opened.violations() == []


@pytest.mark.slow
def test_a_column_with_nothing_to_choose_says_so(asked):
    opened, _ = asked
    for name, text in {
        "colour": "red (all items)",
        "used": "true, or none (12 items)",
        "sizes": "2 (all items)",
        "width": "no values",
        "sold": "no values",
        "brand": "no values",
    }.items():
        group = opened.page.get_by_role("group", name=name, exact=True)
        expect(group).to_contain_text(text)
        assert group.locator("input").count() == 0
    assert opened.page.get_by_role("group", name="tags").count() == 0
    # Nothing to choose by, in the options either.
    assert opened.page.locator("option[value=colour]").count() == 0


@pytest.mark.slow
def test_a_link_with_a_date_that_is_none_leaves_it_out(browser, url):
    with Opened(browser, url) as opened:
        found = Asked(opened)
        filters = {"added": {"low": "2024-03-01' OR true"}, "seen": {"low": 5}}
        opened.page.goto("about:blank")
        opened.page.goto(f"{url}#filters={json.dumps(filters)}")
        opened.settle()
        assert found.conditions == [None]


@pytest.mark.slow
def test_a_page_of_its_own_filters_by_them(browser, page_shop, tmp_path):
    page = tmp_path / "page.html"
    explore(parse(Explore, ["--table", page_shop.table, "--export", str(page)]))
    text = page.read_text("utf-8")
    before, rest = text.split('id="data">')
    data, after = rest.split("</script>", 1)
    data = json.loads(data)
    ids = data["ids"]
    days = [f"2024-0{1 + i % 9}-15" for i in range(60)]
    seen = [None, *(f"2024-05-{1 + i % 28:02}T23:59:59.250000+00:00" for i in range(59))]
    data["table"]["columns"] += COLUMNS[:2]
    data["columns"] |= {"added": days, "seen": seen}
    content = json.dumps(data).replace("<", "\\u003c")
    page.write_text(f'{before}id="data">{content}</script>{after}', "utf-8")
    with Opened(browser, page.as_uri()) as opened:
        opened.page.locator("#narrow > summary").click()
        changed(opened.page.get_by_label("added from"), "2024-03-15")
        changed(opened.page.get_by_label("added to"), "2024-05-14")
        expected = {one for one, day in zip(ids, days, strict=True) if day[6] in "34"}
        assert set(opened.hits) == expected
        changed(opened.page.get_by_label("added from"), "")
        changed(opened.page.get_by_label("added to"), "")
        changed(opened.page.get_by_label("seen from"), "2024-05-02")
        changed(opened.page.get_by_label("seen to"), "2024-05-04")
        expected = {
            one for one, at in zip(ids, seen, strict=True) if at and at[8:10] in ("02", "03", "04")
        }
        assert set(opened.hits) == expected
        row = ids.index(opened.hits[0])
        facts = opened.page.locator(".hit").first.locator(".facts span").all_inner_texts()
        at = seen[row][:10]
        assert facts[-2:] == [f"added {days[row]}", f"seen {at} 23:59:59.250000"]
        assert "TIMESTAMP" in opened.page.locator("#command").inner_text()
        changed(opened.page.get_by_label("seen from"), "")
        changed(opened.page.get_by_label("seen to"), "")
        folders = opened.page.get_by_role("group", name="item_id")
        folders.get_by_role("checkbox", name="hat").check()
        assert set(opened.hits) == {one for one in ids if one.startswith("hat/")}
        opened.page.get_by_label("item_id contains").fill("3.png")
        opened.page.get_by_label("item_id contains").press("Enter")
        assert set(opened.hits) == {one for one in ids if one[:4] == "hat/" and "3.png" in one}
