"""The page and the record of an inspection, made without Spark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.findings import (
    findings,
    hubs,
)
from tests.support.latent_space import census_of, curve
from tests.support.pages import HOSTILE, Page, image_file
from vaeudf.health.drift import Drift
from vaeudf.health.examine import examine
from vaeudf.health.findings import (
    Comparison,
    Duplicates,
    Failures,
    Findings,
    Quarantine,
)
from vaeudf.health.record import record_of
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


def test_many_dimensions_and_one(tmp_path):
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(512) % 8 == 0, 1.0, 0.001)
    mu, log_var = rng.normal(size=(200, 512)) * spread, np.full((200, 512), -2.0) * (spread == 1)
    wide = findings(mu, log_var, comparison=None)
    page = written(wide, tmp_path)
    text = " ".join(page.texts["html"])
    assert f"Shown are the {DIMENSIONS_SHOWN} dimensions with the longest bars; 480 more" in text
    plots = [a for tag, a in page.tags if tag == "img" and a["src"].startswith("data:image/png")]
    assert len(plots) == 1 + DIMENSIONS_SHOWN + 2
    assert len(record_of(wide)["dimensions"]) == 512
    one = findings(np.ones((1, 1)), np.zeros((1, 1)), comparison=None, hubs=hubs(1))
    text = " ".join(written(one, tmp_path).texts["html"])
    assert "1 item in a latent space of 1 dimension, version 3" in text
    assert "There is one item: nothing can be said of what tells items apart." in text
    assert "Sliders make sense" not in text
    assert "Of so few different items the curves say nothing." in text


def test_items_that_are_all_alike(tmp_path):
    alike = curve([[1.0], [1.0], [1.0]], [1.0])
    dead = findings(np.zeros((200, 3)), np.zeros((200, 3)), comparison=None, hubs=alike)
    assert dead.in_short()[0].startswith("No dimension is active: all items look the same to")
    assert not any("tolerance" in sentence for sentence in dead.in_short())
    assert [one.split(":")[0] for one in dead.warnings()] == [
        "z0, z1 and z2 are collapsed",
        "There are too few different items, or too few z were asked, to tell whether one item "
        "answers everything.",
    ]
    assert "z0, z1 and z2 are collapsed" in written(dead, tmp_path).source


def test_numbers_without_end(tmp_path):
    huge = findings(np.full((3, 2), 1e30), np.full((3, 2), 3e3), comparison=None, hubs=hubs(3))
    assert "too large or too small to add up" in written(huge, tmp_path).source
    assert json.loads(json.dumps(record_of(huge), allow_nan=False))["rate"] is None


def test_the_record():
    found = json.loads(json.dumps(record_of(findings()), allow_nan=False))
    assert list(found) == [
        "format", "table", "version", "model_id", "in_short", "warnings",
        "items", "latent_dim", "active", "collapsed", "active_threshold", "slider_range", "rate",
        "rate_quantiles", "aggregate_kl", "correlations", "dimensions",
        "hubs", "duplicates", "outliers", "quarantine", "comparison",
    ]  # fmt: skip
    assert (found["format"], found["items"], found["active"]) == (1, 3_000, [0, 1, 4])
    assert list(found["dimensions"][0]) == [
        "dimension", "kl", "active", "mu_mean", "mu_variance", "slider_range", "mu_reach",
        "sigma_quantiles", "aggregate_mean", "aggregate_variance", "floor", "ceiling",
    ]  # fmt: skip
    assert found["hubs"]["recommended_tau"] == 0.1
    assert found["hubs"]["taus"][1] == {"tau": 0.1, "shares": {"a": 0.04, "b": 0.4}}
    assert found["hubs"]["limits"] == {"a": 0.05, "b": 0.8}
    assert found["duplicates"]["alike_share"] == 0.75
    pairs = [(one["item_id"], one["other"]) for one in found["duplicates"]["closest"]]
    assert pairs == [("a", HOSTILE), ("e", "f"), ("g", "e")]
    assert found["outliers"][0] == {"item_id": HOSTILE, "log_density": None, "mahalanobis": 9.0}
    assert found["comparison"]["moved_most"][0]["kl"] > 0
    assert found["comparison"]["churn"][0]["overlap"] == 0.875


def test_across_models(tmp_path):
    other = examine(census_of(np.random.default_rng(1).normal(size=(50, 2)), np.zeros((50, 2))))
    drift = Drift(5)
    drift.added, drift.removed, drift.common = 7, 3, 40
    comparison = Comparison("/tables/other", 1, "cd" * 32, 50, drift, (), other)
    found = findings(comparison=comparison)
    record = record_of(found)["comparison"]
    assert record["across_models"] and record["old"]["active"] == [0, 1]
    assert not {"changed", "kl_quantiles", "mean_shift", "churn"} & set(record)
    text = " ".join(written(found, tmp_path).texts["html"])
    assert "Compared with /tables/other" in text
    assert "The two are of different models" in text and "Moved most" not in text


def test_brief():
    found = [brief(value) for value in (0.0, 1234.5, -154.6, -0.01234, 3e-9, np.inf, -np.inf)]
    assert found == ["0", "1,234", "−155", "−0.0123", "3e-09", "∞", "−∞"]


@pytest.mark.parametrize("recommended", [0.0, None])
def test_in_short_about_tolerance(recommended):
    shares = [[0.02], [0.02], [0.02]] if recommended == 0.0 else [[0.4], [0.4], [0.4]]
    found = findings(hubs=curve(shares, [0.01]))
    sentence = "Ask without a tolerance: no item crowds out the others."
    sentence_in = sentence in found.in_short()
    assert sentence_in == (recommended == 0.0)
    assert record_of(found)["hubs"]["recommended_tau"] == recommended
    assert any("With every tolerance tried" in one for one in found.warnings()) == (not sentence_in)


def test_in_short_when_zero_was_not_tried():
    found = findings(hubs=curve([[0.02], [0.02]], [0.01], taus=(0.1, 0.2)))
    assert "Ask with --tolerance 0.1, the smallest that was tried: no item crowds" in " ".join(
        found.in_short()
    )
