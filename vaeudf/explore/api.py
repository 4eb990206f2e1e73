"""The HTTP API: what is asked, who answers it, and how errors look."""

from __future__ import annotations

import base64
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from vaeudf.errors import BundleError, InputError, StoreError, TableError
from vaeudf.explore.answers import Encoded, Health, Item, Nearest, Points
from vaeudf.explore.guard import Limit
from vaeudf.explore.hits import search
from vaeudf.explore.map import Map, Method, colors
from vaeudf.explore.model import MOST_BYTES_OF_PHOTO, Format
from vaeudf.explore.openapi import document
from vaeudf.explore.pictures import SIDE, ImageFile, NoPicture
from vaeudf.explore.queries import SearchRequest
from vaeudf.explore.reranking import search_reranked
from vaeudf.explore.service import ServedVersion, Service
from vaeudf.explore.static_files import static_file
from vaeudf.explore.workers import Busy, Workers

log = logging.getLogger(__name__)

Asked = TypeVar("Asked", bound=msgspec.Struct)
Value = TypeVar("Value", bound=str)

MOST_POINTS = 64
"""That are decoded at a time."""
_LEAST_SIDE, _MOST_SIDE = 16, 1024
_MOST_BYTES_OF_JSON = 2**20
_FOR_GOOD = "private, max-age=31536000, immutable"
_ASK_AGAIN = "private, no-cache"
# Nobody reads it: the status is what servers log of requests that were taken back.
_TAKEN_BACK = 499


def body_limit(path: str) -> Limit:
    """Return what the body of a request may be, by the request's path."""
    if path == "/api/encode":
        return Limit(MOST_BYTES_OF_PHOTO, 60.0, ("image/*",))
    return Limit(_MOST_BYTES_OF_JSON, 10.0, ("application/json",))


class Api:
    """Answers requests from what a service has at hand."""

    def __init__(self, service: Service, workers: Workers, release: str) -> None:
        """Take what answers, who does the work, and which release of the package this is."""
        self._service, self._workers, self._release = service, workers, release

    def app(self) -> Starlette:
        """Return the app, unguarded."""
        get: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
            ("/", self._page),
            ("/static/{path:path}", self._static),
            ("/api/openapi.json", self._openapi),
            ("/api/health", self._health),
            ("/api/table", self._table),
            ("/api/decode", self._decode),
            ("/api/item", self._item),
            ("/api/picture", self._picture),
            ("/api/map", self._map),
            ("/api/map/points", self._map_points),
            ("/api/map/colors", self._map_colors),
            ("/api/map/at", self._map_at),
        ]
        post = [
            ("/api/search", self._search),
            ("/api/decode", self._decode_many),
            ("/api/encode", self._encode),
        ]
        app = Starlette(
            routes=[
                *(Route(path, endpoint, methods=["GET"]) for path, endpoint in get),
                *(Route(path, endpoint, methods=["POST"]) for path, endpoint in post),
            ],
            exception_handlers={
                HTTPException: _http_problem,
                InputError: _problem_with(400),
                NoPicture: _problem_with(404),
                BundleError: _problem_with(503),
                TableError: _problem_with(503),
                StoreError: _problem_with(503),
                Busy: _busy,
                ClientDisconnect: _taken_back,
                Exception: _fault,
            },
        )
        # What is not there is not somewhere else.
        app.router.redirect_slashes = False
        return app

    async def _page(self, request: Request) -> Response:
        return static_file(request, "index.html")

    async def _static(self, request: Request) -> Response:
        return static_file(request, request.path_params["path"])

    async def _openapi(self, request: Request) -> Response:
        return _json(document(self._release))

    async def _health(self, request: Request) -> Response:
        served = await self._served(request)
        loaded = served.loaded
        return _json(
            Health(
                table=loaded.table.uri,
                version=loaded.version,
                items=loaded.num_items,
                latent_dim=loaded.latent_dim,
                vaeudf=self._release,
                loaded_at=served.since.isoformat(timespec="seconds"),
                newer_version_failed=self._service.failure,
            )
        )

    async def _table(self, request: Request) -> Response:
        served = await self._served(request)
        return _json(await self._workers.tables.run(request, served.describe))

    async def _search(self, request: Request) -> Response:
        asked = await _body(request, SearchRequest)
        served = await self._served(request)

        def answer() -> bytes:
            if asked.rerank is None:
                found = search(served.loaded, asked)
            else:
                found = search_reranked(served.loaded, asked, served.model, served.pictures)
            for hit in found.hits:
                hit.picture = served.picture_path(hit.item_id)
            return msgspec.json.encode(found)

        pool = self._workers.searches if asked.rerank is None else self._workers.pictures
        return Response(await pool.run(request, answer), media_type="application/json")

    async def _decode(self, request: Request) -> Response:
        served = await self._served(request)
        z = _numbers(request, "z", served.loaded.latent_dim)
        form: Format = _choice(request, "format", ("png", "webp"))
        file = await self._workers.model.run(request, lambda: served.model.picture([z], form))
        return _image(request, file, is_current=_is(request, "model", served.model_id))

    async def _decode_many(self, request: Request) -> Response:
        asked = await _body(request, Points)
        served = await self._served(request)
        n = served.loaded.latent_dim
        if not 1 <= len(asked.z) <= MOST_POINTS or any(len(one) != n for one in asked.z):
            counts = ", ".join(sorted({str(len(one)) for one in asked.z})) or "no"
            raise InputError(
                f"z has {len(asked.z)} points of {counts} numbers; expected 1 to {MOST_POINTS} "
                f"points of {n} numbers each."
            )
        file = await self._workers.model.run(
            request, lambda: served.model.picture(asked.z, asked.format)
        )
        return _image(request, file, is_current=False)

    async def _encode(self, request: Request) -> Response:
        photo = await request.body()
        model = (await self._served(request)).model
        found = await self._workers.model.run(request, lambda: model.encode(photo))
        drawn = found.reconstruction
        return _json(
            Encoded(
                mu=found.mu.tolist(),
                log_var=found.log_var.tolist(),
                seen=_data_url(found.seen),
                reconstruction=None if drawn is None else _data_url(drawn),
            )
        )

    async def _item(self, request: Request) -> Response:
        served = await self._served(request)
        item_id = _text(request, "id")

        def find() -> Item:
            row = _row_of(served, item_id)
            mu, log_var = served.loaded.posterior(row)
            return Item(
                item_id=item_id,
                mu=mu.tolist(),
                log_var=log_var.tolist(),
                columns=next(iter(served.loaded.payload.slice(row, 1).to_pylist()), {}),
                picture=served.picture_path(item_id),
            )

        return _json(await self._workers.searches.run(request, find))

    async def _picture(self, request: Request) -> Response:
        served = await self._served(request)
        item_id = _text(request, "id")
        side = _whole(request, "side", SIDE, _LEAST_SIDE, _MOST_SIDE)

        def read() -> ImageFile:
            return served.pictures.thumbnail(_row_of(served, item_id), side)

        file = await self._workers.pictures.run(request, read)
        return _image(request, file, is_current=_is(request, "loaded", served.mark))

    async def _map(self, request: Request) -> Response:
        drawn = await self._drawn(request, await self._served(request))
        return _json(drawn.description)

    async def _map_points(self, request: Request) -> Response:
        drawn = await self._drawn(request, await self._served(request))
        return Response(drawn.octets, media_type="application/octet-stream")

    async def _map_colors(self, request: Request) -> Response:
        served, column = await self._served(request), _text(request, "column")
        drawn = await self._drawn(request, served)
        found = await self._workers.maps.run(request, lambda: colors(served.loaded, drawn, column))
        return _json(found)

    async def _map_at(self, request: Request) -> Response:
        served = await self._served(request)
        x, y = (_numbers(request, name, 1)[0] for name in ("x", "y"))
        drawn = await self._drawn(request, served)

        def find() -> Nearest:
            row = drawn.nearest(x, y)
            item_id = served.loaded.ids[row].as_py()
            mu, _ = served.loaded.posterior(row)
            picture = served.picture_path(item_id)
            return Nearest(item_id=item_id, mu=mu.tolist(), picture=picture)

        return _json(await self._workers.maps.run(request, find))

    async def _served(self, request: Request) -> ServedVersion:
        if self._service.is_current:
            return self._service.current()
        # A store may be asked for the new version's pictures; the loop does not wait for it.
        return await self._workers.tables.run(request, self._service.current)

    async def _drawn(self, request: Request, served: ServedVersion) -> Map:
        method: Method = _choice(request, "method", ("pca", "umap"))
        return await self._workers.maps.run(request, lambda: served.map(method))


def _row_of(served: ServedVersion, item_id: str) -> int:
    try:
        return served.loaded.row_of(item_id)
    except KeyError:
        raise HTTPException(404, f"the table has no item {item_id!r}.") from None


async def _body(request: Request, kind: type[Asked]) -> Asked:
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InputError(
            f"the request's body does not fit: {error}; see /api/openapi.json for what may be "
            "asked."
        ) from None


def _text(request: Request, name: str) -> str:
    found = request.query_params.get(name)
    if found is None:
        raise InputError(f"the address has no {name}; expected ?{name}=…")
    try:
        found.encode()
    except UnicodeError:
        raise InputError(f"{name} is not text in UTF-8.") from None
    return found


def _numbers(request: Request, name: str, count: int) -> list[float]:
    given = _text(request, name)
    try:
        found = [float(part) for part in given.split(",")]
    except ValueError:
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        expected = "a finite number" if count == 1 else f"{count} finite numbers, with commas"
        raise InputError(f"{name} is {given[:200]!r}; expected {expected}.")
    return found


def _whole(request: Request, name: str, default: int, least: int, most: int) -> int:
    given = request.query_params.get(name, str(default))
    if not (given.isdecimal() and given.isascii() and len(given) < 10):
        given_number = -1
    else:
        given_number = int(given)
    if not least <= given_number <= most:
        raise InputError(f"{name} is {given[:200]!r}; expected a whole number, {least} to {most}.")
    return given_number


def _choice(request: Request, name: str, values: tuple[Value, ...]) -> Value:
    """Return the one of some values that the address names; without a name, the first."""
    given = request.query_params.get(name, values[0])
    for value in values:
        if given == value:
            return value
    raise InputError(f"{name} is {given[:200]!r}; expected {' or '.join(values)}.")


def _is(request: Request, name: str, current: object) -> bool:
    """Whether the address names what it is of, so that it always means the same."""
    return current is not None and request.query_params.get(name) == str(current)


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _image(request: Request, file: ImageFile, *, is_current: bool) -> Response:
    tag = f'"{file.digest}"'
    headers = {"etag": tag, "cache-control": _FOR_GOOD if is_current else _ASK_AGAIN}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.media_type, headers=headers)


def _data_url(file: ImageFile) -> str:
    return f"data:{file.media_type};base64,{base64.b64encode(file.data).decode()}"


def _problem(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    content = msgspec.json.encode({"error": message})
    return Response(content, status, headers, "application/json")


def _problem_with(status: int) -> Callable[[Request, Exception], Response]:
    return lambda request, error: _problem(status, str(error))


def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {
        "Not Found": f"there is no {request.url.path} here; /api/openapi.json says what there is.",
        "Method Not Allowed": f"{request.url.path} is not asked with {request.method}; "
        "/api/openapi.json says how.",
    }
    message = messages.get(error.detail, error.detail)
    return _problem(error.status_code, message, dict(error.headers or {}))


def _busy(request: Request, error: Exception) -> Response:
    return _problem(503, "too many requests wait already; try again in a moment.")


def _taken_back(request: Request, error: Exception) -> Response:
    return Response(status_code=_TAKEN_BACK)


def _fault(request: Request, error: Exception) -> Response:
    return _problem(500, "a fault of the service; what it printed says more.")
