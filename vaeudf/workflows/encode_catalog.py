"""Encode what has changed in a catalog and publish its posterior table."""

from __future__ import annotations

import hashlib
import json
import logging
import posixpath
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.catalog.reader import UNAVAILABLE
from vaeudf.catalog.source import (
    CatalogSource,
    Format,
    check_items,
    count_ignored,
    has_hashed_versions,
    list_items,
    resolve_format,
)
from vaeudf.encoding.changes import ENCODED_TYPE, Changes, count_removed, find_changes, same_payload
from vaeudf.encoding.run_record import NOTHING_TO_DO, PUBLISHED, started_now, write_run_record
from vaeudf.encoding.staging import Run, clean, has_chunks, open_run
from vaeudf.encoding.udf import chunks_for, encode_chunks
from vaeudf.errors import InputError, PublishConflict, TooManyFailures
from vaeudf.model.bundle import Bundle, load_bundle
from vaeudf.model.devices import Device, Hardware, Precision, choose_device
from vaeudf.model.py_files import use_py_files
from vaeudf.schema import (
    CATALOG_KEY,
    ITEM_ID,
    LOG_VAR,
    MESSAGE,
    MODEL_ID_KEY,
    MODEL_PATH_KEY,
    MU,
    PLACE,
    PRECISION_KEY,
    REASON,
    RUN_ID_KEY,
    SOURCE_VERSION,
    posterior_schema,
)
from vaeudf.spark.progress import progress
from vaeudf.spark.read import read_table
from vaeudf.spark.session import send_py_files, spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.spark.writing import write_data_files
from vaeudf.storage.locations import (
    absolute,
    exists,
    remove,
    remove_empty,
    spark_literal,
    spark_uri,
)
from vaeudf.table.delta import (
    QUARANTINE,
    DataFile,
    PosteriorTable,
    check_schema,
    new_run_id,
    open_for_publishing,
    publish,
    quarantine_folder,
    runs_of,
)
from vaeudf.workflows.cli import Summary, option
from vaeudf.workflows.option_groups import CodeOptions

log = logging.getLogger(__name__)

_ROWS_PER_QUARANTINE_FILE = 1_000_000


@dataclass(frozen=True)
class EncodeCatalog(CodeOptions):
    """Run a model's encoder over a catalog's new and changed images, and publish the table."""

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

    device: Device = option(
        "auto", help="auto: the GPU that Spark gives the task, else one that is there, else the CPU"
    )
    precision: Precision = option(
        "float32", help="bfloat16: faster on GPUs; mu and log_var are off in the third digit"
    )
    full: bool = option(False, help="encode everything again, also what has not changed")
    retry_quarantined: bool = option(
        False, help="try items in quarantine again, also those whose image has not changed"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.max_error_fraction <= 1:
            raise InputError(f"max-error-fraction is {self.max_error_fraction}; expected 0 to 1.")

    @property
    def hardware(self) -> Hardware:
        """What to encode on."""
        return Hardware(self.device, self.precision)

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
    """List, compare, encode, check, lay out and publish, in this order."""
    use_py_files(options.py_files)
    bundle = load_bundle(options.model, options.trust_model)
    previous = open_for_publishing(options.table, bundle.latent_dim)
    night = _Night(options, bundle, previous)
    was_there = exists(night.table)
    try:
        with (
            spark_session("encode_catalog") as spark,
            progress(spark, night.watch),
            open_run(night.table, night.run_id, night.key) as run,
        ):
            send_py_files(spark, options.py_files)
            night.facts["application_id"] = spark.sparkContext.applicationId
            try:
                night.go(spark, run)
            except BaseException as error:
                night.withdraw(error, run)
                raise
    finally:
        remove_empty(posixpath.join(night.table, QUARANTINE))
        if not was_there:
            remove_empty(night.table)
    night.record()
    return night.summary()


class _Night:
    """One run, and what is known of it so far.

    Attributes:
        options: What was asked for.
        source: The catalog, once its format is known.
        bundle: The model.
        previous: The table's last version, if there is one.
        table: Where the table is.
        run_id: The run.
        watch: Its seconds by phase.
        facts: What its record will say.
    """

    def __init__(
        self, options: EncodeCatalog, bundle: Bundle, previous: PosteriorTable | None
    ) -> None:
        self.options = options
        self.source = options.source
        self.bundle = bundle
        self.previous = previous
        self.table = absolute(options.table)
        self.run_id = new_run_id()
        self.watch = Stopwatch()
        self.facts: dict[str, Any] = {
            "run_id": self.run_id,
            "started": started_now(),
            "model_id": bundle.model_id,
            "model": absolute(options.model),
            "catalog": absolute(options.catalog),
            "version_before": self._version,
        }

    @property
    def key(self) -> str:
        """What a run's chunks are good for: this model, on this catalog."""
        options = self.options
        parts = json.dumps(
            [self.bundle.model_id, options.source.to_json(), options.full, options.precision]
        )
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def _version(self) -> int | None:
        """The last version that was published."""
        return self.previous.version if self.previous and self._published else None

    @property
    def _published(self) -> bool:
        return self.previous is not None and self.previous.transaction > 0

    @property
    def _may_carry(self) -> bool:
        """Whether the last version's posteriors are those that this run would give."""
        if self.previous is None or not self._published or self.options.full:
            return False
        source = CatalogSource.from_json(self.previous.provenance[CATALOG_KEY])
        if self.previous.provenance.get(PRECISION_KEY, "float32") != self.options.precision:
            return False
        return self.previous.model_id == self.bundle.model_id and source.agrees_with(
            self.options.source
        )

    def go(self, spark: SparkSession, run: Run) -> None:
        """Do all of it."""
        if self.options.device == "cuda" and str(spark.sparkContext.master).startswith("local"):
            choose_device("cuda", None, 0)  # tasks would fail, one after the other
        with ExitStack() as frames:

            def kept(frame: DataFrame) -> DataFrame:
                # Looked at once, and alike by all that follows, whatever happens to the files; and
                # forgotten in the end, for Spark would take it for that of the next run.
                frames.callback(frame.persist(StorageLevel.DISK_ONLY).unpersist)
                return frame

            with self.watch.phase("read"):
                # Looked up once: to find a first file, a store lists the whole folder.
                form = resolve_format(spark, self.options.source)
                self.source = replace(self.options.source, format=form)
                adopted = run.adopt() > 0
                self._clean()
                # A hash costs reading the images, which is for nothing if nothing is known.
                versions = self._may_carry or adopted
                listing = list_items(spark, self.source, versions)
                schema = _table_schema(listing, self)
                listing = kept(listing)
                last = self._last(spark)
                changes = self._compare(spark, run if adopted else None, listing, last)
            with self.watch.phase("encode"):
                self._encode(spark, run, changes)
            with self.watch.phase("check"):
                found = _all_rows(spark, changes, run)
                self._check(found, changes)
                if last is not None and self._is_nothing(spark, listing, last, found):
                    self.facts |= {"outcome": NOTHING_TO_DO, "version": self._version}
                    return
            with self.watch.phase("lay out"):
                posteriors = found.where(F.col(REASON).isNull())
                posteriors = posteriors.select(ITEM_ID, SOURCE_VERSION, MU, LOG_VAR)
                rows = kept(posteriors.join(listing.drop(SOURCE_VERSION, *PLACE), ITEM_ID))
                failed = sum(self.facts["quarantined"].values())
                total = self.facts["read"] - failed
                files = write_data_files(rows, total, self.table, self.run_id, schema)
                if failed:
                    _write_quarantine(found, failed, self.table, self.run_id)
        with self.watch.phase("publish"):
            self._publish(files, schema)
        _tell(self.facts["quarantined"], self.table, self.run_id)

    def _last(self, spark: SparkSession) -> DataFrame | None:
        """Return the rows of the last version."""
        if self.previous is None or not self._published:
            return None
        return read_table(spark, self.previous)

    def _compare(
        self, spark: SparkSession, run: Run | None, listing: DataFrame, last: DataFrame | None
    ) -> Changes:
        source = self.source
        total = check_items(listing, source.version_column is not None)
        quarantine = self._quarantine(spark)
        staged = None if run is None else _read_chunks(spark, run.adopted)
        changes = find_changes(
            listing,
            last if self._may_carry else None,
            None if quarantine is None else self._not_tried_again(quarantine),
            None if staged is None else self._not_tried_again(staged),
        )
        self.facts |= {
            "read": total,
            "carried": changes.carried,
            "resumed": changes.resumed,
            "removed": 0 if last is None else count_removed(listing, last),
            "ignored_files": count_ignored(spark, source),
        }
        return changes

    def _encode(self, spark: SparkSession, run: Run, changes: Changes) -> None:
        if changes.num_todo == 0:
            return
        source = self.source
        cores = int(spark.sparkContext.defaultParallelism)
        encode_chunks(
            changes.todo,
            self.bundle,
            source.image_column,
            has_hashed_versions(spark, source),
            num_chunks=chunks_for(
                changes.num_todo,
                changes.todo_bytes,
                cores,
                self.bundle.manifest.image.batch_size,
            ),
            folder=run.encoded,
            hardware=self.options.hardware,
        )

    def _check(self, found: DataFrame, changes: Changes) -> None:
        """Count what came of it; too many failures are an error."""
        quarantined, total = _count_failures(found), self.facts["read"]
        seconds = max(self.watch.seconds["encode"], 1e-3)
        self.facts |= {
            "quarantined": quarantined,
            "encoded": total - changes.carried - sum(quarantined.values()),
            "images_per_second": round(changes.num_todo / seconds, 1),
        }
        _check_failures(found, quarantined, total, self.options.max_error_fraction)

    def _is_nothing(
        self, spark: SparkSession, listing: DataFrame, last: DataFrame, found: DataFrame
    ) -> bool:
        """Whether a new version would be the same as the last one."""
        return (
            self._may_carry
            and self.facts["encoded"] == self.facts["removed"] == 0
            and _same_failures(found, self._quarantine(spark))
            and same_payload(listing, last)
        )

    def _publish(self, files: list[DataFile], schema: pa.Schema) -> None:
        written = sum(file.num_rows for file in files)
        accounted = written + sum(self.facts["quarantined"].values())
        if accounted != self.facts["read"]:
            raise InputError(
                f"the catalog changed while it was read: {self.facts['read']} items at first, "
                f"{accounted} in the end. Nothing was published; run again."
            )
        table = publish(
            self.table, self.previous, files, schema, self.bundle.latent_dim, self.run_id
        )
        self.facts |= {"outcome": PUBLISHED, "version": table.version}

    def withdraw(self, error: BaseException, run: Run) -> None:
        """Take away what a run that failed has laid out, and keep a record of it."""
        # Whatever went wrong may have done so after the commit: then the files are the table.
        published = runs_of(self.table)
        if published is not None and self.run_id not in published:
            remove(posixpath.join(self.table, self.run_id))
            remove(quarantine_folder(self.table, self.run_id))
        elif published is not None:
            run.forget()
        if isinstance(error, (TooManyFailures, PublishConflict)) and self.previous is not None:
            outcome = "too many errors" if isinstance(error, TooManyFailures) else "lost the race"
            self.facts |= {"outcome": outcome, "message": str(error)}
            self.record()

    def record(self) -> None:
        """Write the run's row; a night that is published is not undone for want of it."""
        try:
            write_run_record(self.table, {**self.facts, "seconds": self.watch.seconds})
        except (OSError, pa.ArrowException) as error:
            log.warning("the run's record could not be written to %s: %s", self.table, error)

    def summary(self) -> Summary:
        """Return what the job prints."""
        facts = {name: value for name, value in self.facts.items() if name != "started"}
        order = ("outcome", "read", "encoded", "resumed", "carried", "removed", "quarantined")
        return {
            **{name: facts.pop(name) for name in order},
            **facts,
            "table": self.table,
            "latent_dim": self.bundle.latent_dim,
            "seconds": self.watch.seconds,
        }

    def _clean(self) -> None:
        removed = clean(self.table)
        if removed:
            log.info("removed what %d killed runs had left: %s.", len(removed), ", ".join(removed))

    def _quarantine(self, spark: SparkSession) -> DataFrame | None:
        """Return the last version's quarantine."""
        if not self._may_carry or self.previous is None:
            return None
        folder = quarantine_folder(self.table, self.previous.provenance.get(RUN_ID_KEY, ""))
        if not exists(folder):
            return None
        return spark.read.parquet(spark_literal(folder))

    def _not_tried_again(self, rows: DataFrame) -> DataFrame:
        """Leave out failures that may be over, with the same image."""
        if self.options.retry_quarantined:
            return rows.where(F.col(REASON).isNull())
        # What could not be opened yesterday may be there today.
        return rows.where(F.coalesce(REASON, F.lit("")) != UNAVAILABLE)


def _read_chunks(spark: SparkSession, folder: str) -> DataFrame:
    return spark.read.schema(ENCODED_TYPE).parquet(spark_literal(folder))


def _same_failures(found: DataFrame, quarantine: DataFrame | None) -> bool:
    """Whether all that failed is in quarantine already, for the same reason."""
    failures = found.where(F.col(REASON).isNotNull()).select(ITEM_ID, SOURCE_VERSION, REASON)
    if quarantine is not None:
        failures = failures.join(quarantine, failures.columns, "left_anti")
    return failures.isEmpty()


def _all_rows(spark: SparkSession, changes: Changes, run: Run) -> DataFrame:
    """Return every item's row: what was known, and what this run has encoded."""
    if not has_chunks(run.encoded):
        return changes.known
    # A task that was run twice has left two chunks.
    encoded = _read_chunks(spark, run.encoded).dropDuplicates([ITEM_ID])
    return changes.known.unionByName(encoded)


def _table_schema(listing: DataFrame, night: _Night) -> pa.Schema:
    payload = listing.drop(ITEM_ID, SOURCE_VERSION, *PLACE)
    try:
        payload_schema = payload.limit(0).toArrow().schema
    except PySparkException as error:
        raise InputError(
            f"the payload columns {', '.join(payload.columns)} cannot all be stored: {error}. "
            "Choose some with --payload-columns."
        ) from None
    provenance = {
        MODEL_ID_KEY: night.bundle.model_id,
        MODEL_PATH_KEY: absolute(night.options.model),
        CATALOG_KEY: night.options.source.to_json(),
        RUN_ID_KEY: night.run_id,
        PRECISION_KEY: night.options.precision,
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
        + ". What could be encoded is kept for the next run."
    )


def _write_quarantine(staged: DataFrame, failed: int, table: str, run_id: str) -> None:
    rows = staged.where(F.col(REASON).isNotNull())
    rows = rows.select(ITEM_ID, SOURCE_VERSION, REASON, MESSAGE)
    rows.repartition(-(-failed // _ROWS_PER_QUARANTINE_FILE)).write.parquet(
        spark_uri(quarantine_folder(table, run_id))
    )


def _tell(quarantined: dict[str, int], table: str, run_id: str) -> None:
    if quarantined:
        reasons = ", ".join(f"{count} {reason}" for reason, count in quarantined.items())
        log.info(
            "%d items are in quarantine (%s): see %s.",
            sum(quarantined.values()),
            reasons,
            quarantine_folder(table, run_id),
        )
