"""What is answered where a request cannot be: a status, and why as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from vaeudf.errors import BundleError, InputError, StoreError, TableError
from vaeudf.explore.pictures import NoPicture
from vaeudf.explore.umap_places import MapFailed
from vaeudf.explore.workers import Busy

# Nobody reads it: the status is what servers log of requests that were taken back.
_TAKEN_BACK = 499


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

    def response(self) -> Response:
        """Return what is answered."""
        return problem(self.status, self.message, self.headers)


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer that says why there is no other.

    Args:
        status: HTTP's.
        message: What was found, what was expected, and what to do.
        headers: Further ones.
    """
    content = msgspec.json.encode({"error": message})
    return Response(content, status, headers, "application/json")


def _problem_with(status: int) -> Callable[[Request, Exception], Response]:
    return lambda request, error: problem(status, str(error))


def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {
        "Not Found": f"there is no {request.url.path} here; /api/openapi.json says what there is.",
        "Method Not Allowed": f"{request.url.path} is not asked with {request.method}; "
        "/api/openapi.json says how.",
    }
    message = messages.get(error.detail, error.detail)
    return problem(error.status_code, message, error.headers)


def _busy(request: Request, error: Exception) -> Response:
    return problem(503, "too many requests wait already; try again in a moment.")


def _taken_back(request: Request, error: Exception) -> Response:
    return Response(status_code=_TAKEN_BACK)


def _fault(request: Request, error: Exception) -> Response:
    return problem(500, "a fault of the service; what it printed says more.")


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Response]] = {
    HTTPException: _http_problem,
    InputError: _problem_with(400),
    NoPicture: _problem_with(404),
    MapFailed: _problem_with(503),
    BundleError: _problem_with(503),
    TableError: _problem_with(503),
    StoreError: _problem_with(503),
    Busy: _busy,
    ClientDisconnect: _taken_back,
    Exception: _fault,
}
"""What is answered for each kind of error."""
