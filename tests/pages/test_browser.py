"""Every page in a real browser: its pictures load, a phone can show it, nothing is logged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import vaeudf.pages
from tests.support import example_pages
from tests.support.browser import check_page, chromium
from vaeudf.pages.page import PAGE

PAGES = sorted(path.stem for path in Path(vaeudf.pages.__path__[0]).glob("*_page.py"))


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as found:
        yield found


def test_every_page_has_an_example():
    missing = [name for name in PAGES if not hasattr(example_pages, name)]
    assert PAGES and not missing, f"tests/support/example_pages.py needs {', '.join(missing)}"


def test_every_page_is_found():
    templates = Path(vaeudf.pages.__path__[0], "templates").glob("*.j2")
    pages = {path.name.split(".")[0] for path in templates if "{% extends" in path.read_text()}
    assert {f"{name}_page" for name in pages} == set(PAGES), "a page's module is NAME_page.py"


@pytest.mark.parametrize("name", PAGES)
def test_a_page(browser, tmp_path, name):
    page, num_pictures = getattr(example_pages, name)(tmp_path)
    check_page(browser, page, min_pictures=num_pictures)


def test_a_page_of_one_cluster(browser, tmp_path):
    page, num_pictures = example_pages.cluster_page(tmp_path, count=1)
    check_page(browser, page, min_pictures=num_pictures)


def test_a_broken_page_is_seen(browser, tmp_path):
    page = tmp_path / PAGE

    def write(body: str) -> str:
        page.write_text(f"<!doctype html><meta charset=utf-8><body>{body}")
        return str(page)

    for body, message in (
        ('<img alt="a" src="data:image/png;base64,AAAA">', "do not load"),
        ('<img alt="a" loading="lazy" style="margin-top:9000px" src="data:,">', "do not load"),
        ('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">', "do not load|alt text"),
        ('<div style="width:2000px">wide</div>', "wider than"),
        ('<p style="color:#aaa">faint</p>', "hard to read"),
        ('<script>console.error("oh")</script>', "oh"),
        ('<script src="http://127.0.0.1:9/x.js"></script>', "127.0.0.1"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_page(browser, write(body), min_pictures=0)
