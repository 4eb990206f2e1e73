"""Explore's page in a browser: what it asks, what it shows, and what it should show."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.stats import chi2

from tests.support.oracles import log_density_by_torch
from tests.support.tolerances import near_float64
from vaeudf.table.open import open_table

AXE = Path(__file__).parent / "axe" / "axe.min.js"
# How many hits the page shows, a place in the middle of the items, and the link to it.
K = 24
Z = [0.5, -0.3, 0.2, 0.1]
HASH = "#z=" + ",".join(map(str, Z))

_DRAW = """async image => {
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/png");
}"""


class Items(NamedTuple):
    """A table's items, read from its files.

    Attributes:
        rows: All columns.
        ids: As text.
        mu: (N, n).
        log_var: (N, n).
    """

    rows: pa.Table
    ids: np.ndarray
    mu: np.ndarray
    log_var: np.ndarray

    def best(self, z: Any, k: int, tolerance: Any = 0.0, among: Any = None) -> list[str]:
        """The ids of the k best for z by the definition; None in z leaves a dimension open."""
        z = np.array([np.nan if one is None else one for one in z], float)
        taus = np.broadcast_to(np.square(np.float64(tolerance)), z.shape)
        named = ~np.isnan(z)
        blurred = np.log(np.exp(np.float64(self.log_var)) + taus)
        scores = log_density_by_torch(
            z[None, named], np.float64(self.mu)[:, named], blurred[:, named]
        )[0]
        return self.ranked(scores, k, among)

    def ranked(self, scores: np.ndarray, k: int, among: Any = None) -> list[str]:
        """The ids of the k highest scores."""
        among = np.ones(len(scores), bool) if among is None else np.asarray(among, bool)
        order = sorted(np.flatnonzero(among), key=lambda row: (-scores[row], self.ids[row]))
        return [str(self.ids[row]) for row in order[:k]]

    def row(self, item_id: str) -> int:
        """The number of an item."""
        (found,) = np.flatnonzero(self.ids == item_id)
        return int(found)

    def column(self, name: str) -> np.ndarray:
        """A column's values."""
        return np.array(self.rows[name].to_pylist(), object)


def read_items(table: str) -> Items:
    """Read a table's items."""
    rows = pa.concat_tables(pq.read_table(file) for file in open_table(table).files)
    return Items(
        rows,
        np.array(rows["item_id"].to_pylist()),
        *(np.array(rows[name].to_pylist(), np.float32) for name in ("mu", "log_var")),
    )


_NEARNESS = """hits => hits.map(hit => [
  hit.querySelector(".name").textContent,
  hit.querySelector(".nearness").innerText,
  hit.querySelector(".nearness .part").style.getPropertyValue("--part"),
])"""


def check_nearness(
    opened: Opened, shop: Any, z: Any, tolerance: float, left_open: int | None
) -> None:
    """Check that each hit says how near it is, as χ² has it.

    Args:
        opened: The page.
        shop: Whose ``items`` it shows.
        z: Where its sliders are.
        tolerance: Of all of them.
        left_open: The one that is open, if any.
    """
    items = shop.items
    named = [dim for dim in range(len(z)) if dim != left_open]
    radius = np.sqrt(chi2.ppf(0.95, len(named)))
    opened.settle()
    shown = opened.page.locator(".hit").evaluate_all(_NEARNESS)
    assert shown
    for item_id, found, part in shown:
        row = items.row(item_id)
        variance = np.exp(np.float64(items.log_var[row])) + tolerance**2
        apart = (np.float64(z) - np.float64(items.mu[row])) ** 2 / variance
        distance = float(np.sqrt(apart[named].sum()) / radius)
        word = next(
            word
            for most, word in ((1, "very near"), (2, "near"), (4, "far"), (np.inf, "very far"))
            if distance <= most
        )
        assert found == word, item_id
        assert float(part) == near_float64(1 / (1 + distance), terms=100), item_id


def eventually(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not so after {seconds:g} seconds"
        time.sleep(0.05)


class Opened:
    """The page, open in a browser.

    Attributes:
        page: Playwright's.
        url: Of the service.
        logged: What the browser has logged, errors of scripts too.
        asked: The addresses that were asked for.
    """

    def __init__(self, browser: Any, url: str, hash: str = "", **options: Any) -> None:
        """Open the page, and wait for its first answer."""
        options = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "reduce"} | options
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.url = url
        self.logged: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.logged.append(message.text))
        self.page.on("pageerror", lambda error: self.logged.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url + hash)
        self.page.wait_for_selector("#hits[aria-busy=false]", state="attached")

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def settle(self) -> None:
        """Wait until nothing moves, is asked or is to be written into the address."""
        self.page.wait_for_selector("body[data-settled=true]")

    @property
    def hits(self) -> list[str]:
        """The hits' ids, once all is settled."""
        self.settle()
        return self.page.locator(".hit .name").all_inner_texts()

    @property
    def address(self) -> dict[str, list[str]]:
        """The state that the address holds."""
        self.settle()
        return parse_qs(urlsplit(self.page.url).fragment, keep_blank_values=True)

    @property
    def z(self) -> list[float]:
        """Where the sliders are, as the address says."""
        return [float(one) for one in self.address["z"][0].split(",")]

    def slider(self, dimension: int) -> Any:
        """The slider of a dimension."""
        return self.page.locator(f"#slider-z-{dimension}")

    def row(self, dimension: int) -> Any:
        """All that belongs to the slider of a dimension."""
        return self.page.locator(".slider", has=self.slider(dimension))

    def set(self, dimension: int, value: float) -> None:
        """Type a slider's value."""
        field = self.row(dimension).locator("input.value")
        field.fill(str(value))
        field.press("Enter")

    def button(self, name: str) -> Any:
        """A button by its name."""
        return self.page.get_by_role("button", name=name, exact=True)

    def hit(self, item_id: str) -> Any:
        """The card of a hit."""
        return self.page.locator(".hit", has=self.page.locator(".name", has_text=item_id))

    def pixels(self, selector: str) -> np.ndarray:
        """The picture that an element shows, (height, width, 3), in its own size."""
        address = self.page.eval_on_selector(selector, _DRAW)
        data = base64.b64decode(address.partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def violations(self) -> list[str]:
        """What axe-core finds that is serious or critical."""
        # The page's own policy would not let a script in; the browser's tools do.
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("() => axe.run(document)")
        return [
            f"{one['id']}: {one['help']} ({node['html'][:120]})"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
