"""A shop that is served, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.http import Client
from tests.support.shop import Shop, folder_catalog, make_shop, publish_shop
from vaeudf.explore.api import Api
from vaeudf.explore.app import guarded_app
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.service import Service, Sources
from vaeudf.explore.watching import Watcher
from vaeudf.explore.workers import Workers
from vaeudf.table.open import open_posteriors


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def shop_table(shop, tmp_path_factory) -> str:
    """A table whose pictures are files, and which keeps none."""
    folder = tmp_path_factory.mktemp("shop-table")
    table = str(folder / "posteriors")
    publish_shop(shop, table, "r1", catalog=folder_catalog(shop, folder / "photos"))
    return table


@pytest.fixture(scope="session")
def served() -> Iterator[Callable[..., Client]]:
    """Serve a table; returns a client of it."""
    with ExitStack() as stack:

        def serve(
            table: str,
            sources: Sources = Sources(),  # noqa: B008 - it is immutable
            token: str | None = None,
            host: str = "127.0.0.1",
            **options: Any,
        ) -> Client:
            watcher = Watcher(LoadedTable.load(open_posteriors(table), cache=None), cache=None)
            workers = Workers()
            stack.callback(workers.close)
            service = Service(watcher, sources)
            guard = {"host": host, "port": 8642, "token": token}
            for name in ("limit_of", "allowed"):
                if name in options:
                    guard[name] = options.pop(name)
            app = guarded_app(Api(service, workers, "0.1.0"), **guard)
            client = stack.enter_context(Client(app, **options))
            client.service, client.watcher = service, watcher  # type: ignore[attr-defined]
            return client

        yield serve


@pytest.fixture(scope="session")
def client(served, shop_table) -> Client:
    return served(shop_table)
