"""Threads that do what would hold up the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from vaeudf.explore.daemon_threads import DaemonExecutor

Result = TypeVar("Result")

MOST_WAITING = 500
"""Requests that wait for one pool; who comes after them is sent away."""


class Busy(Exception):
    """More requests wait than can be answered in any reasonable time."""


class Pool:
    """Some threads, and the requests that wait for them."""

    def __init__(self, name: str, threads: int) -> None:
        """Start none yet: they come with the work."""
        self._pool = DaemonExecutor(threads, name)
        self._threads = threads
        self._slots: asyncio.Semaphore | None = None
        self._waiting = 0

    async def run(self, request: Request, work: Callable[[], Result]) -> Result:
        """Return what the work returns, done in a thread of the pool.

        Raises:
            Busy: Too many wait already.
            ClientDisconnect: Nobody waits for the result any more when its turn has come: a page
                takes back what a slider has moved past.
        """
        if self._waiting >= MOST_WAITING:
            raise Busy
        if self._slots is None:
            self._slots = asyncio.Semaphore(self._threads)
        queued = self._slots.locked()
        self._waiting += 1
        try:
            async with self._slots:
                if queued and await request.is_disconnected():
                    raise ClientDisconnect
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def start(self, work: Callable[[], None]) -> None:
        """Have something done in a thread of the pool that no request waits for."""
        self._pool.submit(work)

    @property
    def at_work(self) -> bool:
        """Whether a thread is at work."""
        return self._pool.at_work

    def close(self) -> None:
        """Do what has begun, and nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Workers:
    """The pools, apart from each other so that none waits for what is slow in another.

    Attributes:
        searches: For searches, which use a core each.
        model: For the networks, which use a core each.
        pictures: For reading pictures, which waits for disks.
        rerankings: For what reads and compares hundreds of pictures: those that are shown do not
            wait for it.
        samples: For what is found out of the catalog in the background.
        tables: For what describes the table.
        maps: For maps that take a moment to make, and what is asked of those that are there.
        slow_maps: For maps that take minutes to make.
    """

    def __init__(self) -> None:
        """Make the pools."""
        cores = os.cpu_count() or 1
        self.searches = Pool("search", cores)
        self.model = Pool("model", cores)
        self.pictures = Pool("picture", max(4, cores))
        self.rerankings = Pool("rerank", cores)
        self.samples = Pool("sample", 1)
        self.tables = Pool("table", 1)
        self.maps = Pool("map", 1)
        self.slow_maps = Pool("slow-map", 1)
        self._all = (
            *(self.searches, self.model, self.pictures, self.rerankings),
            *(self.samples, self.tables, self.maps, self.slow_maps),
        )

    @property
    def at_work(self) -> bool:
        """Whether a thread of any pool is at work."""
        return any(pool.at_work for pool in self._all)

    def close(self) -> None:
        """Close the pools."""
        for pool in self._all:
            pool.close()
