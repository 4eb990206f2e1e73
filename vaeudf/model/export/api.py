"""A bundle of a model made elsewhere, in one call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaeudf.model.bundle import Bundle
from vaeudf.model.export.foreign_model import ForeignModel
from vaeudf.model.export.probe import Probe


def export_bundle(
    path: str | Path, model: ForeignModel, sample: NDArray[np.uint8] | None = None
) -> Bundle:
    """Write a model made elsewhere as a bundle.

    This calls the model's factory, and so runs its code.

    Args:
        path: The folder to make; an existing one is replaced.
        model: The model, and what is to be said of it.
        sample: Pictures of the catalog, shape (N, H, W, C) uint8: the model is tried on these, and
            their mu give the range of the sliders.

    Raises:
        BundleError: The model cannot be made, its weights do not fit, it has no diagonal Gaussian,
            or it is not known how its variance is to be read.
    """
    probe = Probe(model)
    if sample is not None:
        probe.use(sample)
    return probe.save(path)
