"""How a model made elsewhere is called: found by calling it, and looking at its answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor, nn

from vaeudf.errors import BundleError
from vaeudf.model.answers import describe, pick
from vaeudf.model.export.conditional import advice, more_inputs
from vaeudf.model.export.foreign_model import ForeignModel
from vaeudf.model.export.recognition import (
    Recognised,
    find_decoder,
    find_encoder,
    find_picture,
    recognise,
)
from vaeudf.model.foreign import arranged
from vaeudf.model.interface import Interface, LatentLayout, PixelLayout

# How far mu of forward and mu of the encoder may be apart if they are one.
_SAME = 1e-4


@torch.inference_mode()
def find_interface(
    model: nn.Module, source: ForeignModel, pixels: Tensor
) -> tuple[Recognised, Interface]:
    """Call a model, and return where its posterior is and how it is called.

    Args:
        model: The model.
        source: What a person says of it.
        pixels: Scaled pixels (B, C, H, W) to call it with.

    Raises:
        BundleError: It cannot be called so, or its answer has no diagonal Gaussian, or not one that
            is recognised.
    """
    encoder = find_encoder(model) if source.encoder is None else source.encoder
    _check_inputs(model, source, encoder)
    answer, pixel_layout = _encode(model, source, encoder, pixels)
    if source.encoder is None and encoder and isinstance(answer, Tensor):
        _check_forward(model, source, encoder, answer, pixels)
    found = recognise(answer, source.mu_output, source.variance_output, pixels)
    mu, stated = (_tensor(answer, path) for path in (found.mu, found.spread))
    shape = _latent_shape(mu, stated, len(pixels), found)
    layout: LatentLayout = "flat" if len(shape) == 1 else source.latent_layout or "chw"
    interface = Interface(
        encoder=encoder,
        mu=found.mu,
        spread=found.spread,
        decoder=None,
        picture="",
        latent_shape=shape,
        latent_layout=layout,
        pixel_layout=pixel_layout,
        clamp=source.clamp or found.clamp,
        scale=source.latent_scale,
        shift=source.latent_shift,
        activation=source.activation,
    )
    decoder = find_decoder(model) if source.decoder is None else source.decoder
    if decoder is None or decoder == "none":
        return found, interface
    decoded = _call(
        model, decoder, mu, "Name what decodes with --decoder, or leave it out: --decoder none."
    )
    picture = find_picture(decoded) if source.picture_output is None else source.picture_output
    return found, replace(interface, decoder=decoder, picture=picture)


def _check_inputs(model: nn.Module, source: ForeignModel, encoder: str) -> None:
    """Refuse an encoder that needs more than pictures."""
    names = more_inputs(pick(model, encoder))
    if names:
        raise BundleError(_advice(model, source, encoder, names))


def _advice(model: nn.Module, source: ForeignModel, encoder: str, names: list[str]) -> str:
    decoder = find_decoder(model)
    if decoder is not None and not more_inputs(pick(model, decoder)):
        decoder = None
    return advice(source.origin.architecture, encoder, decoder, names)


def _encode(
    model: nn.Module, source: ForeignModel, encoder: str, pixels: Tensor
) -> tuple[Any, PixelLayout]:
    """Return what an encoder gives, and the layout of pictures that it takes."""
    if source.pixel_layout is not None:
        layout = source.pixel_layout
        return _call(model, encoder, arranged(pixels, layout)), layout
    errors = []
    layouts: tuple[PixelLayout, ...] = get_args(PixelLayout)
    for layout in layouts:
        try:
            return _call(model, encoder, arranged(pixels, layout)), layout
        except BundleError as error:
            errors.append(error)
    names = more_inputs(pick(model, encoder), optional=True)
    if names:  # which may be left out, by the signature
        raise BundleError(_advice(model, source, encoder, names)) from errors[0].__cause__
    raise errors[0]


def _check_forward(
    model: nn.Module, source: ForeignModel, encoder: str, answer: Tensor, pixels: Tensor
) -> None:
    """Refuse features for a posterior: the layers that make it may be in ``forward`` alone.

    Args:
        model: The model.
        source: What a person says of it.
        encoder: Path of what was taken for the encoder.
        answer: The one tensor that it gave.
        pixels: Scaled pixels (B, C, H, W).
    """
    for layout in get_args(PixelLayout):
        try:
            given = model.forward(arranged(pixels, layout))
            found = recognise(given, pixels=pixels)
            mu = _tensor(given, found.mu)
            break
        except Exception:  # somebody else's code; there may be no forward at all
            continue
    else:
        return
    if source.mu_output is not None and source.variance_output is not None:
        named = pick(answer, source.mu_output)
        same = isinstance(named, Tensor) and named.shape == mu.shape
        if same and torch.allclose(named, mu, rtol=_SAME, atol=_SAME):
            return
    raise BundleError(
        f"{encoder} gives {describe(answer)}, but forward gives {describe(given)}, with mu at "
        f"{found.mu!r} and the variance at {found.spread!r}. So what {encoder} gives are features, "
        "of which forward makes the posterior. Say --encoder forward. (--encoder "
        f"{encoder} says that it is the posterior all the same.)"
    )


def _call(
    model: nn.Module,
    path: str,
    argument: Tensor,
    advice: str = "Are the image's size, channels and layout right?",
) -> Any:
    try:
        return pick(model, path)(argument)
    except BundleError:
        raise
    except (Exception, SystemExit) as error:  # somebody else's code may raise anything
        raise BundleError(
            f"{path or 'the model'} cannot take {describe(argument)} ({type(error).__name__}: "
            f"{str(error).strip()}). {advice}"
        ) from error


def _tensor(answer: Any, path: str) -> Tensor:
    found = pick(answer, path)
    if not isinstance(found, Tensor):
        raise BundleError(
            f"{path!r} of the encoder's answer is {describe(found)}; expected a tensor."
        )
    return found


def _latent_shape(mu: Tensor, stated: Tensor, batch: int, found: Recognised) -> tuple[int, ...]:
    if stated.shape != mu.shape:
        same = stated.ndim <= mu.ndim and stated.numel() in (batch, 1)
        why = " One sigma for all dimensions is not known here; expand it in the factory." * same
        raise BundleError(
            f"mu ({found.mu!r}) is {describe(mu)}, but what states the variance "
            f"({found.spread!r}) is {describe(stated)}; expected the same shape.{why}"
        )
    if len(mu) != batch or mu.ndim not in (2, 4) or mu.numel() == 0:
        raise BundleError(
            f"mu ({found.mu!r}) is {describe(mu)} for {batch} pictures; expected (B, n), or "
            "(B, C, h, w) for latents in space."
        )
    return tuple(mu.shape[1:])
