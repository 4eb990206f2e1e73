"""Photos as queries: found, encoded by the table's own model, named by their paths."""

from __future__ import annotations

import glob
import posixpath
from collections.abc import Sequence

from pyarrow import fs

from vaeudf.catalog.patterns import is_glob
from vaeudf.catalog.reader import ImageReader
from vaeudf.decoding.table_model import load_model_of
from vaeudf.errors import InputError
from vaeudf.images.formats import IMAGE_SUFFIXES
from vaeudf.query.latents import Latents, from_rows
from vaeudf.schema import IMAGE, MODEL_PATH_KEY, PRECISION_KEY
from vaeudf.storage.locations import absolute, filesystem, is_local
from vaeudf.table.open import PosteriorTable


def photos_as_queries(
    paths: Sequence[str], table: PosteriorTable, model: str | None, *, trust_model: bool
) -> Latents:
    """Return photos' posteriors, named by their paths as they were given.

    Args:
        paths: Files, folders (of which all images are taken), or globs of local files.
        table: What is searched; its model and precision encode the photos.
        model: The bundle, if it is no longer where the table's run had it, or the table does not
            say.
        trust_model: Whether to run a model's code that is not vaeudf's.

    Raises:
        InputError: A path has no images, or one cannot be encoded.
        BundleError: There is no such bundle, or the table was encoded with another.
    """
    # Imported here, so that only a job that encodes waits for the import of torch.
    from vaeudf.encoding.photos import encode_photos

    found: dict[str, int] = {}
    for path in paths:
        found.update(_files_at(path))
    if model is None and not table.provenance:
        raise InputError(
            f"{table.uri} is plain Parquet, which does not say what it was encoded with; --image "
            "needs --model."
        )
    bundle = load_model_of(
        table, model or table.provenance[MODEL_PATH_KEY], trust_model=trust_model
    )
    precision = table.provenance.get(PRECISION_KEY, "float32")
    mu, log_var = encode_photos(
        list(found.items()), bundle, "bfloat16" if precision == "bfloat16" else "float32"
    )
    return from_rows(list(mu), list(found), list(log_var))


def read_photos(paths: Sequence[str]) -> dict[str, bytes]:
    """Return the bytes of image files, by their paths; without those that have gone since."""
    images = ImageReader(IMAGE).read_all((path, None, _size(path), 0.0) for path in paths)
    return {
        path: image for path, image in zip(paths, images, strict=True) if isinstance(image, bytes)
    }


def _files_at(path: str) -> dict[str, int]:
    """Return the images at a path, and their bytes."""
    if is_glob(path):
        if not is_local(path):
            raise InputError(
                f"image {path} is a glob in a store; expected a file or a folder of it, or a glob "
                "of local files."
            )
        if path.startswith("file:"):
            path = absolute(path)
        names = sorted(name for name in glob.glob(path, recursive=True) if not _is_folder(name))
        if not names:
            raise InputError(f"image {path} matches no file; expected a file, a folder or a glob.")
        return {name: _size(name) for name in names}
    system, inner = filesystem(path)
    info = system.get_file_info(inner)
    if info.type == fs.FileType.File:
        return {path: info.size}
    if info.type == fs.FileType.NotFound:
        raise InputError(f"image {path} does not exist; expected a file, a folder or a glob.")
    below = system.get_file_info(fs.FileSelector(inner, recursive=True))
    start = len(inner.rstrip("/")) + 1
    images = {
        posixpath.join(path, one.path[start:]): one.size
        for one in sorted(below, key=lambda one: str(one.path))
        if one.is_file and one.extension.lower() in IMAGE_SUFFIXES
    }
    if not images:
        raise InputError(
            f"image {path} is a folder without images; expected files named "
            f"{', '.join('.' + suffix for suffix in IMAGE_SUFFIXES)}."
        )
    return images


def _is_folder(path: str) -> bool:
    system, inner = filesystem(path)
    return bool(system.get_file_info(inner).type == fs.FileType.Directory)


def _size(path: str) -> int:
    system, inner = filesystem(path)
    return int(system.get_file_info(inner).size or 0)
