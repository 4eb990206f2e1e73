"""Where a model made elsewhere comes from: a factory and its weights, or files of ONNX."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from vaeudf.errors import BundleError
from vaeudf.model.export.checkpoint import load_checkpoint
from vaeudf.model.export.families import check_family
from vaeudf.model.export.file_kinds import is_onnx, other_kind
from vaeudf.model.foreign import build_foreign
from vaeudf.model.manifest import ONNX
from vaeudf.model.onnx import OnnxNetwork
from vaeudf.model.onnx_file import read_whole
from vaeudf.model.py_files import split_factory, use_py_files


class Made(NamedTuple):
    """A model that was made.

    Attributes:
        model: The model, with its weights.
        facts: What people may want to know of it.
        taken: Which of the weights in a file it has, in words, if there are several.
    """

    model: nn.Module
    facts: dict[str, Any]
    taken: str = ""


class Origin(ABC):
    """Where a model comes from."""

    @property
    @abstractmethod
    def architecture(self) -> str:
        """What the manifest calls it."""

    @property
    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The architecture's."""

    @abstractmethod
    def make(self) -> Made:
        """Make the model.

        Raises:
            BundleError: It cannot be made, or is of a family without a diagonal Gaussian.
        """


class FactoryOrigin(Origin):
    """A factory of somebody's own; to make the model is to run its code."""

    def __init__(
        self,
        factory: str,
        arguments: Mapping[str, Any],
        weights: str | Path | None,
        prefix: str | None,
        key: str | None,
    ) -> None:
        """Take the factory; the other arguments are those of :class:`ForeignModel`."""
        self._factory, self._file = split_factory(factory)
        self._arguments = dict(arguments)
        self._weights, self._prefix, self._key = weights, prefix, key

    @property
    def architecture(self) -> str:
        """The factory, ``module:callable``."""
        return self._factory

    @property
    def arguments(self) -> dict[str, Any]:
        """The factory's."""
        return self._arguments

    def make(self) -> Made:
        """Call the factory, and load the weights."""
        use_py_files([self._file] if self._file else None)
        model = build_foreign(self.architecture, self.arguments)
        check_family(model)
        taken = ""
        if self._weights is not None:
            taken = load_checkpoint(model, Path(self._weights), self._prefix, self._key)
        facts = {
            "model": type(model).__qualname__,
            "package": _package(self.architecture),
            **({"weights": taken} if taken else {}),
            **_scaling_factors(model),
        }
        return Made(model, facts, taken)


@dataclass(frozen=True)
class OnnxFiles(Origin):
    """An encoder, and perhaps a decoder, each a file of ONNX.

    Attributes:
        encoder: Pictures (N, C, H, W), (N, H, W, C) or (N, C · H · W) to mu and what states the
            variance.
        decoder: Latents to pictures; None if there is none.
    """

    encoder: str | Path
    decoder: str | Path | None = None

    @property
    def architecture(self) -> str:
        """ONNX."""
        return ONNX

    @property
    def arguments(self) -> dict[str, Any]:
        """None."""
        return {}

    def make(self) -> Made:
        """Load the files; no code is run."""
        model = nn.ModuleDict()
        for part, path in (("encoder", self.encoder), ("decoder", self.decoder)):
            if path is not None:
                network = OnnxNetwork(str(path))
                _check_kind(Path(path))
                network.load(read_whole(Path(path)))
                model[part] = network
        encoder = model["encoder"]
        assert isinstance(encoder, OnnxNetwork)
        return Made(model, {"model": Path(self.encoder).name, **encoder.facts})


def _check_kind(path: Path) -> None:
    """Refuse a file that is something else by its name, such as a pointer of Git LFS."""
    try:
        if path.is_dir():
            raise BundleError(f"{path} is a folder; name the file of ONNX in it.")
        if not path.is_file():
            return  # said where it is read
        with open(path, "rb") as file:
            if is_onnx(file.read(3)):
                return
        other = other_kind(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from None
    if other is not None:
        raise BundleError(f"{path} {other}")


def _package(factory: str) -> str:
    package = factory.split(":")[0].split(".")[0]
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


def _scaling_factors(model: nn.Module) -> dict[str, float]:
    """Return what a model of diffusers says of its latents' scale."""
    config = getattr(model, "config", None)
    found = {name: getattr(config, name, None) for name in ("scaling_factor", "shift_factor")}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}
