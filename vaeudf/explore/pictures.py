"""The pictures of a version's items: small ones to be shown, and as the model sees them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from vaeudf.catalog.catalog_source import CatalogSource
from vaeudf.catalog.patterns import is_glob
from vaeudf.catalog.pictures import catalog_pictures
from vaeudf.errors import InputError, StoreError, TableError, VaeUdfError, root_cause
from vaeudf.explore.byte_cache import ByteCache
from vaeudf.images.decode import ImageFailure, decode_image, picture_png, thumbnail
from vaeudf.images.item_pictures import ItemPictures, Picture
from vaeudf.images.spec import ImageSpec
from vaeudf.schema import CATALOG_KEY
from vaeudf.storage.locations import exists
from vaeudf.storage.refusals import STORE_ERRORS, cause_of
from vaeudf.table.kept_pixels import KeptPixels
from vaeudf.table.open import PosteriorTable

log = logging.getLogger(__name__)

SIDE = 224
"""The longest side of a thumbnail in pixels, unless another is asked for."""
LEAST_SIDE, MOST_SIDE = 16, 1024
"""What may be asked for."""
_BYTES_OF_THUMBNAILS = 64 * 2**20
_BYTES_OF_PIXELS = 64 * 2**20


class NoPicture(VaeUdfError):
    """An item's picture cannot be shown; the message says why."""


@dataclass(frozen=True)
class ImageFile:
    """An image file in memory.

    Attributes:
        data: Its bytes.
        media_type: As HTTP calls it.
    """

    data: bytes
    media_type: str

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return len(self.data)

    @cached_property
    def digest(self) -> str:
        """Tells it from other files."""
        return hashlib.sha256(self.data).hexdigest()[:16]


def check_catalog(table: PosteriorTable, catalog: str) -> None:
    """Refuse a catalog that is not there, before its items are known.

    Args:
        table: The version.
        catalog: Where the catalog is said to be.

    Raises:
        InputError: It is not there, or cannot be opened.
    """
    problem = _why_no_catalog(_source_of(table, catalog))
    if problem is not None:
        raise InputError(problem)


class Pictures:
    """The pictures of a version's items, read from its catalog or the pixels that it keeps."""

    def __init__(self, table: PosteriorTable, ids: pa.Array, catalog: str | None = None) -> None:
        """Find out where they are; what the catalog lists is read with the first picture.

        Args:
            table: The version.
            ids: Its items, in its order.
            catalog: Where the catalog is now; None if it is where the table says.
        """
        self._table, self._ids = table, ids
        self._source = _source_of(table, catalog)
        self._lock = Lock()
        self._listed: ItemPictures | None = None
        self._unlisted: str | None = None
        self._kept: KeptPixels | None = None
        self._thumbnails: ByteCache[ImageFile] = ByteCache(_BYTES_OF_THUMBNAILS)
        self._pixels: ByteCache[NDArray[np.uint8]] = ByteCache(_BYTES_OF_PIXELS)
        problem = _why_no_catalog(self._source)
        if problem is not None:
            self._unlisted = problem
        self._find_kept()
        self.why_not: str | None = None if self._kept is not None or problem is None else problem
        """Why there are no pictures at all; None if there are some."""

    def thumbnail(self, row: int, side: int = SIDE) -> ImageFile:
        """Return an item's picture, its longest side not above ``side`` pixels.

        From the catalog if that has it, else the pixels that the table keeps.

        Raises:
            NoPicture: There is none, or it cannot be decoded.
            StoreError: The catalog's store does not answer.
        """
        return self._thumbnails.get((row, side), lambda: self._thumbnail(row, side))

    def pixels(self, row: int, spec: ImageSpec) -> NDArray[np.uint8] | None:
        """Return an item's picture as the model sees it, (H, W, C); None if it cannot be read.

        From the pixels that the table keeps if there are any, else from the catalog.
        """
        try:
            return self._pixels.get(row, lambda: self._read_pixels(row, spec))
        except NoPicture:
            return None

    def sample(self, rows: Sequence[int], spec: ImageSpec) -> list[NDArray[np.uint8]]:
        """Return items' pictures as :meth:`pixels` does, but for those that cannot be read.

        It takes its time: those that are shown meanwhile do not wait for it.

        Raises:
            StoreError: The catalog's store does not answer.
        """
        found: dict[int, NDArray[np.uint8]] = {}
        for source in (lambda: self._kept, self._catalog):
            left = [row for row in rows if row not in found]
            pictures = source() if left else None
            if pictures is None:
                continue
            try:
                for row, picture in pictures.sample(left):
                    seen = _as_seen(picture, spec)
                    if seen is not None:
                        found[row] = seen
            except TableError as error:
                log.warning("pictures that the table keeps cannot be read: %s", error)
        return [found[row] for row in rows if row in found]

    def _thumbnail(self, row: int, side: int) -> ImageFile:
        reason = ""
        for source in (self._catalog(), self._kept):
            if source is None:
                continue
            picture = _read(source, row)
            if isinstance(picture, np.ndarray):
                return ImageFile(picture_png(_within(picture, side)), "image/png")
            if isinstance(picture, bytes):
                small = thumbnail(picture, side)
                if small is not None:
                    return ImageFile(small, "image/jpeg")
                picture = ImageFailure("unreadable", "its image cannot be decoded.")
            reason = reason or picture.message
        item_id = self._ids[row].as_py()
        reason = reason or self._unlisted or "there is neither a catalog nor a kept picture."
        raise NoPicture(f"the picture of item {item_id!r} cannot be shown: {reason}")

    def _read_pixels(self, row: int, spec: ImageSpec) -> NDArray[np.uint8]:
        for source in (self._kept, self._catalog()):
            seen = None if source is None else _as_seen(_read(source, row), spec)
            if seen is not None:
                return seen
        raise NoPicture(f"the picture of item {self._ids[row].as_py()!r} cannot be read.")

    def _catalog(self) -> ItemPictures | None:
        """Return the catalog's pictures, listed once; None if there are none."""
        with self._lock:
            if self._listed is None and self._unlisted is None and self._source is not None:
                try:
                    self._listed = catalog_pictures(self._source, self._ids)
                except InputError as error:
                    self._unlisted = str(error)
                except STORE_ERRORS as error:
                    raise StoreError(
                        f"catalog {self._source.path} cannot be read ({cause_of(error)}); try "
                        "again once its store answers."
                    ) from None
            return self._listed

    def _find_kept(self) -> None:
        try:
            kept = KeptPixels(self._table, self._ids)
        except (TableError, StoreError, OSError):
            return  # damaged; who encodes with --keep-pixels hears of it
        self._kept = kept if kept.num_files else None


def _source_of(table: PosteriorTable, catalog: str | None) -> CatalogSource | None:
    if CATALOG_KEY not in table.provenance:
        return None if catalog is None else CatalogSource(catalog)
    source = CatalogSource.from_json(table.provenance[CATALOG_KEY])
    return source if catalog is None else source.moved_to(catalog)


def _within(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return a picture (H, W, C), made smaller if its longest side has more pixels than that."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    small = np.asarray(picture.resize(size, Image.Resampling.BOX))
    return small.reshape(size[1], size[0], -1)


def _read(source: ItemPictures, row: int) -> Picture:
    try:
        return source.picture(row)
    except TableError as error:
        return ImageFailure("unavailable", str(error))


def _as_seen(picture: Picture, spec: ImageSpec) -> NDArray[np.uint8] | None:
    """Return a picture as the model sees it, (H, W, C); None if it is not one."""
    if isinstance(picture, bytes):
        picture = decode_image(picture, spec)
    shape = (spec.height, spec.width, spec.channels)
    return picture if isinstance(picture, np.ndarray) and picture.shape == shape else None


def _why_no_catalog(source: CatalogSource | None) -> str | None:
    """Return why the catalog is not there; None if it is, as far as can be told at once."""
    if source is None:
        return "the table does not say where the pictures are; name the catalog with --catalog."
    try:
        if is_glob(source.path) or exists(source.path):
            return None
        found = "does not exist any more"
    except (InputError, StoreError, OSError) as error:
        found = f"cannot be opened ({root_cause(error).rstrip('.')})"
    return f"catalog {source.path} {found}; name the one that has them with --catalog."
