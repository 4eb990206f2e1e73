"""The weights that somebody's training saved, loaded into their model. No code in them is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vaeudf.errors import BundleError
from vaeudf.model.answers import describe
from vaeudf.model.weights import check_tensors, different_names, read_safetensors

# Where training scripts put the state_dict in what they save.
_STATE_KEYS = ("state_dict", "model_state_dict", "model", "net", "vae", "ema")
# What wrappers put before every name: DistributedDataParallel, torch.compile, Lightning.
_PREFIXES = ("module.", "_orig_mod.", "model.", "vae.", "net.")


def load_checkpoint(model: nn.Module, path: Path, prefix: str | None) -> None:
    """Load the weights in a file into a model.

    Args:
        model: The model.
        path: A safetensors file, or one of ``torch.save`` with a state_dict.
        prefix: What to take off the names in the file; those without it are left out. If None,
            prefixes that wrappers are known to put before all names are taken off.

    Raises:
        BundleError: The file is something else, or has other weights than the model.
    """
    state = _read(path)
    if prefix:
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    state = _without_wrappers(state, model)
    different = zip(("missing", "surplus"), different_names(state, model), strict=True)
    if listed := [
        f"{len(names)} {what}, such as {', '.join(names[:3])}" for what, names in different if names
    ]:
        raise BundleError(
            f"{path} does not fit the model: {'; '.join(listed)}. Are the factory's arguments "
            "right? If the model is a part of what was saved, name its prefix with "
            "--weights-prefix."
        )
    check_tensors(
        state,
        model,
        name=str(path),
        owner="model",
        same_types=False,
        advice=" Are the factory's arguments right?",
    )
    model.load_state_dict(state)


def _without_wrappers(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    expected = set(model.state_dict())
    while state and not set(state) & expected:
        common = next((p for p in _PREFIXES if all(k.startswith(p) for k in state)), None)
        if common is None:
            break
        state = {name.removeprefix(common): tensor for name, tensor in state.items()}
    return state


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise BundleError(f"{path} does not exist; expected a file of weights.")
    if path.suffix == ".safetensors":
        return read_safetensors(path, str(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle can raise anything
        kind = re.search(r"GLOBAL (\S+)", str(error))
        held = kind[1] if kind else "something else"
        raise BundleError(
            f"{path} holds more than weights: it holds {held}, and opening that can run code. "
            "If you trust the file, take its weights out: python -c 'import torch; "
            f'c = torch.load("{path.name}", weights_only=False); '
            'torch.save(c["model_state_dict"] if isinstance(c, dict) else c.state_dict(), '
            '"weights.pt")\''
        ) from None
    for key in _STATE_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = isinstance(content, Mapping) and all(isinstance(v, Tensor) for v in content.values())
    if not tensors or not content:
        raise BundleError(
            f"{path} holds {describe(content)}; expected a state_dict: names and tensors."
        )
    return dict(content)
