"""The page of an inspection, made without Spark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.findings import across_models, agreement, example_pictures, findings, hubs
from tests.support.latent_space import curve
from tests.support.pages import HOSTILE, Page, image_file
from vaeudf.health.findings import Duplicates, Failures, Findings, Quarantine
from vaeudf.pages.health_page import DIMENSIONS_SHOWN, brief, pictured, write_health_page


def written(found: Findings, folder: Path, images=None, facts=None) -> Page:
    return Page(write_health_page(str(folder), found, images, facts or {}, {"scan": 1.0}))


def test_everything_is_on_the_page(tmp_path):
    found = findings()
    assert pictured(found) >= {"a", "c", "d", "e", "f", "g", "h", HOSTILE, "moved0"}
    images = {name: image_file("red") for name in pictured(found)} | {"h": None}
    page = written(found, tmp_path, images, {"a": [("price", "9.99 €")]})
    assert HOSTILE not in page.source and "&lt;script&gt;" in page.source
    assert "script" not in [tag for tag, _ in page.tags]
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert all(picture["alt"] and picture["src"].startswith("data:") for picture in pictures)
    plots = [picture for picture in pictures if picture["src"].startswith("data:image/png")]
    # KL, one of each dimension, hubs, neighbours, drift.
    assert len(plots) == 1 + 5 + 1 + 1 + 1
    text = " ".join(page.texts["html"])
    for words in (
        "Health of posteriors",
        "3,000 items in a latent space of 5 dimensions, version 3",
        "3 of 5 dimensions are active; z2 and z3 tell no item from another.",
        "Ask with --tolerance 0.1: of z from a, 4.0% then have the most frequent item in their "
        "top 10, and 40.0% with 0.",
        "5 items are copies of each other, in 2 groups.",
        "Beside version 2: 7 items added, 3 removed, 30 changed.",
        "Sliders make sense from ±",
        "z2 is collapsed: its slider changes nothing.",
        "12 items of the catalog could not be encoded and are not in the table.",
        "truncated: 12",
        "75.0% have another that they cannot be told apart from",
        "Compared with version 2",
        "7 items were added, 3 removed, 30 are in both.",
        "For 100 z from the prior, 87.5% of the top 10 are the same.",
        "9.99 €",
        "no picture in the catalog any more",
    ):
        assert words in text, words


@pytest.mark.slow
def test_hits_beside_what_z_decodes_to(tmp_path):
    found = agreement()
    folder = tmp_path / "page"
    pictures = example_pictures(found)
    page = Page(
        write_health_page(str(folder), findings(agreement=found), None, {}, {"scan": 1.0}, pictures)
    )
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    decoded = [one for one in images if one["alt"].startswith("Decoded picture of a z from ")]
    assert len(decoded) == 4
    assert sum(one.get("title") == HOSTILE for one in images) == 4 * 3
    assert HOSTILE not in page.source
    text = " ".join(page.texts["html"])
    for words in (
        "Do the hits look like what the sliders show?",
        "300 z of each kind were decoded (near items: an item’s mu and noise of 0.5 in each "
        "dimension; prior: N(0, I); sliders: uniform in their range)",
        "and compared with the pictures of 2,000 items, a sample of all 3,000. The figures are",
        "All of this is among these items only.",
        "Chance would be 0.5%. Hits are ranked again by p(x|z), with the model’s gaussian "
        "likelihood. That is the order of the squared error itself, so",
        "literal rule 41.0% 39.0 to 43.0% 19.0% 17.0 to 21.0%",
        "tolerance 0.2 44.0% 42.0 to 46.0%",
        "re-ranked from 100 (5.0%), recommended 96.0% 94.0 to 98.0%",
        "re-ranked from 200 (10.0%) 99.0%",
        "all 2,000 by squared error 50.0%",
        "They often mean different pictures",
        "3 of 2,003 sampled items have no picture that can be read",
    ):
        assert words in text, words
    silent = findings(agreement=agreement(likelihood=None, best_tau=0))
    text = " ".join(written(silent, tmp_path / "silent").texts["html"])
    assert (
        "The model does not say how likely a picture is given z: hits are ranked again by" in text
    )
    flat = findings(agreement=agreement(likelihood="bernoulli"))
    other = " ".join(written(flat, tmp_path / "flat").texts["html"])
    assert "the model’s bernoulli likelihood." in other and "That is the order" not in other
    assert "That is the order" in text
    assert "The first z of each kind" not in text and "tolerance 0 4" not in text
    assert "Do the hits look like" not in " ".join(written(findings(), tmp_path).texts["html"])


@pytest.mark.slow
def test_without_pictures_quarantine_or_comparison(tmp_path):
    bare = findings(
        version=None,
        model_id=None,
        quarantine=None,
        comparison=None,
        neighbours=(),
        outliers=(),
        duplicates=Duplicates(0, 0, ()),
    )
    text = " ".join(written(bare, tmp_path).texts["html"])
    assert "the table does not say where its catalog is. Name it with --catalog." in text
    assert "no picture in the catalog any more" not in text
    assert "Plain Parquet keeps no record of what could not be encoded." in text
    assert "No two items have the same posterior." in text
    empty = findings(quarantine=Quarantine((), True))
    assert "every item of the catalog was encoded" in written(empty, tmp_path).source
    last = findings(quarantine=Quarantine((Failures("empty", 1, (("a", "b"),)),), False))
    assert "This is the last run’s" in written(last, tmp_path).source


@pytest.mark.slow
def test_many_dimensions_and_one(tmp_path):
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(512) % 8 == 0, 1.0, 0.001)
    mu, log_var = rng.normal(size=(200, 512)) * spread, np.full((200, 512), -2.0) * (spread == 1)
    wide = findings(mu, log_var, comparison=None)
    page = written(wide, tmp_path)
    text = " ".join(page.texts["html"])
    shown = f"The plot shows the {DIMENSIONS_SHOWN} dimensions with the longest bars; 480 more"
    assert shown in text
    plots = [a for tag, a in page.tags if tag == "img" and a["src"].startswith("data:image/png")]
    assert len(plots) == 1 + DIMENSIONS_SHOWN + 2
    one = findings(np.ones((1, 1)), np.zeros((1, 1)), comparison=None, hubs=hubs(1))
    text = " ".join(written(one, tmp_path).texts["html"])
    assert "1 item in a latent space of 1 dimension, version 3" in text
    assert "There is one item: nothing can be said of what tells items apart." in text
    assert "Sliders make sense" not in text
    assert "With so few different items the curves say nothing." in text


def test_numbers_without_end(tmp_path):
    huge = findings(np.full((3, 2), 1e30), np.full((3, 2), 3e3), comparison=None, hubs=hubs(3))
    assert "too large or too small to add up" in written(huge, tmp_path).source


def test_across_models(tmp_path):
    found = findings(comparison=across_models())
    text = " ".join(written(found, tmp_path).texts["html"])
    assert "Compared with /tables/other" in text
    assert "The two are of different models" in text and "Moved most" not in text


def test_items_that_are_all_alike(tmp_path):
    alike = curve([[1.0], [1.0], [1.0]], [1.0])
    dead = findings(np.zeros((200, 3)), np.zeros((200, 3)), comparison=None, hubs=alike)
    assert "z0, z1 and z2 are collapsed" in written(dead, tmp_path).source


def test_brief():
    found = [brief(value) for value in (0.0, 1234.5, -154.6, -0.01234, 3e-9, np.inf, -np.inf)]
    assert found == ["0", "1,234", "−155", "−0.0123", "3e-09", "∞", "−∞"]
