"""Bytes that were made before, kept up to a limit: what was used last stays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What has a number of bytes, as bytes and arrays have."""

    @property
    def nbytes(self) -> int:
        """How many."""


Value = TypeVar("Value", bound=Sized)


class ByteCache(Generic[Value]):
    """Values by key; several threads may ask at once."""

    def __init__(self, limit: int) -> None:
        """Start empty; values are kept up to so many bytes."""
        self._limit, self._size = limit, 0
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key; it is made, perhaps by two threads, if it is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            if key not in self._values and value.nbytes <= self._limit:
                self._values[key] = value
                self._size += value.nbytes
            while self._size > self._limit:
                self._size -= self._values.popitem(last=False)[1].nbytes
        return value
