"""A table and its catalog in S3, served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pyarrow import fs

from tests.support.object_store import make_bucket, object_store
from tests.support.shop import CATALOGS, ODD_IDS, publish_shop
from vaeudf.catalog.pictures import catalog_pictures
from vaeudf.explore.service import Sources
from vaeudf.images.decode import thumbnail
from vaeudf.storage.locations import filesystem

pytestmark = pytest.mark.slow  # each answer of the server takes a moment


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with object_store() as url:
        yield url


@pytest.fixture
def bucket(server, monkeypatch, request) -> str:
    return make_bucket(server, monkeypatch, request.node.name)


def uploaded(shop, folder, uri: str, kind: str):
    """A catalog in a bucket."""
    source = CATALOGS[kind](shop, folder)
    store, inner = filesystem(uri)
    fs.copy_files(str(folder), inner, destination_filesystem=store)
    below = source.path.removeprefix(str(folder))
    moved = replace(source, path=uri + below)
    if kind == "named":
        moved = replace(moved, path_column=source.path_column.replace(str(folder), uri))
    return moved


@pytest.mark.parametrize("kind", CATALOGS)
def test_the_pictures_of_every_kind_of_catalog(shop, tmp_path, bucket, kind):
    source = uploaded(shop, tmp_path / "catalog", f"{bucket}/a catalog/é #+", kind)
    ids = shop.rows["item_id"].combine_chunks()
    found = catalog_pictures(source, ids)
    for row, item_id in enumerate(ids.to_pylist()[:8]):
        assert found.picture(row) == shop.images[item_id]


def test_a_table_and_its_catalog_are_served(served, shop, tmp_path, bucket):
    source = uploaded(shop, tmp_path / "catalog", f"{bucket}/photos", "folder")
    table = f"{bucket}/posteriors"
    publish_shop(shop, table, "r1", catalog=source)
    client = served(table)
    hits = client.post("/api/search", json={"z": [0.0] * 4, "k": 200}).json()["hits"]
    assert {hit["item_id"] for hit in hits} == set(shop.images)
    [hit] = [hit for hit in hits if hit["item_id"] == ODD_IDS[0]]
    picture = client.get(hit["picture"])
    assert (picture.status_code, picture.content) == (200, thumbnail(shop.images[ODD_IDS[0]], 224))
    found = client.get("/api/table").json()
    assert (found["title"], found["can"]["pictures"]) == ("posteriors", True)
    again = client.post("/api/search", json={"z": [0.0] * 4, "rerank": "picture"})
    assert again.status_code == 200 and "log_p_x_given_z" in again.json()["hits"][0]
    # A new version is picked up, and a catalog that is not there told of.
    publish_shop(shop, table, "r2", rows=shop.rows.slice(0, 5))
    client.watcher.look()
    assert client.get("/api/health").json()["items"] == 5
    gone = served(table, Sources(catalog=f"{bucket}/none"))
    assert gone.get("/api/table").json()["why_not"]["pictures"] == (
        f"catalog {bucket}/none does not exist any more; name the one that has them with --catalog."
    )
