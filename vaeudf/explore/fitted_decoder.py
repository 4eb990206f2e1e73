"""A fit of a decoder that a page can carry: a few numbers that give nearly the same pictures.

The pictures' levels are their mean and principal components, whose coordinates are a linear
function of cosines of z: random Fourier features (Rahimi and Recht, 2007), fitted by ridge
regression to what the decoder gives for many z.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

_FEATURES, _COMPONENTS = 1024, 48
_SAMPLES, _HELD_OUT, _TOGETHER = 6_000, 300, 64
# Of the frequencies, for z in units of the prior's sigma; 0.15 to 0.4 fitted about as well.
_FREQUENCY = 0.25
_RIDGE = 1e-3
_LARGEST_CODE = 127

Decode = Callable[[NDArray[np.float64]], NDArray[np.float32]]
"""Latents (B, n) to levels in [0, 1], (B, H, W, C)."""


@dataclass(frozen=True)
class FittedDecoder:
    """A decoder's fit.

    Attributes:
        shape: Height, width and channels of its pictures.
        frequencies: Shape (F, n).
        phases: Shape (F,).
        weights: Of the cosines, of 1 and of z: shape (F + 1 + n, C).
        mean: Of the levels, shape (H · W · C,).
        axes: The components in steps of ``scales``, int8 of shape (C, H · W · C).
        scales: Shape (C,).
        error: By how much its levels differ from the decoder's for z of the prior: the root of the
            mean square, in [0, 1].
    """

    shape: tuple[int, int, int]
    frequencies: NDArray[np.float32]
    phases: NDArray[np.float32]
    weights: NDArray[np.float32]
    mean: NDArray[np.float32]
    axes: NDArray[np.int8]
    scales: NDArray[np.float32]
    error: float

    def decode(self, z: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return levels, shape (B, H · W · C), for latents (B, n)."""
        features = _features(z, self.frequencies, self.phases)
        found = (features @ self.weights) @ (self.axes * self.scales[:, None]) + self.mean
        return np.clip(found, 0, 1).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return what ``static/offline/decoder.js`` takes; arrays are in base64."""
        names = ("frequencies", "phases", "weights", "mean", "axes", "scales")
        height, width, channels = self.shape
        arrays = {name: as_base64(getattr(self, name)) for name in names}
        return {"height": height, "width": width, "channels": channels, **arrays}


def as_base64(array: NDArray[Any]) -> str:
    """Return an array's bytes, little-endian, in base64."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(little.tobytes()).decode()


def fit_decoder(decode: Decode, latent_dim: int, far: NDArray[np.float64]) -> FittedDecoder:
    """Fit a decoder where sliders go.

    Args:
        decode: The decoder.
        latent_dim: n.
        far: How far from 0 each slider goes, shape (n,).
    """
    rng = np.random.default_rng([latent_dim, 20])
    # From the middle of the prior to beyond it, as people move sliders.
    spread = rng.uniform(0.3, 2.0, (_SAMPLES, 1))
    z = np.clip(spread * rng.normal(size=(_SAMPLES, latent_dim)), -far, far)
    levels, shape = _decoded(decode, z)
    mean = levels.mean(axis=0)
    centred = levels - mean
    axes = _principal_axes(centred, rng)
    scales = np.abs(axes).max(axis=1, keepdims=True) / _LARGEST_CODE
    codes = np.rint(axes / np.where(scales > 0, scales, 1)).astype(np.int8)
    frequencies = (_FREQUENCY * rng.normal(size=(_FEATURES, latent_dim))).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, _FEATURES).astype(np.float32)
    features = _features(z, frequencies, phases)
    gram = features.T @ features + _RIDGE * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, features.T @ (centred @ axes.T))
    fitted = FittedDecoder(
        shape,
        frequencies,
        phases,
        weights.astype(np.float32),
        mean.astype(np.float32),
        codes,
        scales[:, 0].astype(np.float32),
        0.0,
    )
    asked = rng.normal(size=(_HELD_OUT, latent_dim))
    truth, _ = _decoded(decode, asked)
    error = float(np.sqrt(np.square(fitted.decode(asked) - truth).mean()))
    return FittedDecoder(**{**fitted.__dict__, "error": error})


def _decoded(
    decode: Decode, z: NDArray[np.float64]
) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    # A bar on a terminal, nothing in a log.
    starts = tqdm(
        range(0, len(z), _TOGETHER), "decoding", unit=" batches", leave=False, disable=None
    )
    parts = [decode(z[at : at + _TOGETHER]) for at in starts]
    height, width, channels = parts[0].shape[1:]
    levels = np.concatenate([part.reshape(len(part), -1) for part in parts])
    return levels, (height, width, channels)


def _principal_axes(rows: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the first principal axes, by a randomised range finder with two power iterations.

    Halko, Martinsson and Tropp (2011), "Finding structure with randomness", algorithms 4.4 and 5.1.
    """
    count = min(_COMPONENTS, *rows.shape)
    wide = min(count + 10, *rows.shape)
    basis = np.linalg.qr(rows @ rng.normal(size=(rows.shape[1], wide)).astype(np.float32))[0]
    for _ in range(2):
        basis = np.linalg.qr(rows @ np.linalg.qr(rows.T @ basis)[0])[0]
    _, _, axes = np.linalg.svd(basis.T @ rows, full_matrices=False)
    return np.asarray(axes[:count], np.float32)


def _features(
    z: NDArray[np.float64], frequencies: NDArray[np.float32], phases: NDArray[np.float32]
) -> NDArray[np.float64]:
    cosines = np.cos(z @ frequencies.T.astype(np.float64) + phases)
    return np.concatenate([cosines, np.ones((len(z), 1)), z], axis=1)
