"""Who may ask: nothing that another site's page or name could do."""

from __future__ import annotations

import re

import pytest

from tests.support.http import refused
from vaeudf.explore.guard import is_loopback

JSON = {"content-type": "application/json"}
SEARCH = {"content": b'{"z": [0, 0, 0, 0], "k": 1}', "headers": JSON}
TOKEN = "a-token-of-the-tests"


@pytest.mark.parametrize("path", ["/api/health", "/", "/static/none.js", "/api/none"])
def test_every_answer_says_what_a_page_of_ours_may_do(client, path):
    headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8642", "localhost.evil.example", "127.0.0.1.evil", ""]
)
def test_a_name_that_is_made_to_lead_here_is_refused(client, host):
    text = refused(client.get("/api/health", headers={"host": host}), 403)
    assert "expected 127.0.0.1, [::1], localhost. Open the address that the service" in text
    assert text.endswith("for a proxy's name, start it with --allow-host NAME.")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]", "[::1]:80"])
def test_this_machines_names_are_its_own_at_any_port(client, host):
    # Of a tunnel, the port at its other end is another one.
    assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:9999"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_sites_page_may_not_ask(client, headers):
    for answer in (
        client.get("/api/health", headers=headers),
        client.post("/api/search", content=SEARCH["content"], headers=JSON | headers),
    ):
        text = refused(answer, 403)
        assert "Pages of other sites may not use this service; for a proxy's name, start it" in text
        assert text.endswith("with --allow-host NAME.")


def test_our_own_page_may_ask(client):
    own = {"origin": "http://localhost:8642", "sec-fetch-site": "same-origin"}
    answer = client.post("/api/search", content=SEARCH["content"], headers=JSON | own)
    assert answer.status_code == 200


def test_a_link_elsewhere_may_lead_to_the_page(client):
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code != 403


# ---- behind a proxy


@pytest.mark.parametrize("host", ["studio.example", "Studio.Example:443", "127.0.0.1:8642"])
def test_a_proxy_may_keep_its_name_or_give_ours(served, shop_table, host):
    client = served(shop_table, allowed=["STUDIO.example"])
    own = JSON | {"host": host, "origin": "https://studio.example", "sec-fetch-site": "same-origin"}
    answer = client.post("/api/search", content=SEARCH["content"], headers=own)
    assert answer.status_code == 200
    for foreign in ("https://evil.example", "https://studio.example.evil", "null"):
        answer = client.post(
            "/api/search", content=SEARCH["content"], headers=own | {"origin": foreign}
        )
        assert "comes from a page of" in refused(answer, 403)
    answer = client.get("/api/health", headers={"host": "evil.example"})
    assert "expected 127.0.0.1, [::1], localhost, studio.example." in refused(answer, 403)


def test_a_proxy_may_ask_a_service_that_has_a_token(served, shop_table):
    client = served(shop_table, token=TOKEN, host="0.0.0.0", allowed=["studio.example"])
    own = JSON | {"origin": "https://studio.example", "cookie": f"vaeudf_8642={TOKEN}"}
    answer = client.post("/api/search", content=SEARCH["content"], headers=own)
    assert answer.status_code == 200
    without = {name: value for name, value in own.items() if name != "cookie"}
    answer = client.post("/api/search", content=SEARCH["content"], headers=without)
    assert "does not have its token" in refused(answer, 403)


# ---- a service that other machines reach


@pytest.fixture(scope="module")
def open_client(served, shop_table):
    return served(shop_table, token=TOKEN, host="0.0.0.0")


def test_without_the_token_nothing_is_answered(open_client):
    for path in ("/", "/api/health", "/static/none.js", "/api/none", f"/api/health?token={TOKEN}"):
        text = refused(open_client.get(path), 403)
        assert "does not have its token; open the address that it printed" in text
    assert refused(open_client.post("/api/search", **SEARCH), 403)


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "é"])
def test_another_token_is_none(open_client, token):
    assert refused(open_client.get("/", params={"token": token}), 403)
    bearer = {"authorization": f"Bearer {token}".encode()}
    assert refused(open_client.get("/api/health", headers=bearer), 403)


def test_the_token_in_the_address_becomes_a_cookie(open_client):
    answer = open_client.get("/", params={"token": TOKEN, "x": "1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?x=1")
    cookie = answer.headers["set-cookie"]
    found = re.fullmatch(
        r"vaeudf_8642=([^;]+); HttpOnly; Path=/; SameSite=lax", cookie, re.IGNORECASE
    )
    assert found and found[1] == TOKEN
    own = {"cookie": f"vaeudf_8642={TOKEN}", "host": "studio.example:8642"}
    assert open_client.get("/api/health", headers=own).status_code == 200
    foreign = own | {"origin": "https://evil.example"}
    assert refused(open_client.get("/api/health", headers=foreign), 403)


def test_a_program_sends_the_token_in_a_header(open_client):
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert open_client.get("/api/health", headers=bearer).status_code == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.4", False),
        ("studio.example", False),
    ],
)
def test_what_only_this_machine_reaches(host, expected):
    assert is_loopback(host) is expected
