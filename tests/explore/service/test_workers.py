"""Threads for requests: in turn, and none for those whom nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading

import pytest
from starlette.requests import ClientDisconnect

from vaeudf.explore import workers
from vaeudf.explore.byte_cache import ByteCache
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
