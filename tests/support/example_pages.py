"""An example of every page, with everything that a page of its kind can have on it.

A page's example is the function here that is named as the page's module in ``vaeudf/pages``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.support.decoded import write as write_decoded
from tests.support.findings import agreement, example_pictures, findings
from tests.support.pages import HOSTILE, image_file, result
from vaeudf.clustering.divergences import KL
from vaeudf.pages.cluster_contents import Bar, Contents, QuantileTable, ValueTable
from vaeudf.pages.cluster_page import ClusterSection, Member, Plot, write_cluster_page
from vaeudf.pages.cluster_plots import choice_of_k
from vaeudf.pages.copies_page import Copy, CopyGroup, write_copies_page
from vaeudf.pages.dendrogram import Dendrogram, Join, Leaf
from vaeudf.pages.health_page import pictured, write_health_page
from vaeudf.pages.query_page import BlendMember, Hit, Part, write_query_page

Example = tuple[str, int]
"""A page's file, and how many pictures are on it at least."""


def query_page(folder: Path) -> Example:
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
    parts = [Part("coat", 0.83), Part(HOSTILE, 0.12), Part("z" * 200, 0.04), Part("3 others", 0.01)]
    members = [
        BlendMember(item_id=HOSTILE, image=image_file("red"), liked=True),
        BlendMember(item_id="z" * 90, image=image_file("lime", "WEBP"), liked=False),
        BlendMember(item_id="gone", liked=False),
    ]
    page = write_query_page(
        str(folder),
        [
            result(*hits, decoded=decoded, z=np.linspace(-5, 5, 12), parts=parts),
            replace(result(*hits[:2], query_id="blend: a − b"), members=members, caption="what"),
        ],
        title="Most like these",
        num_items=5,
        slider_range=5.0,
        share_of="category",
        facts=[("queries", "1"), ("seconds", "search 1.0")],
    )
    return page, 17


def cluster_page(folder: Path, count: int = 3) -> Example:
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
            outliers=members[1:],
            name=HOSTILE if number else "dress, red",
            contents=contents(),
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
        str(folder),
        [*sections, empty],
        num_items=30,
        divergence=KL,
        slider_range=5.0,
        plot=Plot(
            choice_of_k(
                [1, 2, 3],
                objectives=[3.0, 2.0, 1.5],
                silhouettes=[nan, 0.2, 0.3],
                chosen=3,
                label="mean divergence, nats",
            ),
            alt="plot",
            caption="what it means",
        ),
        facts=[("items", "30")],
        omitted=2,
        notes=["Of sku nothing is told: hardly any of its values recurs."],
        dendrogram=dendrogram(),
    )
    return page, 2 * count


def contents() -> Contents:
    """A cluster's, with long and hostile names."""
    bars = [
        Bar(value, share, 0.31, f"{share:.0%}, of all 31%")
        for value, share in (("coat", 1.0), (HOSTILE, 0.4), ("w" * 60, 0.0))
    ]
    rows = [
        ("price", ["9.95", "19.95", "29.95", "59.95", "129.00"], ["5", "6", "7", "8", "9"]),
        ("added " * 9, ["2024-01-31 08:30:00 UTC"] * 5, ["2019-01-31 08:30:00 UTC"] * 5),
    ]
    return Contents(
        ["category coat: 83% of its items", HOSTILE],
        [ValueTable("category", bars, "3 without, and others"), ValueTable(HOSTILE, bars[:1], "")],
        QuantileTable(["5%", "25%", "50%", "75%", "95%"], rows),
    )


def dendrogram() -> Dendrogram:
    """Of three leaves, one of which is several clusters."""
    picture = np.full((16, 16, 3), 90, np.uint8)
    leaves = [
        Leaf("cluster 0 · dress, red", 10, picture, link=0),
        Leaf(f"cluster 1 · {HOSTILE}", 1, picture, link=1),
        Leaf("clusters 2, 3, 4, 5 and 12 more " + "v" * 60, 9_999_999, picture, link=None),
    ]
    joins = [
        Join("M0.0 28.0H300.0V84.0H0.0", "11 items; mean divergence of all 3 nats"),
        Join("M300.0 56.0H988.0V140.0H0.0", "30 items; mean divergence of all 9 nats"),
    ]
    return Dendrogram(leaves, joins, low="2.5 nats", high="9 nats")


def copies_page(folder: Path) -> Example:
    members = [
        Copy(
            item_id="a/b.jpg",
            image=image_file("red"),
            facts=[("category", "coat"), ("price", "1,299.00 €")],
            divergence=0.0,
            kept=True,
        ),
        Copy(item_id=HOSTILE, image=image_file("lime", "WEBP"), divergence=0.0123),
        Copy(item_id="y" * 200, divergence=12.5),
    ]
    groups = [CopyGroup(0, 1_234_567, members), CopyGroup(1, 2, members[:2])]
    page = write_copies_page(
        str(folder),
        groups,
        num_items=10_000_000,
        num_groups=3,
        num_copies=1_234_569,
        divergence="jeffreys",
        nats=0.1,
        facts=[("items", "10,000,000"), ("seconds", "find 1.0")],
    )
    return page, 4


def decode_page(folder: Path) -> Example:
    return write_decoded(folder), 169


def health_page(folder: Path) -> Example:
    found = findings(agreement=agreement())
    images = {name: image_file("navy") for name in pictured(found)} | {"h": None}
    facts = {"a": [("category", "coat"), ("price", "1,299.00 €")]}
    shown = example_pictures(agreement())
    seconds = {"scan": 1.5, "hubs": 20.0}
    page = write_health_page(str(folder), found, images, facts, seconds, shown)
    return page, 78
