"""Arrays of NumPy in a pickle, made into tensors here: NumPy's own functions would do more.

A pickle has an array made empty, and then gives it what it has: a shape, a type and bytes. With the
newest protocol it has it made of all that at once.
"""

from __future__ import annotations

import math
import re
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Booleans, integers, floating-point and complex numbers, by their sizes; no objects, no texts.
_NUMBER = re.compile(r"b1|[iu][1248]|f[248]|c(?:8|16)")


class SavedType:
    """The type of an array's numbers."""

    def __init__(self, code: Any = None, *_: Any, **__: Any) -> None:
        self._code = code
        self._order = "="

    def __setstate__(self, state: Any) -> None:
        """Take the order of a number's bytes."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self._order = state[1]

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The same as a type of NumPy; None unless it is one of numbers."""
        if isinstance(self._code, str) and _NUMBER.fullmatch(self._code):
            return np.dtype(self._order + self._code)
        return None


class SavedArray:
    """An array as it was saved."""

    def __init__(self, *_: Any) -> None:
        self._state: tuple[Any, ...] = ()
        self._axes: Any = None

    def __setstate__(self, state: Any) -> None:
        """Take the version of the format, shape, type, whether columns come first, and bytes."""
        self._state = state if isinstance(state, tuple) else ()

    @cached_property
    def tensor(self) -> Tensor | None:
        """The array as a tensor; None unless it holds numbers, and as many as its shape says."""
        if len(self._state) != 5:
            return None
        _, shape, kind, columns_first, data = self._state
        dtype = kind.dtype if isinstance(kind, SavedType) else None
        if dtype is None or not isinstance(data, bytes | bytearray):
            return None
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            return None
        if math.prod(shape) * dtype.itemsize != len(data):
            return None
        array = np.frombuffer(data, dtype).reshape(shape, order="F" if columns_first else "C")
        if self._axes is not None:
            if not isinstance(self._axes, tuple) or not all(type(i) is int for i in self._axes):
                return None
            if sorted(self._axes) != list(range(array.ndim)):
                return None
            array = array.transpose(self._axes)
        return tensor_of(array.astype(dtype.newbyteorder("=")))

    @classmethod
    def of_buffer(
        cls, data: Any, kind: Any, shape: Any, order: Any, axes: Any = None, *_: Any
    ) -> SavedArray:
        """Return an array that a pickle has made of its parts at once.

        Args:
            data: The bytes.
            kind: The type of the numbers.
            shape: The shape; with the order K, that of the bytes, before its axes are put in order.
            order: C, F (columns come first) or K. An array with another one has no tensor.
            axes: With the order K, which axis of the bytes' shape each axis of the array is.
        """
        array = cls()
        if order in ("C", "F") or (order == "K" and axes is not None):
            array.__setstate__((1, shape, kind, order == "F", data))
            array._axes = axes if order == "K" else None
        return array


def bytes_of_text(text: Any, encoding: Any = None) -> bytes | None:
    """Return the bytes that old protocols write as text."""
    return text.encode("latin1") if isinstance(text, str) and encoding == "latin1" else None


def tensor_of(value: Any) -> Tensor | None:
    """Return a tensor, or an array of NumPy's as one; None for anything else."""
    if isinstance(value, SavedArray):
        return value.tensor
    if isinstance(value, np.ndarray):
        try:
            return torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape))
        except (TypeError, ValueError):  # a type of numbers that torch does not have
            return None
    return value if isinstance(value, Tensor) else None
