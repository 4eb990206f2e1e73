"""A shop that is served on a port, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from tests.support.explore_page import HASH, Items, Opened, read_items
from tests.support.shop import Shop, folder_catalog, make_shop, publish_shop


class PageShop(NamedTuple):
    """What is served.

    Attributes:
        shop: The garments and their model.
        items: The table's items, as its files have them.
        table: Where it is.
    """

    shop: Shop
    items: Items
    table: str


@pytest.fixture(scope="session")
def page_shop(tmp_path_factory: pytest.TempPathFactory) -> PageShop:
    folder = tmp_path_factory.mktemp("page-shop")
    shop = make_shop(folder / "made", num_items=60, contrast=5.0)
    table = str(folder / "posteriors")
    catalog = folder_catalog(shop, folder / "photos")
    publish_shop(shop, table, "r1", catalog=catalog, rows=spread_out(shop.rows))
    return PageShop(shop, read_items(table), table)


def spread_out(rows: pa.Table) -> pa.Table:
    """Other posteriors: as a trained encoder's, dimensions differ in what they say of items."""
    rng = np.random.default_rng(4)
    size = (len(rows), 4)
    mu = (rng.normal(size=size) * [1.0, 0.8, 1.2, 0.6]).astype(np.float32)
    log_var = rng.normal(-2.0, 0.5, size).astype(np.float32)
    for name, values in (("mu", mu), ("log_var", log_var)):
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(list(values)))
    return rows


@pytest.fixture(scope="module")
def url(page_shop: PageShop) -> Iterator[str]:
    from tests.support.live import live

    with live(page_shop.table) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from tests.support.browser import chromium

    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser: object, url: str) -> Iterator[Opened]:
    """The page at a place in the middle of the items."""
    with Opened(browser, url, HASH) as found:
        yield found
        assert found.logged == []
