"""The page's own files, as they stand in the package."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_ROOT = "vaeudf.explore"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
}


def static_file(request: Request, path: str) -> Response:
    """Answer with a file of the folder ``static``.

    Args:
        request: What was asked.
        path: Below the folder, with slashes.

    Raises:
        HTTPException: There is no such file, or it is none that a page is made of.
    """
    media_type = _TYPES.get(path.rpartition(".")[2])
    found = _find(path)
    if media_type is None or found is None:
        raise HTTPException(404, f"there is no file {path!r}.")
    data = found.read_bytes()
    # Asked about each time, so that a new version of the package shows at once.
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)


def _find(path: str) -> Traversable | None:
    """Return a file by its names, each looked for among those that are there."""
    place: Traversable = files(_ROOT) / "static"
    for name in path.split("/"):
        if not place.is_dir():
            return None
        inside = [child for child in place.iterdir() if child.name == name]
        if not inside:
            return None
        [place] = inside
    return place if place.is_file() else None
