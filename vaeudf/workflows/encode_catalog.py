"""Encode what has changed in a catalog and publish its posterior table."""

from __future__ import annotations

import logging
import posixpath
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from vaeudf.catalog.globs import check_exists
from vaeudf.catalog.kind import Catalog
from vaeudf.catalog.patterns import root_of
from vaeudf.catalog.source import (
    check_items,
    open_catalog,
)
from vaeudf.encoding.carried_pixels import CarriedPixels
from vaeudf.encoding.changes import (
    CARRIED,
    RESUMED,
    TODO,
    Changes,
    compare,
    count_changes,
    listed,
    to_encode,
)
from vaeudf.encoding.failures import (
    check_failures,
    log_quarantine,
    not_tried_again,
    read_quarantine,
    same_failures,
    write_quarantine,
)
from vaeudf.encoding.gathering import (
    all_failures,
    read_chunks,
    read_encoded,
    schema_of_rows,
    with_added,
    with_posteriors,
)
from vaeudf.encoding.provenance import Provenance
from vaeudf.encoding.run_record import Outcome, RunRecord, write_run_record
from vaeudf.encoding.single_writer import check_single_writer
from vaeudf.encoding.staging import Run, clean, open_run
from vaeudf.encoding.udf import chunks_for, encode_chunks
from vaeudf.errors import GateFailed, InputError, PublishConflict, TooManyFailures, VaeUdfError
from vaeudf.model.bundle import Bundle, load_bundle
from vaeudf.model.devices import choose_device
from vaeudf.model.py_files import use_py_files
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.constraints import check_conditions, check_constraints
from vaeudf.spark.frames import kept_on_disk
from vaeudf.spark.progress import progress
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.spark.writing import write_data_files
from vaeudf.storage.locations import absolute, exists, remove, remove_empty
from vaeudf.table.evolution import added_columns, next_schema, same_payload_columns
from vaeudf.table.open import PosteriorTable, open_for_publishing
from vaeudf.table.pixel_files import PictureShape
from vaeudf.table.publish import DataFile, publish, unpublished
from vaeudf.table.runs import PIXELS, QUARANTINE, new_run_id, published_runs, quarantine_folder
from vaeudf.workflows.cli import Summary
from vaeudf.workflows.encode_options import EncodeCatalog

if TYPE_CHECKING:
    from vaeudf.workflows.night_gate import NightGate

__all__ = ["EncodeCatalog", "encode_catalog"]

log = logging.getLogger(__name__)


def encode_catalog(options: EncodeCatalog) -> Summary:
    """List, compare, encode, check, lay out and publish, in this order."""
    check_exists(options.catalog)
    use_py_files(options.py_files)
    bundle = load_bundle(options.model, options.trust_model)
    gate = None if options.gate is None else _read_gate(options.gate)
    previous = open_for_publishing(options.table, bundle.latent_dim)
    run = _EncodeRun(options, bundle, previous, gate)
    was_there = exists(run.table)
    try:
        with ExitStack() as stack:
            spark = stack.enter_context(spark_session("encode_catalog", run.table))
            stack.enter_context(progress(spark, run.watch))
            cluster = Cluster.of(spark)
            cluster.check_seen(root_of(options.catalog))
            staging = stack.enter_context(
                open_run(
                    run.table, run.record.run_id, run.staging_key, keep_pixels=options.keep_pixels
                )
            )
            check_single_writer(staging)
            cluster.add_py_files(options.py_files or ())
            run.record.application_id = cluster.application_id
            try:
                run.go(spark, staging)
            except BaseException as error:
                run.withdraw(error, staging)
                raise
    finally:
        for folder in (QUARANTINE, PIXELS):
            remove_empty(posixpath.join(run.table, folder))
        if not was_there:
            remove_empty(run.table)
    run.write_record()
    return run.record.summary() | {"table": run.table, "latent_dim": bundle.latent_dim}


_OUTCOMES: dict[type[VaeUdfError], Outcome] = {
    TooManyFailures: "too many errors",
    PublishConflict: "lost the race",
    GateFailed: "held back",
}
"""Of runs that end with an error of which a record is kept."""


def _read_gate(path: str) -> NightGate:
    # Imported here: it comes with the search and the pages, which most nights need not wait for.
    from vaeudf.workflows.night_gate import NightGate

    return NightGate.read(path)


class _EncodeRun:
    """One run of the job.

    Attributes:
        table: Where the table is.
        watch: The run's seconds by phase.
        record: What is known of the run so far.
    """

    def __init__(
        self,
        options: EncodeCatalog,
        bundle: Bundle,
        previous: PosteriorTable | None,
        gate: NightGate | None,
    ) -> None:
        self.table = absolute(options.table)
        self.watch = Stopwatch()
        self._options = options
        self._bundle = bundle
        self._gate = gate
        self._previous = previous
        # A table may have been created, and nothing published to it.
        self._last = previous if previous is not None and previous.transaction > 0 else None
        pictures = PictureShape.of(bundle.manifest.image) if options.keep_pixels else None
        self._provenance = Provenance(
            model_id=bundle.model_id,
            model_path=absolute(options.model),
            source=options.source,
            precision=options.precision,
            run_id=new_run_id(),
            pictures=pictures,
        )
        self._added: list[str] = []
        self._same_columns = False
        self._before: Provenance | None = None
        if self._last is not None and not options.full:
            before = Provenance.from_metadata(self._last.provenance)
            # Else the last version's posteriors are not those that this run would give.
            self._before = before if before.agrees_with(self._provenance) else None
        comparable = None if self._before is None else self._last
        self._pixels = CarriedPixels(self.table, self._last, comparable, pictures)
        self.record = RunRecord(
            run_id=self._provenance.run_id,
            model_id=bundle.model_id,
            model=absolute(options.model),
            catalog=absolute(options.catalog),
            version_before=None if self._last is None else self._last.version,
            seconds=self.watch.seconds,
        )

    @property
    def staging_key(self) -> str:
        """What a run's chunks are good for: this model, on this catalog."""
        return self._provenance.staging_key(full=self._options.full)

    def go(self, spark: SparkSession, staging: Run) -> None:
        """Do all of it."""
        if self._options.device == "cuda" and Cluster.of(spark).is_local:
            choose_device("cuda", None, 0)  # tasks would fail, one after the other
        record = self.record
        with ExitStack() as frames:
            with self.watch.phase("read"):
                # Looked up once: to find a first file, a store lists the whole folder.
                catalog = open_catalog(spark, self._options.source)
                resumes = staging.adopt() > 0
                self._remove_remains()
                # A hash costs reading the images, which is for nothing if nothing is known.
                known = self._before is not None or resumes
                listing = catalog.list_items(spark, versions=known)
                schema = self._table_schema(listing)
                last, keep_pixels = self._pixels.read_last(spark), self._pixels.are_kept
                quarantine = staged = None
                if self._before is not None:
                    quarantine = read_quarantine(spark, self.table, self._before.run_id)
                if resumes:
                    staged = read_chunks(spark, staging.adopted, keep_pixels=keep_pixels)
                retry = self._options.retry_quarantined
                staged = not_tried_again(staged, retry_quarantined=retry)
                compared = compare(
                    listing,
                    None if last is None else last.drop(*self._added),
                    not_tried_again(quarantine, retry_quarantined=retry),
                    staged,
                    comparable=self._before is not None,
                    keep_pixels=keep_pixels,
                )
                compared = frames.enter_context(kept_on_disk(compared))
                changes = self._count(compared)
                record.ignored_files = catalog.count_ignored(spark)
            with self.watch.phase("encode"):
                self._encode(to_encode(compared), catalog, changes, staging.encoded)
            with self.watch.phase("check"):
                encoded, failed = read_encoded(
                    spark, staging.encoded, changes.num_todo, keep_pixels=keep_pixels
                )
                failures = all_failures(compared, encoded)
                self._check(failures, failed, changes)
                if self._may_be_unchanged(changes) and (
                    not failed or same_failures(failures, quarantine)
                ):
                    record.outcome, record.version = "nothing to do", record.version_before
                    record.pixel_bytes = self._pixels.num_bytes
                    return
            with self.watch.phase("lay out"):
                sources = {
                    CARRIED: last if changes.carried else None,
                    RESUMED: staged if changes.resumed else None,
                    TODO: encoded,
                }
                rows = with_posteriors(compared, sources)
                rows = with_added(rows, last, self._added)
                rows = frames.enter_context(kept_on_disk(rows))
                check_constraints(rows, self._previous)
                num_rows = record.read - record.num_failed
                files = write_data_files(
                    rows, num_rows, self.table, record.run_id, schema, self._pixels.shape
                )
                if record.num_failed:
                    write_quarantine(failures, record.num_failed, self.table, record.run_id)
            if self._gate is not None:
                self._check_gate(spark, self._gate, files)
        with self.watch.phase("publish"):
            self._publish(files, schema)
        log_quarantine(record.quarantined, quarantine_folder(self.table, record.run_id))

    def _remove_remains(self) -> None:
        if removed := clean(self.table):
            log.info("removed what %d killed runs had left: %s.", len(removed), ", ".join(removed))

    def _table_schema(self, listing: DataFrame) -> pa.Schema:
        schema = schema_of_rows(listing, self._provenance.to_metadata())
        self._added = added_columns(schema, self._previous)
        self._same_columns = same_payload_columns(schema, self._last)
        schema = next_schema(schema, self._previous)
        check_conditions(listing.sparkSession, schema, self._previous)
        return schema

    def _count(self, compared: DataFrame) -> Changes:
        """Count what there is of each kind, and refuse a listing that is no catalog."""
        changes, record = count_changes(compared), self.record
        has_versions = self._options.version_column is not None
        if (
            changes.num_items == 0
            or changes.wrong_ids
            or (has_versions and changes.without_version)
        ):
            check_items(listed(compared), has_version_column=has_versions)
        record.read, record.removed = changes.num_items, changes.removed
        record.carried, record.resumed = changes.carried, changes.resumed
        self._pixels.check(changes.num_items, changes.num_todo, changes.without_pixels)
        return changes

    def _encode(self, todo: DataFrame, catalog: Catalog, changes: Changes, folder: str) -> None:
        if changes.num_todo == 0:
            return
        spark = todo.sparkSession
        encode_chunks(
            todo,
            self._bundle,
            catalog.stored_image_column(spark),
            hashed=catalog.has_hashed_versions,
            num_chunks=chunks_for(
                changes.num_todo,
                changes.todo_bytes,
                Cluster.of(spark).num_cores,
                self._bundle.manifest.image.batch_size,
            ),
            folder=folder,
            hardware=self._options.hardware,
            keep_pixels=self._options.keep_pixels,
        )

    def _check(self, failures: DataFrame, failed: Mapping[str, int], changes: Changes) -> None:
        """Count what came of it; too many failures are an error."""
        record = self.record
        total = Counter(changes.failed) + Counter(failed)
        record.quarantined = dict(sorted(total.items()))
        record.encoded = record.read - changes.carried - record.num_failed
        seconds = max(self.watch.seconds["encode"], 1e-3)
        record.images_per_second = round(changes.num_todo / seconds, 1)
        check_failures(failures, record.quarantined, record.read, self._options.max_error_fraction)

    def _may_be_unchanged(self, changes: Changes) -> bool:
        """Whether a new version would be the same as the last one, but for what failed tonight."""
        return (
            self._before is not None
            and self._last is not None
            and self.record.encoded == self.record.removed == 0
            and self.record.carried == self._last.num_items
            and self._same_columns
            and self._pixels.are_as_before
            and changes.new_failures == changes.new_payloads == 0
        )

    def _check_gate(self, spark: SparkSession, gate: NightGate, files: list[DataFile]) -> None:
        table = unpublished(
            self.table, files, self._bundle.latent_dim, self._provenance.to_metadata()
        )
        same_model = self._last is not None and self._last.model_id == self._bundle.model_id
        last = self._last if same_model else None
        gate.check(spark, table, last, self.record.quarantined, self.watch)

    def _publish(self, files: list[DataFile], schema: pa.Schema) -> None:
        record = self.record
        accounted = sum(file.num_rows for file in files) + record.num_failed
        if accounted != record.read:
            raise InputError(
                f"the catalog changed while it was read: {record.read} items at first, "
                f"{accounted} in the end. Nothing was published; run again."
            )
        latent_dim = self._bundle.latent_dim
        table = publish(self.table, self._previous, files, schema, latent_dim, record.run_id)
        record.outcome, record.version = "published", table.version
        record.pixel_bytes = sum(file.pixel_bytes for file in files)

    def withdraw(self, error: BaseException, staging: Run) -> None:
        """Take away what a run that failed has laid out, and keep a record of it."""
        # Whatever went wrong may have done so after the commit: then the files are the table.
        published = published_runs(self.table)
        if published is not None and self.record.run_id not in published:
            remove(posixpath.join(self.table, self.record.run_id))
            remove(posixpath.join(self.table, PIXELS, self.record.run_id))
            remove(quarantine_folder(self.table, self.record.run_id))
        elif published is not None:
            staging.forget()
        outcome = next((one for kind, one in _OUTCOMES.items() if isinstance(error, kind)), None)
        if outcome is not None and self._previous is not None:
            self.record.outcome, self.record.message = outcome, str(error)
            self.write_record()

    def write_record(self) -> None:
        """Write the run's row; a version that is published is not undone for want of it."""
        try:
            write_run_record(self.table, self.record)
        except (OSError, pa.ArrowException) as error:
            log.warning("the run's record could not be written to %s: %s", self.table, error)
