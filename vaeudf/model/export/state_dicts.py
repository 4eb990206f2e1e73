"""The weights of a model, looked for in all that a training has saved.

Where in a file the weights are, and what stands before their names, differs from script to script.
So the model decides: of everything in the file that is names and tensors, the weights are what has
the model's names and shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vaeudf.model.export.saved_arrays import tensor_of
from vaeudf.model.export.saved_objects import Placeholder, module_weights

# What wrappers put before a part's name: DistributedDataParallel, torch.compile, FSDP, activation
# checkpoints.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# What stands before every name: of a wrapper, or of a Lightning module.
_PREFIXES = (*(f"{name}." for name in _WRAPPERS), "model.", "vae.", "net.")
# What is called so is an average over the training, and not the weights as they were last.
_AVERAGED = re.compile(r"ema|shadow|averag|swa|polyak", re.IGNORECASE)
# Numbers that are no weights: whether they are saved depends on the version, or on a wrapper.
_COUNTS = re.compile(r"(?:.*\.)?num_batches_tracked")
_WRAPPERS_OWN = {"n_averaged", "initted", "step"}
# The same, where a part of a model was wrapped.
_INNER_PREFIX = re.compile(rf"(?<=\.)(?:{'|'.join(_WRAPPERS)})\.")
# Parts that training alone needs, and saves beside the model's.
_TRAINING = re.compile(r"loss|lpips|perceptual|disc|critic|metric|vgg|ema(?:_|$)|.*_ema$", re.I)
_DEEPEST = 4
# Of a list or tuple, this many are looked into.
_LONGEST = 16


@dataclass(frozen=True)
class StateDict:
    """Names and tensors in a file.

    Attributes:
        tensors: By name.
        key: Where in the file they are, names joined by dots; empty for the whole of it.
        prefix: What was taken off the names, if others in the same place have other beginnings.
        is_joined: Whether these are those of several parts, each of which is in the file by itself.
    """

    tensors: Mapping[str, Tensor]
    key: str = ""
    prefix: str = ""
    is_joined: bool = False

    @property
    def is_average(self) -> bool:
        """Whether its name says that it is an average of weights."""
        return bool(_AVERAGED.search(self.key) or _AVERAGED.search(self.prefix))

    def __str__(self) -> str:
        """Return words for it."""
        names = f"the names after {self.prefix!r}" if self.prefix else ""
        return " of ".join(filter(None, [names, f"{self.key!r}" if self.key else ""]))

    @property
    def option(self) -> str:
        """How a person chooses it."""
        said = (("--weights-key", self.key), ("--weights-prefix", self.prefix))
        return " ".join(f"{flag} {value}" for flag, value in said if value)


def find_state_dicts(saved: Any) -> list[StateDict]:
    """Return all that is names and tensors in what was saved, the outermost first."""
    found = list(_walk(saved, (), 0))
    return sorted(found, key=lambda one: one.key.count("."))


def fitted(
    state: Mapping[str, Tensor],
    model: nn.Module,
    own: Mapping[str, Tensor],
    *,
    all_of_it: bool = False,
) -> dict[str, Tensor]:
    """Return tensors by the names of a model, as far as what wrappers do explains the difference.

    Args:
        state: Names and tensors.
        model: The model.
        own: Its state_dict.
        all_of_it: Whether nothing may be left out.
    """
    left = {*_WRAPPERS_OWN, *([] if all_of_it else left_out(state, own))}
    named = {k: v for k, v in state.items() if k in own or k not in left}
    while named and not set(named) & set(own):
        common = next((p for p in _PREFIXES if all(k.startswith(p) for k in named)), None)
        if common is None:
            break
        named = {name.removeprefix(common): tensor for name, tensor in named.items()}
    if named and not set(named) & set(own):
        # A model that the factory has put into another.
        for part, _ in model.named_children():
            if {f"{part}.{name}" for name in named} & set(own):
                named = {f"{part}.{name}": tensor for name, tensor in named.items()}
                break
    named = {k if k in own else _INNER_PREFIX.sub("", k): v for k, v in named.items()}
    # Tensors with two names are saved under one of them by some.
    given = {_place(own[name]): tensor for name, tensor in named.items() if name in own}
    twins = {
        name: given[_place(tensor)]
        for name, tensor in own.items()
        if name not in named and _place(tensor) in given
    }
    counts = {k: v for k, v in own.items() if k not in named and _COUNTS.fullmatch(k)}
    return {**named, **twins, **counts} if named else {}


def left_out(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Return the names of what training alone needs, such as a loss: the model has no such part."""
    parts = {name.split(".")[0] for name in own}
    firsts = {name: name.split(".")[0] for name in state if "." in name}
    return [k for k, first in firsts.items() if first not in parts and _TRAINING.match(first)]


def part_of(state: Mapping[str, Tensor], model: nn.Module) -> str | None:
    """Return the part of a model that tensors are the weights of; None if there is none."""
    for name, part in model.named_children():
        own = part.state_dict()
        if own and fits(fitted(state, part, own), own):
            return name
    return None


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Return what two tensors have in common only if they are one; nothing if it has no numbers."""
    if is_lazy(tensor) or not tensor.numel():
        return (id(tensor),)
    return (tensor.data_ptr(), tensor.shape, tensor.stride())


def fits(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Whether tensors have a model's names and shapes."""
    return set(state) == set(own) and all(
        is_lazy(tensor) or state[name].shape == tensor.shape for name, tensor in own.items()
    )


def parts_of(state: StateDict) -> Iterator[StateDict]:
    """Yield the tensors of a state_dict whose names begin alike, without this beginning."""
    if state.is_joined:
        return
    beginnings = dict.fromkeys(
        ".".join(name.split(".")[:depth]) + "."
        for depth in (1, 2)
        for name in state.tensors
        if name.count(".") >= depth
    )
    for prefix in beginnings:
        inner = {
            k.removeprefix(prefix): v for k, v in state.tensors.items() if k.startswith(prefix)
        }
        if len(inner) < len(state.tensors):
            yield StateDict(inner, state.key, prefix)


def _walk(saved: Any, path: tuple[str, ...], depth: int) -> Iterator[StateDict]:
    if depth > _DEEPEST:
        return
    key = ".".join(path)
    whole = module_weights(saved)
    if whole:
        yield StateDict(whole, key)
        return
    held: dict[Any, Any] = dict(saved) if isinstance(saved, Mapping) else {}
    if isinstance(saved, Placeholder):
        held = {**vars(saved), **held}
    read = {k: tensor_of(v) for k, v in held.items() if isinstance(k, str)}
    tensors = {k: tensor for k, tensor in read.items() if tensor is not None}
    if tensors:
        yield StateDict(tensors, key)
    if isinstance(saved, tuple | list):
        held = {str(i): part for i, part in enumerate(saved[:_LONGEST])}
    inside = {
        name: list(_walk(value, (*path, name), depth + 1))
        for name, value in held.items()
        if isinstance(name, str) and isinstance(value, Mapping | tuple | list)
    }
    yield from _joined(key, inside)
    for found in inside.values():
        yield from found


def _joined(key: str, inside: Mapping[str, list[StateDict]]) -> Iterator[StateDict]:
    """Yield the state_dicts of several parts as that of a model with these parts."""
    parts = {
        re.sub(r"(?<=.)_?(state_?dict|state|weights|model|net)$", "", name): found[0].tensors
        for name, found in inside.items()
        if found
    }
    if len(parts) > 1:
        short = {"enc": "encoder", "dec": "decoder"}
        yield StateDict(
            {
                f"{short.get(part, part)}.{name}": tensor
                for part, state in parts.items()
                for name, tensor in state.items()
            },
            key,
            is_joined=True,
        )
