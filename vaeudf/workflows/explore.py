"""Explore a table in the browser: sliders that answer while they move."""

from __future__ import annotations

import logging
import math
import re
import secrets
import socket
import threading
import time
import webbrowser
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import vaeudf
from vaeudf.errors import InputError
from vaeudf.model.py_files import use_py_files
from vaeudf.storage.kept_files import cache_folder
from vaeudf.storage.locations import absolute, is_local
from vaeudf.storage.single_file import check_file, write_file
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.workflows.cli import Summary, check_goes_with, option, path_option
from vaeudf.workflows.option_groups import CatalogOptions, CodeOptions, VersionOptions

if TYPE_CHECKING:
    from vaeudf.explore.service import Sources

log = logging.getLogger(__name__)

_HOST, _PORT = "127.0.0.1", 8642
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")

PACKAGES = ("starlette", "uvicorn", "msgspec", "duckdb", "sqlglot", "scipy")
"""What the extra of this name brings."""


@dataclass(frozen=True)
class Explore(VersionOptions, CatalogOptions, CodeOptions):
    """Serve a page on which sliders choose z: what it decodes to, and the items most like it."""

    table: str = path_option(help="folder of the posterior table, or of plain Parquet like it")
    port: int = option(_PORT, help="where the page is served; 0 takes any port that is free")
    host: str = option(
        _HOST,
        help="the address to bind to; any but this machine's own opens the page to others, who "
        "need the token of the address that is printed",
    )
    allow_host: list[str] | None = option(
        None,
        help="a name that a proxy before the service has for browsers, who may ask as far as that "
        "lets them; repeat it",
    )
    open: bool = option(False, help="open the page in a browser")
    model: str | None = path_option(None, help="the model bundle (default: the table's own)")
    tolerance: float = option(
        0.0, help="the tolerance that the page starts with, such as inspect_table recommends"
    )
    export: str | None = path_option(
        None,
        help="write the page to this HTML file, with all items in it, and end: for at most 5,000 "
        "items, to send by mail; it needs no service",
    )
    overwrite: bool = option(False, help="replace the file of --export if it exists")
    cache: str | None = path_option(
        None,
        help="folder on this machine for what is made ready of a table (~/.cache/vaeudf)",
        local=True,
    )

    def __post_init__(self) -> None:
        self.check_version()
        check_goes_with(self, "export", ("overwrite",))
        if self.export is not None and (
            self.open or self.cache or self.allow_host or self.port != _PORT or self.host != _HOST
        ):
            raise InputError(
                "export writes a file and serves nothing: host, allow-host, port, open and cache "
                "do not go with it."
            )
        if self.cache is not None and not is_local(self.cache):
            raise InputError(
                f"cache is {self.cache}, in a store; expected a folder on this machine, for its "
                "files are mapped into memory."
            )
        for name in self.allow_host or ():
            if not _HOST_NAME.fullmatch(name):
                raise InputError(
                    f"allow-host is {name!r}; expected a name alone, such as studio.example, "
                    "without http:// and port."
                )
        if not 0 <= self.port <= 65535:
            raise InputError(f"port is {self.port}; expected 0 to 65535.")
        if not 0 <= self.tolerance < math.inf:
            raise InputError(f"tolerance is {self.tolerance:g}; expected 0 or more.")


def explore(options: Explore) -> Summary:
    """Serve the page until Ctrl-C or SIGTERM, and return the summary of the run."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f"explore needs {', '.join(missing)}, which this Python does not have; install what it "
            'needs with: pip install "vaeudf[explore]"'
        )
    began = time.monotonic()
    use_py_files(options.py_files)
    if options.export is not None:
        return _export(options, options.export, began)

    from vaeudf.explore.server import listen

    # Before a table is loaded, which may take seconds: the port may be taken.
    with listen(options.host, options.port) as listening:
        return _serve(options, listening, began)


def _export(options: Explore, path: str, began: float) -> Summary:
    from vaeudf.explore.export_page import MARK, check_exportable, page_of
    from vaeudf.explore.loaded_table import LoadedTable
    from vaeudf.explore.service import ServedVersion as Served
    from vaeudf.images.decode import without_warnings

    check_file(path, options.overwrite, MARK)
    table = open_posteriors(options.table, options.version)
    check_exportable(table.num_items)
    _check_named(options, table)
    log.info("loading %s: %s items …", options.table, f"{table.num_items:,}")
    loaded = LoadedTable.load(table, cache=None)
    served = Served(loaded, _sources(options), None)
    with without_warnings():
        page = page_of(served)
    written = write_file(path, page.encode())
    return {
        "table": table.uri,
        "version": table.version,
        "items": table.num_items,
        "latent_dim": table.latent_dim,
        "output": written,
        "bytes": len(page.encode()),
        "seconds": round(time.monotonic() - began, 1),
    }


def _sources(options: Explore) -> Sources:
    from vaeudf.explore.service import Sources

    return Sources(options.catalog, options.model, options.trust_model, options.tolerance)


def _check_named(options: Explore, table: PosteriorTable) -> None:
    """Refuse a model or a catalog that was named and cannot be used."""
    from vaeudf.explore.model import check_model
    from vaeudf.explore.pictures import check_catalog

    if options.model is not None:
        check_model(table, options.model)
    if options.catalog is not None:
        check_catalog(table, options.catalog)


def _serve(options: Explore, listening: socket.socket, began: float) -> Summary:
    from vaeudf.explore.api import Api
    from vaeudf.explore.app import guarded_app
    from vaeudf.explore.guard import is_loopback
    from vaeudf.explore.loaded_table import LoadedTable
    from vaeudf.explore.server import address_of, end_without_threads, serve
    from vaeudf.explore.service import Service
    from vaeudf.explore.watching import Watcher
    from vaeudf.explore.workers import Workers
    from vaeudf.images.decode import without_warnings

    cache = Path(absolute(options.cache)) if options.cache else cache_folder()
    table = open_posteriors(options.table, options.version)
    _check_named(options, table)
    # With a new version of the package, the search is compiled first, which takes longest.
    log.info("loading %s: %s items …", options.table, f"{table.num_items:,}")
    loaded = LoadedTable.load(table, cache=cache, pinned=options.version is not None)
    versions = Watcher(loaded, cache=cache)
    token = None if is_loopback(options.host) else secrets.token_urlsafe(16)
    address = address_of(options.host, listening, token)
    service = Service(versions, _sources(options))
    workers = Workers()
    app = guarded_app(
        Api(service, workers, vaeudf.__version__),
        host=options.host,
        port=listening.getsockname()[1],
        token=token,
        allowed=options.allow_host or (),
    )

    def started() -> None:
        log.info("The page is at %s (Ctrl-C ends).", address)
        if token is not None:
            log.info(
                "Other machines reach it, too: whoever has this address sees the items and their "
                "pictures, over a connection that is not encrypted."
            )
        elif options.allow_host:
            log.info(
                "Requests for %s are answered, too, and need no token: the proxy that they come "
                "by decides who may ask.",
                ", ".join(options.allow_host),
            )
        if options.open:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    # A version that was named stays.
    if options.version is None:
        versions.start()
    try:
        with without_warnings():
            requests = serve(app, listening, started=started)
    finally:
        versions.stop()
        workers.close()
    if workers.at_work:
        end_without_threads()
    now = versions.current()
    return {
        "table": now.table.uri,
        "version": now.version,
        "items": now.num_items,
        "latent_dim": now.latent_dim,
        "requests": requests,
        "seconds": round(time.monotonic() - began, 1),
    }
