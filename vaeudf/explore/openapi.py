"""The OpenAPI document: what may be asked, and what is answered."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from vaeudf.explore.answers import (
    Answer,
    Encoded,
    Health,
    Item,
    Nearest,
    Points,
    Problem,
    TableDescription,
)
from vaeudf.explore.map import METHODS, Colors, Description
from vaeudf.explore.model import FORMATS
from vaeudf.explore.pictures import LEAST_SIDE, MOST_SIDE, SIDE
from vaeudf.explore.queries import SearchRequest

_STRUCTS: tuple[type, ...] = (
    Health,
    TableDescription,
    SearchRequest,
    Answer,
    Points,
    Item,
    Encoded,
    Description,
    Colors,
    Nearest,
    Problem,
)


def _one_of(values: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "string", "enum": list(values), "default": values[0]}


_IMAGES = {kind: {"schema": {"type": "string"}} for kind in (f"image/{form}" for form in FORMATS)}
_PICTURES = {kind: {"schema": {"type": "string"}} for kind in ("image/jpeg", "image/png")}
_ID = {"id": ("The item's item_id.", {"type": "string"}, True)}
_METHOD = {
    "method": (
        "How the map is made.",
        _one_of(METHODS),
        False,
    )
}
_Parameters = dict[str, tuple[str, dict[str, Any], bool]]


@lru_cache(maxsize=1)
def document(release: str) -> dict[str, Any]:
    """Return the document, of OpenAPI 3.1.

    Args:
        release: Of the package.
    """
    _, schemas = msgspec.json.schema_components(
        _STRUCTS, ref_template="#/components/schemas/{name}"
    )
    places = {"x": "Across, in units of z.", "y": "Up, in units of z."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vaeudf explore",
            "version": release,
            "description": "A posterior table, live: searches, decoded pictures, items and a map.",
        },
        "paths": {
            "/api/health": {"get": _get("That the service runs.", _json(Health))},
            "/api/table": {"get": _get("What there is to ask.", _json(TableDescription))},
            "/api/search": {
                "post": _post(
                    "The items that score best.", _json(SearchRequest), _json(Answer), (400, 503)
                )
            },
            "/api/decode": {
                "get": _get(
                    "What a point decodes to.",
                    _IMAGES,
                    {
                        "z": ("n numbers with commas between.", {"type": "string"}, True),
                        "format": (
                            "Of the image file.",
                            _one_of(FORMATS),
                            False,
                        ),
                        "model": (
                            "The table's model_id, with which the answer is kept for good.",
                            {"type": "string"},
                            False,
                        ),
                    },
                    (400, 503),
                ),
                "post": _post(
                    "What points decode to, side by side.", _json(Points), _IMAGES, (400, 503)
                ),
            },
            "/api/item": {"get": _get("An item.", _json(Item), _ID, (400, 404))},
            "/api/picture": {
                "get": _get(
                    "An item's picture.",
                    _PICTURES,
                    _ID
                    | {
                        "side": (
                            "The longest side, in pixels.",
                            {
                                "type": "integer",
                                "minimum": LEAST_SIDE,
                                "maximum": MOST_SIDE,
                                "default": SIDE,
                            },
                            False,
                        ),
                        "loaded": (
                            "In the addresses that answers have: browsers keep the picture as long "
                            "as this version is loaded.",
                            {"type": "string"},
                            False,
                        ),
                    },
                    (400, 404, 503),
                )
            },
            "/api/encode": {
                "post": _post(
                    "The posterior of a photo, and whether it is like the catalog's pictures. "
                    "The first photo has these read; until they are, comparison_pending is true.",
                    {"image/*": {"schema": {"type": "string", "format": "binary"}}},
                    _json(Encoded),
                    (400, 503),
                )
            },
            "/api/map": {"get": _get("What the map is.", _json(Description), _METHOD, (400, 503))},
            "/api/map/points": {
                "get": _get(
                    "The map's points, in the table's order: x and y of each as uint16, "
                    "little-endian.",
                    {"application/octet-stream": {"schema": {"type": "string"}}},
                    _METHOD,
                    (400, 503),
                )
            },
            "/api/map/colors": {
                "get": _get(
                    "What a column says of the map's points.",
                    _json(Colors),
                    _METHOD | {"column": ("Its name.", {"type": "string"}, True)},
                    (400, 503),
                )
            },
            "/api/map/at": {
                "get": _get(
                    "The item nearest to a place on the map.",
                    _json(Nearest),
                    _METHOD
                    | {name: (text, {"type": "number"}, True) for name, text in places.items()},
                    (400, 503),
                )
            },
        },
        "components": {"schemas": {name: _modern(schema) for name, schema in schemas.items()}},
    }


def _modern(schema: Any) -> Any:
    """Return a schema as OpenAPI 3.1 has it: msgspec lists a tuple's items as older drafts did."""
    if isinstance(schema, list):
        return [_modern(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _modern(part) for key, part in schema.items()}
    if isinstance(found.get("items"), list):
        found["prefixItems"], found["items"] = found["items"], False
    return found


def _json(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def _get(
    summary: str,
    content: dict[str, Any],
    parameters: _Parameters | None = None,
    problems: tuple[int, ...] = (),
) -> dict[str, Any]:
    return {
        "summary": summary,
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": schema, "required": needed}
            for name, (text, schema, needed) in (parameters or {}).items()
        ],
        "responses": _responses(content, problems),
    }


def _post(
    summary: str,
    asked: dict[str, Any],
    content: dict[str, Any],
    problems: tuple[int, ...],
) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": asked},
        "responses": _responses(content, (*problems, 408, 413, 415)),
    }


def _responses(content: dict[str, Any], problems: tuple[int, ...]) -> dict[str, Any]:
    refused = {
        str(status): {"description": "Why not.", "content": _json(Problem)}
        for status in sorted({*problems, 403})
    }
    return {"200": {"description": "The answer.", "content": content}, **refused}
