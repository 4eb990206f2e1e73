"""The weights that somebody's training saved, loaded into their model. No code in them is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vaeudf.errors import BundleError
from vaeudf.model.answers import describe
from vaeudf.model.export.file_kinds import (
    about_shard,
    damaged,
    folder_kind,
    is_safetensors,
    other_kind,
)
from vaeudf.model.export.saved_objects import Placeholder, read_torch_save
from vaeudf.model.export.state_dicts import (
    StateDict,
    find_state_dicts,
    fits,
    fitted,
    left_out,
    part_of,
    parts_of,
)
from vaeudf.model.weights import check_tensors, different_names, read_safetensors


def load_checkpoint(
    model: nn.Module, path: Path, prefix: str | None = None, key: str | None = None
) -> str:
    """Load the weights in a file into a model.

    What in the file has the model's names and shapes is taken, wherever it is. If several things
    have them, it is the first that is no average.

    Args:
        model: The model.
        path: A safetensors file, or one of ``torch.save``.
        prefix: What to take off the names in the file; those without it are left out. If None,
            prefixes that wrappers are known to put before all names are taken off.
        key: Where in the file the weights are; None to look for them.

    Returns:
        What was taken, in words, if the file has more than one state_dict's names and tensors.

    Raises:
        BundleError: The file is something else, or has other weights than the model.
    """
    found = _named(_state_dicts(path), path, key)
    if prefix:
        found = [part for state in found for part in _with_prefix(state, prefix)] or found[:1]
    own = model.state_dict()
    candidates = [*found, *(part for state in found for part in parts_of(state))]
    named = [(one, fitted(one.tensors, model, own, all_of_it=one.is_joined)) for one in candidates]
    good = [(one, state) for one, state in named if fits(state, own)]
    if good:
        good.sort(key=lambda pair: pair[0].is_average)
        chosen, state = good[0]
    else:
        shard = about_shard(path)
        if shard is not None:
            raise BundleError(f"{path} {shard}")
        # What it is most likely meant to be, for the message.
        chosen, state = max(named[: len(found)], key=lambda pair: len(set(pair[1]) & set(own)))
        _check_part(chosen.tensors, model, path)
        _check_names(state or dict(chosen.tensors), model, path)
    check_tensors(
        state,
        model,
        name=str(path),
        owner="model",
        same_types=False,
        advice=" Are the factory's arguments right?",
    )
    model.load_state_dict(state)
    others = [one for one, other in good[1:] if one.option and not _is_same(other, state)]
    beside = f"; {others[0]} fits, too: {others[0].option} takes that" if others else ""
    left = sorted({name.split(".")[0] for name in left_out(chosen.tensors, own)})
    without = f" without {', '.join(left)}" if left else ""
    if not (str(chosen) or beside or without):
        return ""
    return f"{str(chosen) or 'all of the file'}{without}{beside}"


def _is_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two state_dicts are the same tensors of the file, found in two ways."""
    return all(one[name] is tensor for name, tensor in other.items())


def _check_part(state: Mapping[str, Tensor], model: nn.Module, path: Path) -> None:
    """Say what to do about a file that has the weights of one part of a model."""
    part = part_of(state, model)
    if part is None:
        return
    others = [name for name, one in model.named_children() if name != part and one.state_dict()]
    files = {part: path.name, **{name: f"{name}.pt" for name in others}}
    read = ", ".join(f'"{name}": torch.load("{file}")' for name, file in files.items())
    raise BundleError(
        f"{path} has the weights of {part!r} alone; those of {' and '.join(map(repr, others))} are "
        "missing. Put all into one file, each under the name of its part: python -c 'import torch; "
        f'torch.save({{{read}}}, "weights.pt")\''
    )


def _check_names(state: Mapping[str, Tensor], model: nn.Module, path: Path) -> None:
    different = zip(("missing", "surplus"), different_names(state, model), strict=True)
    if listed := [
        f"{len(names)} {what}, such as {', '.join(names[:3])}" for what, names in different if names
    ]:
        raise BundleError(
            f"{path} does not fit the model: {'; '.join(listed)}. Are the factory's arguments "
            "right? If the model is a part of what was saved, name its prefix with "
            "--weights-prefix."
        )


def _named(found: list[StateDict], path: Path, key: str | None) -> list[StateDict]:
    """Return what is in one place of a file."""
    if not key:
        return found
    chosen = [one for one in found if one.key == key or one.key.startswith(f"{key}.")]
    if not chosen:
        keys = ", ".join(sorted({repr(one.key) for one in found if one.key})) or "none below others"
        raise BundleError(f"{path} has no weights at {key!r}; it has {keys}. See --weights-key.")
    return chosen


def _with_prefix(state: StateDict, prefix: str) -> list[StateDict]:
    inner = {k.removeprefix(prefix): v for k, v in state.tensors.items() if k.startswith(prefix)}
    return [StateDict(inner, state.key, prefix)] if inner else []


def _state_dicts(path: Path) -> list[StateDict]:
    """Return all that is names and tensors in a file; there is something."""
    try:
        if path.is_dir():
            raise BundleError(f"{path} {folder_kind(path)}")
        if not path.is_file():
            raise BundleError(f"{path} does not exist; expected a file of weights.")
        saved = _read(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from None
    found = find_state_dicts(saved)
    if not found:
        held = describe(dict(saved) if isinstance(saved, Placeholder) and saved else saved)
        raise BundleError(f"{path} holds {held}; expected a state_dict: names and tensors.")
    return found


def _read(path: Path) -> Any:
    if is_safetensors(path):
        return read_safetensors(path, str(path))
    other = other_kind(path)
    if other is not None:
        raise BundleError(f"{path} {other}")
    try:
        return read_torch_save(path)
    except Exception:  # pickle can raise anything
        if path.suffix == ".safetensors":
            return read_safetensors(path, str(path))  # which says what is wrong
        raise BundleError(f"{path} {damaged(path)}") from None
