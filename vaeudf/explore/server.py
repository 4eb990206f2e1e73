"""The server: a port, the guarded app on it, and an end when it is asked for."""

from __future__ import annotations

import asyncio
import atexit
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from vaeudf.errors import InputError
from vaeudf.explore.problems import problem

# Connections at a time; file descriptors are as few as 1,024.
_MOST_CONNECTIONS = 512
_HEAD_SECONDS = 10.0
_IDLE_SECONDS = 30
_LAST_SECONDS = 5


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, before anything is loaded that takes time.

    Args:
        host: A name or address of this machine.
        port: The port; 0 for any that is free.

    Raises:
        InputError: It is taken, or may not be used, or there is no such address here.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"host {host!r} is no address of this machine ({getattr(error, 'strerror', error)}); "
            "expected one, such as 127.0.0.1."
        ) from None
    # Of a socket that does not say that it is TCP, asyncio leaves Nagle's algorithm on, with which
    # each answer waits 40 ms for the client's acknowledgement of its head.
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(_MOST_CONNECTIONS)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} is taken, perhaps by another explore; name another one with --port, "
                "or --port 0 for any that is free."
            ) from None
        if error.errno == errno.EACCES:
            raise InputError(
                f"port {port} may not be used by this user; name one of 1024 or more with --port."
            ) from None
        raise InputError(
            f"host {host!r} cannot be listened on ({error.strerror}); expected an address of this "
            "machine."
        ) from None
    return found


def address_of(host: str, listening: socket.socket, token: str | None) -> str:
    """Return the URL to open in a browser."""
    port = listening.getsockname()[1]
    # What all addresses are bound to is not an address that can be opened.
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


def serve(app: Any, listening: socket.socket, *, started: Callable[[], None]) -> int:
    """Answer requests until SIGINT or SIGTERM; those in flight have 5 seconds to be answered.

    Args:
        app: The app, an ASGI one.
        listening: Where.
        started: Called when it answers.

    Returns:
        How many requests were answered.
    """
    config = uvicorn.Config(
        AnsweredToTheEnd(app),
        http=TimedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    server = _Server(config, started)
    # uvicorn sends itself the signal again once it has ended.
    before = {one: signal.signal(one, _ignore) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run([listening])
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    return server.server_state.total_requests


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing: the signal has had its effect."""


class _Server(uvicorn.Server):
    """Tells when it has started."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        await super().startup(sockets)
        self._tell()


class AnsweredToTheEnd:
    """Answers the requests, too, that are still in flight when the server's patience is at an end.

    The server then cancels them, and would print each one's trace.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Stand before an app."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        began = False

        async def send_noted(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except asyncio.CancelledError:
            if began:
                return  # what was sent of it is all there is
            ending = problem(503, "the service ends.", {"connection": "close"})
            await ending(scope, receive, send)


def end_without_threads() -> None:
    """Let the process end with exit code 0 once its main thread does, whatever others are at.

    They may be in the middle of libraries' native code, which Python's own end may crash.
    """

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(0)

    atexit.register(end)


class TimedProtocol(H11Protocol):
    """HTTP, but who does not send the head of a request in time is hung up on.

    uvicorn itself waits for ever, and connections are few (Slowloris).
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come; a head that is not complete with it must be soon."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()
        elif self.cycle is None or self.cycle.response_complete:
            self._wait()

    def _wait(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(_HEAD_SECONDS, self._hang_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _hang_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()
