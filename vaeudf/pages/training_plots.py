"""The curves of a training, and reconstructions beside their originals, as PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vaeudf.images.difference import squared_error
from vaeudf.pages.figures import figure_png, new_figure

_COLUMNS, _MARGIN, _CAPTION = 8, 4, 14
_TITLE, _NARROWEST = 22, 440
_DPI = 120


def training_curve(
    elbo: Sequence[float], kl: Sequence[float], squared_error: Sequence[float], kept_epoch: int
) -> bytes:
    """Draw ELBO, KL and squared error of the held-out pictures, epoch by epoch.

    Args:
        elbo: Nats per image.
        kl: Nats per image.
        squared_error: Per pixel.
        kept_epoch: The epoch, from 0, whose weights were kept.
    """
    figure = new_figure(9, 3, _DPI)
    epochs = np.arange(1, len(elbo) + 1)
    curves = (
        ("held-out ELBO (β = 1), nats per image", elbo),
        ("held-out KL(q(z|x) ‖ N(0, I)), nats", kl),
        ("held-out squared error per pixel", squared_error),
    )
    for axes, (name, values) in zip(figure.subplots(1, 3), curves, strict=True):
        axes.plot(epochs, values, color="#2456a6", marker="o", markersize=3)
        axes.axvline(
            kept_epoch + 1,
            color="#b0571a",
            linewidth=1,
            linestyle="--",
            label=f"kept: epoch {kept_epoch + 1}",
        )
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    return figure_png(figure)


def reconstruction_sheet(
    originals: NDArray[np.uint8],
    decoded: NDArray[np.uint8],
    title: str = "held-out pictures, what the model makes of them, squared error per pixel",
    errors: Sequence[float] | None = None,
) -> bytes:
    """Lay pictures out in pairs, each original above its reconstruction, with the error below.

    Args:
        originals: Shape (N, H, W, C).
        decoded: The same shape.
        title: The line above the pairs.
        errors: The error of each pair, if it was measured on other pictures than these, such as
            larger ones; computed from these by default.
    """
    count, height, width, _ = originals.shape
    zoom = max(1, 128 // max(height, width))
    cell = (width * zoom + _MARGIN, 2 * height * zoom + _CAPTION + 2 * _MARGIN)
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    size = (max(columns * cell[0] + _MARGIN, _NARROWEST), rows * cell[1] + _TITLE)
    # Grey, on which the edges of photos with a white background can be seen.
    sheet = Image.new("RGB", size, "#d9d9d9")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, fill="#111111")
    for i in range(count):
        left = _MARGIN + (i % columns) * cell[0]
        top = _TITLE + (i // columns) * cell[1]
        for j, picture in enumerate((originals[i], decoded[i])):
            image = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)
            image = image.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            sheet.paste(image.convert("RGB"), (left, top + j * height * zoom))
        error = squared_error(originals[i], decoded[i]) if errors is None else errors[i]
        draw.text((left, top + 2 * height * zoom + 1), f"{error:.4f}", fill="#333333")
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()
