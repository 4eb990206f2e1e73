"""Asks an ASGI app as a client over HTTP would, in this process and without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

import httpx


def refused(answer: httpx.Response, status: int) -> str:
    """Check that an answer is a refusal, and return what it says."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    [(name, text)] = answer.json().items()
    assert name == "error"
    return text


class Client:
    """Requests to an app, one after the other or together, in one event loop."""

    def __init__(
        self, app: Any, base: str = "http://localhost:8642", *, hands_on_faults: bool = True
    ) -> None:
        self._loop = asyncio.new_event_loop()
        transport = httpx.ASGITransport(app, raise_app_exceptions=hands_on_faults)
        self._client = httpx.AsyncClient(transport=transport, base_url=base)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.close()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._loop.run_until_complete(self._client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def together(self, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        """Send requests at the same time: method, path and options of each."""

        async def send() -> list[httpx.Response]:
            sent = (self._client.request(method, path, **own) for method, path, own in requests)
            return await asyncio.gather(*sent)

        return self._loop.run_until_complete(send())

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, in what :meth:`run` runs."""
        return await self._client.request(method, path, **options)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)
