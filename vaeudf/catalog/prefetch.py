"""Calls that threads run ahead of time, in order, within bounds of number and memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Result = TypeVar("Result")

STORE_THREADS = 32
"""Requests to a store at a time: it takes some 50 ms to answer, however many there are."""


class LookAhead(Generic[Result]):
    """Results in the order of their calls, while threads run the next calls.

    Each call holds some bytes until its result is taken, such as those of an image: there may be
    thousands of small ones, or a few that would fill a task's memory.
    """

    def __init__(self, pool: ThreadPoolExecutor, most: int, most_bytes: int) -> None:
        """Start without any calls.

        Args:
            pool: Runs the calls.
            most: Calls that run or wait at a time.
            most_bytes: What they may hold together; one may always hold what it needs.
        """
        self._pool = pool
        self._most = most
        self._most_bytes = most_bytes
        self._held = 0.0
        self._calls: deque[tuple[Future[Result], float]] = deque()

    def submit(
        self, num_bytes: float, function: Callable[..., Result], *arguments: object
    ) -> Iterator[Result]:
        """Add a call; first yield the results that must be taken to make room for it."""
        while self._calls and (
            len(self._calls) >= self._most or self._held + num_bytes > self._most_bytes
        ):
            yield self._take()
        self._held += num_bytes
        self._calls.append((self._pool.submit(function, *arguments), num_bytes))

    def drain(self) -> Iterator[Result]:
        """Yield the results of all calls that are left."""
        while self._calls:
            yield self._take()

    def _take(self) -> Result:
        future, num_bytes = self._calls.popleft()
        self._held -= num_bytes
        return future.result()


def call_all(
    function: Callable[..., Result], calls: Sequence[tuple[object, ...]], waits: Sequence[bool]
) -> list[Result]:
    """Return the results of calls, those that wait for a store made by threads.

    The others are made here: a thread takes several times as long as to open a local file.

    Args:
        function: What is called.
        calls: Its arguments, for each call.
        waits: Whether a call waits for a store.
    """
    with ThreadPoolExecutor(STORE_THREADS) as pool:
        waiting = [
            pool.submit(function, *call) if wait else None
            for call, wait in zip(calls, waits, strict=True)
        ]
        return [
            function(*call) if future is None else future.result()
            for call, future in zip(calls, waiting, strict=True)
        ]
