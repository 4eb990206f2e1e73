"""``inspect_table --pictures N``: hits beside the pictures nearest to what z decodes to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from vaeudf.errors import BundleError, InputError, TableError
from vaeudf.health.agreement import MIN_PICTURES, Agreement, measure_agreement
from vaeudf.health.hubs import HubCurve
from vaeudf.model.py_files import use_py_files
from vaeudf.numerics.sketches import TopList
from vaeudf.pages.picture_agreement import ExamplePictures
from vaeudf.table.open import PosteriorTable
from vaeudf.workflows.cli import Summary
from vaeudf.workflows.pictures import AGREEMENT, check_pictures, find_pictures, load_decoder

if TYPE_CHECKING:
    from vaeudf.catalog.source import CatalogSource
    from vaeudf.decoding.sampled_pictures import PictureDistances
    from vaeudf.model.bundle import Bundle
    from vaeudf.model.decoder import PictureDecoder

log = logging.getLogger(__name__)

MOST_PICTURES = 20_000
"""More cost minutes, and say little more."""


def check_count(count: int) -> None:
    """Raise InputError unless so many pictures can be compared."""
    if not MIN_PICTURES <= count <= MOST_PICTURES:
        raise InputError(
            f"pictures is {count}; expected {MIN_PICTURES} to {MOST_PICTURES:,}, such as 2000."
        )


@dataclass(frozen=True)
class PictureAgreement:
    """What hits are compared with pictures by.

    Attributes:
        bundle: The model that decodes z.
        catalog: Where the pictures are, as the options say.
        uses_kept_pixels: Whether they come from the table instead.
        count: How many items to compare.
        taus: The tolerances to try.
    """

    bundle: Bundle
    catalog: str | None
    uses_kept_pixels: bool
    count: int
    taus: Sequence[float]

    def measure(
        self,
        spark: SparkSession,
        table: PosteriorTable,
        sample: TopList,
        hubs: HubCurve,
        seed: int,
    ) -> tuple[Agreement, ExamplePictures]:
        """Read the pictures of a sample's items, and compare.

        Raises:
            InputError: The catalog cannot be read, or too few of the pictures.
            BundleError: The decoder gives a level that is not finite.
        """
        from vaeudf.decoding.collected_pictures import collect_pictures
        from vaeudf.model.devices import Hardware, load_batch_decoder

        sample = sample.first(self.count)
        catalog: CatalogSource | PosteriorTable = table
        if not self.uses_kept_pixels:
            catalog = find_pictures(spark, table, self.catalog, use=AGREEMENT)
        pictures, there = collect_pictures(spark, catalog, self.bundle.manifest.image, sample.ids)
        rows = np.flatnonzero(there)
        if len(rows) < MIN_PICTURES:
            raise InputError(
                f"only {len(rows)} of the {len(sample)} pictures can be read; {AGREEMENT.flag} "
                f"needs at least {MIN_PICTURES}. Name the catalog that has them with --catalog."
            )
        decoder = load_batch_decoder(self.bundle.decoder_files, Hardware(), None, 0)
        likelihood = self.bundle.likelihood

        def compare(z: NDArray[np.float64], num_structured: int) -> PictureDistances:
            return pictures.distances(_levels(decoder, z), likelihood, num_structured)

        ids = [sample.ids[row] for row in rows]
        agreement = measure_agreement(
            ids,
            sample.mu[rows],
            sample.log_var[rows],
            compare,
            taus=self.taus,
            hubs=hubs,
            seed=seed,
            unreadable=len(sample) - len(rows),
            likelihood=None if likelihood is None else str(likelihood),
        )
        z = np.array([one.z for one in agreement.examples])
        shown = {name for one in agreement.examples for name in one.item_ids}
        own = {name: pictures.pixels[row] for row, name in enumerate(ids) if name in shown}
        return agreement, ExamplePictures(list(decoder.decode(z)), own)


def prepare_agreement(options: Any, table: PosteriorTable) -> PictureAgreement | None:
    """Return what hits are compared by, before Spark starts; None if that is not asked for.

    Raises:
        InputError: Plain Parquet without its model and catalog, or a catalog that is not there, or
            more pictures than fit the driver.
        TableError: The table has too few items.
        BundleError: The model has no decoder, or is another than the table's.
    """
    if options.pictures is None:
        return None
    if table.num_items < MIN_PICTURES:
        raise TableError(
            f"{table.uri} has {table.num_items} items; {AGREEMENT.flag} needs at least "
            f"{MIN_PICTURES}: among fewer, any ten hits are a large part of all."
        )
    use_py_files(options.py_files)
    bundle = load_decoder(
        table, options.model, options.catalog, trust_model=options.trust_model, use=AGREEMENT
    )
    from vaeudf.decoding.collected_pictures import check_fits
    from vaeudf.decoding.picture_sources import keeps_all_pixels

    count = min(options.pictures, table.num_items)
    if count < options.pictures:
        log.info("The table has %d items: the pictures of all are compared.", count)
    check_fits(count, bundle.manifest.image)
    kept = options.catalog is None and keeps_all_pixels(table)
    if not kept:
        check_pictures(table, options.catalog, use=AGREEMENT)
    return PictureAgreement(bundle, options.catalog, kept, count, options.tolerances)


def told(agreement: Agreement) -> Summary:
    """Return what the job's summary says of it."""
    tau, enough = agreement.best_tau, agreement.enough
    hits, reranked = agreement.error.hits.mean, agreement.error.reranked.mean
    return {
        "pictures": agreement.items,
        "pictures_unreadable": agreement.unreadable,
        "agreeing_tau": agreement.tau,
        "candidates": agreement.recommended_candidates,
        "agreement": {
            kind: {
                "literal": round(float(hits[agreement.literal, i]), 4),
                "tolerance": round(float(hits[tau, i]), 4),
                "reranked": round(float(reranked[tau, enough, i]), 4),
            }
            for i, kind in enumerate(agreement.kinds)
        },
    }


def _levels(decoder: PictureDecoder, z: NDArray[np.float64]) -> NDArray[np.float32]:
    levels = decoder.decode_levels(z)
    bad = np.flatnonzero(~np.isfinite(levels).reshape(len(z), -1).all(axis=1))
    if len(bad):
        raise BundleError(
            f"the decoder gives a NaN or an infinite level for z = {z[bad[0]].tolist()}; expected "
            f"a picture. Do without {AGREEMENT.flag}."
        )
    return levels
