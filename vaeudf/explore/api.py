"""The routes of the HTTP API: what is asked, and who answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vaeudf.errors import InputError
from vaeudf.explore import parameters
from vaeudf.explore.answers import MOST_DECODED, Encoded, Health, Item, Nearest, Points
from vaeudf.explore.hits import search
from vaeudf.explore.map import METHODS, Map, Method, colors
from vaeudf.explore.model import FORMATS, Format
from vaeudf.explore.openapi import document
from vaeudf.explore.pictures import LEAST_SIDE, MOST_SIDE, SIDE, ImageFile
from vaeudf.explore.problems import HANDLERS
from vaeudf.explore.queries import SearchRequest
from vaeudf.explore.reranking import search_reranked
from vaeudf.explore.responses import data_url, image_response, json_response
from vaeudf.explore.service import ServedVersion, Service
from vaeudf.explore.static_files import static_file
from vaeudf.explore.workers import Workers


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
            exception_handlers=HANDLERS,
        )
        # What is not there is not somewhere else.
        app.router.redirect_slashes = False
        return app

    async def _page(self, request: Request) -> Response:
        return static_file(request, "index.html")

    async def _static(self, request: Request) -> Response:
        return static_file(request, request.path_params["path"])

    async def _openapi(self, request: Request) -> Response:
        return json_response(document(self._release))

    async def _health(self, request: Request) -> Response:
        served = await self._served(request)
        loaded = served.loaded
        return json_response(
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
        return json_response(await self._workers.tables.run(request, served.describe))

    async def _search(self, request: Request) -> Response:
        asked = await parameters.body(request, SearchRequest)
        served = await self._served(request)

        def answer() -> bytes:
            if asked.rerank is None:
                found = search(served.loaded, asked, served.picture_path)
            else:
                found = search_reranked(
                    served.loaded, asked, served.picture_path, served.model, served.pictures
                )
            return msgspec.json.encode(found)

        pool = self._workers.searches if asked.rerank is None else self._workers.rerankings
        return Response(await pool.run(request, answer), media_type="application/json")

    async def _decode(self, request: Request) -> Response:
        served = await self._served(request)
        z = parameters.numbers(request, "z", served.loaded.latent_dim)
        form: Format = parameters.choice(request, "format", FORMATS)
        file = await self._workers.model.run(request, lambda: served.model.picture([z], form))
        return image_response(
            request, file, for_good=parameters.is_of(request, "model", served.model_id)
        )

    async def _decode_many(self, request: Request) -> Response:
        asked = await parameters.body(request, Points)
        served = await self._served(request)
        n = served.loaded.latent_dim
        if not 1 <= len(asked.z) <= MOST_DECODED or any(len(one) != n for one in asked.z):
            counts = ", ".join(sorted({str(len(one)) for one in asked.z})) or "no"
            raise InputError(
                f"z has {len(asked.z)} points of {counts} numbers; expected 1 to {MOST_DECODED} "
                f"points of {n} numbers each."
            )
        file = await self._workers.model.run(
            request, lambda: served.model.picture(asked.z, asked.format)
        )
        return image_response(request, file, for_good=False)

    async def _encode(self, request: Request) -> Response:
        photo = await request.body()
        served = await self._served(request)
        found = await self._workers.model.run(request, lambda: served.model.encode(photo))
        compared = served.usual_errors.compare(found, self._workers.samples.start)
        drawn = found.reconstruction
        return json_response(
            Encoded(
                mu=found.mu.tolist(),
                log_var=found.log_var.tolist(),
                seen=data_url(found.seen),
                reconstruction=None if drawn is None else data_url(drawn),
                comparison=compared.comparison,
                why_not_compared=compared.why_not,
                comparison_pending=compared.pending,
            )
        )

    async def _item(self, request: Request) -> Response:
        served = await self._served(request)
        item_id = parameters.text(request, "id")

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

        return json_response(await self._workers.searches.run(request, find))

    async def _picture(self, request: Request) -> Response:
        served = await self._served(request)
        item_id = parameters.text(request, "id")
        side = parameters.whole_number(request, "side", SIDE, LEAST_SIDE, MOST_SIDE)

        def read() -> ImageFile:
            return served.pictures.thumbnail(_row_of(served, item_id), side)

        file = await self._workers.pictures.run(request, read)
        return image_response(
            request, file, for_good=parameters.is_of(request, "loaded", served.mark)
        )

    async def _map(self, request: Request) -> Response:
        drawn = await self._drawn(request, await self._served(request))
        return json_response(drawn.description)

    async def _map_points(self, request: Request) -> Response:
        drawn = await self._drawn(request, await self._served(request))
        return Response(drawn.octets, media_type="application/octet-stream")

    async def _map_colors(self, request: Request) -> Response:
        served, column = await self._served(request), parameters.text(request, "column")
        drawn = await self._drawn(request, served)
        found = await self._workers.maps.run(request, lambda: colors(served.loaded, drawn, column))
        return json_response(found)

    async def _map_at(self, request: Request) -> Response:
        served = await self._served(request)
        x, y = (parameters.numbers(request, name, 1)[0] for name in ("x", "y"))
        drawn = await self._drawn(request, served)

        def find() -> Nearest:
            row = drawn.nearest(x, y)
            item_id = served.loaded.ids[row].as_py()
            mu, _ = served.loaded.posterior(row)
            picture = served.picture_path(item_id)
            return Nearest(item_id=item_id, mu=mu.tolist(), picture=picture)

        return json_response(await self._workers.maps.run(request, find))

    async def _served(self, request: Request) -> ServedVersion:
        if self._service.is_current:
            return self._service.current()
        # A store may be asked for the new version's pictures; the loop does not wait for it.
        return await self._workers.tables.run(request, self._service.current)

    async def _drawn(self, request: Request, served: ServedVersion) -> Map:
        method: Method = parameters.choice(request, "method", METHODS)
        pool = self._workers.maps
        if method != "pca" and not served.has_map(method):
            pool = self._workers.slow_maps
        return await pool.run(request, lambda: served.map(method))


def _row_of(served: ServedVersion, item_id: str) -> int:
    try:
        return served.loaded.row_of(item_id)
    except KeyError:
        raise HTTPException(404, f"the table has no item {item_id!r}.") from None
