"""What the page of clusters says of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from vaeudf.clustering.divergences import EUCLIDEAN, KL
from vaeudf.pages.cluster_page import ClusterSection, Member, Plot, write_cluster_page

HOSTILE = '<script>alert("x")</script>'


def section(number=0, **changes):
    values = {
        "size": 6,
        "mean_divergence": "0.25 nats from it on average",
        "silhouette": 0.5,
        "mu": np.array([1.0, -2.0]),
        "decoded": np.full((4, 4, 3), 90, np.uint8),
        "members": [],
        **changes,
    }
    return ClusterSection(number=number, **values)


def write(folder, *sections, divergence=KL, **changes):
    page = write_cluster_page(
        str(folder),
        sections,
        num_items=10,
        divergence=divergence,
        slider_range=5.0,
        **{
            "plot": Plot(b"png", alt="what it shows", caption="what it means"),
            "facts": [("seeds", "7, best of 3")],
            **changes,
        },
    )
    return re.sub(r"\s+", " ", Path(page).read_text())


def test_a_cluster(tmp_path):
    members = [
        Member(item_id="near", divergence=12.5, image=b"x", facts=[("price", "9")]),
        Member(item_id="middle", divergence=None, image=None, is_medoid=True),
    ]
    page = write(tmp_path, section(members=members))
    assert "10 items in 1 cluster, the largest first, by KL(item ‖ centroid)" in page
    assert "cluster 0: 6 items" in page
    assert "60.0% of the items, 0.25 nats from it on average, silhouette 0.5" in page
    assert '<div class="score" title="kl">12.50 nats</div>' in page
    assert page.count(">medoid<") == 1 and page.count("not among the nearest") == 1
    assert "what it means" in page and "7, best of 3" in page


def test_squared_divergences_have_no_unit(tmp_path):
    members = [Member(item_id="near", divergence=12.5, image=None)]
    page = write(tmp_path, section(members=members), divergence=EUCLIDEAN)
    assert '<div class="score" title="euclidean">12.50</div>' in page


def test_one_cluster_and_an_empty_one(tmp_path):
    alone = section(silhouette=float("nan"))
    empty = section(1, size=0, mean_divergence="", silhouette=float("nan"), decoded=None)
    page = write(tmp_path, alone, empty)
    assert "silhouette" not in page and "cluster 1: 0 items" in page and "no decoder" in page


def test_clusters_that_are_not_shown(tmp_path):
    assert "not shown" not in write(tmp_path / "all", section())
    assert "in 2 clusters" in (page := write(tmp_path / "one", section(), omitted=1))
    assert "1 smaller cluster is not shown" in page
    assert "3 smaller clusters are not shown" in write(tmp_path / "three", section(), omitted=3)


def test_names_are_escaped(tmp_path):
    page = write(tmp_path, section(members=[Member(item_id=HOSTILE, divergence=1.0, image=None)]))
    assert HOSTILE not in page and "&lt;script&gt;" in page


def test_items_given_to_clusters_that_are_there(tmp_path):
    some, none = section(num_outside=1_200), section(1, num_outside=0)
    page = write(tmp_path, some, none, plot=None)
    assert page.count("; 1,200 farther than all that the cluster was made of</figcaption>") == 1
    assert page.count("farther than") == 1
    assert "what it means" not in page and '<section class="panel">' not in page
