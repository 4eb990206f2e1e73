"""Explore as a browser meets it: on a port of this machine, in a thread of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from vaeudf.explore.api import Api
from vaeudf.explore.app import guarded_app
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.server import listen
from vaeudf.explore.service import Service, Sources
from vaeudf.explore.watching import Watcher
from vaeudf.explore.workers import Workers
from vaeudf.table.open import open_posteriors


@contextmanager
def live(table: str) -> Iterator[str]:
    """Serve a table; gives the page's address."""
    watcher = Watcher(LoadedTable.load(open_posteriors(table), cache=None), cache=None)
    workers = Workers()
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        api = Api(Service(watcher, Sources()), workers, "0.1.0")
        app = guarded_app(api, host="127.0.0.1", port=port, token=None)
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.should_exit = True
            thread.join()
            workers.close()
