"""A table that changes, or is taken away, while it is served."""

from __future__ import annotations

import shutil
import threading

import pytest

from tests.support.shop import ODD_IDS, folder_catalog, publish_shop
from vaeudf.explore.service import ServedVersion, Sources

ASKED = {"z": [0.0, 0.0, 0.0, 0.0], "k": 200}


@pytest.fixture
def table(shop, tmp_path) -> str:
    source = folder_catalog(shop, tmp_path / "photos")
    publish_shop(shop, str(tmp_path / "posteriors"), "r1", catalog=source)
    return str(tmp_path / "posteriors")


def test_a_new_version_is_picked_up(served, shop, table):
    client = served(table)
    model = client.service.current().model
    assert len(client.post("/api/search", json=ASKED).json()["hits"]) == len(shop.images)
    publish_shop(shop, table, "r2", rows=shop.rows.slice(0, 5))
    client.watcher.look()
    found = client.post("/api/search", json=ASKED).json()
    assert (found["version"], len(found["hits"])) == (2, 5)
    assert client.get("/api/health").json()["version"] == 2
    assert client.service.current().model is model, "the same model is not loaded again"
    # The catalog is what this version says, and it says none.
    assert client.get("/api/table").json()["can"]["pictures"] is False


def test_a_model_that_was_away_is_used_by_the_next_version(served, shop, table, tmp_path):
    model = tmp_path / "model"
    client = served(table, Sources(None, str(model)))
    asked = {"z": ",".join(["0"] * 4)}
    assert client.get("/api/decode", params=asked).status_code == 503
    shutil.copytree(shop.model, model)
    publish_shop(shop, table, "r2", rows=shop.rows.slice(0, 5))
    client.watcher.look()
    assert client.get("/api/decode", params=asked).status_code == 200


def test_a_request_keeps_the_version_that_it_began_with(served, shop, table, monkeypatch):
    client = served(table)
    began, go_on = threading.Event(), threading.Event()
    plain = ServedVersion.picture_path

    def slow(version, item_id):
        began.set()
        assert go_on.wait(30)
        return plain(version, item_id)

    monkeypatch.setattr(ServedVersion, "picture_path", slow)

    def publish():
        assert began.wait(30)
        publish_shop(shop, table, "r2", rows=shop.rows.slice(0, 5))
        client.watcher.look()
        go_on.set()

    began_with = client.service.current().mark
    publisher = threading.Thread(target=publish)
    publisher.start()
    last = shop.rows["item_id"][-1].as_py()
    found = client.get("/api/item", params={"id": last})
    publisher.join()
    assert found.status_code == 200
    assert found.json()["picture"].endswith(f"loaded={began_with}")
    assert client.get("/api/item", params={"id": last}).status_code == 404


def test_a_table_that_is_taken_away_is_served_on(served, shop, table, tmp_path):
    client = served(table)
    before = client.post("/api/search", json=ASKED).json()["hits"]
    shutil.rmtree(table)
    client.watcher.look()
    assert client.post("/api/search", json=ASKED).json()["hits"] == before
    found = client.get("/api/health").json()
    assert found["version"] == 1
    assert "does not exist" in found["newer_version_failed"]
    assert client.get("/api/picture", params={"id": ODD_IDS[0]}).status_code == 200
    # And back.
    publish_shop(shop, table, "r2", rows=shop.rows.slice(0, 5))
    publish_shop(shop, table, "r3", rows=shop.rows.slice(0, 7))
    client.watcher.look()
    found = client.get("/api/health").json()
    assert (found["items"], found["newer_version_failed"]) == (7, None)


def test_a_catalog_that_is_taken_away(served, shop, table, tmp_path):
    client = served(table)
    assert client.get("/api/picture", params={"id": ODD_IDS[1]}).status_code == 200
    shutil.rmtree(tmp_path / "photos")
    again = client.get("/api/picture", params={"id": ODD_IDS[1]})
    assert again.status_code == 200, "it is kept in memory"
    other = client.get("/api/picture", params={"id": ODD_IDS[2]})
    assert other.status_code == 404
    assert other.json()["error"].endswith("the catalog does not have it any more.")


def test_pictures_of_a_table_that_was_made_anew_have_other_addresses(served, shop, table):
    """Browsers keep pictures by their addresses, and ids and versions may come again."""
    found = []
    for client in (served(table), served(table)):
        [hit, *_] = client.post("/api/search", json=ASKED).json()["hits"]
        found.append(hit["picture"])
        assert "immutable" in client.get(hit["picture"]).headers["cache-control"]
    assert found[0] != found[1]
    answer = client.get(found[0])
    assert answer.status_code == 200 and "no-cache" in answer.headers["cache-control"]
