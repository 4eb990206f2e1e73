"""What a program sees of the machine that it is on, as JSON."""

from __future__ import annotations

import ctypes
import json
import locale
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch


def main() -> None:
    # oneDNN says which instructions it uses when it is asked for the first time, on stdout, if
    # ONEDNN_VERBOSE says so.
    torch.nn.Conv2d(3, 4, 3)(torch.rand(2, 3, 16, 16))
    sys.stdout.write(json.dumps(seen()))


def seen() -> dict[str, Any]:
    umask = os.umask(0)
    os.umask(umask)
    features = np._core._multiarray_umath  # type: ignore[attr-defined]
    return {
        "torch": torch.backends.cpu.get_cpu_capability(),
        "numba": numba.config.CPU_NAME,
        "numpy": [f for f in features.__cpu_dispatch__ if features.__cpu_features__.get(f)],
        "openblas": openblas_core(),
        "threads": torch.get_num_threads(),
        "decimal_point": locale.localeconv()["decimal_point"],
        "utc_offset": time.localtime(1.7e9).tm_gmtoff,
        "home_is_writable": is_writable(Path.home()),
        "checkout": str(Path(__file__).parents[2]),
        "umask": umask,
    }


def openblas_core() -> str | None:
    """The processor that NumPy's OpenBLAS computes for, if there is one."""
    folders = (Path(np.__file__).parents[1] / "numpy.libs", Path(np.__file__).parent / ".dylibs")
    for path in (path for folder in folders for path in folder.glob("*openblas*")):
        library = ctypes.CDLL(str(path))
        for name in ("scipy_openblas_get_corename64_", "openblas_get_corename64_"):
            if hasattr(library, name):
                function = getattr(library, name)
                function.restype = ctypes.c_char_p
                return function().decode()
    return None


def is_writable(folder: Path) -> bool:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
