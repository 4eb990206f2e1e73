"""What the service has at hand: the newest version of a table, its pictures, its model and map."""

from __future__ import annotations

import logging
import posixpath
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from threading import Lock, Thread
from typing import Protocol
from urllib.parse import urlencode

from vaeudf.errors import VaeUdfError
from vaeudf.explore.answers import Abilities, PhotoLimits, PictureSize, TableDescription
from vaeudf.explore.loaded_table import LoadedTable
from vaeudf.explore.map import METHODS, Map, Method, make_map
from vaeudf.explore.model import EXPECTED_PHOTO, MOST_BYTES_OF_PHOTO, TableModel
from vaeudf.explore.pictures import Pictures
from vaeudf.explore.usual_errors import UsualErrors
from vaeudf.schema import MODEL_ID_KEY, PRECISION_KEY

log = logging.getLogger(__name__)


class Versions(Protocol):
    """Has a table's newest version, as :class:`vaeudf.explore.watching.Watcher` does."""

    @property
    def failure(self) -> str | None:
        """Why a newer version could not be loaded; None if there is none."""

    def current(self) -> LoadedTable:
        """Return the newest version."""


@dataclass(frozen=True)
class Sources:
    """What options say beside the table.

    Attributes:
        catalog: The catalog; None if it is where the table says.
        model: The model; None if it is where the table says.
        trust_model: Whether to run a model's code that is not vaeudf's.
        tolerance: What the page starts with, in units of z.
    """

    catalog: str | None = None
    model: str | None = None
    trust_model: bool = False
    tolerance: float = 0.0


class ServedVersion:
    """One version of the table, and all that belongs to it."""

    def __init__(self, loaded: LoadedTable, sources: Sources, model: TableModel | None) -> None:
        """Take in a version, and the model of the last one if it is the same."""
        self.loaded = loaded
        self.pictures = Pictures(loaded.table, loaded.ids, sources.catalog)
        self.model = model or TableModel(
            loaded.table, sources.model, trust_model=sources.trust_model
        )
        self.usual_errors = UsualErrors(self.model, self.pictures, loaded.num_items)
        # Versions and ids do not tell a table from one that was made anew in its place.
        self.mark = secrets.token_hex(4)
        """Is in the addresses of pictures, which browsers keep for good."""
        self._tolerance = sources.tolerance
        self.since = datetime.now(timezone.utc)
        # One for each: a map by UMAP takes minutes.
        self._locks: dict[Method, Lock] = {method: Lock() for method in METHODS}
        self._maps: dict[Method, Map] = {}

    def map(self, method: Method) -> Map:
        """Return a map of the table, made when it is first asked for.

        Raises:
            InputError: It is asked for by a method whose package is not installed.
        """
        with self._locks[method]:
            if method not in self._maps:
                self._maps[method] = make_map(self.loaded, method)
            return self._maps[method]

    def has_map(self, method: Method) -> bool:
        """Whether a map is made already, so that :meth:`map` takes no time."""
        return method in self._maps

    def picture_path(self, item_id: str) -> str:
        """Return where an item's picture is, below the service's root."""
        return "/api/picture?" + urlencode({"id": item_id, "loaded": self.mark})

    @cached_property
    def model_id(self) -> str | None:
        """The sha256 of the model; None for plain Parquet."""
        return self.loaded.table.model_id if self.loaded.table.provenance else None

    def describe(self) -> TableDescription:
        """Return what there is to ask."""
        loaded, model = self.loaded, self.model
        shape = model.shape
        no_compare = model.why_not_compare or self.pictures.why_not
        why_not = {
            "decode": model.why_not_decode,
            "encode": model.why_not_encode,
            "pictures": self.pictures.why_not,
            "rerank": no_compare,
        }
        return TableDescription(
            title=posixpath.basename(loaded.table.uri.rstrip("/")),
            table=loaded.table.uri,
            version=loaded.version,
            pinned=loaded.pinned,
            items=loaded.num_items,
            latent_dim=loaded.latent_dim,
            model_id=self.model_id,
            dimensions=loaded.dimensions,
            columns=loaded.columns,
            folders=loaded.folders,
            components=loaded.components,
            can=Abilities(**{name: reason is None for name, reason in why_not.items()}),
            why_not={name: reason for name, reason in why_not.items() if reason is not None},
            picture=None
            if shape is None
            else PictureSize(height=shape[0], width=shape[1], channels=shape[2]),
            photos=PhotoLimits(most_bytes=MOST_BYTES_OF_PHOTO, expected=EXPECTED_PHOTO),
            tolerance=self._tolerance,
        )


class Service:
    """Gives what belongs to the newest version; a request keeps what it was given."""

    def __init__(self, versions: Versions, sources: Sources) -> None:
        """Serve the versions of a table."""
        self._versions, self._sources = versions, sources
        self._lock = Lock()
        self._served = ServedVersion(versions.current(), sources, None)
        self._load_model(self._served)

    @property
    def failure(self) -> str | None:
        """Why a newer version could not be loaded; None if there is none."""
        return self._versions.failure

    @property
    def is_current(self) -> bool:
        """Whether the newest version is at hand, so that :meth:`current` takes no time."""
        return self._served.loaded is self._versions.current()

    def current(self) -> ServedVersion:
        """Return the newest version, once what belongs to it has been looked for."""
        loaded = self._versions.current()
        if self._served.loaded is not loaded:
            with self._lock:
                if self._served.loaded is not loaded:
                    self._served = self._following(loaded)
        return self._served

    def _following(self, loaded: LoadedTable) -> ServedVersion:
        before, now = self._served.loaded.table.provenance, loaded.table.provenance
        # The model's networks are as they were, and so are its pictures of z.
        same = all(before.get(key) == now.get(key) for key in (MODEL_ID_KEY, PRECISION_KEY))
        # One that could not be loaded may be there again.
        same = same and self._served.model.why_not_encode is None
        served = ServedVersion(loaded, self._sources, self._served.model if same else None)
        if not same:
            self._load_model(served)
        return served

    @staticmethod
    def _load_model(served: ServedVersion) -> None:
        def load() -> None:
            try:
                served.model.load()
            except VaeUdfError as error:
                log.warning("z is not decoded: %s", error)

        Thread(target=load, name="load-model", daemon=True).start()
