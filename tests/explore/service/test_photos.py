"""Photos beside the catalog's pictures: how badly the model redraws them, by the definition."""

from __future__ import annotations

import time
from threading import Event

import numpy as np
import pytest
import torch

from tests.support.explore_page import eventually
from tests.support.scene import ENCODER_TERMS, SPEC, png
from tests.support.shop import Shop, folder_catalog, make_shop, publish_shop
from tests.support.tolerances import near_squared_error
from vaeudf.catalog.pictures import FolderPictures
from vaeudf.explore.service import Sources
from vaeudf.explore.usual_errors import PAUSE
from vaeudf.images.decode import decode_image

REFUSED = "AWS Error ACCESS_DENIED during HeadObject operation"
DARK = png(np.zeros((40, 40, 3), np.uint8))


@pytest.fixture(scope="module")
def white_shop(tmp_path_factory) -> Shop:
    """One whose model makes everything nearly white, which garments on white are, too."""
    return make_shop(tmp_path_factory.mktemp("white"), num_items=130, brightness=3.0)


@pytest.fixture(scope="module")
def white_table(white_shop, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("white-table")
    table = str(folder / "posteriors")
    publish_shop(white_shop, table, "r1", catalog=folder_catalog(white_shop, folder / "photos"))
    return table


class Refuses:
    """A filesystem of a store for which the credentials have expired."""

    def get_file_info(self, what):
        raise OSError(f"{REFUSED}.")


def encode(client, photo: bytes) -> dict:
    """What is answered once the catalog's pictures are read."""
    eventually(lambda: not encode_once(client, photo)["comparison_pending"])
    return encode_once(client, photo)


def encode_once(client, photo: bytes) -> dict:
    answer = client.post("/api/encode", content=photo, headers={"content-type": "image/png"})
    assert answer.status_code == 200, answer.json()
    return answer.json()


def error_of(shop: Shop, photo: bytes) -> float:
    pixels = decode_image(photo, SPEC)
    mu = shop.bundle.encoder.encode(pixels[None])[0]
    with torch.inference_mode():
        levels = shop.bundle.decoder(torch.tensor(mu))[0].permute(1, 2, 0).double().numpy()
    return float(np.square(pixels / 255 - levels).mean())


def near(value: float) -> object:
    return near_squared_error(value, terms=ENCODER_TERMS)


def test_the_dark_is_unlike_garments_on_white(served, white_shop, white_table):
    client = served(white_table)
    # A hundred of the rows, in the table's order, in the middle of as many parts.
    rows = client.service.current().loaded.ids.to_pylist()
    some = [rows[int((place + 0.5) * 130 / 100)] for place in range(100)]
    errors = [error_of(white_shop, white_shop.images[item_id]) for item_id in some]
    found = encode(client, DARK)
    compared = found["comparison"]
    assert found["why_not_compared"] is None
    assert not found["comparison_pending"]
    assert compared["sampled"] == 100
    assert compared["error"] == near(error_of(white_shop, DARK))
    assert compared["usual"] == near(np.median(errors))
    assert compared["limit"] == near(2 * np.quantile(errors, 0.95))
    assert compared["error"] > compared["limit"]
    assert compared["unlike"]
    times = round(compared["error"] / compared["usual"])
    assert compared["message"] == (
        f"This picture is unlike the catalog's: the model redraws it {times} times as badly as is "
        "usual for them. What is found may have little to do with it."
    )


def test_the_catalogs_own_pictures_are_like_it(served, white_shop, white_table):
    client = served(white_table)
    for photo in list(white_shop.images.values())[:20]:
        compared = encode(client, photo)["comparison"]
        assert not compared["unlike"]
        assert compared["message"] is None
        assert compared["error"] == near(error_of(white_shop, photo))


def test_pictures_that_cannot_be_read_do_not_count(served, white_shop, white_table, tmp_path):
    photos = tmp_path / "photos"
    folder_catalog(white_shop, photos)
    for item_id in list(white_shop.images)[:-9]:
        (photos / item_id).unlink()
    found = encode(served(white_table, Sources(catalog=str(photos))), DARK)
    assert found["comparison"] is None
    assert (
        "of the catalog's pictures can be read, and expected were at least 10."
        in (found["why_not_compared"])
    )


def test_without_pictures_a_photo_is_encoded_and_not_compared(served, white_table):
    found = encode(served(white_table, Sources(catalog="/nowhere/photos")), DARK)
    assert len(found["mu"]) == 4
    assert found["comparison"] is None
    assert found["why_not_compared"].startswith("catalog /nowhere/photos does not exist any more")


def test_a_store_that_refuses_does_not_keep_a_photo_from_being_asked_with(
    served, white_table, monkeypatch
):
    client = served(white_table)
    monkeypatch.setattr("vaeudf.catalog.pictures.filesystem", lambda uri: (Refuses(), uri))
    found = encode(client, DARK)
    assert len(found["mu"]) == 4
    assert found["comparison"] is None
    assert found["why_not_compared"] == (
        "0 of the catalog's pictures can be read, and expected were at least 10."
    )


def test_a_store_that_refuses_while_pictures_are_read_is_told(served, white_table, monkeypatch):
    client = served(white_table)
    monkeypatch.setattr("vaeudf.catalog.pictures.FolderPictures.picture", Refuses.get_file_info)
    found = encode(client, DARK)
    assert len(found["mu"]) == 4
    assert found["comparison"] is None
    assert found["why_not_compared"] == f"the catalog's pictures cannot be read: {REFUSED}."


def test_no_photo_waits_for_the_catalogs_pictures(served, white_table, monkeypatch):
    client = served(white_table)
    begun, go_on = [], Event()
    sample = FolderPictures.sample

    def slow(self, rows):
        begun.append(len(rows))
        assert go_on.wait(60)
        return sample(self, rows)

    monkeypatch.setattr(FolderPictures, "sample", slow)
    try:
        for _ in range(3):
            found = encode_once(client, DARK)
            assert len(found["mu"]) == 4
            assert found["comparison"] is None
            assert found["comparison_pending"]
            assert found["why_not_compared"] == (
                "the catalog's pictures are being read; ask again in a moment."
            )
        [hit] = client.post("/api/search", json={"z": [0.0] * 4, "k": 1}).json()["hits"]
        assert client.get(hit["picture"]).status_code == 200
    finally:
        go_on.set()
    assert encode(client, DARK)["comparison"]["sampled"] == 100
    assert begun == [100]


def test_a_fault_while_pictures_are_redrawn_is_printed(served, white_table, monkeypatch, caplog):
    client = served(white_table)
    monkeypatch.setattr(client.service.current().pictures, "sample", None)
    found = encode(client, DARK)
    assert found["why_not_compared"] == "a fault of the service; what it printed says more."
    assert "TypeError: 'NoneType' object is not callable" in caplog.text


def test_after_an_outage_the_pictures_are_tried_again(served, white_table, monkeypatch):
    client = served(white_table)
    with monkeypatch.context() as out:
        out.setattr("vaeudf.catalog.pictures.filesystem", lambda uri: (Refuses(), uri))
        first = encode(client, DARK)
    assert first["comparison"] is None
    # Not with every photo: a hundred pictures of a store that does not answer take a while.
    assert encode(client, DARK) == first
    later = time.monotonic() + PAUSE
    monkeypatch.setattr("vaeudf.explore.usual_errors.monotonic", lambda: later)
    assert encode(client, DARK)["comparison"]["sampled"] == 100


def test_the_catalogs_pictures_are_redrawn_once(served, white_table, monkeypatch):
    client = served(white_table)
    first = encode(client, DARK)
    monkeypatch.setattr(client.service.current().pictures, "sample", None)
    assert encode(client, DARK) == first


def test_the_document_says_what_is_compared(client):
    schemas = client.get("/api/openapi.json").json()["components"]["schemas"]
    properties = set(schemas["Encoded"]["properties"])
    assert {"comparison", "why_not_compared", "comparison_pending"} <= properties
    assert set(schemas["Comparison"]["required"]) == {
        *("error", "usual", "limit", "sampled", "unlike", "message")
    }
