"""The weights of networks: read, checked, loaded and written. Nothing in a file is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vaeudf.errors import BundleError


def read_safetensors(source: bytes | Path, name: str) -> dict[str, Tensor]:
    """Read weights, by name.

    Args:
        source: The content of a safetensors file, or its path.
        name: What messages call it.

    Raises:
        BundleError: It is not a safetensors file.
    """
    try:
        if isinstance(source, bytes):
            return safetensors.torch.load(source)
        return safetensors.torch.load_file(source)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"{name} is not a safetensors file: {error}.") from None


def to_safetensors(network: nn.Module) -> bytes:
    """Return a network's weights as the content of a safetensors file."""
    state = network.state_dict()
    # Cloned, for parameters that share memory, which safetensors refuses.
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    )


def size_of(network: nn.Module) -> int:
    """Return how many bytes a network's weights take, those of lazy modules left out."""
    state = network.state_dict().values()
    return sum(t.numel() * t.element_size() for t in state if not is_lazy(t))


def has_lazy_weights(network: nn.Module) -> bool:
    """Whether some weights get their shapes only when they are loaded, or first used."""
    return any(map(is_lazy, network.state_dict().values()))


def different_names(
    weights: Mapping[str, Tensor], network: nn.Module
) -> tuple[list[str], list[str]]:
    """Return the names that a network has and the weights lack, and those that are surplus."""
    found, expected = set(weights), set(network.state_dict())
    return sorted(expected - found), sorted(found - expected)


def check_tensors(
    weights: Mapping[str, Tensor],
    network: nn.Module,
    *,
    name: str,
    owner: str,
    same_types: bool = True,
    advice: str = "",
) -> None:
    """Check that weights have the shapes of a network's, and are finite.

    Args:
        weights: All that the network has.
        network: The network.
        name: What messages call the weights' file.
        owner: What they call the network.
        same_types: Whether the types must be the same, too.
        advice: What they say to do about a wrong shape.

    Raises:
        BundleError: A tensor has another shape or type, is sparse, or has a number that is not
            finite.
    """

    def described(tensor: Tensor) -> str:
        return f"{tuple(tensor.shape)}" + (f" {tensor.dtype}" if same_types else "")

    for key, expected in network.state_dict().items():
        found = weights[key]
        if is_lazy(expected):
            pass  # it takes the shape of what is loaded
        elif described(found) != described(expected):
            raise BundleError(
                f"{name}: {key} is {described(found)}; the {owner} expects "
                f"{described(expected)}.{advice}"
            )
        if unlike := _unlike_numbers(found, expected):
            raise BundleError(f"{name}: {key} is {unlike}; expected plain floating-point numbers.")
        # Of numbers of one byte, torch does not know which are finite.
        wide = found.float() if found.is_floating_point() and found.itemsize == 1 else found
        if not torch.isfinite(wide).all():
            raise BundleError(f"{name}: {key} has NaN or infinite weights.")


def _unlike_numbers(found: Tensor, expected: Tensor) -> str | None:
    """Return what a tensor is that a network's floats cannot be copied from without loss."""
    if found.is_meta:
        return "without numbers (torch's meta device)"
    if found.layout != torch.strided:
        return f"sparse ({found.layout})"
    if expected.is_floating_point() and not found.is_floating_point():
        return str(found.dtype)
    return None


def load_weights(network: nn.Module, content: bytes, name: str) -> None:
    """Load a bundle's file of weights into the network that it was written from.

    Args:
        network: The network; its own weights may be without memory (torch's ``meta`` device).
        content: Of the file.
        name: Of the file.

    Raises:
        BundleError: It is not a safetensors file, or has other weights than the network.
    """
    weights = read_safetensors(content, name)
    missing, surplus = different_names(weights, network)
    if missing or surplus:
        raise BundleError(
            f"{name} does not fit the architecture: these weights are missing or surplus: "
            f"{sorted([*missing, *surplus])[:5]}."
        )
    check_tensors(weights, network, name=name, owner="architecture")
    network.load_state_dict(weights, assign=True)
