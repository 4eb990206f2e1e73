"""Answers as HTTP has them: JSON, image files and when browsers may keep these."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from vaeudf.explore.pictures import ImageFile

_FOR_GOOD = "private, max-age=31536000, immutable"
_ASK_AGAIN = "private, no-cache"


def json_response(content: Any) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(content), media_type="application/json")


def image_response(request: Request, file: ImageFile, *, for_good: bool) -> Response:
    """Return an image file, or that the browser has it already.

    Args:
        request: What was asked.
        file: The image.
        for_good: Whether its address always means the same, so that browsers need not ask again.
    """
    tag = f'"{file.digest}"'
    headers = {"etag": tag, "cache-control": _FOR_GOOD if for_good else _ASK_AGAIN}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.media_type, headers=headers)


def data_url(file: ImageFile) -> str:
    """Return an image file as an address that has it in itself."""
    return f"data:{file.media_type};base64,{base64.b64encode(file.data).decode()}"
