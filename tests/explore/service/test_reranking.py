"""Hits ranked again by their pictures, compared with torch over all items."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.support.scene import SPEC
from tests.support.shop import folder_catalog, publish_shop
from vaeudf.catalog.catalog_source import CatalogSource
from vaeudf.images.decode import decode_image

Z = [0.3, -0.2, 0.1, 0.4]
VARIANCE = 0.02


def densities(shop, z) -> dict[str, float]:
    """log p(x|z) of every item, by torch in float64, from the decoder's float32 output."""
    with torch.inference_mode():
        mean = shop.bundle.decoder(torch.tensor([z], dtype=torch.float32))[0]
    normal = torch.distributions.Normal(mean.permute(1, 2, 0).double(), math.sqrt(VARIANCE))
    return {
        item_id: float(normal.log_prob(torch.from_numpy(decode_image(data, SPEC) / 255.0)).sum())
        for item_id, data in shop.images.items()
    }


@pytest.mark.parametrize("candidates", [None, 9])
def test_hits_are_ranked_by_their_pictures(client, shop, candidates):
    asked = {"z": Z, "k": 6, "rerank": "picture"}
    asked |= {} if candidates is None else {"candidates": candidates}
    plain = client.post("/api/search", json={"z": Z, "k": candidates or 200}).json()["hits"]
    before = {hit["item_id"]: hit["rank"] for hit in plain}
    expected = {name: one for name, one in densities(shop, Z).items() if name in before}
    best = sorted(expected, key=lambda name: (-expected[name], name))[:6]
    found = client.post("/api/search", json=asked).json()
    assert [hit["item_id"] for hit in found["hits"]] == best
    for rank, hit in enumerate(found["hits"], 1):
        assert hit["rank"] == rank
        assert hit["candidate_rank"] == before[hit["item_id"]]
        # Of float32 levels: a decoder's picture computed in another order.
        assert hit["log_p_x_given_z"] == pytest.approx(expected[hit["item_id"]], rel=1e-5)
        size = SPEC.height * SPEC.width * 3
        error = (
            -2
            * VARIANCE
            * (expected[hit["item_id"]] / size + 0.5 * math.log(2 * math.pi * VARIANCE))
        )
        assert hit["picture_error"] == pytest.approx(error, rel=1e-4)
    assert "--rerank=picture" in found["command"]


def test_a_hit_whose_picture_cannot_be_read_keeps_its_rank(served, shop, tmp_path):
    source = folder_catalog(shop, tmp_path / "photos")
    table = str(tmp_path / "posteriors")
    publish_shop(shop, table, "r1", catalog=source)
    client = served(table)
    plain = client.post("/api/search", json={"z": Z, "k": 8}).json()["hits"]
    lost = plain[2]["item_id"]
    (tmp_path / "photos" / lost).unlink()
    asked = {"z": Z, "k": 8, "candidates": 8, "rerank": "picture"}
    hits = client.post("/api/search", json=asked).json()["hits"]
    assert hits[2]["item_id"] == lost and hits[2]["rank"] == hits[2]["candidate_rank"] == 3
    assert "log_p_x_given_z" not in hits[2]
    others = [hit["log_p_x_given_z"] for hit in hits if hit["item_id"] != lost]
    assert others == sorted(others, reverse=True) and len(others) == 7
    assert np.isfinite(others).all()


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"z": [0, None, 0, 0]}, "1"),
        ({"z": Z, "candidates": 3}, "candidates is 3, and k is 12"),
        ({"z": Z, "unlike": ["100%.png"]}, "blend"),
    ],
)
def test_what_does_not_go_with_it(client, asked, error):
    answer = client.post("/api/search", json={"rerank": "picture", **asked})
    assert answer.status_code == 400
    assert error in answer.json()["error"]


def test_without_pictures_there_is_none(served, shop, tmp_path):
    table = str(tmp_path / "posteriors")
    publish_shop(shop, table, "r1")
    answer = served(table).post("/api/search", json={"z": Z, "rerank": "picture"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("rerank compares pictures, and there are none: ")


def test_a_catalog_that_has_none_of_the_pictures(served, shop, tmp_path):
    (tmp_path / "empty").mkdir()
    table = str(tmp_path / "posteriors")
    publish_shop(shop, table, "r1", catalog=CatalogSource(str(tmp_path / "empty"), "images"))
    answer = served(table).post("/api/search", json={"z": Z, "rerank": "picture"})
    assert answer.status_code == 400
    assert f"none of the {len(shop.images)} candidates' can be read" in answer.json()["error"]
