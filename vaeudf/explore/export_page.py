"""A page of its own: the whole of a small table in one HTML file, for mail and for later.

It is the service's page, with ``static/offline/service.js`` in the place of ``static/service.js``:
that answers from the data in the file. So it needs no service, no network and no Spark.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import html
import json
import logging
import math
import posixpath
import re
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from vaeudf.errors import InputError
from vaeudf.explore.columns import CategoryColumn, NumberColumn
from vaeudf.explore.fitted_decoder import FittedDecoder, as_base64, fit_decoder
from vaeudf.explore.map import colors
from vaeudf.explore.model import TableModel
from vaeudf.explore.nearness import radii
from vaeudf.explore.pictures import NoPicture
from vaeudf.explore.service import ServedVersion

log = logging.getLogger(__name__)

MARK = b'<meta name="generator" content="vaeudf explore">'
"""In every page, near its beginning."""
MOST_ITEMS = 5_000
"""A page has no more items than these."""
# Of all pictures: in base64, and once more in that of a mail, 15 MB. Their sides, until they fit.
_BYTES_OF_PICTURES = 8 * 2**20
_SIDES = (224, 160, 112, 80)
_MOST_SIDE_DECODED = 96

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
_OFFLINE = {"service.js": "offline/service.js"}
_IMPORT = re.compile(r'(from\s+|import\s+)"(\.{1,2}/[\w./-]+)"')
_ROOT = files("vaeudf.explore") / "static"


def check_exportable(num_items: int) -> None:
    """Refuse a table that is too large.

    Raises:
        InputError: It is.
    """
    if num_items > MOST_ITEMS:
        raise InputError(
            f"the table has {num_items:,} items, and a page holds at most {MOST_ITEMS:,}; serve it "
            "instead, without --export."
        )


def page_of(served: ServedVersion) -> str:
    """Return the page of a version.

    Raises:
        InputError: It has more items than a page holds.
    """
    check_exportable(served.loaded.num_items)
    fit = None
    if served.model.why_not_decode is None:
        log.info("loading the model …")
        # What the model can do is known once it is loaded.
        served.model.load()
    if served.model.why_not_decode is None:
        log.info("fitting what z decodes to …")
        fit = _fit(served)
    else:
        log.warning("The page has no picture of z: %s", served.model.why_not_decode)
    pictures = _pictures(served)
    missing = pictures.count(None)
    if missing:
        reason = served.pictures.why_not or "they are gone from the catalog, or damaged."
        log.warning("%d of %d items have no picture: %s", missing, len(pictures), reason)
    return _assembled(_data(served, fit, pictures))


def _fit(served: ServedVersion) -> FittedDecoder:
    far = np.array([one.far for one in served.loaded.dimensions])
    return fit_decoder(lambda z: _small(served.model, z), served.loaded.latent_dim, far)


def _small(model: TableModel, z: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return levels (B, H, W, C) of pictures whose longest side is not too long for a page."""
    shape = model.shape
    assert shape is not None
    height, width, _ = shape
    factor = max(1, math.ceil(max(height, width) / _MOST_SIDE_DECODED))
    levels = np.clip(model.levels(z).reshape(-1, *shape), 0, 1)
    if factor == 1:
        return levels
    size = (max(1, width // factor), max(1, height // factor))
    small = [
        [
            np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BOX))
            for channel in np.moveaxis(picture, -1, 0)
        ]
        for picture in levels
    ]
    return np.moveaxis(np.array(small, np.float32), 1, -1)


def _pictures(served: ServedVersion) -> list[list[str] | None]:
    """Return type and content, in base64, of each item's picture; None where there is none."""
    found: list[list[str] | None] = []
    for side in _SIDES:
        found, size = [], 0
        count = served.loaded.num_items
        log.info("reading %s pictures, of up to %d pixels …", f"{count:,}", side)
        for row in tqdm(range(count), "reading", unit=" pictures", leave=False, disable=None):
            try:
                file = served.pictures.thumbnail(row, side)
            except NoPicture:
                found.append(None)
                continue
            size += len(file.data)
            found.append([file.media_type, base64.b64encode(file.data).decode()])
            if size > _BYTES_OF_PICTURES and side != _SIDES[-1]:
                break
        else:
            break
    return found


def _data(
    served: ServedVersion, fit: FittedDecoder | None, pictures: list[list[str] | None]
) -> dict[str, Any]:
    loaded, drawn = served.loaded, served.map("pca")
    # In the order of the item_ids, as which equal scores are ranked.
    ids = loaded.ids.to_pylist()
    order = np.array(sorted(range(len(ids)), key=lambda row: ids[row].encode()), np.int64)
    mu, log_var = loaded.posteriors(order)
    description = msgspec.to_builtins(served.describe())
    description["can"] |= {
        "encode": False,
        "rerank": False,
        "sql": False,
        "decode": fit is not None,
        "pictures": any(picture is not None for picture in pictures),
    }
    # The page stays as it is, whatever becomes of the table.
    description["pinned"] = loaded.version is not None
    description["why_not"] |= {
        "rerank": "This page carries a fit of the decoder, which is not exact enough to compare "
        "pictures with."
    }
    if fit is not None:
        height, width, channels = fit.shape
        description["picture"] = {"height": height, "width": width, "channels": channels}
        description["picture_error"] = fit.error
    own = msgspec.to_builtins(drawn.description) | {"methods": ["pca"]}
    legends = {}
    for column in loaded.columns:
        if isinstance(column, CategoryColumn | NumberColumn):
            found = colors(loaded, drawn, column.name)
            codes = np.frombuffer(found.codes, np.uint8)[order]
            legends[column.name] = msgspec.to_builtins(found) | {"codes": as_base64(codes)}
    return {
        "table": description,
        "ids": [ids[row] for row in order],
        "mu": as_base64(mu.astype(np.float32)),
        "log_var": as_base64(log_var.astype(np.float32)),
        "radii": radii(loaded.latent_dim),
        "columns": {
            name: [_plain(value) for value in loaded.payload.column(name).take(order).to_pylist()]
            for name in loaded.payload.column_names
        },
        "pictures": [pictures[row] for row in order],
        "map": {
            "description": own,
            "points": as_base64(drawn.points[order].astype(np.uint16)),
            "colors": legends,
        },
        "decoder": None if fit is None else fit.to_json(),
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, dict):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        # The page compares them as text.
        value = value.astimezone(datetime.timezone.utc)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _assembled(data: dict[str, Any]) -> str:
    """Return the page's files and the data as one file."""
    page = (_ROOT / "index.html").read_text("utf-8")
    sheets = re.findall(r'<link rel="stylesheet" href="/static/([\w.-]+)">\n', page)
    style = "\n".join((_ROOT / name).read_text("utf-8") for name in sheets)
    page = re.sub(r'<link rel="(?:stylesheet|icon)"[^>]*>\n', "", page)
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    scripts = (
        f'<script type="importmap">{json.dumps({"imports": _modules()})}</script>\n'
        # No text in it ends the element.
        f'<script type="application/json" id="data">{_unclosed(content)}</script>\n'
        '<script type="module">import "vaeudf/main.js";</script>'
    )
    head = (
        f"{MARK.decode()}\n"
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">\n'
        f"<style>\n{style}</style>"
    )
    page = page.replace('<script type="module" src="/static/main.js"></script>', head)
    return page.replace("</body>", f"{scripts}\n</body>")


def _unclosed(content: str) -> str:
    return content.replace("<", "\\u003c")


def _modules() -> dict[str, str]:
    """Return the page's modules by their names, as data URLs that import each other by these."""
    names = [child.name for child in _ROOT.iterdir() if child.name.endswith(".js")]
    names += [f"offline/{child.name}" for child in (_ROOT / "offline").iterdir()]
    found = {}
    for name in names:
        if name in _OFFLINE or name in _OFFLINE.values():
            continue
        found[f"vaeudf/{name}"] = _module(name)
    return found | {f"vaeudf/{name}": _module(own) for name, own in _OFFLINE.items()}


def _module(name: str) -> str:
    folder = posixpath.dirname(name)

    def resolved(match: re.Match[str]) -> str:
        return f'{match[1]}"vaeudf/{posixpath.normpath(posixpath.join(folder, match[2]))}"'

    text = _IMPORT.sub(resolved, (_ROOT / name).read_text("utf-8"))
    return "data:text/javascript;base64," + base64.b64encode(text.encode()).decode()
