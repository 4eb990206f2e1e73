"""What a bundle promises of its networks, checked on a few pictures."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from vaeudf.errors import BundleError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.answers import describe
from vaeudf.model.networks import channels_last

# How far apart equal answers may be, relative to the largest number: to the same batch, and to
# another one, in which numbers are summed in another order.
_SAME_BATCH, _OTHER_BATCH = 1e-6, 1e-4


@torch.inference_mode()
def check_encoder(encoder: nn.Module, pixels: Tensor) -> None:
    """Check that the posterior of a picture depends on nothing but the picture.

    Args:
        encoder: (B, C, H, W) scaled pixels → mu and what states the variance, both (B, n).
        pixels: Scaled pixels.

    Raises:
        BundleError: It depends on random numbers, or on the other pictures of the batch, or needs
            several.
    """
    answers, again = encoder(pixels), encoder(pixels)
    # mu and the statement are compared each by itself, and closely: the noise of a sample may be a
    # thousandth of mu, and next to nothing beside a log sigma² of -30.
    if not all(_same(a, b, _SAME_BATCH) for a, b in zip(again, answers, strict=True)):
        raise BundleError(
            "the encoder gives another posterior for the same picture when it is asked again: one "
            "of its outputs is a sample, or noise is added. Name the places of mu and the variance "
            "with --mu-output and --variance-output, or what encodes without sampling with "
            "--encoder."
        )
    try:
        alone = encoder(pixels[:1])
    except Exception as error:  # somebody else's code may raise anything
        raise BundleError(
            f"the encoder takes {len(pixels)} pictures, and not one alone "
            f"({type(error).__name__}: {error}): squeeze() takes the axis of the batch off, too, "
            "and a batch norm without running averages needs others beside a picture. A posterior "
            "must depend on its picture alone."
        ) from error
    if not all(_same(a, b[:1], _OTHER_BATCH) for a, b in zip(alone, answers, strict=True)):
        raise BundleError(
            "the encoder gives a picture another posterior when others are encoded beside it, as a "
            "batch norm does that is not in eval mode. A posterior must depend on its picture "
            "alone."
        )


@torch.inference_mode()
def check_decoder(decoder: nn.Module, latent_dim: int, spec: ImageSpec) -> None:
    """Check that a decoder gives pictures like those that the encoder takes.

    Args:
        decoder: (B, n) latents → scaled pixels.
        latent_dim: n.
        spec: The pictures that the encoder takes.

    Raises:
        BundleError: They have another shape.
    """
    decoded = decoder(torch.zeros(2, latent_dim))
    expected = (2, spec.channels, spec.height, spec.width)
    if tuple(decoded.shape) != expected:
        raise BundleError(
            f"the decoder gives {describe(decoded)}; expected {expected}, pictures like those that "
            "the encoder takes. Name another part with --decoder or --picture-output, or leave it "
            "out with --decoder none."
        )


@torch.inference_mode()
def takes_channels_last(encoder: nn.Module, pixels: Tensor) -> bool:
    """Return whether an encoder gives the same when weights and pixels lie channel-last in memory.

    Args:
        encoder: As for :func:`check_encoder`.
        pixels: Scaled pixels (B, C, H, W), channel-first in memory.
    """
    expected = torch.cat(encoder(pixels), dim=1)
    try:
        laid_out = channels_last(copy.deepcopy(encoder))
        found = laid_out(pixels.contiguous(memory_format=torch.channels_last))
    except Exception:  # somebody else's code, which may need another order in memory
        return False
    return _same(torch.cat(found, dim=1), expected, _OTHER_BATCH)


def _same(ours: Tensor, theirs: Tensor, tolerance: float) -> bool:
    """Whether two answers are equal, to within a fraction of the largest number."""
    scale = float(theirs.abs().nan_to_num(posinf=0.0).max())
    return torch.allclose(ours, theirs, rtol=0.0, atol=tolerance * scale, equal_nan=True)
