"""Every page in a real browser: its pictures load, a phone can show it, nothing is logged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.browser import check_page, chromium
from tests.support.decoded import write as write_decoded
from tests.support.findings import findings
from tests.support.pages import HOSTILE, image_file, result
from vaeudf.clustering.divergences import KL
from vaeudf.pages.cluster_page import ClusterSection, Member, write_cluster_page
from vaeudf.pages.cluster_plots import choice_of_k
from vaeudf.pages.health_page import pictured, write_health_page
from vaeudf.pages.page import PAGE
from vaeudf.pages.query_page import Hit, write_report


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as found:
        yield found


def test_the_page_of_a_query(browser, tmp_path):
    facts = [("category", "coat"), ("price", "1,299.00 €")]
    hits = [
        Hit(rank=rank, item_id=f"c/{rank}.jpg", score=-1.0, image=image_file("red"), facts=facts)
        for rank in range(1, 12)
    ]
    hits += [
        Hit(rank=12, item_id=HOSTILE, score=-2.0, image=image_file("lime", "WEBP")),
        Hit(rank=13, item_id="x" * 200, score=-3.0),
    ]
    decoded = np.full((16, 16, 3), 90, np.uint8)
    page = write_report(
        str(tmp_path),
        [result(*hits, decoded=decoded, z=np.linspace(-5, 5, 12))],
        title="Most like these",
        num_items=5,
        slider_range=5.0,
        facts=[("queries", "1"), ("seconds", "search 1.0")],
    )
    check_page(browser, page, min_pictures=13)


@pytest.mark.parametrize("count", [1, 3])
def test_the_page_of_clusters(browser, tmp_path, count):
    members = [
        Member(
            item_id="a/b.jpg",
            divergence=None,
            image=image_file("red"),
            facts=[("category", "coat")],
            is_medoid=True,
        ),
        Member(item_id=HOSTILE, divergence=0.5, image=image_file("lime", "WEBP")),
        Member(item_id="y" * 200, divergence=1e9),
    ]
    nan = float("nan")
    sections = [
        ClusterSection(
            number=number,
            size=10 - number,
            mean_divergence="0.25 nats from it on average",
            silhouette=0.5 if count > 1 else nan,
            mu=np.linspace(-4, 4, 12),
            decoded=np.full((16, 16, 3), 90, np.uint8),
            members=members,
        )
        for number in range(count)
    ]
    empty = ClusterSection(
        number=count,
        size=0,
        mean_divergence="",
        silhouette=nan,
        mu=np.zeros(12),
        decoded=None,
        members=[],
    )
    page = write_cluster_page(
        str(tmp_path),
        [*sections, empty],
        num_items=30,
        divergence=KL,
        slider_range=5.0,
        plot=choice_of_k(
            [1, 2, 3],
            objectives=[3.0, 2.0, 1.5],
            silhouettes=[nan, 0.2, 0.3],
            chosen=3,
            label="mean divergence, nats",
        ),
        plot_alt="plot",
        plot_caption="what it means",
        facts=[("items", "30")],
        omitted=2,
    )
    check_page(browser, page, min_pictures=2 * count)


def test_the_page_of_decoded_pictures(browser, tmp_path):
    check_page(browser, write_decoded(tmp_path), min_pictures=169)


def test_the_page_of_an_inspection(browser, tmp_path):
    found = findings()
    images = {name: image_file("navy") for name in pictured(found)} | {"h": None}
    facts = {"a": [("category", "coat"), ("price", "1,299.00 €")]}
    page = write_health_page(str(tmp_path), found, images, facts, {"scan": 1.5, "hubs": 20.0})
    check_page(browser, page, min_pictures=20)


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
