"""Files of ``torch.save``, read without running code: tensors are made, other objects are not.

Training scripts save more than weights: options, metrics, whole modules. A pickle names the
functions and classes that it wants to have called. Here it gets torch's own for tensors, those of
:mod:`vaeudf.model.export.saved_arrays` for arrays of NumPy, and for every other name a
:class:`Placeholder`, a class that keeps what it is given and does nothing.
"""

from __future__ import annotations

import collections
import io
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from vaeudf.model.export.saved_arrays import (
    SavedArray,
    SavedType,
    bytes_of_text,
)


class Placeholder(dict[Any, Any]):
    """Takes the place of an object whose class is not loaded.

    A dictionary, for classes that are: people keep weights in them, too. The attributes are those
    that were saved.
    """

    # What torch asks of the classes of modules in its oldest format.
    dump_patches = False

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __call__(self, *_: Any, **__: Any) -> Placeholder:
        """Return another placeholder: a pickle may call what it has made."""
        return Placeholder()

    def __setstate__(self, state: Any) -> None:
        """Keep the attributes that were saved."""
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, Mapping):
                self.__dict__.update({k: v for k, v in part.items() if isinstance(k, str)})

    def append(self, _: Any) -> None:
        """Do nothing, for classes that are lists."""

    def extend(self, _: Any) -> None:
        """Do nothing, for classes that are lists."""

    def add(self, _: Any) -> None:
        """Do nothing, for classes that are sets."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


def read_torch_save(path: Path) -> Any:
    """Read what ``torch.save``, or ``pickle.dump``, has written; no code in it is run.

    Raises:
        Exception: Anything that torch or pickle raises for a file that is damaged or another.
    """
    with warnings.catch_warnings():
        # torch warns of tensors of old types, and of classes without their source.
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # tried below; what is wrong is raised there
            pass
        with open(path, "rb") as file:
            if file.read(1) == pickle.PROTO:
                file.seek(0)
                saved = _Unpickler(file).load()
                if not isinstance(saved, int):  # with which torch.save's older format begins
                    return saved
            file.seek(0)
            module = SimpleNamespace(
                __name__=__name__, Unpickler=_Unpickler, load=lambda f, **_: _Unpickler(f).load()
            )
            return torch.load(file, map_location="cpu", pickle_module=module, weights_only=False)


def module_weights(saved: Any) -> dict[str, Tensor]:
    """Return the state_dict of a module that was saved whole; empty if it is something else."""
    state: dict[str, Tensor] = {}
    _collect(saved, "", state, depth=0)
    return state


def _collect(saved: Any, prefix: str, state: dict[str, Tensor], depth: int) -> None:
    held = saved.__dict__ if isinstance(saved, Placeholder) else {}
    if not isinstance(held.get("_parameters"), Mapping) or depth > 100:
        return
    passing = held.get("_non_persistent_buffers_set")
    passing = passing if isinstance(passing, set) else set()
    buffers = held.get("_buffers")
    buffers = buffers if isinstance(buffers, Mapping) else {}
    kept = {**held["_parameters"], **{k: v for k, v in buffers.items() if k not in passing}}
    state.update({f"{prefix}{k}": v for k, v in kept.items() if isinstance(v, Tensor)})
    parts = held.get("_modules")
    for name, part in parts.items() if isinstance(parts, Mapping) else ():
        _collect(part, f"{prefix}{name}.", state, depth + 1)


def _tensor_of_subclass(function: Any, _: Any, arguments: Any, __: Any) -> Any:
    """Rebuild a tensor that had attributes, or was of a subclass, as a plain one."""
    return function(*arguments) if function in _CALLABLE.values() else Placeholder()


def _parameter_with_state(data: Any, requires_grad: Any, hooks: Any, _: Any) -> Any:
    return torch._utils._rebuild_parameter(data, requires_grad, hooks)  # type: ignore[no-untyped-call]


def _storage(content: Any) -> Any:
    """Rebuild the storage of a tensor that was pickled without ``torch.save``."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


# Since version 2, and before.
_NUMPY = ("numpy._core", "numpy.core")
# All that a pickle can have called, besides placeholders.
_CALLABLE: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter_with_state,
    ("torch._tensor", "_rebuild_from_type_v2"): _tensor_of_subclass,
    ("torch.nn.parameter", "Parameter"): torch.nn.Parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("_codecs", "encode"): bytes_of_text,
    ("numpy", "dtype"): SavedType,
    **{(f"{core}.multiarray", "_reconstruct"): SavedArray for core in _NUMPY},
    **{(f"{core}.numeric", "_frombuffer"): SavedArray.of_buffer for core in _NUMPY},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle may have called under a name."""
        found = _CALLABLE.get((module, name))
        if found is not None:
            return found
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        return type(name, (Placeholder,), {"__module__": module})
