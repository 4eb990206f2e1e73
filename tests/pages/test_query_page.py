"""The page of pictures: everything on it, nothing outside it, and no item that can write HTML."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.pages import (
    HOSTILE,
    Page,
    image_file,
    result,
)
from vaeudf.pages.query_page import Hit, Part, write_query_page


def hits(*names, score=-1.5, image=None, facts=()):
    return [
        Hit(rank=rank, item_id=name, score=score, image=image, facts=facts)
        for rank, name in enumerate(names, 1)
    ]


@pytest.fixture
def page(tmp_path):
    def write(*results, **changes):
        values = {"title": "Most like these", "num_items": 5, "slider_range": 5.0, **changes}
        return Page(write_query_page(str(tmp_path / "report"), results, **values))

    return write


# ---- what is on it


def test_every_hit_is_there_in_order(page):
    names = [f"shirt-{i * 37 % 11}" for i in range(11)]
    second = hits("b", "a", "c", image=image_file("red"))
    shown = page(result(*hits(*names)), result(*second, query_id="second"))
    assert shown.texts["name"] == [*names, "b", "a", "c"]
    assert shown.texts["rank"] == [*map(str, range(1, 12)), "1", "2", "3"]
    assert shown.texts["h2"] == ["wish", "second"]
    assert shown.texts["score"] == ["−1.50"] * 14


def test_pictures_are_the_items_own(page):
    found = [
        Hit(rank=1, item_id="red", score=-1.0, image=image_file("red")),
        Hit(rank=2, item_id="blue", score=-2.0, image=image_file("blue", "JPEG", (900, 300))),
        Hit(rank=3, item_id="lime", score=-3.0, image=image_file("lime", "WEBP")),
    ]
    decoded = np.full((16, 16, 3), (10, 200, 30), np.uint8)
    shown = page(result(*found, decoded=decoded)).pictures()
    assert [alt for alt, _ in shown] == ["Decoded picture of wish", "red", "blue", "lime"]
    for (_, picture), expected in zip(
        shown, [(10, 200, 30), (255, 0, 0), (0, 0, 255), (0, 255, 0)], strict=True
    ):
        assert np.abs(np.asarray(picture, int) - expected).max() < 6
    assert shown[0][1].size == (16, 16)
    assert shown[2][1].size == (224, 75)  # made small; the ones below it are as they were
    assert shown[1][1].size == (40, 30)


@pytest.mark.parametrize("channels", [1, 3])
def test_decoded_pictures_are_exact(page, channels):
    decoded = np.random.default_rng(0).integers(0, 256, (8, 12, channels), dtype=np.uint8)
    ((_, picture),) = page(result(decoded=decoded)).pictures()
    assert (np.asarray(picture) == np.broadcast_to(decoded, (8, 12, 3))).all()


@pytest.mark.parametrize("image", [None, b"", b"no image", image_file("red")[:60]])
def test_a_picture_that_cannot_be_had(page, image):
    shown = page(
        result(
            Hit(rank=1, item_id="gone", score=-1.0, image=image),
            Hit(rank=2, item_id="there", score=-2.0, image=image_file("red")),
        )
    )
    assert shown.texts["none"] == ["no decoder", "no picture in the catalog any more"]
    assert shown.texts["name"] == ["gone", "there"]
    assert [alt for alt, _ in shown.pictures()] == ["there"]


def test_facts_and_none(page):
    facts = [("category", "coat"), ("price", "1,299.00 €"), ("colour", "")]
    shown = page(result(*hits("a", facts=facts), *hits("b")))
    assert shown.texts["facts"] == ["coat · 1,299.00 € ·"]
    assert shown.texts["name"] == ["a", "b"]


def test_no_hits_at_all(page):
    shown = page(result(), num_items=0)
    assert shown.texts["h2"] == ["wish"] and "name" not in shown.texts
    assert "against 0 items." in shown.texts["p"][0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (-0.004, "0.00"),
        (0.004, "0.00"),
        (-0.006, "−0.01"),
        (-12.345, "−12.35"),
        (3.0, "3.00"),
        (-1e6, "−1000000.00"),
        (-np.inf, "−inf"),
    ],
)
def test_numbers(page, value, text):
    shown = page(result(*hits("a", score=value)))
    assert shown.texts["score"] == [text]
    if np.isfinite(value):
        assert page(result(z=[value])).texts["value"] == [text]


def test_sliders(page):
    z = [-5.0, -2.5, 0.0, 5.0, 7.5, -9.0]
    shown = page(result(z=z))
    knobs = [tag[1]["style"] for tag in shown.tags if tag[1].get("class") == "knob"]
    assert knobs == [f"left: {place}%" for place in (0.0, 25.0, 50.0, 100.0, 100.0, 0.0)]
    assert shown.texts["value"] == ["−5.00", "−2.50", "0.00", "5.00", "7.50", "−9.00"]
    assert [text.split()[0] for text in shown.texts["li"]] == [f"z{i}" for i in range(6)]
    assert "Sliders run from −5 to 5." in shown.texts["p"][1]
    assert "Sliders run from −2.5 to 2.5." in page(slider_range=2.5).texts["p"][1]


@pytest.mark.parametrize(
    ("query_id", "text"),
    [("0", "query 0"), ("17", "query 17"), ("1a", "1a"), ("-1", "-1"), ("1.5", "1.5"), ("", "")],
)
def test_a_query_without_a_name(page, query_id, text):
    shown = page(result(query_id=query_id, decoded=np.zeros((4, 4, 1), np.uint8)))
    assert shown.texts["h2"] == [text]
    assert shown.pictures()[0][0] == f"Decoded picture of {text}".rstrip() or text == ""


@pytest.mark.parametrize(
    ("omitted", "text"),
    [
        (0, None),
        (1, "1 further query is not shown."),
        (2, "2 further queries are not shown."),
        (12345, "12,345 further queries are not shown."),
    ],
)
def test_queries_that_are_not_shown(page, omitted, text):
    footer = page(result(), omitted=omitted).texts["footer"][0]
    assert footer.endswith(text) if text else "further" not in footer


def test_counts(page):
    assert "1 query against 1 item." in page(result(), num_items=1).texts["p"][0]
    text = page(result(), result(), num_items=1234567).texts["p"][0]
    assert "2 queries against 1,234,567 items." in text


def test_shares(page):
    parts = [Part("dress", 0.826), Part("7 & 8", 0.1), Part("2 others", 0.074)]
    shown = page(result(parts=parts), result(), share_of="category")
    assert shown.texts["part"] == ["83 % dress", "10 % 7 & 8", "7 % 2 others"]
    assert shown.texts["h3"] == ["category"]
    bars = [tag[1]["style"] for tag in shown.tags if tag[1].get("class") == "fill"]
    assert bars == ["width: 82.6%", "width: 10.0%", "width: 7.4%"]
    assert "the items of each category have" in shown.texts["p"][1]
    plain = page(result())
    assert "part" not in plain.texts and "Beside each query" not in plain.texts["p"][1]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100 %"),
        (0.9999, ">99 %"),
        (0.996, ">99 %"),
        (0.994, "99 %"),
        (0.006, "1 %"),
        (0.004, "<1 %"),
        (0.0, "0 %"),
    ],
)
def test_shares_are_neither_nothing_nor_all_unless_they_are(share, text):
    assert Part("dress", share).text == text


# ---- what is not on it


def test_the_page_needs_nothing_else(page, tmp_path):
    found = hits("a", "b", image=image_file("red"), facts=[("url", "x.jpg")])
    shown = page(result(*found, decoded=np.zeros((4, 4, 3), np.uint8)))
    assert not re.search(r"(https?|file|ftp):|url\(|@import|src=\"(?!data:)", shown.source)
    assert {tag for tag, _ in shown.tags}.isdisjoint({"script", "link", "iframe", "object", "base"})
    assert not any("href" in attributes for _, attributes in shown.tags)
    assert all(a["src"].startswith("data:image/") for tag, a in shown.tags if tag == "img")
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"index.html", "_vaeudf_page"}


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        '"><img src=x onerror=alert(1)>',
        "' onload='x",
        "</style></title>",
        "{{ 7 * 7 }}",
        "&lt;",
    ],
)
def test_names_are_text_and_nothing_more(page, text):
    plain = page(
        result(
            *hits("n", image=image_file("red"), facts=[("k", "v")]),
            decoded=np.zeros((4, 4, 3), np.uint8),
        )
    )
    shown = page(
        result(
            *hits(text, image=image_file("red"), facts=[(text, text)]),
            query_id=text,
            decoded=np.zeros((4, 4, 3), np.uint8),
        ),
        title=text,
    )
    assert [(tag, set(attributes)) for tag, attributes in shown.tags] == [
        (tag, set(attributes)) for tag, attributes in plain.tags
    ]
    words = " ".join(text.split())
    for label in ("name", "facts", "h2", "h1", "title"):
        assert shown.texts[label] == [words]
    assert [alt for alt, _ in shown.pictures()] == [f"Decoded picture of {text}", text]


def test_unicode(page):
    shown = page(result(*hits("Größe 38 – 日本 👕"), query_id="Prüfung"), title="Ähnlich")
    assert shown.texts["name"] == ["Größe 38 – 日本 👕"]
    assert shown.texts["h2"] == ["Prüfung"] and shown.texts["h1"] == ["Ähnlich"]
    assert ("meta", {"charset": "utf-8"}) in shown.tags


# ---- where it is


@pytest.mark.parametrize("name", ["report", "a b [1] é%20", "deep/er"])
def test_the_path_is_returned(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for folder in (name, f"{name}/", f"{tmp_path}/{name}", f"file://{tmp_path}/{name}"):
        path = write_query_page(folder, [result()], title="t", num_items=1, slider_range=5)
        assert path == f"{tmp_path}/{name}/index.html"
        assert Path(path).read_text("utf-8").startswith("<!doctype html>")
        Path(path).unlink()


def test_an_older_page_is_replaced(page):
    page(result(*hits("old")))
    assert page(result(*hits("new"))).texts["name"] == ["new"]


def test_ten_hits_stand_in_two_rows_of_five(page):
    """At 1280 pixels; reckoned from the style sheet, as no browser runs here."""
    source = page().source

    def number(pattern):
        return float(re.search(pattern, source)[1])

    width = min(1280, number(r"max-width: (\d+)px; margin: 0 auto")) - 2 * 20
    width -= 2 * 20 + 2 + number(r"grid-template-columns: (\d+)px 1fr") + 28  # padding, border, gap
    least = number(r"auto-fill, minmax\((\d+)px, 1fr\)")
    assert int((width + 16) // (least + 16)) == 5
