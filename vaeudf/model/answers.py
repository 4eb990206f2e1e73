"""What somebody else's model gives: a part of it by its path, and a description in words.

A path names a part of something: ``latent_dist.mean`` is the attribute (or key, or index) ``mean``
of what ``latent_dist`` names; ``0`` is the first of a tuple; the empty path is the thing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vaeudf.errors import BundleError


class Outputs(dict[str, Any]):
    """What has names and an order, too, as the outputs of a model of ONNX."""


FIRST_HALF, SECOND_HALF = "first-half", "second-half"
"""Parts of a path: the halves of a tensor (B, 2n) or (B, 2C, h, w) along its second axis."""


def pick(thing: Any, path: str) -> Any:
    """Return the part of something that a path names.

    Raises:
        BundleError: There is no such part.
    """
    found = thing
    rest = path.split(".") if path else []
    while rest:
        try:
            taken = _names_taken(found, rest)
            found = _step(found, ".".join(rest[:taken]))
        except (KeyError, IndexError, AttributeError, TypeError):
            raise BundleError(
                f"{describe(thing)} has no {path!r}; name another place, such as 0 for the first "
                "of a tuple, or latent_dist.mean for an attribute."
            ) from None
        rest = rest[taken:]
    return found


def _names_taken(thing: Any, names: list[str]) -> int:
    """Return how many names, joined by dots, are one key of a mapping; else 1."""
    if isinstance(thing, Mapping) and not isinstance(thing, nn.Module):
        for end in range(len(names), 1, -1):
            if ".".join(names[:end]) in thing:
                return end
    return 1


def describe(thing: Any) -> str:
    """Describe in a few words what somebody's model has given."""
    if isinstance(thing, Tensor):
        return f"a tensor of shape {tuple(thing.shape)}"
    kind = type(thing).__name__
    if isinstance(thing, Outputs):
        return ", ".join(f"{name!r}, {describe(part)}" for name, part in thing.items())
    if isinstance(thing, Mapping) and not isinstance(thing, nn.Module):
        return f"a {kind} of {', '.join(map(repr, thing))}" if thing else f"an empty {kind}"
    if isinstance(thing, tuple | list):
        return f"a {kind} of {len(thing)}: {', '.join(map(describe, thing))}"
    return f"a {kind}"


def _step(thing: Any, name: str) -> Any:
    if name in (FIRST_HALF, SECOND_HALF) and isinstance(thing, Tensor):
        first, second = thing.chunk(2, dim=1)
        return first if name == FIRST_HALF else second
    if isinstance(thing, nn.ModuleDict):
        return thing[name]
    if isinstance(thing, Mapping) and name in thing:
        return thing[name]
    if isinstance(thing, Outputs) and name.isdecimal():
        thing = list(thing.values())
    if isinstance(thing, tuple | list) and name.isdecimal():
        return thing[int(name)]
    return getattr(thing, name)
