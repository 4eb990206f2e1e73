"""Models whose encoder takes more than pictures, such as conditional VAEs: what to do about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

# What people call a condition that may be left out, and then is needed all the same.
_CONDITIONS = {
    *("y", "c", "cond", "condition", "conditions", "context", "label", "labels", "target"),
    *("targets", "class_labels", "attr", "attributes", "one_hot", "onehot", "classes"),
}


def more_inputs(called: Callable[..., Any], *, optional: bool = False) -> list[str]:
    """Return what something needs besides its first argument.

    Args:
        called: A method, function or module.
        optional: Whether to return what is called as a condition, and has a default, instead.
    """
    function = called.forward if isinstance(called, nn.Module) else called
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # of compiled code
        return []
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)][1:]
    if optional:
        return [p.name for p in named if p.default is not p.empty and p.name in _CONDITIONS]
    return [p.name for p in named if p.default is p.empty]


def advice(factory: str, encoder: str, decoder: str | None, names: list[str]) -> str:
    """Return what to do about an encoder that takes more than pictures, with the code for it.

    Args:
        factory: ``module:callable``.
        encoder: Path of the encoder; empty for the model itself.
        decoder: Path of a decoder that takes the same; None if it takes latents alone, or there is
            none.
        names: What the encoder takes besides pictures.
    """
    module, make = factory.split(":")
    given = ", ".join(f"self.expanded({name!r}, x)" for name in names)
    lines = [
        "import torch",
        f"import {module}",
        "",
        "class Fixed(torch.nn.Module):",
        "    def __init__(self, vae, **fixed):",
        "        super().__init__()",
        "        self.vae, self.fixed = vae, fixed",
        "    def expanded(self, name, x):",
        "        value = self.fixed[name]",
        "        return value.expand(len(x), *value.shape)",
        f"    def {'forward' if not encoder else 'encode'}(self, x):",
        f"        return self.vae{'.' * bool(encoder)}{encoder}(x, {given})",
    ]
    if decoder is not None:
        lines += ["    def decode(self, x):", f"        return self.vae.{decoder}(x, {given})"]
    values = ", ".join(f"{name}=torch.tensor(0)" for name in names)
    lines += [
        "",
        "def make(**arguments):",
        f"    return Fixed({module}.{make}(**arguments), {values})",
    ]
    one = len(names) == 1
    return (
        f"{encoder or 'the model'} takes {' and '.join(map(repr, names))} besides pictures, as a "
        f"conditional VAE does; vaeudf gives it pictures alone. Fix {'it' if one else 'them'} in a "
        "factory of your own, in a file such as fixed.py, and name it with --factory "
        "fixed.py:make (and with --py-files what it imports); 0 is the label here, and a one-hot "
        "label would be torch.eye(10)[0]. Every picture is then encoded with this "
        "label:\n\n" + "\n".join(lines) + "\n"
    )
