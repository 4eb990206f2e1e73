"""How much may be sent to the service: bodies are read whole, within a size and a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vaeudf.explore.model import MOST_BYTES_OF_PHOTO
from vaeudf.explore.problems import Refused

_MOST_BYTES_OF_JSON = 2**20
# Of all bodies together that are held in memory.
_MOST_BYTES_HELD = 128 * 2**20
# What more of a body that is refused is still read, so that who sends it gets to see the answer.
_MOST_BYTES_DRAINED = 256 * 2**20


class Limit(NamedTuple):
    """Of a request's body.

    Attributes:
        num_bytes: How many it may have.
        seconds: How long it may take to come.
        media_types: What it may be; ``image/*`` is any image.
    """

    num_bytes: int
    seconds: float
    media_types: tuple[str, ...]


def limit_of(path: str) -> Limit:
    """Return what the body of a request may be, by the request's path."""
    if path == "/api/encode":
        return Limit(MOST_BYTES_OF_PHOTO, 60.0, ("image/*",))
    return Limit(_MOST_BYTES_OF_JSON, 10.0, ("application/json",))


class BoundedBodies:
    """Reads bodies before the app does, and refuses those that are too much for it."""

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], Limit]) -> None:
        """Stand before an app.

        Args:
            app: Gets bodies that are whole.
            limit_of: Gives the limit of a body by the request's path.
        """
        self._app, self._limit_of = app, limit_of
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        taken = 0
        try:
            body = await self._read(scope, receive)
            taken = len(body)
            await self._app(scope, _replayed(body, receive), send)
        except Refused as refused:
            await refused.response()(scope, receive, send)
        finally:
            self._held -= taken

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        headers, limit = Headers(scope=scope), self._limit_of(scope["path"])
        _check_media_type(headers.get("content-type", ""), limit)
        declared = headers.get("content-length", "")
        length = int(declared) if declared.isdecimal() else None
        if length is not None and length > limit.num_bytes:
            raise _too_large(f"{length:,} bytes", limit, close=length > _MOST_BYTES_DRAINED)
        parts: list[bytes] = []
        try:
            await asyncio.wait_for(self._take(parts, receive, limit), limit.seconds)
            return b"".join(parts)
        except asyncio.TimeoutError:
            self._held -= sum(map(len, parts))
            raise Refused(
                408,
                f"the body was not there after {limit.seconds:g} seconds; send it again.",
                {"connection": "close"},
            ) from None
        except BaseException:
            self._held -= sum(map(len, parts))
            raise

    async def _take(self, parts: list[bytes], receive: Receive, limit: Limit) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the connection was closed before the body was there.")
            parts.append(message.get("body", b""))
            self._held += len(parts[-1])
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > limit.num_bytes:
                raise _too_large(f"more than {limit.num_bytes:,} bytes", limit, close=True)
            if self._held > _MOST_BYTES_HELD:
                raise Refused(503, "too much is being sent to this service; try again in a moment.")


def _check_media_type(given: str, limit: Limit) -> None:
    kind = given.split(";")[0].strip().lower()
    if not any(
        kind == one or (one.endswith("/*") and kind.startswith(one[:-1]))
        for one in limit.media_types
    ):
        # Also because a form of another site's page cannot send these without being asked about.
        raise Refused(
            415,
            f"the body's Content-Type is {given or 'not given'}; expected "
            f"{' or '.join(limit.media_types)}.",
        )


def _too_large(found: str, limit: Limit, *, close: bool) -> Refused:
    headers = {"connection": "close"} if close else {}
    return Refused(
        413, f"the body has {found}; at most {limit.num_bytes:,} are taken. Send less.", headers
    )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives the body that was read, and after it what comes."""
    waiting = [body]

    async def receive_again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return receive_again
