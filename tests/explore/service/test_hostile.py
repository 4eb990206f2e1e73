"""Anything at all is asked, and many at once: answered or refused, and never a fault of ours."""

from __future__ import annotations

import io
import json
import struct
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.shop import ODD_IDS

IMAGE = {"content-type": "image/png"}
PATHS = [
    "/static/../api.py",
    "/static/%2e%2e/api.py",
    "/static/..%2fapi.py",
    "/static/%2e%2e%2f%2e%2e%2fpyproject.toml",
    "/static//etc/passwd",
    "/static/%00",
    "/static/.",
    "/static/",
    "/static/index.html%00.js",
    "/static/__init__.py",
    "/../../etc/passwd",
    "/api/../../etc/passwd",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert b"root:" not in answer.content and b"import" not in answer.content


@pytest.mark.parametrize(
    "item_id", ["../../etc/passwd", "/etc/passwd", "a/b%20c.png%00", "%ED%A0%80", "%FF"]
)
def test_no_id_leads_to_a_file(client, item_id):
    for path in ("/api/picture", "/api/item"):
        assert client.get(f"{path}?id={item_id}").status_code == 404


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says that it has so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(99))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("width", "height"), [(50_000, 50_000), (8_000, 8_000), (2**31 - 1, 1), (1, 2_000_000)]
)
def test_a_picture_of_too_many_pixels_is_not_decoded(client, width, height):
    answer = client.post("/api/encode", content=bomb(width, height), headers=IMAGE)
    assert answer.status_code == 400
    found, _, expected = answer.json()["error"].partition(". Expected ")
    assert found.startswith("the photo cannot be read: ") and "pixels" in found
    assert expected.endswith("of at most 25 MB and 50 megapixels.")


def test_a_picture_that_only_looks_like_one(client):
    for data in (b"", b"\x89PNG\r\n\x1a\n", b"<svg onload='alert(1)'/>", bytes(1000)):
        answer = client.post("/api/encode", content=data, headers=IMAGE)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("the photo cannot be read: ")


def test_a_large_photo_is_encoded(client):
    stream = io.BytesIO()
    Image.new("RGB", (6_000, 4_000), (200, 10, 10)).save(stream, "JPEG")
    headers = {"content-type": "image/jpeg"}
    answer = client.post("/api/encode", content=stream.getvalue(), headers=headers)
    assert answer.status_code == 200


NUMBERS = st.floats() | st.integers() | st.none() | st.text(max_size=4)
VECTORS = st.lists(NUMBERS, max_size=6) | st.lists(st.floats(-9, 9), min_size=4, max_size=4)
FIELDS = {
    "z": VECTORS,
    "query_log_var": VECTORS,
    "like": st.lists(st.sampled_from(ODD_IDS) | st.text(max_size=5), max_size=3),
    "unlike": st.lists(st.sampled_from(ODD_IDS), max_size=3),
    "unlike_weight": NUMBERS,
    "exclude_self": st.booleans() | st.none(),
    "k": st.integers(-1, 300) | st.floats(),
    "tolerance": NUMBERS | VECTORS,
    "score": st.sampled_from(["log_likelihood", "kl", "euclidean", "mahalanobis", "none", ""]),
    "where": st.sampled_from(
        ["price > 10", "category = 'dress'", "stock", "1; DROP TABLE items", "(SELECT 1)", "'"]
    )
    | st.text(max_size=12),
    "per": st.sampled_from(["category", "category:2", "price:0", "none", ":", "stock:99999999999"]),
    "distinct": NUMBERS,
    "rerank": st.sampled_from(["picture", "other", None]),
    "candidates": st.integers(-1, 3000),
    "columns": st.lists(st.sampled_from(["price", "none", ""]), max_size=3),
    "unknown": st.none(),
}
REQUESTS = st.dictionaries(st.sampled_from(list(FIELDS)), st.none()).flatmap(
    lambda chosen: st.fixed_dictionaries({name: FIELDS[name] for name in chosen})
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(REQUESTS)
def test_any_search_is_answered_or_refused(client, asked):
    # A fault would be raised here: the client hands on what the app raises.
    content = json.dumps(asked).encode()
    headers = {"content-type": "application/json"}
    answer = client.post("/api/search", content=content, headers=headers)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        error = answer.json()["error"]
        assert error and "Traceback" not in error and "0x" not in error


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_body_is_answered_or_refused(client, body):
    for path, kind in (
        ("/api/search", "application/json"),
        ("/api/decode", "application/json"),
        ("/api/encode", "image/png"),
    ):
        answer = client.post(path, content=body, headers={"content-type": kind})
        assert answer.status_code == 400


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["/api/decode", "/api/item", "/api/picture", "/api/map/at", "/api/map/colors"]),
    st.dictionaries(
        st.sampled_from(["z", "id", "side", "x", "y", "column", "format", "method", "version"]),
        st.text(max_size=8) | st.sampled_from(["0,0,0,0", "1e400", "nan", "category", ODD_IDS[0]]),
    ),
)
def test_any_address_is_answered_or_refused(client, path, query):
    answer = client.get(path, params=query)
    assert answer.status_code in (200, 400, 404), answer.text


def test_many_at_once(client, shop):
    """As of 50 people: each gets their own answer."""
    requests = []
    for number in range(50):
        z = [number / 25 - 1] * 4
        requests.append(("POST", "/api/search", {"json": {"z": z, "k": 3}}))
        requests.append(("GET", "/api/decode", {"params": {"z": ",".join(map(str, z))}}))
    together = client.together(*requests)
    alone = [client.ask(method, path, **own) for method, path, own in requests]
    for one, other in zip(together, alone, strict=True):
        assert one.status_code == other.status_code == 200
        if one.headers["content-type"] == "application/json":
            assert one.json()["hits"] == other.json()["hits"]
        else:
            assert one.content == other.content
