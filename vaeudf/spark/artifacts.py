"""Values that a client of Spark Connect sends: small ones with each task, large ones as files.

A file is known by the digest of what is in it, and a session's server gets it once. Tasks read it
where Spark has put it.
"""

from __future__ import annotations

import hashlib
import pickle
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from vaeudf.spark.shared import Shared, SharedArray, Value, path_in_task

# A plan, which goes to the server whole and more than once, carries no more than this of a value.
_MOST_IN_PLAN = 2**20
# Values that a worker keeps for the tasks to come: what one task reads, and what the next one does.
_MOST_KEPT = 4

_uploaded: dict[str, set[str]] = {}
_lock = threading.Lock()
_kept: OrderedDict[str, Any] = OrderedDict()


class SentValue(Shared[Value]):
    """A value that a client has sent, or sends with its tasks."""

    def __init__(self, value: Value, data: bytes | None, file_name: str | None) -> None:
        """Take a value, and either its pickle or the name of the file that has been sent.

        Args:
            value: The value.
            data: Its pickle, if that is small.
            file_name: Of the file with the pickle, as the tasks know it.
        """
        self._here: tuple[Value] | None = (value,)
        self._data = data
        self._file_name = file_name

    @property
    def value(self) -> Value:
        """The value, on the client or within a task."""
        if self._here is None:
            if self._data is None and self._file_name is None:
                raise RuntimeError("the shared value was destroyed.")
            self._here = (
                _read(self._file_name) if self._data is None else pickle.loads(self._data),
            )
        return self._here[0]

    def free(self) -> None:
        """Drop the value. A file stays with the server until the session ends."""
        self._here = self._data = self._file_name = None

    def __getstate__(self) -> dict[str, Any]:
        if self._data is None and self._file_name is None:
            raise RuntimeError("the shared value was destroyed.")
        return {"_here": None, "_data": self._data, "_file_name": self._file_name}


def send(spark: SparkSession, value: Value) -> SentValue[Value]:
    """Send a value to a session's server, unless it is small enough to go with the tasks."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    if len(data) <= _MOST_IN_PLAN:
        return SentValue(value, data, None)
    return SentValue(value, None, _upload(spark, data, "pickle"))


def send_array(spark: SparkSession, array: NDArray[Any]) -> SharedArray:
    """Send an array to a session's server, for tasks to map into memory."""
    with tempfile.TemporaryFile() as file:
        np.save(file, array)
        file.seek(0)
        return SharedArray(_upload(spark, file.read(), "npy"))


def _upload(spark: SparkSession, data: bytes, suffix: str) -> str:
    """Send bytes as a file, unless this session's server has them; return its name."""
    name = f"vaeudf-{hashlib.sha256(data).hexdigest()}.{suffix}"
    with _lock:
        there = _uploaded.setdefault(str(spark.session_id), set())  # type: ignore[attr-defined]
        if name not in there:
            with tempfile.TemporaryDirectory(prefix="vaeudf-artifacts-") as folder:
                path = Path(folder) / name
                path.write_bytes(data)
                spark.addArtifacts(str(path), file=True)
            there.add(name)
    return name


def _read(file_name: str | None) -> Any:
    """Return the value of a file, within a task; a worker reads it once for several tasks."""
    assert file_name is not None
    if file_name not in _kept:
        while len(_kept) >= _MOST_KEPT:
            _kept.popitem(last=False)
        with open(path_in_task(file_name), "rb") as file:
            _kept[file_name] = pickle.load(file)
    _kept.move_to_end(file_name)
    return _kept[file_name]
