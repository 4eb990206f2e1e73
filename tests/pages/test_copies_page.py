"""What the page of copies says of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.example_pages import copies_page
from tests.support.pages import HOSTILE
from vaeudf.pages.copies_page import write_copies_page


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL))


def test_groups_and_their_members(tmp_path):
    page = Path(copies_page(tmp_path)[0]).read_text()
    text = words(page)
    assert HOSTILE not in page
    assert "Of 10,000,000 items, 3 groups have items that are nearly one" in text
    assert "If one item of each group stayed, 1,234,569 would go." in text
    assert "group 0: 1,234,567 items" in text and "group 1: 2 items" in text
    assert "1,234,564 more are not shown." in text
    assert "1 more group is not shown." in text
    assert page.count(">kept<") == 2
    assert page.count("connected by others") == 1, "the one that is beyond the threshold"
    assert "0.012 nats" in text and "12 nats" in text
    assert page.count("no picture in the catalog any more") == 1


@pytest.mark.parametrize("count, said", [(1, "Of 1 item, no two"), (7, "Of 7 items, no two")])
def test_no_groups(tmp_path, count, said):
    page = write_copies_page(
        str(tmp_path),
        [],
        num_items=count,
        num_groups=0,
        num_copies=0,
        divergence="jeffreys",
        nats=0.25,
    )
    text = words(Path(page).read_text())
    assert f"{said} are within 0.25 nats of each other." in text
