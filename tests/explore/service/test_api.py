"""What the API answers, compared with the library, with torch and with Pillow."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.oracles import log_density_by_torch
from tests.support.scene import ENCODER_TERMS, LATENT_DIM, SPEC
from tests.support.shop import ODD_IDS
from tests.support.tables import matrix
from tests.support.tolerances import assert_same_float32, assert_same_levels, assert_same_scores
from vaeudf.explore.service import Sources
from vaeudf.images.decode import decode_image

Z = [0.3, -0.2, 0.1, 0.4]


def pixels_of(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_health(client, shop_table, shop):
    found = client.get("/api/health").json()
    assert found.pop("loaded_at").startswith("20")
    assert found == {
        "status": "ok",
        "table": shop_table,
        "version": 1,
        "items": len(shop.images),
        "latent_dim": LATENT_DIM,
        "vaeudf": "0.1.0",
        "newer_version_failed": None,
    }


def test_the_table_is_described(client, shop):
    client.get(f"/api/decode?z={','.join(map(str, Z))}")  # waits for the model
    found = client.get("/api/table").json()
    assert found["title"] == "posteriors"
    assert found["model_id"] == shop.bundle.model_id
    assert [one["index"] for one in found["dimensions"]] == list(range(LATENT_DIM))
    assert {one["name"]: one["kind"] for one in found["columns"]} == {
        "category": "category",
        "price": "number",
        "stock": "number",
        "new": "category",
    }
    assert found["can"] == dict.fromkeys(("decode", "encode", "pictures", "rerank", "sql"), True)
    assert found["why_not"] == {}
    assert found["picture"] == {"height": SPEC.height, "width": SPEC.width, "channels": 3}


def test_a_search_is_exact(client, shop):
    found = client.post("/api/search", json={"z": Z, "k": 5}).json()
    mu, log_var = (matrix(shop.rows, name).astype(np.float64) for name in ("mu", "log_var"))
    [expected] = log_density_by_torch(np.array([Z]), mu, log_var)
    best = np.argsort(-expected)[:5]
    ids = np.array(shop.rows["item_id"].to_pylist())
    assert [hit["item_id"] for hit in found["hits"]] == ids[best].tolist()
    scores = [hit["log_likelihood"] for hit in found["hits"]]
    assert_same_scores(scores, expected[best], log_var, dims=LATENT_DIM)


def test_hits_lead_to_their_pictures(client, shop):
    hits = client.post("/api/search", json={"z": Z, "k": len(shop.images)}).json()["hits"]
    assert {hit["item_id"] for hit in hits} == set(shop.images)
    for hit in hits:
        answer = client.get(hit["picture"])
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        expected = io.BytesIO()
        with Image.open(io.BytesIO(shop.images[hit["item_id"]])) as image:
            image.save(expected, "JPEG", quality=90, subsampling=0)
        assert answer.content == expected.getvalue()


def test_a_picture_is_asked_about_again_unless_its_address_is_from_here(client, shop):
    for query in ({}, {"version": "1"}, {"loaded": "00000000"}):
        answer = client.get("/api/picture", params={"id": ODD_IDS[1], **query})
        assert answer.headers["cache-control"] == "private, no-cache"
    tag = {"if-none-match": answer.headers["etag"]}
    again = client.get("/api/picture", params={"id": ODD_IDS[1]}, headers=tag)
    assert (again.status_code, again.content) == (304, b"")


def test_a_picture_has_the_side_that_is_asked_for(client):
    answer = client.get("/api/picture", params={"id": ODD_IDS[0], "side": "20"})
    assert pixels_of(answer.content).shape[:2] == (20, 20)


def test_items(client, shop):
    for row in shop.rows.to_pylist()[:6]:
        found = client.get("/api/item", params={"id": row["item_id"]}).json()
        assert found["mu"] == row["mu"] and found["log_var"] == row["log_var"]
        assert found["columns"] == {name: row[name] for name in found["columns"]}
        assert set(found["columns"]) == {"category", "price", "stock", "new"}


def decoded(shop, z) -> np.ndarray:
    with torch.inference_mode():
        levels = shop.bundle.decoder(torch.tensor([z], dtype=torch.float32))[0]
    return np.rint(np.clip(levels.permute(1, 2, 0).numpy() * 255, 0, 255)).astype(np.uint8)


def test_decoded_pictures_are_the_models(client, shop):
    answer = client.get("/api/decode", params={"z": ",".join(map(str, Z))})
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert_same_levels(pixels_of(answer.content), decoded(shop, Z))


def test_decoded_pictures_are_kept_for_good_with_the_models_id(client, shop):
    query = {"z": ",".join(map(str, Z)), "model": shop.bundle.model_id, "format": "webp"}
    answer = client.get("/api/decode", params=query)
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    again = client.get(
        "/api/decode", params=query, headers={"if-none-match": answer.headers["etag"]}
    )
    assert again.status_code == 304


def test_several_points_are_decoded_side_by_side(client, shop):
    points = [Z, [0.0] * LATENT_DIM, [1.0] * LATENT_DIM]
    answer = client.post("/api/decode", json={"z": points})
    expected = np.concatenate([decoded(shop, z) for z in points], axis=1)
    assert_same_levels(pixels_of(answer.content), expected)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (1e308, "z has the number 1e+308, which float32 does not have; expected numbers of at "),
        (-3.5e38, "z has the number -3.5e+38, which float32 does not have"),
        (3e38, "z decodes to NaN or infinite numbers; expected a picture. Ask with z nearer"),
    ],
)
def test_what_decodes_to_no_picture_is_refused(client, number, error):
    z = [number] * 4
    for answer in (
        client.get("/api/decode", params={"z": ",".join(map(str, z)), "format": "webp"}),
        client.post("/api/decode", json={"z": [[0, 0, 0, 0], z]}),
    ):
        assert answer.status_code == 400
        assert error in answer.json()["error"]


def test_a_photo_is_encoded_as_the_table_was(client, shop):
    for row in shop.rows.to_pylist()[:3]:
        photo = shop.images[row["item_id"]]
        answer = client.post("/api/encode", content=photo, headers={"content-type": "image/png"})
        found = answer.json()
        for name in ("mu", "log_var"):
            assert_same_float32(found[name], row[name], terms=ENCODER_TERMS)
        for name, expected in (
            ("seen", decode_image(photo, SPEC)),
            ("reconstruction", decoded(shop, found["mu"])),
        ):
            kind, _, data = found[name].partition(",")
            assert kind == "data:image/png;base64"
            assert_same_levels(pixels_of(base64.b64decode(data)), expected)


def test_a_photos_posterior_finds_its_item(client, shop):
    item_id, photo = list(shop.images.items())[7]
    found = client.post("/api/encode", content=photo, headers={"content-type": "image/png"}).json()
    asked = {"z": found["mu"], "query_log_var": found["log_var"], "k": 1}
    [hit] = client.post("/api/search", json=asked).json()["hits"]
    assert hit["item_id"] == item_id


PROBLEMS = [
    ("get", "/api/item", {}, 400, "the address has no id; expected ?id=…"),
    ("get", "/api/item?id=none", {}, 404, "the table has no item 'none'."),
    ("get", "/api/picture?id=../../etc/passwd", {}, 404, "the table has no item"),
    (
        "get",
        f"/api/picture?id={ODD_IDS[0]}&side=5000",
        {},
        400,
        "side is '5000'; expected a whole number, 16 to 1024.",
    ),
    ("get", "/api/decode?z=0,0", {}, 400, "z is '0,0'; expected 4 finite numbers, with commas."),
    ("get", "/api/decode?z=0,0,nan,0", {}, 400, "expected 4 finite numbers"),
    (
        "get",
        "/api/decode?z=0,0,0,0&format=gif",
        {},
        400,
        "format is 'gif'; expected png or webp.",
    ),
    (
        "post",
        "/api/decode",
        {"json": {"z": [[0, 0]]}},
        400,
        "z has 1 points of 2 numbers; expected 1 to 64 points of 4 numbers each.",
    ),
    ("post", "/api/decode", {"json": {"z": []}}, 400, "z has 0 points of no numbers"),
    ("post", "/api/decode", {"json": {"z": [[0, 0, 0, 0]] * 65}}, 400, "expected 1 to 64"),
    (
        "post",
        "/api/search",
        {"json": {"z": Z, "K": 3}},
        400,
        "the request's body does not fit: Object contains unknown field `K`; see "
        "/api/openapi.json for what may be asked.",
    ),
    ("post", "/api/search", {"json": {"z": Z, "k": 201}}, 400, "Expected `int` <= 200"),
    ("post", "/api/search", {"json": {"z": Z[:2]}}, 400, "2"),
    (
        "post",
        "/api/search",
        {"content": b"{", "headers": {"content-type": "application/json"}},
        400,
        "Input data was truncated",
    ),
    (
        "post",
        "/api/search",
        {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}},
        400,
        "the request's body does not fit",
    ),
    (
        "post",
        "/api/search",
        {"content": b'{"z": "\xff"}', "headers": {"content-type": "application/json"}},
        400,
        "the request's body does not fit",
    ),
    (
        "post",
        "/api/encode",
        {"content": b"GIF89a", "headers": {"content-type": "image/gif"}},
        400,
        "the photo cannot be read: this GIF file of 6 bytes ends too early. Expected a picture as "
        "JPEG, PNG, WEBP, BMP, GIF or TIFF, of at most 25 MB and 50 megapixels.",
    ),
    ("get", "/api/nothing", {}, 404, "there is no /api/nothing here; /api/openapi.json says"),
    ("get", "/api/search", {}, 405, "/api/search is not asked with GET; /api/openapi.json"),
    ("ask:PUT", "/api/health", {}, 405, "/api/health is not asked with PUT"),
    ("get", "/static/none.js", {}, 404, "there is no file 'none.js'."),
]


@pytest.mark.parametrize(("method", "path", "options", "status", "error"), PROBLEMS)
def test_what_does_not_fit_is_told(client, method, path, options, status, error):
    name = method.partition(":")[2] or method.upper()
    answer = client.ask(name, path, **options)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    assert error in answer.json()["error"]


def test_a_table_without_its_model_and_catalog_still_answers_searches(served, shop, shop_table):
    client = served(shop_table, Sources("/nowhere/photos", "/nowhere/model"))
    found = client.get("/api/table").json()
    cannot = dict.fromkeys(("decode", "encode", "pictures", "rerank"), False)
    assert found["can"] == cannot | {"sql": True}
    missing = "model /nowhere/model is not there any more; name it with --model."
    gone = (
        "catalog /nowhere/photos does not exist any more; name the one that has them with "
        "--catalog."
    )
    assert found["why_not"] == {
        "decode": missing,
        "encode": missing,
        "pictures": gone,
        "rerank": missing,
    }
    assert len(client.post("/api/search", json={"z": Z, "k": 3}).json()["hits"]) == 3
    answer = client.get("/api/decode?z=0,0,0,0")
    assert (answer.status_code, answer.json()) == (503, {"error": missing})
    answer = client.get("/api/picture", params={"id": ODD_IDS[1]})
    item = f"the picture of item {ODD_IDS[1]!r} cannot be shown"
    assert (answer.status_code, answer.json()) == (404, {"error": f"{item}: {gone}"})


def test_another_model_is_told_from_the_tables(served, shop_table, bundle_path):
    client = served(shop_table, Sources(model=bundle_path))
    reason = client.get("/api/table").json()["why_not"]["decode"]
    assert "but the table was encoded with" in reason and reason.endswith("with --model.")


def test_the_api_is_documented(client):
    document = client.get("/api/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    assert '"items": [' not in text, "which is of older drafts"
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in text
    # Each path answers, if with a problem: there is such a thing.
    for path, operations in document["paths"].items():
        for method in operations:
            assert client.ask(method.upper(), path).status_code not in (404, 405, 500), path


def test_a_fault_of_ours_tells_nothing_of_what_is_inside(served, shop_table, monkeypatch):
    def broken(*_):
        raise RuntimeError("a secret of the service")

    monkeypatch.setattr("vaeudf.explore.api.search", broken)
    client = served(shop_table, hands_on_faults=False)
    answer = client.post("/api/search", json={"z": Z})
    assert answer.status_code == 500
    assert answer.json() == {"error": "a fault of the service; what it printed says more."}
    assert "content-security-policy" in answer.headers
    assert client.get("/api/health").status_code == 200


@pytest.mark.parametrize("method", ["pca"])
def test_the_map(client, shop, method):
    found = client.get("/api/map", params={"method": method}).json()
    assert (found["count"], found["items"]) == (len(shop.images), len(shop.images))
    points = np.frombuffer(client.get("/api/map/points").content, "<u2").reshape(-1, 2)
    assert points.shape == (len(shop.images), 2)
    colors = client.get("/api/map/colors", params={"column": "category"}).json()
    assert len(base64.b64decode(colors["codes"])) == len(shop.images)
    low, high = np.array(found["bounds"]).reshape(2, 2).T
    for row in shop.rows.to_pylist()[:3]:
        x, y = (np.array(row["mu"]) - found["mean"]) @ np.array(found["axes"]).T
        assert (low <= [x, y]).all() and ([x, y] <= high).all()
        there = client.get("/api/map/at", params={"x": x, "y": y}).json()
        assert there["item_id"] == row["item_id"] and there["mu"] == row["mu"]


def test_a_map_by_a_method_that_is_none(client):
    answer = client.get("/api/map?method=tsne")
    assert answer.json()["error"] == "method is 'tsne'; expected pca or umap."
