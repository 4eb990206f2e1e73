"""Who may ask the service: by name, by page and by token."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection, Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from vaeudf.explore.problems import Refused

_SAFE = ("GET", "HEAD")


def is_loopback(host: str) -> bool:
    """Whether a service bound to this host can be reached from its own machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses who is not the page, and no program that knows the token."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        token: str | None,
        allowed: Collection[str] = (),
    ) -> None:
        """Stand before an app.

        Args:
            app: What is guarded.
            host: What the service is bound to.
            port: Likewise.
            token: What every request must know; None for a service that only its own machine
                reaches. There the name that it is asked by is checked instead: another one is a
                page of somebody else's, whose name has been made to lead here (DNS rebinding).
            allowed: Further names that it may be asked by, those that a proxy has for browsers. The
                proxy may hand them on as the host, or another name that is known here.
        """
        self._app = app
        self._token = token
        self._cookie = f"vaeudf_{port}"  # cookies do not tell ports apart
        own = f"[{host}]" if ":" in host else host
        self._allowed = {name.lower() for name in allowed}
        self._hosts = {"localhost", "127.0.0.1", "[::1]", own.lower()} | self._allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"the service speaks HTTP alone, not {scope['type']}")
        try:
            entry = self._check(scope)
        except Refused as refused:
            entry = refused.response()
        await (entry or self._app)(scope, receive, send)

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
        name = _without_port(hosts[0]) if len(hosts) == 1 else ""
        # With a token, the service may have any name, and a page of others' does not know it.
        if self._token is None and name not in self._hosts:
            raise Refused(
                403,
                f"the request is for host {', '.join(hosts) or 'none'}; expected "
                f"{', '.join(sorted(self._hosts))}. Open the address that the service "
                "printed; for a proxy's name, start it with --allow-host NAME.",
            )

    def _check_origin(self, headers: Headers, *, is_entry: bool) -> None:
        origin, host = headers.get("origin"), headers.get("host", "")
        foreign = origin is not None and not self._is_ours(origin, host)
        # A link on somebody's page may lead to ours, but no page may use the API behind it.
        foreign = foreign or (
            not is_entry and headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
        )
        if foreign:
            raise Refused(
                403,
                f"the request comes from a page of {origin or 'another site'}; expected one of "
                f"{host}. Pages of other sites may not use this service; for a proxy's name, start "
                "it with --allow-host NAME.",
            )

    def _is_ours(self, origin: str, host: str) -> bool:
        """Whether a page is of this service, to which a proxy may have given another name."""
        netloc = urlsplit(origin).netloc.lower()
        return netloc == host.lower() or _without_port(netloc) in self._allowed

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self._token or "").encode())


def _without_port(host: str) -> str:
    """Return a host's name, in small letters."""
    lower = host.lower()
    return lower if lower.endswith("]") else lower.rsplit(":", 1)[0]


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
