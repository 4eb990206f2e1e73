"""What all kinds of drawings share: their interface, what they are made from, what they return."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from vaeudf.decoding.paths import check_steps
from vaeudf.decoding.udf import decode, decode_to_files, tasks_for
from vaeudf.errors import InputError
from vaeudf.gaussian.arrays import Gaussians
from vaeudf.model.bundle import Bundle
from vaeudf.model.devices import Hardware
from vaeudf.pages.decode_page import Section
from vaeudf.pages.sheets import Pixels, small
from vaeudf.query.bulk import posteriors_of
from vaeudf.query.latents import Latents
from vaeudf.schema import IMAGE, LOG_VAR, QUERY_ID, Z
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.frames import frame_of, write_parquet
from vaeudf.spark.read import read_table
from vaeudf.table.open import PosteriorTable

Format = Literal["png", "parquet"]

STEPS = 9
"""Pictures along a dimension or a walk by default."""
MOST_STEPS = 200
"""The most pictures in one row of a sheet."""
NOTES = (
    "Every picture is what the model's decoder makes of one point z of latent space: the mean of "
    "p(x|z). Where no training item lies, it need not mean anything."
)
PICTURES = "pictures.parquet"
INDEX = "index.parquet"


@dataclass(frozen=True)
class Context:
    """What a drawing is made from.

    Attributes:
        spark: The session.
        bundle: The model that decodes.
        posteriors: The table, if one is named.
        catalog: Where the pictures are, if not where the table says.
        hardware: What to decode on.
        format: How pictures are written.
    """

    spark: SparkSession
    bundle: Bundle
    posteriors: PosteriorTable | None
    catalog: str | None
    hardware: Hardware
    format: Format

    @property
    def table(self) -> PosteriorTable:
        """The table, for a drawing that cannot do without one."""
        if self.posteriors is None:
            raise InputError("items of a table are to be drawn; say of which with --table.")
        return self.posteriors

    def posteriors_of(self, item_ids: Sequence[str]) -> Gaussians:
        """Look items up in the table.

        Raises:
            InputError: One is not there.
        """
        found = posteriors_of(read_table(self.spark, self.table), item_ids)
        return Gaussians(found.z, np.asarray(found.log_var))

    def decode_here(self, z: NDArray[np.float64]) -> list[Pixels]:
        """Decode some z on the driver; shrink the pictures to the size of a page's.

        Args:
            z: Shape (Q, n).
        """
        size = self.bundle.manifest.image.batch_size
        return [
            small(picture)
            for first in range(0, len(z), size)
            for picture in self.bundle.decode(z[first : first + size])
        ]

    def frame_of(self, latents: Latents) -> DataFrame:
        """Return latents as a DataFrame of query_id, z, and log_var if they are Gaussians."""
        columns = {QUERY_ID: pa.array(latents.ids, pa.string()), Z: _lists(latents.z)}
        if latents.log_var is not None:
            columns[LOG_VAR] = _lists(latents.log_var)
        return frame_of(self.spark, pa.table(columns))

    def write_pictures(self, points: DataFrame, count: int, folder: str) -> None:
        """Decode points in tasks, and write their pictures.

        Args:
            points: Has ``query_id`` and ``z``.
            count: How many there are.
            folder: Where to write.
        """
        cores = Cluster.of(self.spark).num_cores
        frame = points.repartition(tasks_for(count, self.bundle, cores))
        rows: DataFrame
        if self.format == "png":
            rows, name = decode_to_files(frame, self.bundle, folder, self.hardware), INDEX
        else:
            rows, name = decode(frame, self.bundle, Z, self.hardware), PICTURES
            rows = rows.select(QUERY_ID, Z, IMAGE)
        write_parquet(rows, posixpath.join(folder, name))


@dataclass(frozen=True)
class Drawn:
    """What has been drawn, for the page, the sheet and the summary.

    Attributes:
        count: How many pictures were decoded.
        title: The page's headline.
        lead: The page's first sentences.
        sections: What the page shows.
        notes: The page's last paragraph.
        sheet: All pictures as one PNG file; None if the drawing has no sheet.
        facts: Further entries of the job's summary.
    """

    count: int
    title: str
    lead: str
    sections: Sequence[Section]
    notes: str = NOTES
    sheet: bytes | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Drawing(Protocol):
    """Something to draw: points, a traversal, a walk, or reconstructions.

    It is made from its own options, and checks them when it is made.
    """

    def check(self, bundle: Bundle) -> None:
        """Check it against the model, before Spark starts.

        Raises:
            InputError: It does not fit the model, or cannot be read.
        """

    def draw(self, context: Context, folder: str | None) -> Drawn:
        """Decode the pictures.

        Args:
            context: The model, the table, and where to decode.
            folder: Where to write all pictures; None to decode only those that the page shows.

        Raises:
            InputError: An item or the catalog does not exist, or a point cannot be decoded.
        """


def check_sheet(steps: int, most: int) -> None:
    """Raise InputError unless a row of a sheet can have so many pictures."""
    check_steps(steps)
    if steps > most:
        raise InputError(f"steps is {steps}; expected at most {most} on such a sheet.")


def _lists(array: NDArray[np.float64]) -> pa.Array:
    offsets = np.arange(len(array) + 1, dtype=np.int32) * array.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(array.ravel()))
