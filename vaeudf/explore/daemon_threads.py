"""Threads that do not hold up the end of the process.

Those of :class:`concurrent.futures.ThreadPoolExecutor` are waited for before Python ends, however
long what they do takes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

Result = TypeVar("Result")

_Task = tuple[Future[Any], Callable[[], Any]]


class DaemonExecutor(Executor):
    """Some threads, which are started with the work, and do it in turn."""

    def __init__(self, threads: int, name: str) -> None:
        """Start none yet.

        Args:
            threads: At most so many.
            name: What their names begin with.
        """
        self._most, self._name = threads, name
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._unfinished = 0
        self._closed = False
        self._lock = Lock()

    @property
    def at_work(self) -> bool:
        """Whether something has begun that has not ended, or waits."""
        return self._unfinished > 0

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Do something in a thread.

        Raises:
            RuntimeError: The threads are shut down.
        """
        future: Future[Result] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("no work is taken after the end")
            self._tasks.put((future, lambda: fn(*args, **kwargs)))
            self._unfinished += 1
            if len(self._threads) < min(self._unfinished, self._most):
                name = f"{self._name}-{len(self._threads)}"
                thread = Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work.

        Args:
            wait: Whether to return once all that was taken is done.
            cancel_futures: Whether to drop what has not begun.
        """
        with self._lock:
            self._closed = True
            while cancel_futures:
                try:
                    task = self._tasks.get_nowait()
                except Empty:
                    break
                if task is not None:
                    task[0].cancel()
                    self._unfinished -= 1
            for _ in self._threads:
                self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            self._do(*task)
            # What it holds on to is let go, and not with the next task.
            del task
            with self._lock:
                self._unfinished -= 1

    @staticmethod
    def _do(future: Future[Any], work: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
