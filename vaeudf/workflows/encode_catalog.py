"""Encode a whole catalog and publish its posterior table."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.bundle import Bundle, load_bundle
from vaeudf.catalog import (
    CatalogSource,
    Format,
    check_items,
    count_files,
    read_catalog,
    resolve_format,
)
from vaeudf.cli import Summary, option
from vaeudf.encoding import encode_listing
from vaeudf.errors import InputError, TooManyFailures
from vaeudf.schema import (
    CATALOG_KEY,
    IMAGE,
    IMAGE_LENGTH,
    ITEM_ID,
    MESSAGE,
    MODEL_ID_KEY,
    MODEL_PATH_KEY,
    REASON,
    SOURCE_VERSION,
    posterior_schema,
)
from vaeudf.session import spark_session
from vaeudf.storage import (
    absolute,
    exists,
    remove,
    remove_empty,
    spark_literal,
    spark_uri,
)
from vaeudf.table import (
    QUARANTINE,
    STAGING,
    check_schema,
    holds_files_of,
    new_run_id,
    open_for_publishing,
    publish,
)
from vaeudf.timing import Stopwatch
from vaeudf.writing import write_data_files

log = logging.getLogger(__name__)

_ROWS_PER_QUARANTINE_FILE = 1_000_000


@dataclass(frozen=True)
class EncodeCatalog:
    """Run a model's encoder over every image of a catalog and publish the posterior table."""

    catalog: str = option(help="folder or glob of images, or Parquet with the images' bytes")
    model: str = option(help="folder of the model bundle")
    table: str = option(help="folder of the posterior table, made if it does not exist")
    format: Format = option("auto", help="what the catalog is")
    id_column: str = option("item_id", help="Parquet: the column with the unique ids")
    image_column: str = option("image", help="Parquet: the column with the images' bytes")
    version_column: str | None = option(
        None, help="Parquet: a column that changes when the image does (default: hash the image)"
    )
    payload_columns: list[str] | None = option(
        None, help="Parquet: a column to carry into the table; repeat it (default: all others)"
    )
    max_error_fraction: float = option(
        0.01, help="publish nothing if more than this fraction of the items fail"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.max_error_fraction <= 1:
            raise InputError(f"max-error-fraction is {self.max_error_fraction}; expected 0 to 1.")

    @property
    def source(self) -> CatalogSource:
        """Where the catalog is and how to read it."""
        return CatalogSource(
            path=self.catalog,
            format=self.format,
            id_column=self.id_column,
            image_column=self.image_column,
            version_column=self.version_column,
            payload_columns=self.payload_columns,
        )


def encode_catalog(options: EncodeCatalog) -> Summary:
    """Encode, stage, check, lay out and publish, in this order."""
    watch = Stopwatch()
    bundle = load_bundle(options.model)
    previous = open_for_publishing(options.table, bundle.latent_dim)
    table = absolute(options.table)
    run_id = new_run_id()

    with spark_session("encode_catalog") as spark, _run_folders(table, run_id) as staging:
        with watch.phase("read"):
            catalog = read_catalog(spark, options.source)
            schema = _table_schema(catalog, bundle, options)
            total = check_items(catalog, options.version_column is not None)
            ignored = _count_ignored(spark, options.source, total)
        with watch.phase("encode"):
            encode_listing(catalog, bundle).write.parquet(spark_uri(staging))
        staged = spark.read.parquet(spark_literal(staging))
        with watch.phase("check"):
            quarantined = _count_failures(staged)
            failed = sum(quarantined.values())
            _check_failures(staged, quarantined, total, options.max_error_fraction)
        with watch.phase("lay out"):
            encoded = staged.where(F.col(REASON).isNull())
            files = write_data_files(encoded, total - failed, table, run_id, schema)
            if failed:
                _write_quarantine(staged, failed, table, run_id)
        with watch.phase("publish"):
            written = sum(file.num_rows for file in files)
            if written + failed != total:
                raise InputError(
                    f"the catalog changed while it was read: {total} items at first, "
                    f"{written + failed} in the end. Nothing was published; run again."
                )
            published = publish(
                table, previous, files, schema, bundle.latent_dim, {"vaeudf.run_id": run_id}
            )
    _tell(quarantined, ignored, table, run_id)
    return {
        "read": total,
        "encoded": total - failed,
        "quarantined": quarantined,
        "ignored_files": ignored,
        "table": table,
        "version": published.version,
        "latent_dim": bundle.latent_dim,
        "model_id": bundle.model_id,
        "run_id": run_id,
        "images_per_second": round(total / max(watch.seconds["encode"], 1e-3), 1),
        "seconds": watch.seconds,
    }


@contextmanager
def _run_folders(table: str, run_id: str) -> Iterator[str]:
    """Give a run its staging folder; take everything of the run away again if it fails."""
    staging = posixpath.join(table, STAGING, run_id)
    was_there = exists(table)
    try:
        yield staging
    except BaseException:
        # Whatever went wrong may have done so after the commit: then the files are the table.
        if not holds_files_of(table, run_id):
            remove(posixpath.join(table, run_id))
            remove(_quarantine_folder(table, run_id))
        raise
    finally:
        remove(staging)
        for folder in (STAGING, QUARANTINE):
            remove_empty(posixpath.join(table, folder))
        if not was_there:
            remove_empty(table)


def _table_schema(catalog: DataFrame, bundle: Bundle, options: EncodeCatalog) -> pa.Schema:
    own = (ITEM_ID, SOURCE_VERSION, IMAGE, IMAGE_LENGTH)
    payload = catalog.drop(*own)
    try:
        payload_schema = payload.limit(0).toArrow().schema
    except PySparkException as error:
        raise InputError(
            f"the payload columns {', '.join(payload.columns)} cannot all be stored: {error}. "
            "Choose some with --payload-columns."
        ) from None
    provenance = {
        MODEL_ID_KEY: bundle.model_id,
        MODEL_PATH_KEY: absolute(options.model),
        CATALOG_KEY: options.source.to_json(),
    }
    return check_schema(posterior_schema(payload_schema, provenance))


def _count_failures(staged: DataFrame) -> dict[str, int]:
    failures = staged.where(F.col(REASON).isNotNull()).groupBy(REASON).count()
    return {row[REASON]: row["count"] for row in failures.orderBy(REASON).collect()}


def _check_failures(
    staged: DataFrame, quarantined: dict[str, int], total: int, max_fraction: float
) -> None:
    failed = sum(quarantined.values())
    if failed / total <= max_fraction and failed < total:
        return
    examples = staged.where(F.col(REASON).isNotNull()).orderBy(ITEM_ID).limit(5).collect()
    raise TooManyFailures(
        f"{failed} of {total} items cannot be encoded, more than --max-error-fraction "
        f"{max_fraction:g} allows; nothing was published. By reason: "
        f"{', '.join(f'{reason} {count}' for reason, count in quarantined.items())}. For example: "
        + "; ".join(f"{row[ITEM_ID]}: {row[MESSAGE].rstrip('.')}" for row in examples)
        + "."
    )


def _write_quarantine(staged: DataFrame, failed: int, table: str, run_id: str) -> None:
    rows = staged.where(F.col(REASON).isNotNull())
    rows = rows.select(ITEM_ID, SOURCE_VERSION, REASON, MESSAGE)
    # run_id is the folder's name: readers of partitioned Parquet give it back as a column.
    rows.repartition(-(-failed // _ROWS_PER_QUARANTINE_FILE)).write.parquet(
        spark_uri(_quarantine_folder(table, run_id))
    )


def _quarantine_folder(table: str, run_id: str) -> str:
    return posixpath.join(table, QUARANTINE, f"run_id={run_id}")


def _count_ignored(spark: SparkSession, source: CatalogSource, total: int) -> int:
    if resolve_format(spark, source) == "parquet":
        return 0
    return count_files(spark, source) - total


def _tell(quarantined: dict[str, int], ignored: int, table: str, run_id: str) -> None:
    if quarantined:
        reasons = ", ".join(f"{count} {reason}" for reason, count in quarantined.items())
        log.info(
            "%d items are in quarantine (%s): see %s.",
            sum(quarantined.values()),
            reasons,
            _quarantine_folder(table, run_id),
        )
    if ignored:
        log.info("%d files do not have the name of an image and were passed over.", ignored)
