"""How much may be sent: nothing that a body could do."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.http import refused
from vaeudf.explore.bodies import Limit

JSON = {"content-type": "application/json"}
SEARCH = {"content": b'{"z": [0, 0, 0, 0], "k": 1}', "headers": JSON}


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_what_a_form_can_send_is_refused(client, kind):
    answer = client.post("/api/search", content=SEARCH["content"], headers={"content-type": kind})
    text = refused(answer, 415)
    assert text == (f"the body's Content-Type is {kind or 'not given'}; expected application/json.")


def test_a_photo_must_say_that_it_is_one(client, shop):
    [photo, *_] = shop.images.values()
    answer = client.post("/api/encode", content=photo, headers=JSON)
    assert refused(answer, 415).endswith("expected image/*.")


def test_a_body_that_is_too_large_is_refused_unread(client):
    read = []

    async def endless():
        for _ in range(100):
            read.append(1)
            yield bytes(2**20)

    declared = {**JSON, "content-length": str(100 * 2**20)}
    answer = client.post("/api/search", content=endless(), headers=declared)
    text = refused(answer, 413)
    assert text == "the body has 104,857,600 bytes; at most 1,048,576 are taken. Send less."


def test_a_body_without_a_length_is_cut_off(client):
    async def endless():
        while True:
            yield bytes(2**16)

    answer = client.post("/api/encode", content=endless(), headers={"content-type": "image/png"})
    assert refused(answer, 413).startswith("the body has more than 26,214,400 bytes")
    assert answer.headers["connection"] == "close"


def test_a_body_that_does_not_come_is_not_waited_for(served, shop_table):
    client = served(shop_table, limit_of=lambda path: Limit(100, 0.05, ("application/json",)))

    async def slow():
        yield b"{"
        await asyncio.sleep(60)

    answer = client.post("/api/search", content=slow(), headers=JSON)
    assert refused(answer, 408) == "the body was not there after 0.05 seconds; send it again."
    assert answer.headers["connection"] == "close"
    # What was held of it is free again.
    assert client.post("/api/search", **SEARCH).status_code == 200
