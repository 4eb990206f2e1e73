"""Places on a map by UMAP, made in a process of its own (:mod:`vaeudf.explore.umap_program`)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.resources import files
from importlib.util import find_spec
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError, VaeUdfError


class MapFailed(VaeUdfError):
    """A map could not be made; the message says why."""


def has_umap() -> bool:
    """Whether the package is installed."""
    return find_spec("umap") is not None


def umap_places(mu: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a place in two dimensions for each mean of mu, shape (P, n); takes minutes.

    Raises:
        InputError: UMAP is not installed.
        MapFailed: It ended with an error.
    """
    if not has_umap():
        raise InputError("a map by UMAP needs its package; pip install umap-learn, or take pca.")
    # Not by its path: the package may be in a zip archive.
    program = files("vaeudf.explore").joinpath("umap_program.py").read_text("utf-8")
    stream = BytesIO()
    np.save(stream, mu, allow_pickle=False)
    content = stream.getvalue()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Ctrl-C is for the service, whose end is this process's, too.
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(len(content).to_bytes(8, "little") + content)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, and says why
        answer = process.stdout.read()
        if process.wait() != 0:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").split("\n")
            reason = next((line.strip() for line in reversed(lines) if line.strip()), "")
            raise MapFailed(
                "the map by UMAP could not be made "
                f"({reason.rstrip('.') or f'it ended with {process.returncode}'}); take pca."
            )
    found: NDArray[np.float64] = np.load(BytesIO(answer), allow_pickle=False)
    return found
