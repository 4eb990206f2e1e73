"""Models made elsewhere: how they are called, and where in their answers the posterior is.

A factory, ``module:callable``, makes the model; an :class:`Interface` says the rest. A path names a
part of something: ``latent_dist.mean`` is the attribute (or key, or place) ``mean`` of what is
named ``latent_dist``; ``0`` is the first of a tuple; the empty path is the thing itself.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vaeudf.errors import BundleError
from vaeudf.model.conv_vae import Networks

PixelLayout = Literal["chw", "hwc"]
LatentLayout = Literal["flat", "chw", "hwc"]
Activation = Literal["none", "sigmoid", "tanh"]

FIRST_HALF, SECOND_HALF = "first-half", "second-half"
"""Parts of a path: the halves of a tensor (B, 2n) or (B, 2C, h, w) along its second axis."""

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Interface:
    """How a model made elsewhere is called; stored in the manifest.

    Attributes:
        encoder: Path, in what the factory makes, of what is called with pixels.
        mu: Path of mu in the encoder's answer.
        spread: Path of what states the variance.
        decoder: Path of what is called with latents; None if the model has none.
        picture: Path of the picture in the decoder's answer.
        latent_shape: Of one item's mu as the encoder gives it; it is flattened in this order, the
            last axis fastest.
        latent_layout: What the axes are: ``flat``, or channel first or last.
        pixel_layout: Of the pictures that the encoder takes and the decoder gives.
        clamp: What the encoder states of the variance is clamped to this before it is read.
        scale: Latents are (what the encoder gives - shift) * scale.
        shift: See ``scale``.
        activation: What the decoder's answer must go through to be a picture.
        channels_last: Whether the encoder takes tensors laid out channel-last, which is faster.
    """

    encoder: str
    mu: str
    spread: str
    decoder: str | None
    picture: str
    latent_shape: tuple[int, ...]
    latent_layout: LatentLayout = "flat"
    pixel_layout: PixelLayout = "chw"
    clamp: tuple[float, float] | None = None
    scale: float = 1.0
    shift: float = 0.0
    activation: Activation = "none"
    channels_last: bool = False

    def __post_init__(self) -> None:
        shape, clamp = self.latent_shape, self.clamp
        good = {
            "encoder": isinstance(self.encoder, str),
            "mu": isinstance(self.mu, str),
            "spread": isinstance(self.spread, str),
            "decoder": self.decoder is None or isinstance(self.decoder, str),
            "picture": isinstance(self.picture, str),
            "latent_layout": self.latent_layout in get_args(LatentLayout),
            "latent_shape": isinstance(shape, tuple)
            and all(type(side) is int and side >= 1 for side in shape)
            and len(shape) == (1 if self.latent_layout == "flat" else 3),
            "pixel_layout": self.pixel_layout in get_args(PixelLayout),
            "clamp": clamp is None
            or (
                (isinstance(clamp, tuple) and len(clamp) == 2 and _are_finite(*clamp))
                and clamp[0] < clamp[1]
            ),
            "scale": _are_finite(self.scale) and self.scale > 0,
            "shift": _are_finite(self.shift),
            "activation": self.activation in get_args(Activation),
            "channels_last": isinstance(self.channels_last, bool),
        }
        for name, is_good in good.items():
            if not is_good:
                raise BundleError(
                    f"interface.{name} is {getattr(self, name)!r}, which is not a value that it "
                    "can have; see docs/models.md."
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the interface as JSON can hold it; :meth:`from_dict` reads it back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Any) -> Interface:
        """Read what :meth:`to_dict` wrote.

        Raises:
            BundleError: A key is missing or unknown, or a value is wrong.
        """
        expected = [field.name for field in fields(cls)]
        if not isinstance(content, dict) or set(content) != set(expected):
            found = sorted(content) if isinstance(content, dict) else content
            raise BundleError(f"interface has the keys {found}; expected {sorted(expected)}.")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in content.items()
        }
        return cls(**values)


class ForeignEncoder(nn.Module):
    """Calls a model's encoder, and takes its answer apart."""

    def __init__(self, model: nn.Module, interface: Interface) -> None:
        super().__init__()
        self.model = model
        self.interface = interface

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map scaled pixels (B, C, H, W) to mu and what is stated of the variance, both (B, n)."""
        interface = self.interface
        if interface.pixel_layout == "hwc":
            pixels = pixels.permute(0, 2, 3, 1).contiguous()
        answer = pick(self.model, interface.encoder)(pixels)
        mu, stated = (pick(answer, path).flatten(1) for path in (interface.mu, interface.spread))
        if interface.clamp is not None:
            stated = stated.clamp(*interface.clamp)
        return mu, stated


class ForeignDecoder(nn.Module):
    """Calls a model's decoder with latents as :class:`ForeignEncoder` gives them, but scaled."""

    def __init__(self, model: nn.Module, interface: Interface) -> None:
        super().__init__()
        self.model = model
        self.interface = interface

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (B, n) to scaled pixels (B, C, H, W)."""
        interface = self.interface
        latents = (z / interface.scale + interface.shift).reshape(-1, *interface.latent_shape)
        assert interface.decoder is not None
        answer = pick(self.model, interface.decoder)(latents)
        picture = pick(answer, interface.picture)
        if not isinstance(picture, Tensor):
            raise BundleError(
                f"the decoder gives {describe(answer)}; expected a tensor at "
                f"{interface.picture!r}. Name its place with --picture-output."
            )
        if interface.pixel_layout == "hwc":
            picture = picture.permute(0, 3, 1, 2)
        if interface.activation == "sigmoid":
            return torch.sigmoid(picture)
        return torch.tanh(picture) if interface.activation == "tanh" else picture


class NoDecoder(nn.Module):
    """Stands where a model has no decoder."""

    def forward(self, z: Tensor) -> Tensor:
        """Raise a BundleError."""
        raise BundleError(
            "the model has no decoder, so nothing can be decoded; export one with it."
        )


def is_factory(name: str) -> bool:
    """Whether an architecture's name is that of a factory, ``module:callable``."""
    return ":" in name


def build_foreign(factory: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Call a factory, and return what it makes as one module, for inference and in float32.

    This runs whatever code the factory is.

    Raises:
        BundleError: There is no such factory, it failed, or it made something else.
    """
    make = _find(factory)
    try:
        made = make(**arguments)
    except Exception as error:  # it is somebody else's code
        raise BundleError(
            f"factory {factory} failed with the arguments {dict(arguments)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if isinstance(made, Mapping) and made and all(isinstance(v, nn.Module) for v in made.values()):
        made = nn.ModuleDict(made)
    elif isinstance(made, tuple | list) and len(made) == 2:
        names = ("encoder", "decoder")
        if all(isinstance(part, nn.Module) for part in made):
            made = nn.ModuleDict(dict(zip(names, made, strict=True)))
    if not isinstance(made, nn.Module):
        raise BundleError(
            f"{factory} made {describe(made)}; expected a torch.nn.Module, or a pair of them: "
            "encoder and decoder."
        )
    return made.float().eval().requires_grad_(False)


def networks_of(model: nn.Module, interface: Interface) -> Networks:
    """Return the two halves of a model made elsewhere; they share it."""
    decoder = NoDecoder() if interface.decoder is None else ForeignDecoder(model, interface)
    return Networks(ForeignEncoder(model, interface), decoder)


def pick(thing: Any, path: str) -> Any:
    """Return the part of something that a path names.

    Raises:
        BundleError: There is none.
    """
    found = thing
    for name in path.split(".") if path else []:
        try:
            found = _step(found, name)
        except (KeyError, IndexError, AttributeError, TypeError):
            raise BundleError(
                f"{describe(thing)} has no {path!r}; name another place, such as 0 for the first "
                "of a tuple, or latent_dist.mean for an attribute."
            ) from None
    return found


def describe(thing: Any) -> str:
    """Say in a few words what somebody's model has given."""
    if isinstance(thing, Tensor):
        return f"a tensor of shape {tuple(thing.shape)}"
    kind = type(thing).__name__
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
    if isinstance(thing, tuple | list) and name.isdecimal():
        return thing[int(name)]
    return getattr(thing, name)


def _find(factory: str) -> Callable[..., Any]:
    if not _FACTORY.fullmatch(factory):
        raise BundleError(f"factory {factory!r} is no factory; expected module:callable.")
    module_name, path = factory.split(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise BundleError(
            f"factory {factory}: there is no module {error.name!r}; install it, or send its file "
            "along with --py-files."
        ) from None
    except Exception as error:  # it is somebody else's code
        raise BundleError(
            f"factory {factory}: module {module_name} cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise BundleError(f"factory {factory}: {module_name} has no {path}.")
        found = getattr(found, name)
    if not callable(found):
        raise BundleError(f"factory {factory} is {describe(found)}; expected something to call.")
    return found  # type: ignore[no-any-return]


def _are_finite(*values: object) -> bool:
    return all(
        isinstance(v, int | float) and type(v) is not bool and -1e300 < v < 1e300 for v in values
    )
