"""Threads for requests: in turn, and none for those whom nobody waits for any more."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from starlette.requests import ClientDisconnect

from tests.support.shop import ODD_IDS
from vaeudf.errors import InputError
from vaeudf.explore import workers
from vaeudf.explore.byte_cache import ByteCache
from vaeudf.explore.daemon_threads import DaemonExecutor
from vaeudf.explore.map import make_map
from vaeudf.explore.workers import Busy, Pool


class Asking:
    """A request of somebody who waits, or does not any more."""

    def __init__(self, gone: bool = False) -> None:
        self.gone = gone

    async def is_disconnected(self) -> bool:
        return self.gone


async def blocked(pool: Pool) -> tuple[asyncio.Task, threading.Event]:
    """A pool's thread at work, until the event."""
    began, go_on = threading.Event(), threading.Event()

    def work():
        began.set()
        assert go_on.wait(30)
        return "first"

    task = asyncio.create_task(pool.run(Asking(), work))
    while not began.is_set():
        await asyncio.sleep(0.001)
    return task, go_on


def test_work_is_done_in_turn():
    async def run():
        pool = Pool("test", 1)
        first, go_on = await blocked(pool)
        others = [
            asyncio.create_task(pool.run(Asking(), lambda n=number: n)) for number in range(5)
        ]
        await asyncio.sleep(0.01)
        assert not any(one.done() for one in others)
        go_on.set()
        assert await asyncio.gather(first, *others) == ["first", 0, 1, 2, 3, 4]
        pool.close()

    asyncio.run(run())


def test_what_nobody_waits_for_is_not_done():
    async def run():
        pool, done = Pool("test", 1), []
        first, go_on = await blocked(pool)
        moved_past = asyncio.create_task(pool.run(Asking(gone=True), lambda: done.append(1)))
        wanted = asyncio.create_task(pool.run(Asking(), lambda: "wanted"))
        await asyncio.sleep(0.01)
        go_on.set()
        with pytest.raises(ClientDisconnect):
            await moved_past
        assert (await first, await wanted, done) == ("first", "wanted", [])
        pool.close()

    asyncio.run(run())


def test_too_many_are_sent_away(monkeypatch):
    monkeypatch.setattr(workers, "MOST_WAITING", 3)

    async def run():
        pool = Pool("test", 1)
        first, go_on = await blocked(pool)
        waiting = [asyncio.create_task(pool.run(Asking(), int)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(Busy):
            await pool.run(Asking(), int)
        go_on.set()
        assert await asyncio.gather(first, *waiting) == ["first", 0, 0]
        assert await pool.run(Asking(), int) == 0, "there is room again"
        pool.close()

    asyncio.run(run())


def test_pictures_are_shown_while_others_are_compared(client, monkeypatch):
    """Each of these reads hundreds, with which it may be busy for minutes."""
    shown = threading.Event()

    def rerank(*args):
        assert shown.wait(10), "pictures wait for it"
        raise InputError("as it is asked for here")

    monkeypatch.setattr("vaeudf.explore.api.search_reranked", rerank)
    asked = {"json": {"z": [0, 0, 0, 0], "rerank": "picture"}}
    many = 2 * max(4, os.cpu_count() or 1)

    async def show():
        answers = [
            asyncio.create_task(client.send("POST", "/api/search", **asked)) for _ in range(many)
        ]
        await asyncio.sleep(0.05)
        picture = await client.send("GET", "/api/picture", params={"id": ODD_IDS[1]})
        shown.set()
        return picture, await asyncio.gather(*answers)

    picture, others = client.run(show())
    assert picture.status_code == 200
    assert {answer.status_code for answer in others} == {400}


def test_a_map_that_takes_long_holds_up_no_other(client, monkeypatch):
    drawn = threading.Event()

    def slow(table, method="pca"):
        if method == "umap":
            assert drawn.wait(10), "the other map waits for it"
        return make_map(table)

    monkeypatch.setattr("vaeudf.explore.service.make_map", slow)

    async def draw():
        answer = asyncio.create_task(client.send("GET", "/api/map", params={"method": "umap"}))
        await asyncio.sleep(0.05)
        other = await client.send("GET", "/api/map", params={"method": "pca"})
        drawn.set()
        return other, await answer

    assert [answer.status_code for answer in client.run(draw())] == [200, 200]


def test_threads_of_daemons_do_their_work_in_turn():
    began = threading.Barrier(2, timeout=10)
    with DaemonExecutor(2, "test") as pool:
        # Two at once, and as many as there are threads.
        assert list(pool.map(lambda _: began.wait() < 2, range(4))) == [True] * 4
        assert list(pool.map(divmod, (7, 9), (2, 4))) == [(3, 1), (2, 1)]
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result(10)
    assert not pool.at_work
    with pytest.raises(RuntimeError, match="no work is taken after the end"):
        pool.submit(int)


def test_what_has_not_begun_is_dropped_at_the_end():
    began, go_on, done = threading.Event(), threading.Event(), []
    pool = DaemonExecutor(1, "test")

    def work():
        began.set()
        assert go_on.wait(10)
        return "first"

    first, second = pool.submit(work), pool.submit(done.append, 1)
    assert began.wait(10)
    pool.shutdown(wait=False, cancel_futures=True)
    assert pool.at_work and second.cancelled()
    go_on.set()
    pool.shutdown()
    assert (first.result(10), done, pool.at_work) == ("first", [], False)


class Some:
    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def test_what_was_used_last_is_kept():
    cache, made = ByteCache(10), []

    def value(name: str, size: int = 4) -> None:
        cache.get(name, lambda: made.append(name) or Some(size))

    for name in ("a", "b", "a", "c"):  # c takes the place of b
        value(name)
    assert made == ["a", "b", "c"]
    for name in ("a", "c", "b"):
        value(name)
    assert made == ["a", "b", "c", "b"]
    value("huge", 11)
    value("c")
    value("b")
    assert made == ["a", "b", "c", "b", "huge"], "what does not fit displaces nothing"
    value("huge", 11)
    assert made[-1] == "huge"
