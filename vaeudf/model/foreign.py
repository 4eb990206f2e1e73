"""Models made elsewhere: a factory of the user's makes the model, an interface says how to call it.

Calling a factory, ``module:callable``, runs its code.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vaeudf.errors import BundleError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.answers import describe, pick
from vaeudf.model.interface import Interface, PixelLayout
from vaeudf.model.networks import Networks

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class ForeignEncoder(nn.Module):
    """Calls a model's encoder, and picks mu and what states the variance from its answer."""

    def __init__(self, model: nn.Module, interface: Interface) -> None:
        super().__init__()
        self.model = model
        self.interface = interface

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map scaled pixels (B, C, H, W) to mu and what states the variance, both (B, n)."""
        interface = self.interface
        answer = pick(self.model, interface.encoder)(arranged(pixels, interface.pixel_layout))
        mu, stated = (pick(answer, path).flatten(1) for path in (interface.mu, interface.spread))
        if interface.clamp is not None:
            stated = stated.clamp(*interface.clamp)
        return mu, stated


class ForeignDecoder(nn.Module):
    """Calls a model's decoder with latents (B, n), and picks the picture from its answer.

    The latents are scaled and shifted as the interface says, unlike what :class:`ForeignEncoder`
    gives.
    """

    def __init__(self, model: nn.Module, interface: Interface, path: str, spec: ImageSpec) -> None:
        super().__init__()
        self.model = model
        self.interface = interface
        self.path = path
        self._shape = (spec.channels, spec.height, spec.width)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (B, n) to scaled pixels (B, C, H, W)."""
        interface = self.interface
        latents = (z / interface.scale + interface.shift).reshape(-1, *interface.latent_shape)
        answer = pick(self.model, self.path)(latents)
        picture = pick(answer, interface.picture)
        if not isinstance(picture, Tensor):
            raise BundleError(
                f"the decoder gives {describe(answer)}; expected a tensor at "
                f"{interface.picture!r}. Name its place with --picture-output."
            )
        picture = self._with_axes(picture)
        if interface.activation == "sigmoid":
            return torch.sigmoid(picture)
        return torch.tanh(picture) if interface.activation == "tanh" else picture

    def _with_axes(self, picture: Tensor) -> Tensor:
        """Return a picture with its axes in torch's order, (B, C, H, W), if it can be that."""
        channels, height, width = self._shape
        channel_last = (height, width, channels)
        hwc = self.interface.pixel_layout == "hwc"
        is_flat = picture.ndim == 2 and picture.shape[1] == channels * height * width
        if is_flat or (channels == 1 and picture.shape[1:] == (height, width)):
            picture = picture.reshape(-1, *(channel_last if hwc else self._shape))
        # A decoder may be of another framework than its encoder; the shape tells.
        if picture.shape[1:] == channel_last and (hwc or channel_last != self._shape):
            return picture.permute(0, 3, 1, 2)
        return picture


def arranged(pixels: Tensor, layout: PixelLayout) -> Tensor:
    """Return scaled pixels (B, C, H, W) in the layout that a model takes."""
    if layout == "hwc":
        return pixels.permute(0, 2, 3, 1).contiguous()
    return pixels.flatten(1) if layout == "flat" else pixels


class NoDecoder(nn.Module):
    """Takes the place of the decoder in a model without one."""

    def forward(self, z: Tensor) -> Tensor:
        """Raise a BundleError."""
        raise BundleError(
            "the model has no decoder, so nothing can be decoded; export one with it."
        )


def networks_of(model: nn.Module, interface: Interface, spec: ImageSpec) -> Networks:
    """Return the two halves of a model made elsewhere, which share it.

    Args:
        model: The model.
        interface: How it is called.
        spec: The pictures that it takes and gives.
    """
    encoder = ForeignEncoder(model, interface)
    if interface.decoder is None:
        return Networks(encoder, NoDecoder())
    return Networks(encoder, ForeignDecoder(model, interface, interface.decoder, spec))


def build_foreign(factory: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Call a factory, and return what it makes as one module, for inference and in float32.

    This runs the factory's code, whatever it is.

    Raises:
        BundleError: There is no such factory, it failed, or it made something else.
    """
    make = _find(factory)
    try:
        with _bare_command_line():
            made = make(**arguments)
    except (Exception, SystemExit) as error:  # somebody else's code may raise anything
        raise BundleError(
            f"factory {factory} failed with the arguments {dict(arguments)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    model = _as_module(made)
    if model is None:
        raise BundleError(
            f"{factory} made {describe(made)}; expected a torch.nn.Module, or a pair of them: "
            "encoder and decoder."
        )
    model = model.float().eval()
    for parameter in model.parameters():
        if not is_lazy(parameter):  # one without a shape yet cannot be told
            parameter.requires_grad_(False)
    return model


def _as_module(made: Any) -> nn.Module | None:
    """Return a module, or several as one; None if they are something else."""
    if isinstance(made, nn.Module):
        return made
    if isinstance(made, tuple | list) and len(made) == 2:
        made = {"encoder": made[0], "decoder": made[1]}
    if isinstance(made, Mapping) and made and all(isinstance(v, nn.Module) for v in made.values()):
        return nn.ModuleDict(made)
    return None


@contextmanager
def _bare_command_line() -> Iterator[None]:
    """Hide this program's options: training scripts parse what they take for their own."""
    own = sys.argv
    sys.argv = own[:1]
    try:
        yield
    finally:
        sys.argv = own


def _find(factory: str) -> Callable[..., Any]:
    if not _FACTORY.fullmatch(factory):
        raise BundleError(f"factory {factory!r} is not a factory; expected module:callable.")
    module_name, path = factory.split(":")
    try:
        with _bare_command_line():
            found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise BundleError(
            f"factory {factory}: there is no module {error.name!r}; install it, or send its file "
            "along with --py-files."
        ) from None
    except SystemExit as error:
        raise BundleError(
            f"factory {factory}: module {module_name} ends the program when it is imported "
            f"({error}), as a script does whose options are missing. Put what it runs below "
            "'if __name__ == \"__main__\":', or the model's code into a module of its own."
        ) from error
    except Exception as error:  # somebody else's code may raise anything
        relative = "relative import" in str(error) and isinstance(error, ImportError)
        why = " It is a part of a package: name that, as --factory package.module:callable "
        raise BundleError(
            f"factory {factory}: module {module_name} cannot be imported: "
            f"{type(error).__name__}: {error}{f'.{why}--py-files package/.' if relative else ''}"
        ) from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise BundleError(f"factory {factory}: {module_name} has no {path}.")
        found = getattr(found, name)
    if not callable(found):
        raise BundleError(f"factory {factory} is {describe(found)}; expected something to call.")
    return found  # type: ignore[no-any-return]
