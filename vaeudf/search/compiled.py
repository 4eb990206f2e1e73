"""Functions that numba compiles, and keeps for other processes."""

from __future__ import annotations

import contextlib
import os

from numba import njit


def compiled(**options):
    """Have numba compile a function, and keep it for other processes where there is a place to."""

    def decorate(function):
        # For a module in a zip file, as with --py-files, numba does not check whether it can write
        # to its cache folder.
        if os.path.exists(function.__code__.co_filename):
            # Without any folder, as in a container whose user has no home, it raises.
            with contextlib.suppress(RuntimeError):
                return njit(cache=True, nogil=True, **options)(function)
        return njit(nogil=True, **options)(function)

    return decorate
