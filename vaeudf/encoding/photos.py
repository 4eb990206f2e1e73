"""Encode a few photos in this process, as a night encodes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaeudf.catalog.reader import ImageReader
from vaeudf.encoding.udf import encode_batches
from vaeudf.errors import InputError
from vaeudf.images.decode import without_warnings
from vaeudf.model.bundle import Bundle
from vaeudf.model.devices import Hardware, Precision, load_batch_encoder
from vaeudf.schema import IMAGE, LOG_VAR, MESSAGE, MU, REASON


def encode_photos(
    files: Sequence[tuple[str, int]], bundle: Bundle, precision: Precision
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Encode image files on the CPU.

    Args:
        files: Path or URI, and bytes, of each.
        bundle: The model.
        precision: What the encoder computes in.

    Returns:
        mu and log_var, both (N, n), in the order of the files.

    Raises:
        InputError: One of them cannot be encoded.
    """
    encoder = load_batch_encoder(bundle.encoder_files, Hardware("cpu", precision), None, 0)
    images = ImageReader(IMAGE).read_all((path, None, size, 0.0) for path, size in files)
    rows = []
    with without_warnings():
        for frame in encode_batches(images, encoder):
            rows += list(
                zip(*(frame[name] for name in (MU, LOG_VAR, REASON, MESSAGE)), strict=True)
            )
    failed = [(path, *row[2:]) for (path, _), row in zip(files, rows, strict=True) if row[2]]
    if failed:
        path, reason, message = failed[0]
        more = f" ({len(failed) - 1} more cannot, either)" if len(failed) > 1 else ""
        raise InputError(
            f"image {path} cannot be encoded ({reason}): {message.rstrip('.')}{more}; expected a "
            "picture in one of the formats that catalogs may have."
        )
    mu, log_var = (np.stack([row[place] for row in rows]) for place in (0, 1))
    return mu, log_var
