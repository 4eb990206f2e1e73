"""How a model made elsewhere is called: found by calling it, and looking at its answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vaeudf.errors import BundleError
from vaeudf.model.answers import describe, pick
from vaeudf.model.export.foreign_model import ForeignModel
from vaeudf.model.export.recognition import (
    Recognised,
    find_decoder,
    find_encoder,
    find_picture,
    recognise,
)
from vaeudf.model.interface import Interface, LatentLayout


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
    if source.pixel_layout == "hwc":
        pixels = pixels.permute(0, 2, 3, 1).contiguous()
    answer = _call(model, encoder, pixels)
    found = recognise(answer, source.mu_output, source.variance_output)
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
        pixel_layout=source.pixel_layout,
        clamp=source.clamp or found.clamp,
        scale=source.latent_scale,
        shift=source.latent_shift,
        activation=source.activation,
    )
    decoder = find_decoder(model) if source.decoder is None else source.decoder
    if decoder is None or decoder == "none":
        return found, interface
    decoded = _call(model, decoder, mu)
    picture = find_picture(decoded) if source.picture_output is None else source.picture_output
    return found, replace(interface, decoder=decoder, picture=picture)


def _call(model: nn.Module, path: str, argument: Tensor) -> Any:
    try:
        return pick(model, path)(argument)
    except BundleError:
        raise
    except Exception as error:  # somebody else's code may raise anything
        raise BundleError(
            f"{path or 'the model'} cannot take {describe(argument)} ({type(error).__name__}: "
            f"{str(error).strip()}). Are the image's size, channels and layout right?"
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
