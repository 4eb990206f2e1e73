"""Decode z vectors to pictures, as a Spark job."""

from __future__ import annotations

import logging
import posixpath
from dataclasses import dataclass
from typing import get_args

import numpy as np
from pyspark.sql import DataFrame, SparkSession

from vaeudf.catalog.source import CatalogSource
from vaeudf.decoding.paths import check_steps
from vaeudf.decoding.udf import decode, decode_to_files, remove_drafts, tasks_for
from vaeudf.errors import BundleError, InputError
from vaeudf.model.bundle import Bundle, load_bundle
from vaeudf.model.devices import Device, Hardware, choose_device
from vaeudf.model.py_files import use_py_files
from vaeudf.pages.decode_page import write_decode_page
from vaeudf.schema import CATALOG_KEY, IMAGE, MODEL_PATH_KEY, QUERY_ID, Z
from vaeudf.spark.progress import progress
from vaeudf.spark.session import send_py_files, spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import absolute, filesystem, make_folder, spark_uri
from vaeudf.storage.outputs import PAGE_MARK, PICTURES_MARK, check_output, replacing
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.workflows.cli import Summary, option
from vaeudf.workflows.drawn import Drawn
from vaeudf.workflows.pictures import (
    closing_facts,
    find_pictures,
    load_model_of,
    places_read,
    slider_range,
)
from vaeudf.workflows.points import Points
from vaeudf.workflows.reconstructions import Format, Order, Reconstructions, parse_number
from vaeudf.workflows.traversals import Traversal, parse_traverse
from vaeudf.workflows.walks import Walk, Way

log = logging.getLogger(__name__)


PICTURES = "pictures.parquet"
INDEX = "index.parquet"
SHEET = "sheet.png"

_STEPS = 9
_KINDS = ("queries", "z", "traverse", "walk", "reconstruct", "reconstruct_items")
# What a sheet can show, and a person look at.
_MOST_STEPS, _MOST_STEPS_OF_TWO = 200, 25
_MOST_SAMPLES = 10_000


@dataclass(frozen=True)
class DecodeLatents:
    """Decode z vectors to pictures: points, traversals, walks between items, reconstructions."""

    model: str | None = option(None, help="model bundle to decode with (default: the table's own)")
    table: str | None = option(
        None, help="posterior table, for its model and its items; or plain Parquet like it"
    )
    queries: str | None = option(
        None, help="decode a file of z vectors, or of mu and log_var, or a folder of Parquet"
    )
    z: list[str] | None = option(None, help='decode a vector, "0.1,-2,…"; repeat it for more')
    samples: int = option(0, help="with Gaussian queries: decode this many draws of each, too")
    traverse: int | str | None = option(
        None, help="change dimension I from column to column and J from row to row: I,J, I, or all"
    )
    center: str | None = option(None, help='the other dimensions, "0,1,…" (default: the origin)')
    like: str | None = option(None, help="with --traverse: around this item's mu")
    range: float | None = option(
        None, help="traverse from -A to A (default: where the model's training items lie)"
    )
    walk: list[str] | None = option(None, help="an end of a walk, an item_id; give it twice")
    path: Way = option("linear", help="linear in mu, or fisher_rao: a geodesic of Gaussians")
    steps: int = option(_STEPS, help="pictures along each dimension, or along the walk")
    reconstruct: int | str | None = option(
        None, help="compare this many items with their reconstructions; or all"
    )
    reconstruct_items: list[str] | None = option(
        None, help="an item_id to compare with its reconstruction; repeat it"
    )
    order: Order = option("worst", help="worst or best: which reconstructions come first")
    seed: int = option(0, help="chooses the items to reconstruct, and the samples")
    version: int | None = option(None, help="an older version of the table")
    catalog: str | None = option(None, help="where the pictures are (default: the table's own)")
    output: str | None = option(None, help="folder to write the pictures to")
    format: Format = option("png", help="png, a file each, or parquet, a column of PNG bytes")
    report: str | None = option(None, help="folder to write a page of pictures to")
    device: Device = option("auto", help="auto: a GPU where a task has one, else cpu; or cuda, cpu")
    trust_model: bool = option(False, help="run code that is not vaeudf's, if the model needs it")
    py_files: list[str] | None = option(
        None, help="module or archive with such a model's code; repeat it"
    )
    overwrite: bool = option(False, help="replace --output and --report if they exist")

    def __post_init__(self) -> None:
        kinds = [_flag(name) for name in _KINDS if getattr(self, name) not in (None, [])]
        if len(kinds) != 1:
            raise InputError(
                f"expected one thing to decode, from {', '.join(map(_flag, _KINDS[:-1]))} or "
                f"{_flag(_KINDS[-1])}; found {' and '.join(kinds) or 'none'}."
            )
        self._check_what_goes_together(kinds[0])
        for name, allowed in (("path", Way), ("order", Order), ("format", Format)):
            if getattr(self, name) not in get_args(allowed):
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; expected one of "
                    f"{', '.join(get_args(allowed))}."
                )
        self.hardware.check()
        self._check_numbers()
        if self.walk is not None and len(set(self.walk)) != 2:
            found = " and ".join(map(repr, self.walk))
            raise InputError(f"walk is {found}; expected two different items: --walk A --walk B.")
        if not (self.output or self.report):
            raise InputError("expected --output or --report, or both: where the pictures go.")

    def _check_what_goes_together(self, kind: str) -> None:
        belongs = {
            "samples": (self.samples != 0, ("--queries",)),
            "center": (self.center is not None, ("--traverse",)),
            "like": (self.like is not None, ("--traverse",)),
            "range": (self.range is not None, ("--traverse",)),
            "path": (self.path != "linear", ("--walk",)),
            "steps": (self.steps != _STEPS, ("--traverse", "--walk")),
            "order": (self.order != "worst", ("--reconstruct", "--reconstruct-items")),
            "catalog": (
                self.catalog is not None,
                ("--walk", "--reconstruct", "--reconstruct-items"),
            ),
        }
        for name, (given, kinds) in belongs.items():
            if given and kind not in kinds:
                raise InputError(f"{name} is for {' and '.join(kinds)}, but {kind} was asked for.")
        if self.center is not None and self.like is not None:
            raise InputError("expected --center or --like, not both: either is the middle.")
        needs = ["--like"] if self.like is not None else []
        needs += [kind] if kind in ("--walk", "--reconstruct", "--reconstruct-items") else []
        if self.table is None and needs:
            raise InputError(f"{needs[0]} names items of a table; say which with --table.")
        if self.table is None and self.model is None:
            raise InputError("expected --model BUNDLE, or --table TABLE for the table's own.")
        if self.version is not None and (self.table is None or self.version < 0):
            raise InputError(
                f"version is {self.version}; expected 0 or more, and a --table that has it."
            )

    def _check_numbers(self) -> None:
        check_steps(self.steps)
        dims = self.dims
        most = _MOST_STEPS_OF_TWO if dims is not None and len(dims) == 2 else _MOST_STEPS
        if self.steps > most:
            raise InputError(f"steps is {self.steps}; expected at most {most} on such a sheet.")
        if self.range is not None and not 0 < self.range < np.inf:
            raise InputError(f"range is {self.range}; expected a finite number above 0.")
        if not 0 <= self.samples <= _MOST_SAMPLES:
            raise InputError(f"samples is {self.samples}; expected 0 to {_MOST_SAMPLES:,}.")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more.")
        if self.format != "png" and not self.output:
            raise InputError(f"format is {self.format}, but no file is written without --output.")
        if self.reconstruct is not None:
            parse_number(str(self.reconstruct))

    @property
    def dims(self) -> tuple[int, ...] | None:
        """The dimensions to traverse, () for all; None if that was not asked for."""
        return None if self.traverse is None else parse_traverse(str(self.traverse))

    @property
    def hardware(self) -> Hardware:
        """What to decode on."""
        return Hardware(self.device)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def decode_latents(options: DecodeLatents) -> Summary:
    """Find out what to decode, decode it in tasks, draw the sheet and the page."""
    watch = Stopwatch()
    table = None if options.table is None else open_posteriors(options.table, options.version)
    use_py_files(options.py_files)
    bundle = _load_model(options, table)
    # What a decoder gives shows before any task is started.
    bundle.decode(np.zeros((1, bundle.latent_dim)))
    points = None
    if options.queries is not None or options.z:
        points = Points.read(options.queries, options.z, options.samples, options.seed)
        points.check(bundle)
    traversal = None
    if (dims := options.dims) is not None:
        traversal = Traversal.plan(bundle, dims, options.range, options.steps, options.center)
    named = (options.queries, options.catalog, options.model)
    if table is None:
        inputs = [path for path in named if path is not None]
    else:
        inputs = places_read(table, options.table, *named)
    if options.output:
        check_output(options.output, options.overwrite, PICTURES_MARK, inputs)
    if options.report:
        others = [options.output] if options.output else []
        check_output(options.report, options.overwrite, PAGE_MARK, [*inputs, *others])

    with spark_session("decode_latents") as spark, progress(spark, watch):
        if options.device == "cuda" and str(spark.sparkContext.master).startswith("local"):
            choose_device("cuda", None, 0)  # tasks would fail, one after the other
        send_py_files(spark, options.py_files)
        if points is None and traversal is None:
            assert table is not None
            catalog = _find_catalog(spark, table, options)
            if options.walk is None:
                assert catalog is not None
                drawn = _reconstruct(options, watch, spark, table, catalog, bundle)
            else:
                with watch.phase("decode"):
                    walk = Walk.plan(
                        spark, table, options.walk, options.path, options.steps, catalog
                    )
                    drawn = walk.draw(spark, bundle)
        elif traversal is not None:
            if options.like is not None:
                assert table is not None
                traversal = traversal.around_item(spark, table, options.like)
            with watch.phase("decode"):
                drawn = traversal.draw(spark, bundle)
        else:
            assert points is not None
            with watch.phase("decode"):
                drawn = points.draw(spark, bundle)
        if drawn.frame is not None and options.output:
            with watch.phase("decode"), replacing(options.output, PICTURES_MARK) as folder:
                _write(drawn, options, bundle, folder)
        summary: Summary = {"pictures": drawn.count, "latent_dim": bundle.latent_dim}
        summary |= {"model_id": bundle.model_id, **drawn.facts}
        if table is not None:
            summary |= {"table": table.uri, "version": table.version}
        summary["seconds"] = watch.seconds
        if options.report:
            with watch.phase("report"):
                summary["report"] = write_decode_page(
                    options.report,
                    drawn.sections,
                    title=drawn.title,
                    lead=drawn.lead,
                    notes=drawn.notes,
                    slider_range=slider_range(bundle),
                    facts=_facts(summary),
                )
    if options.output:
        summary["output"] = absolute(options.output)
    return summary


def _load_model(options: DecodeLatents, table: PosteriorTable | None) -> Bundle:
    if table is None:
        bundle = load_bundle(str(options.model), options.trust_model)
    else:
        path = options.model or table.provenance.get(MODEL_PATH_KEY)
        if path is None:
            raise InputError(
                f"{table.uri} is plain Parquet, which does not say what it was encoded with; name "
                "the model with --model."
            )
        bundle = load_model_of(table, path, options.trust_model)
    if not bundle.has_decoder:
        path = options.model or "of the table"
        raise BundleError(f"model {path} has no decoder; export the model with one.")
    return bundle


def _find_catalog(
    spark: SparkSession, table: PosteriorTable, options: DecodeLatents
) -> CatalogSource | None:
    """Return where the pictures are; None for a walk whose own catalog is not there."""
    if options.catalog is None and CATALOG_KEY not in table.provenance:
        if options.walk is None:
            raise InputError(
                f"{table.uri} is plain Parquet, which does not say where its pictures are; name "
                "their place with --catalog."
            )
        return None
    try:
        return find_pictures(spark, table, options.catalog)
    except InputError as error:
        if options.walk is None or options.catalog is not None:
            raise
        log.warning("The walk is shown without the two items' own pictures: %s", error)
        return None


def _reconstruct(
    options: DecodeLatents,
    watch: Stopwatch,
    spark: SparkSession,
    table: PosteriorTable,
    catalog: CatalogSource,
    bundle: Bundle,
) -> Drawn:
    job = Reconstructions(
        spark, table, catalog, bundle, options.order, options.format, options.hardware
    )
    number = parse_number(str(options.reconstruct)) if options.reconstruct is not None else None
    is_all = number is None and not options.reconstruct_items
    with watch.phase("decode"):
        items, count = job.choose(number, options.reconstruct_items, options.seed)
        if not options.output:
            return job.run(items, count, is_all, None)
        with replacing(options.output, PICTURES_MARK) as folder:
            drawn = job.run(items, count, is_all, folder)
            _write_sheet(drawn, folder)
        return drawn


def _write(drawn: Drawn, options: DecodeLatents, bundle: Bundle, folder: str) -> None:
    """Decode what was planned, into a folder."""
    assert drawn.frame is not None
    cores = int(drawn.frame.sparkSession.sparkContext.defaultParallelism)
    frame = drawn.frame.repartition(tasks_for(drawn.count, bundle, cores))
    rows: DataFrame
    if options.format == "png":
        rows, name = decode_to_files(frame, bundle, folder, options.hardware), INDEX
    else:
        rows, name = decode(frame, bundle, Z, options.hardware), PICTURES
        rows = rows.select(QUERY_ID, Z, IMAGE)
    rows.write.parquet(spark_uri(posixpath.join(folder, name)))
    remove_drafts(folder)
    _write_sheet(drawn, folder)


def _write_sheet(drawn: Drawn, folder: str) -> None:
    if drawn.sheet is None:
        return
    system, inner = filesystem(folder)
    make_folder(system, inner)
    with system.open_output_stream(posixpath.join(inner, SHEET)) as stream:
        stream.write(drawn.sheet)


def _facts(summary: Summary) -> list[tuple[str, str]]:
    facts = [("pictures decoded", f"{summary['pictures']:,}")]
    facts.append(("latent dimensions", str(summary["latent_dim"])))
    return facts + closing_facts(summary)
