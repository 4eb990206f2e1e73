"""Work that threads do ahead of the one that asks for it, in order and within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Result = TypeVar("Result")


class LookAhead(Generic[Result]):
    """Results in the order in which they were asked for, while threads are at the next ones.

    Each call holds some bytes until its result is taken, such as those of an image: there may be
    thousands of small ones, or a few that would fill a task's memory.
    """

    def __init__(self, pool: ThreadPoolExecutor, most: int, most_bytes: int) -> None:
        """Start with nothing under way.

        Args:
            pool: Does the work.
            most: Calls under way at a time.
            most_bytes: What they may hold together; one may always hold what it needs.
        """
        self._pool = pool
        self._most = most
        self._most_bytes = most_bytes
        self._held = 0.0
        self._under_way: deque[tuple[Future[Result], float]] = deque()

    def submit(
        self, num_bytes: float, function: Callable[..., Result], *arguments: object
    ) -> Iterator[Result]:
        """Ask for a call; yield the results that must be taken before there is room for it."""
        while self._under_way and (
            len(self._under_way) >= self._most or self._held + num_bytes > self._most_bytes
        ):
            yield self._take()
        self._held += num_bytes
        self._under_way.append((self._pool.submit(function, *arguments), num_bytes))

    def drain(self) -> Iterator[Result]:
        """Yield all that is still under way."""
        while self._under_way:
            yield self._take()

    def _take(self) -> Result:
        future, num_bytes = self._under_way.popleft()
        self._held -= num_bytes
        return future.result()
