"""What a task of ours does first in the Python worker that runs it."""

from __future__ import annotations

import gc
import sys

_modules_spared = 0


def spare_modules() -> None:
    """Let the worker's garbage collector pass over the modules that have been imported.

    PySpark collects garbage after every task. With torch or numba in the worker that takes a tenth
    of a second, for there are half a million objects to look at; a small task takes less itself.
    """
    global _modules_spared
    # Only when there are new ones: what is alive now is never looked at again.
    if len(sys.modules) != _modules_spared:
        gc.freeze()
        _modules_spared = len(sys.modules)
