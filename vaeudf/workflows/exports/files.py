"""Files of an export that are not written by tasks."""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files as package_files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import fs

from vaeudf.storage.locations import filesystem, make_folder

QUERY = "query.py"

_QUERY = '''

CENTER = {center}
"""The center of the items' vectors in this folder."""


def lift(z):
    """Return the vectors to search with, (Q, {width}), of points z, (Q, {latent_dim})."""
    points = np.asarray(z, np.float64).reshape(-1, {latent_dim})
    return np.pad(lift_queries(points, np.asarray(CENTER)), ((0, 0), (0, {padding})))
'''


def write_file(folder: str, name: str, text: str) -> None:
    """Write a file of text into a folder, of any store."""
    files, inner = filesystem(folder)
    make_folder(files, inner)
    with files.open_output_stream(posixpath.join(inner, name)) as stream:
        stream.write(text.encode())


def write_query(folder: str, center: NDArray[np.float64], *, padding: int = 0) -> None:
    """Write the module that lifts queries: it needs numpy and no vaeudf.

    Args:
        folder: Where to.
        center: Of the items' vectors.
        padding: How many numbers these have beyond 2n + 1.
    """
    # Not by its path: the package may be in a zip archive.
    formula = package_files("vaeudf.gaussian").joinpath("lifted.py").read_text("utf-8")
    n = len(center)
    write_file(
        folder,
        QUERY,
        formula
        + _QUERY.format(
            center=center.tolist(), latent_dim=n, width=2 * n + 1 + padding, padding=padding
        ),
    )


@contextmanager
def made_here(folder: str) -> Iterator[Path]:
    """Give a folder on this machine, whose files are copied into another when the block ends well.

    For packages that write only local files.
    """
    with tempfile.TemporaryDirectory(prefix="vaeudf-") as name:
        yield Path(name)
        files, inner = filesystem(folder)
        make_folder(files, inner)
        fs.copy_files(
            name, inner, source_filesystem=fs.LocalFileSystem(), destination_filesystem=files
        )
