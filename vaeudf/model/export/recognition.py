"""Where mu, the variance and the picture are in what a model made elsewhere gives.

Their places are recognised by type or by name. What the numbers of the variance *mean* is taken
from types only: an output called ``logvar`` may still be log sigma.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from torch import Tensor, distributions, nn

from vaeudf.errors import BundleError
from vaeudf.model.answers import Outputs, describe, pick
from vaeudf.model.export.families import DETERMINISTIC, FLOW, HYPERBOLIC, SPHERE
from vaeudf.model.variance import Variance

_MU_NAMES = ("mu", "mean", "loc", "z_mean", "z_mu", "latent_mean", "embedding", "q_mu")
# What the names suggest. A person is shown it; the variance is not read by it.
_SPREAD_NAMES: dict[str, Variance] = {
    **dict.fromkeys(
        ("log_var", "logvar", "z_log_var", "z_logvar", "log_variance", "q_logvar"), "log_var"
    ),
    **dict.fromkeys(("log_covariance", "log_sigma2", "logsigma2"), "log_var"),
    **dict.fromkeys(("log_sigma", "logsigma", "log_std", "logstd", "log_scale"), "log_sigma"),
    **dict.fromkeys(("sigma", "std", "stddev", "scale", "z_std", "z_sigma"), "sigma"),
    **dict.fromkeys(("var", "variance", "z_var", "sigma2"), "variance"),
}


@dataclass(frozen=True)
class Recognised:
    """Where the posterior is in an encoder's answer.

    Attributes:
        mu: Path of mu.
        spread: Path of what states the variance.
        variance: How it is to be read, where the answer's type says so.
        suggested: The reading that its name suggests.
        clamp: What the family clamps log sigma² to.
        family: Words for what was recognised.
    """

    mu: str
    spread: str
    variance: Variance | None = None
    suggested: Variance | None = None
    clamp: tuple[float, float] | None = None
    family: str = ""


def find_encoder(model: nn.Module) -> str:
    """Return the path of the encoder: a method ``encode``, a part ``encoder``, or the model."""
    for name in ("encode", "encoder"):
        if _has(model, name):
            return name
    return ""


def find_decoder(model: nn.Module) -> str | None:
    """Return the path of the decoder: a method ``decode`` or a part ``decoder``, else None."""
    return next((name for name in ("decode", "decoder") if _has(model, name)), None)


def recognise(
    answer: Any,
    mu_output: str | None = None,
    variance_output: str | None = None,
    pixels: Tensor | None = None,
) -> Recognised:
    """Return where mu and the variance are in an encoder's answer.

    Args:
        answer: What the encoder gave.
        mu_output: Path of mu, if a person has named it.
        variance_output: Path of what states the variance, likewise.
        pixels: What it was called with: what is as large is no latent, but a reconstruction.

    Raises:
        BundleError: The answer has no diagonal Gaussian, its place is not recognised, or mu and the
            variance would be in the same place.
    """
    for path in (mu_output, variance_output):
        _check_path(answer, path)
    if mu_output is not None and variance_output is not None:
        found = Recognised(mu=mu_output, spread=variance_output)
    elif mu_output is None and variance_output is None:
        return _recognise(answer, pixels)
    else:
        try:
            recognised = _recognise(answer, pixels)
        except BundleError:
            raise BundleError(
                f"the encoder gives {describe(answer)}, and only one of mu and the variance is "
                "named. Name both: --mu-output and --variance-output."
            ) from None
        if variance_output is None:
            found = replace(recognised, mu=mu_output or "")
        else:  # the type says how to read its own variance, and nothing about another place
            found = Recognised(mu=recognised.mu, spread=variance_output)
    if found.mu == found.spread:
        raise BundleError(
            f"mu and the variance would both be {found.mu!r} of {describe(answer)}. Name both: "
            "--mu-output and --variance-output."
        )
    return found


def _check_path(answer: Any, path: str | None) -> None:
    """Refuse a named part of a distribution that is not a diagonal Gaussian."""
    names = path.split(".") if path else []
    for end in range(len(names)):
        inner = pick(answer, ".".join(names[:end]))
        if isinstance(inner, distributions.Distribution):
            _in_distribution(inner)


def _recognise(answer: Any, pixels: Tensor | None = None) -> Recognised:
    if isinstance(answer, distributions.Distribution):
        return _in_distribution(answer)
    if type(answer).__name__ == "IdentityDistribution":
        raise BundleError(f"the encoder gives {describe(answer)}: {DETERMINISTIC}.")
    if _package(answer) == "diffusers" and type(answer).__name__.startswith("DiagonalGaussian"):
        if getattr(answer, "deterministic", False):
            raise BundleError(f"the encoder gives a deterministic distribution: {DETERMINISTIC}.")
        clamp = (-30.0, 20.0)
        return Recognised(
            mu="mean", spread="logvar", variance="log_var", clamp=clamp, family="diffusers"
        )
    for name in ("latent_dist", "posterior", "q_z", "qz_x", "dist", "distribution"):
        inner = _member(answer, name)
        if inner is not None and not isinstance(inner, Tensor):
            return _below(name, _recognise(inner))
    if _member(answer, "log_concentration") is not None:
        raise BundleError(f"the encoder gives a log_concentration: {SPHERE}.")
    named = _by_name(answer)
    if named is not None:
        return named
    if isinstance(answer, Outputs):
        found, names = _in_sequence(list(answer.values()), pixels, answer), list(answer)
        return replace(found, mu=names[int(found.mu)], spread=names[int(found.spread)])
    if isinstance(answer, tuple | list):
        return _in_sequence(answer, pixels, answer)
    halves = ", as first-half and second-half if they stand side by side"
    raise BundleError(
        f"the encoder gives {describe(answer)}: where are mu and the variance in it? Name their "
        "places with --mu-output and --variance-output"
        f"{halves if isinstance(answer, Tensor) else ''}."
    )


def find_picture(answer: Any) -> str:
    """Return the path of the picture in a decoder's answer.

    Raises:
        BundleError: It is not recognised.
    """
    if isinstance(answer, Tensor):
        return ""
    if isinstance(answer, distributions.Distribution):
        return "mean"
    if isinstance(answer, Outputs):
        return next(iter(answer))
    for name in ("sample", "reconstruction", "recon", "x_hat", "x_recon", "recon_x", "image"):
        found = _member(answer, name)
        if isinstance(found, Tensor):
            return name
    if isinstance(answer, tuple | list) and answer and isinstance(answer[0], Tensor):
        return "0"
    raise BundleError(
        f"the decoder gives {describe(answer)}, in which the picture is not to be recognised. "
        "Name its place with --picture-output."
    )


def _in_distribution(answer: distributions.Distribution) -> Recognised:
    path, inner = "", answer
    while isinstance(inner, distributions.Independent):
        path, inner = f"{path}base_dist.", inner.base_dist
    kind = type(inner)
    if kind is distributions.Normal:
        family = f"torch.distributions.{type(answer).__name__}"
        return Recognised(mu=f"{path}loc", spread=f"{path}scale", variance="sigma", family=family)
    reasons = {
        "TransformedDistribution": FLOW,
        "MultivariateNormal": "its covariance is full, and not diagonal",
        "LowRankMultivariateNormal": "its covariance is not diagonal",
        "VonMises": SPHERE,
        "VonMisesFisher": SPHERE,
        "HypersphericalUniform": SPHERE,
        "WrappedNormal": HYPERBOLIC,
        "RiemannianNormal": HYPERBOLIC,
        "MixtureSameFamily": "it is a mixture, and not one Gaussian",
    }
    reason = next(
        (reasons[c.__name__] for c in kind.__mro__ if c.__name__ in reasons),
        "it is not a diagonal Gaussian",
    )
    raise BundleError(
        f"the encoder gives a {kind.__module__}.{kind.__qualname__}: {reason}. Expected a Normal, "
        "or an Independent of one."
    )


def _in_sequence(
    answer: tuple[Any, ...] | list[Any], pixels: Tensor | None, described: Any
) -> Recognised:
    dists = [i for i, part in enumerate(answer) if isinstance(part, distributions.Distribution)]
    if len(dists) == 1:
        return _below(str(dists[0]), _recognise(answer[dists[0]]))
    if len(answer) == 1:
        return _below("0", _recognise(answer[0]))
    two = len(answer) == 2 and all(isinstance(part, Tensor) for part in answer)
    if two and answer[0].ndim == answer[1].ndim:
        return Recognised(mu="0", spread="1", family="a pair")
    latents = _latents(answer, pixels)
    if len(latents) == 2 and _same_shape(answer, *latents):
        mu, spread = map(str, latents)
        return Recognised(mu=mu, spread=spread, family="a pair beside a reconstruction")
    alike = [pair for pair in combinations(latents, 2) if _same_shape(answer, *pair)]
    places = list(described) if isinstance(described, Outputs) else range(len(answer))
    first, second = (places[i] for i in (alike[0] if alike else (0, 1)))
    raise BundleError(
        f"the encoder gives {describe(described)}: which are mu and the variance? Name their "
        f"places, as --mu-output {first} --variance-output {second}."
    )


def _same_shape(answer: Sequence[Tensor], first: int, second: int) -> bool:
    return answer[first].shape == answer[second].shape


def _latents(answer: tuple[Any, ...] | list[Any], pixels: Tensor | None) -> list[int]:
    """Return the places of tensors with less numbers than the pictures, one row for each."""
    if pixels is None:
        return []
    return [
        i
        for i, part in enumerate(answer)
        if isinstance(part, Tensor)
        and part.ndim >= 2
        and len(part) == len(pixels)
        and part.numel() < pixels.numel()
    ]


def _by_name(answer: Any) -> Recognised | None:
    if isinstance(answer, Tensor | tuple) and not hasattr(answer, "_fields"):
        return None
    mus = [name for name in _MU_NAMES if isinstance(_member(answer, name), Tensor)]
    spreads = [name for name in _SPREAD_NAMES if isinstance(_member(answer, name), Tensor)]
    if not mus or not spreads:
        return None
    mu, spread = mus[0], spreads[0]
    if _package(answer) == "pythae" and spread == "log_covariance":
        return Recognised(mu=mu, spread=spread, variance="log_var", family="pythae")
    return Recognised(
        mu=mu, spread=spread, suggested=_SPREAD_NAMES[spread], family=f"{mu} and {spread}"
    )


def _below(name: str, found: Recognised) -> Recognised:
    """Return what was found in a part of an answer, by paths from the whole answer."""

    def path(inner: str) -> str:
        return f"{name}.{inner}" if inner else name

    return replace(found, mu=path(found.mu), spread=path(found.spread))


def _member(thing: Any, name: str) -> Any:
    if isinstance(thing, Tensor):
        return None
    if isinstance(thing, Mapping):
        return thing.get(name)
    return getattr(thing, name, None)


def _has(model: nn.Module, name: str) -> bool:
    try:
        found: Callable[..., Any] = pick(model, name)
    except BundleError:
        return False
    return callable(found)


def _package(thing: Any) -> str:
    return type(thing).__module__.split(".")[0]
