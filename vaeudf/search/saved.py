"""An index in a folder: arrays that are mapped into memory when it is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeudf.errors import InputError

_MANIFEST = "index.json"
_FORMAT = 1


def write_arrays(folder: str, arrays: dict[str, NDArray[Any]], *, overwrite: bool) -> None:
    """Write arrays to a folder, whole or not at all.

    Args:
        folder: Where to; its parent must exist.
        arrays: By name.
        overwrite: Whether to replace an index that is there.

    Raises:
        InputError: Something is there already, or the parent is not.
    """
    target = Path(folder)
    if target.exists() or target.is_symlink():
        if not (target / _MANIFEST).is_file():
            raise InputError(
                f"{folder} is there already and is no saved index; choose another folder."
            )
        if not overwrite:
            raise InputError(
                f"{folder} holds an index already; choose another folder, or give overwrite=True."
            )
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist; create it first.")
    # Only now: a search of arrays needs no pyarrow.
    from vaeudf.storage.outputs import replacing

    with replacing(folder) as new:
        Path(new).mkdir()
        for name, array in arrays.items():
            np.save(Path(new) / f"{name}.npy", array, allow_pickle=False)
        manifest = {"format": _FORMAT, "arrays": sorted(arrays)}
        (Path(new) / _MANIFEST).write_text(json.dumps(manifest) + "\n", encoding="utf-8")


def map_arrays(folder: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a folder, mapped into memory: what is not looked at is not read.

    Raises:
        InputError: There is no index, or it is damaged, or of another version.
    """
    path = Path(folder)
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no saved index: {_MANIFEST} is missing. Save one with "
            "PosteriorIndex.save, or make one from a table with PosteriorIndex.from_table."
        ) from None
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{_MANIFEST} cannot be read") from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise InputError(
            f"the index in {folder} is not of format {_FORMAT}, which this version of vaeudf "
            "reads; save it again."
        )
    names = manifest.get("arrays")
    if not isinstance(names, list):
        raise _damaged(folder, f"{_MANIFEST} names no arrays")
    arrays = {}
    for name in names:
        try:
            # Copied where written to: the compiled loops take arrays that can be written to.
            mapped = np.load(path / f"{name}.npy", mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(folder, f"{name}.npy is missing or cut short") from error
        arrays[str(name)] = np.asarray(mapped)
    return arrays


def map_index(folder: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of an index.

    Raises:
        InputError: As :func:`map_arrays`; or they do not fit each other.
    """
    arrays = map_arrays(folder)
    if not _fit(arrays):
        raise do_not_fit(folder)
    return arrays


def do_not_fit(folder: str) -> InputError:
    """Return the error of arrays that are there, but not as they were written."""
    return _damaged(folder, "its arrays do not fit each other")


def _damaged(folder: str, found: str) -> InputError:
    return InputError(f"the index in {folder} is damaged: {found}; save it again.")


def _fit(arrays: dict[str, NDArray[Any]]) -> bool:
    """Return whether the arrays of a saved index are there and fit each other."""
    if not {"mu", "log_var", "labels", "rows"} <= arrays.keys():
        return False
    mu, log_var, labels, rows = (arrays[name] for name in ("mu", "log_var", "labels", "rows"))
    return (
        mu.ndim == 2
        and mu.dtype in (np.float32, np.float64)
        and (mu.shape, mu.dtype) == (log_var.shape, log_var.dtype)
        and labels.shape == rows.shape == arrays.get("ids", rows).shape == mu.shape[:1]
        and labels.dtype == rows.dtype == np.int64
    )
