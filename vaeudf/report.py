"""A self-contained page of query results: the decoded z and its nearest items, as pictures."""

from __future__ import annotations

import base64
import io
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from vaeudf.images import thumbnail
from vaeudf.scores import LOG_LIKELIHOOD, Score
from vaeudf.storage import PAGE_MARK, absolute, filesystem, make_folder, mark

_THUMBNAIL_SIDE = 224
PAGE = "index.html"


@dataclass(frozen=True)
class Hit:
    """One of a query's nearest items.

    Attributes:
        rank: From 1.
        item_id: Its id.
        score: What it was ranked by.
        image: The image file's bytes; None if it cannot be had any more.
        facts: Payload to show below the picture.
    """

    rank: int
    item_id: str
    score: float
    image: bytes | None
    facts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Result:
    """One query and its hits.

    Attributes:
        query_id: Its name.
        z: Shape (n,).
        decoded: The picture z stands for, (H, W, C) uint8; None without a decoder.
        hits: Best first.
    """

    query_id: str
    z: NDArray[np.float64]
    decoded: NDArray[np.uint8] | None
    hits: Sequence[Hit]


def write_report(
    folder: str,
    results: Sequence[Result],
    *,
    title: str,
    num_items: int,
    slider_range: float,
    score: Score = LOG_LIKELIHOOD,
    facts: Sequence[tuple[str, str]] = (),
    omitted: int = 0,
) -> str:
    """Write ``index.html``, with all pictures in it.

    Args:
        folder: Where to; made if it does not exist.
        results: What to show.
        title: The page's headline.
        num_items: How many items were searched.
        slider_range: a of the sliders' travel [-a, a].
        score: What the hits are ranked by.
        facts: What to say of the run at the end of the page: labels and values.
        omitted: How many further queries are not on the page.

    Returns:
        The page's absolute path or URI.
    """
    environment = Environment(
        loader=PackageLoader("vaeudf"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("query.html.j2").render(
        title=title,
        results=results,
        num_items=num_items,
        slider_range=slider_range,
        score=score,
        facts=facts,
        omitted=omitted,
        picture=_picture,
        thumbnail=_thumbnail,
        number=_number,
        slider=lambda value: round(50 + 50 * max(-1.0, min(1.0, value / slider_range)), 2),
    )
    system, inner = filesystem(folder)
    make_folder(system, inner)
    with system.open_output_stream(posixpath.join(inner, PAGE)) as stream:
        stream.write(page.encode())
    mark(folder, PAGE_MARK)
    return posixpath.join(absolute(folder), PAGE)


def _number(value: float) -> str:
    """Return two decimals, with a true minus sign, and none before zero."""
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


def _thumbnail(image: bytes | None) -> str | None:
    small = thumbnail(image, _THUMBNAIL_SIDE)
    return None if small is None else _data_uri(small)


def _picture(pixels: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
    return _data_uri(stream.getvalue())


def _data_uri(data: bytes) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "webp" if data[:4] == b"RIFF" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
