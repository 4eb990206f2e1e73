"""What every kind of decode_latents ends in: points for the tasks, and what the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from vaeudf.model.bundle import Bundle
from vaeudf.pages.decode_page import Section
from vaeudf.pages.sheets import Pixels, small
from vaeudf.query.latents import Latents
from vaeudf.schema import LOG_VAR, QUERY_ID, Z

NOTES = (
    "Every picture is what the model's decoder makes of one point z of latent space: the mean of "
    "p(x|z). Where no training item lies, it need not mean anything."
)


@dataclass(frozen=True)
class Drawn:
    """What was asked for, ready to be written and shown.

    Attributes:
        frame: ``query_id`` and ``z`` of what the tasks are to decode; None if that is done.
        count: How many pictures that is.
        title: The page's headline.
        lead: What the page is.
        sections: What it shows.
        notes: What it ends with.
        sheet: All as one PNG file; None if that would say nothing.
        facts: For the job's summary.
    """

    frame: DataFrame | None
    count: int
    title: str
    lead: str
    sections: Sequence[Section]
    notes: str = NOTES
    sheet: bytes | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def frame_of(spark: SparkSession, latents: Latents) -> DataFrame:
    """Return latents as a DataFrame of query_id, z, and log_var if they are Gaussians."""
    columns = {QUERY_ID: pa.array(latents.ids, pa.string()), Z: _lists(latents.z)}
    if latents.log_var is not None:
        columns[LOG_VAR] = _lists(latents.log_var)
    return spark.createDataFrame(pa.table(columns).combine_chunks())


def decoded(bundle: Bundle, z: NDArray[np.float64]) -> list[Pixels]:
    """Decode some z here, and make the pictures small enough for a page."""
    size = bundle.manifest.image.batch_size
    return [
        small(picture)
        for first in range(0, len(z), size)
        for picture in bundle.decode(z[first : first + size])
    ]


def _lists(array: NDArray[np.float64]) -> pa.Array:
    offsets = np.arange(len(array) + 1, dtype=np.int32) * array.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(array.ravel()))
