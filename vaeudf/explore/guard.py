"""Who may ask the service, and how much: what stands between the network and the API."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What the page needs, all of it from this service. Decoded pictures may be blob: or data: URLs.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
# Of all bodies together that are held in memory.
_MOST_BYTES_HELD = 128 * 2**20
# What more of a body that is refused is still read, so that who sends it gets to see the answer.
_MOST_BYTES_DRAINED = 256 * 2**20
_SAFE = ("GET", "HEAD")


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


class Refused(Exception):
    """A request that is not handed on.

    Attributes:
        status: HTTP's.
        message: What was found, what was expected, and what to do.
        headers: Further ones of the answer.
    """

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


def is_loopback(host: str) -> bool:
    """Whether a service bound to this host can be reached from its own machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses what the page would not ask, and bounds what it may send."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        token: str | None,
        limit_of: Callable[[str], Limit],
    ) -> None:
        """Stand before an app.

        Args:
            app: What is guarded.
            host: What the service is bound to.
            port: Likewise.
            token: What every request must know; None for a service that only its own machine
                reaches. There the name that it is asked by is checked instead: another one is a
                page of somebody else's, whose name has been made to lead here (DNS rebinding).
            limit_of: Gives the limit of a body by the request's path.
        """
        self._app = app
        self._token = token
        self._cookie = f"vaeudf_{port}"  # cookies do not tell ports apart
        self._hosts = {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host}
        self._limit_of = limit_of
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the service speaks HTTP alone, not {scope['type']}")
        taken = 0

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            entry = self._check(scope)
            if entry is not None:
                await entry(scope, receive, send_guarded)
                return
            if scope["method"] != "POST":
                await self._app(scope, receive, send_guarded)
                return
            body = await self._read_body(scope, receive)
            taken = len(body)
            await self._app(scope, _replayed(body, receive), send_guarded)
        except Refused as refused:
            content = msgspec.json.encode({"error": refused.message})
            answer = Response(content, refused.status, refused.headers, "application/json")
            await answer(scope, receive, send_guarded)
        finally:
            self._held -= taken

    def _check(self, scope: Scope) -> Response | None:
        """Check who asks; return what to answer at once to who comes with the token."""
        headers = Headers(scope=scope)
        self._check_host(headers.getlist("host"))
        is_page = scope["path"] == "/"
        self._check_origin(headers, is_entry=scope["method"] in _SAFE and is_page)
        if self._token is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = query.pop("token", [""])[0]
        if scope["method"] in _SAFE and is_page and self._is_token(given):
            rest = urlencode(query, doseq=True)
            answer = RedirectResponse(f"/?{rest}" if rest else "/", 303)
            answer.set_cookie(self._cookie, given, httponly=True, samesite="lax")
            return answer
        if not any(map(self._is_token, _tokens(headers, self._cookie))):
            raise Refused(
                403,
                "this service is open to other machines, and the request does not have its token; "
                "open the address that it printed when it started, or send the header "
                "Authorization: Bearer TOKEN.",
            )
        return None

    def _check_host(self, hosts: list[str]) -> None:
        name = hosts[0].rsplit(":", 1)[0] if len(hosts) == 1 else ""
        name = hosts[0] if hosts and hosts[0].endswith("]") else name
        # With a token, the service may have any name, and a page of others' does not know it.
        if self._token is None and name.lower() not in self._hosts:
            raise Refused(
                403,
                f"the request is for host {', '.join(hosts) or 'none'}; expected "
                f"{', '.join(sorted(self._hosts))}. Open the address that the service printed.",
            )

    def _check_origin(self, headers: Headers, *, is_entry: bool) -> None:
        origin, host = headers.get("origin"), headers.get("host", "")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        # A link on somebody's page may lead to ours, but no page may use the API behind it.
        foreign = foreign or (
            not is_entry and headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
        )
        if foreign:
            raise Refused(
                403,
                f"the request comes from a page of {origin or 'another site'}; expected one of "
                f"{host}. Pages of other sites may not use this service.",
            )

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self._token or "").encode())

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
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


def _tokens(headers: Headers, cookie: str) -> Iterable[str]:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield given
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(cookie)
    except CookieError:
        return
    if found is not None:
        yield found.value


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
