"""What a bundle says about its weights: ``bundle.json``, read and checked."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vaeudf.errors import BundleError, InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model import likelihood as likelihoods
from vaeudf.model.bundle_files import DECODER, DECODER_ONNX, ENCODER, ENCODER_ONNX, MANIFEST, MODEL
from vaeudf.model.interface import Interface, check_keys
from vaeudf.model.likelihood import BernoulliPixels, GaussianPixels, Likelihood
from vaeudf.model.variance import VARIANCES, Variance

FORMAT = 3
"""Of manifests with a likelihood; those without one are written as format 2, as they were before
there was any, so that the same model has the same id as then."""
_FORMAT_BEFORE_LIKELIHOOD = 2

ONNX = "onnx"
"""The architecture of a model that is a file of ONNX."""

TEST_VECTOR_LENGTH = 16
"""How many dimensions of mu, and of what states the variance, a test vector has at most."""


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about its weights.

    Attributes:
        architecture: Name in :data:`vaeudf.model.architectures.ARCHITECTURES`; a factory,
            ``module:callable``; or :data:`ONNX`.
        arguments: Its arguments.
        latent_dim: n, the length of mu and log_var.
        image: The pictures that the encoder takes and the decoder gives.
        variance: What the encoder's second output states.
        z_range: Per dimension, the low and high end of where training items lie, shape (2, n):
            a sensible range for a slider. None if not known.
        training: Facts about the training, for people.
        interface: How a model made elsewhere is called; None for an architecture of vaeudf's.
        test_vector: What the encoder of a model made elsewhere gave for a picture of noise when it
            was exported, the first numbers of mu and of what states the variance, shape (2, at most
            16). A factory's code may change, which the checksums of its weights would not show.
            None if not known.
        likelihood: How likely a picture is under what the decoder gives; None if not known.
        files: sha256 of each weight file.
    """

    architecture: str
    arguments: dict[str, Any]
    latent_dim: int
    image: ImageSpec
    variance: Variance = "log_var"
    z_range: list[list[float]] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    interface: Interface | None = None
    test_vector: list[list[float]] | None = None
    likelihood: Likelihood | None = None
    files: dict[str, str] = field(default_factory=dict)

    @property
    def is_foreign(self) -> bool:
        """Whether a factory makes the model, so that loading it runs code that is not vaeudf's."""
        return ":" in self.architecture

    @property
    def is_onnx(self) -> bool:
        """Whether the model is a file of ONNX."""
        return self.architecture == ONNX

    @property
    def weight_files(self) -> tuple[str, ...]:
        """The names of the files of weights, that of the encoder first, of the decoder last."""
        if self.is_onnx:
            has_decoder = self.interface is not None and self.interface.decoder is not None
            return (ENCODER_ONNX, DECODER_ONNX) if has_decoder else (ENCODER_ONNX,)
        return (MODEL,) if self.is_foreign else (ENCODER, DECODER)

    def to_json(self) -> bytes:
        """Return the text of ``bundle.json``."""
        interface = None if self.interface is None else self.interface.to_dict()
        content = {
            "format": FORMAT,
            **vars(self),
            "image": self.image.to_dict(),
            "interface": interface,
        }
        if self.likelihood is None:
            content["format"] = _FORMAT_BEFORE_LIKELIHOOD
            del content["likelihood"]
        else:
            content["likelihood"] = likelihoods.to_dict(self.likelihood)
        text = json.dumps(content, indent=2, allow_nan=False)
        # Lists of numbers on one line, for there may be thousands.
        text = re.sub(r"\[\n[-\d.,\se+]*\]", lambda found: " ".join(found[0].split()), text)
        return f"{text}\n".encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Read and check ``bundle.json``.

        Raises:
            BundleError: It is not a manifest of this format.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{MANIFEST} is not JSON: {error}.") from None
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        if type(found) is not int or not 1 <= found <= FORMAT:
            raise BundleError(f"{MANIFEST} has format {found!r}; this version reads 1 to {FORMAT}.")
        del content["format"]
        if found == 1:  # from before models made elsewhere could be exported
            content = {"interface": None, "test_vector": None, **content}
        keys = set(cls.__dataclass_fields__)
        if found <= _FORMAT_BEFORE_LIKELIHOOD:
            keys.remove("likelihood")
        check_keys(MANIFEST, content, keys)
        try:
            content["image"] = ImageSpec.from_dict(content["image"])
            if content["interface"] is not None:
                content["interface"] = Interface.from_dict(content["interface"])
            if "likelihood" in content:
                content["likelihood"] = likelihoods.from_dict(content["likelihood"])
        except InputError as error:
            raise BundleError(f"{MANIFEST}: image: {error}") from None
        except BundleError as error:
            raise BundleError(f"{MANIFEST}: {error}") from None
        manifest = cls(**content)
        manifest.check()
        return manifest

    def check(self) -> None:
        """Check each value, and that the values do not contradict each other.

        Raises:
            BundleError: A value is invalid, or contradicts another.
        """
        self._check_values()
        self._check_consistency()

    def _check_values(self) -> None:
        def check(key: str, good: bool) -> None:
            if not good:
                raise BundleError(
                    f"{MANIFEST}: {key} is {getattr(self, key)!r}, which is not a value that "
                    "this key can have; see docs/models.md for the format."
                )

        n, files = self.latent_dim, self.files
        check("architecture", isinstance(self.architecture, str))
        check("arguments", isinstance(self.arguments, dict))
        check("latent_dim", type(n) is int and n >= 1)
        check("variance", self.variance in VARIANCES)
        check("z_range", self.z_range is None or _are_numbers(self.z_range, (2, n)))
        check("training", isinstance(self.training, dict))
        tested = (2, min(n, TEST_VECTOR_LENGTH))
        check("test_vector", self.test_vector is None or _are_numbers(self.test_vector, tested))
        known = (GaussianPixels, BernoulliPixels)
        check("likelihood", self.likelihood is None or isinstance(self.likelihood, known))
        check("files", isinstance(files, dict) and set(files) == set(self.weight_files))
        check("files", all(isinstance(digest, str) for digest in files.values()))

    def _check_consistency(self) -> None:
        if (self.is_foreign or self.is_onnx) != (self.interface is not None):
            raise BundleError(
                f"{MANIFEST}: architecture is {self.architecture!r} and interface is "
                f"{'there' if self.interface else 'null'}; expected an interface for a factory, "
                "module:callable, or onnx, and for nothing else."
            )
        if self.interface is not None:
            if self.interface.latent_dim != self.latent_dim:
                raise BundleError(
                    f"{MANIFEST}: latent_dim is {self.latent_dim}, but interface.latent_shape "
                    f"{list(self.interface.latent_shape)}; expected its product."
                )
            if self.interface.decoder is None and self.likelihood is not None:
                raise BundleError(
                    f"{MANIFEST}: likelihood is {self.likelihood}, but the model has no decoder; "
                    "expected a decoder, or no likelihood."
                )
            return  # the meaning of a factory's arguments is not known
        stated = {**self.image.to_dict(), "latent_dim": self.latent_dim}
        for name, value in self.arguments.items():
            if stated.get(name, value) != value:
                raise BundleError(
                    f"{MANIFEST}: the argument {name} of {self.architecture} is {value!r}, but "
                    f"the manifest says {stated[name]!r}; expected the same."
                )


def _are_numbers(value: object, shape: tuple[int, ...]) -> bool:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return False
    is_numeric = array.dtype.kind in "iuf"
    return is_numeric and array.shape == shape and bool(np.isfinite(array).all())
