"""What all pages share: style, embedded pictures, and how a page is written.

A page is one file that needs no network: style sheet and pictures are in it. The templates extend
``layout.html.j2``; ``parts.html.j2`` has what several pages show: sliders, items, plots.
"""

from __future__ import annotations

import base64
import posixpath
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from vaeudf.images.decode import picture_png, thumbnail
from vaeudf.storage.locations import absolute, filesystem, make_folder
from vaeudf.storage.outputs import PAGE_MARK, mark

PAGE = "index.html"
THUMBNAIL_SIDE = 224
"""The longest side of the pictures on pages, in pixels."""


@dataclass(frozen=True)
class Plot:
    """A plot, and what it shows in words for readers who cannot see it.

    Attributes:
        data: The PNG file.
        alt: What it shows.
    """

    data: bytes
    alt: str


def write_page(folder: str, template: str, **values: object) -> str:
    """Write ``index.html`` from a template, with all pictures in it.

    Args:
        folder: Where to; made if it does not exist.
        template: Its name in ``vaeudf/pages/templates``, without ``.html.j2``.
        values: What the template shows. Every template needs ``title``, and ``facts``: the labels
            and values that the page ends with.

    Returns:
        The page's absolute path or URI.
    """
    page = render(template, **values)
    system, inner = filesystem(folder)
    make_folder(system, inner)
    with system.open_output_stream(posixpath.join(inner, PAGE)) as stream:
        stream.write(page.encode())
    mark(folder, PAGE_MARK)
    return posixpath.join(absolute(folder), PAGE)


def render(template: str, **values: object) -> str:
    """Return what a template makes of values, as HTML.

    Args:
        template: Its name in ``vaeudf/pages/templates``, without ``.html.j2``.
        values: What it shows.
    """
    environment = Environment(
        loader=PackageLoader("vaeudf.pages"), autoescape=True, undefined=StrictUndefined
    )
    # Globals, so that the macros have them too.
    environment.globals.update(
        picture=picture_uri, thumbnail=thumbnail_uri, png=data_uri, number=number, knob=knob
    )
    return environment.get_template(f"{template}.html.j2").render(**values)


def number(value: float) -> str:
    """Return a number with two decimals, a true minus sign, and no sign before zero."""
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


def knob(value: float, slider_range: float) -> float:
    """Return the position of a slider of range [-a, a], in percent from the left."""
    return round(50 + 50 * max(-1.0, min(1.0, value / slider_range)), 2)


def thumbnail_uri(image: bytes | None) -> str | None:
    """Return a small copy of an image file as a data URI; None if it cannot be shown."""
    small = thumbnail(image, THUMBNAIL_SIDE)
    return None if small is None else data_uri(small)


def picture_uri(pixels: NDArray[np.uint8]) -> str:
    """Return pixels (H, W, C) as the data URI of a PNG."""
    return data_uri(picture_png(pixels))


def data_uri(data: bytes) -> str:
    """Return an image file's bytes as a data URI."""
    kind = "png" if data.startswith(b"\x89PNG") else "webp" if data[:4] == b"RIFF" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
