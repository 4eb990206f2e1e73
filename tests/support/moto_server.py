"""moto's server, a program of its own, whose writes are atomic as those of S3 are.

moto looks whether a key is there (If-None-Match) and then writes it; of two requests in two of its
threads both may be told that they were first. Called with ``ignore-conditions`` behind the port,
it is one of the stores that write whatever the condition says; with ``refuse-conditions``, one of
those that do not know them.
"""

from __future__ import annotations

import sys
from threading import Lock

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import run_simple


class OneWriteAtATime:
    """Lets no request that writes begin before the last one has ended."""

    def __init__(self, app, conditions: str) -> None:
        self._app, self._lock, self._conditions = app, Lock(), conditions

    def __call__(self, environ, start_response):
        if "HTTP_IF_NONE_MATCH" in environ and self._conditions == "refuse-conditions":
            start_response("501 Not Implemented", [("Content-Type", "application/xml")])
            return [b"<Error><Code>NotImplemented</Code></Error>"]
        if self._conditions == "ignore-conditions":
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if environ["REQUEST_METHOD"] not in ("PUT", "POST", "DELETE"):
            return self._app(environ, start_response)
        with self._lock:
            return list(self._app(environ, start_response))


if __name__ == "__main__":
    served = DomainDispatcherApplication(create_backend_app)
    run_simple(
        "127.0.0.1",
        int(sys.argv[1]),
        OneWriteAtATime(served, "".join(sys.argv[2:])),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
