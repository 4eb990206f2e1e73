"""Decode z vectors to pictures, as a Spark job."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, fields
from typing import get_args

import numpy as np

from vaeudf.decoding.table_model import load_model_of
from vaeudf.decoding.udf import remove_drafts
from vaeudf.errors import BundleError, InputError
from vaeudf.model.bundle import Bundle, load_bundle
from vaeudf.model.devices import Device, Hardware, choose_device
from vaeudf.model.py_files import use_py_files
from vaeudf.pages.decode_page import write_decode_page
from vaeudf.schema import MODEL_PATH_KEY
from vaeudf.spark.cluster import Cluster
from vaeudf.spark.progress import progress
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import absolute, filesystem, make_folder
from vaeudf.storage.outputs import PICTURES_MARK, replacing
from vaeudf.table.open import PosteriorTable, open_posteriors
from vaeudf.workflows.cli import Summary, flag_of, option, path_option
from vaeudf.workflows.drawings.drawing import STEPS, Context, Drawing, Drawn, Format
from vaeudf.workflows.drawings.points import Points
from vaeudf.workflows.drawings.reconstructions import Order, Reconstructions, parse_number
from vaeudf.workflows.drawings.traversals import Traversal, parse_traverse
from vaeudf.workflows.drawings.walks import Walk, Way
from vaeudf.workflows.option_groups import PageOptions, VersionOptions
from vaeudf.workflows.pictures import closing_facts, places_read, slider_range

SHEET = "sheet.png"

# The options that say what is drawn, and the further options that each one takes.
_KINDS = {
    "queries": ("samples",),
    "z": (),
    "traverse": ("center", "like", "range", "steps"),
    "walk": ("path", "steps", "catalog"),
    "reconstruct": ("order", "catalog"),
    "reconstruct_items": ("order", "catalog"),
}
_OF_ITEMS = ("walk", "reconstruct", "reconstruct_items")


@dataclass(frozen=True)
class DecodeLatents(VersionOptions, PageOptions):
    """Decode z vectors to pictures: points, traversals, walks between items, reconstructions."""

    table: str | None = path_option(
        None, help="posterior table, for its model and its items; or plain Parquet like it"
    )
    queries: str | None = path_option(
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
    steps: int = option(STEPS, help="pictures along each dimension, or along the walk")
    reconstruct: int | str | None = option(
        None, help="compare this many items with their reconstructions; or all"
    )
    reconstruct_items: list[str] | None = option(
        None, help="an item_id to compare with its reconstruction; repeat it"
    )
    order: Order = option("worst", help="worst or best: which reconstructions come first")
    seed: int = option(0, help="chooses the items to reconstruct, and the samples")
    output: str | None = path_option(None, help="folder to write the pictures to")
    format: Format = option("png", help="png, a file each, or parquet, a column of PNG bytes")
    device: Device = option("auto", help="auto: a GPU where a task has one, else cpu; or cuda, cpu")

    def __post_init__(self) -> None:
        kind = self._kind()
        self._check_what_goes_with(kind)
        for name, allowed in (("path", Way), ("order", Order), ("format", Format)):
            if getattr(self, name) not in get_args(allowed):
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; expected one of "
                    f"{', '.join(get_args(allowed))}."
                )
        self.hardware.check()
        self.drawing  # noqa: B018 - checks what it is made of
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; expected 0 or more.")
        if self.format != "png" and not self.output:
            raise InputError(f"format is {self.format}, but no file is written without --output.")
        if not (self.output or self.report):
            raise InputError("expected --output or --report, or both: where the pictures go.")

    def _kind(self) -> str:
        """Return the name of the option that says what is drawn."""
        given = [name for name in _KINDS if getattr(self, name) not in (None, [])]
        if len(given) != 1:
            *others, last = map(flag_of, _KINDS)
            raise InputError(
                f"expected one thing to decode, from {', '.join(others)} or {last}; found "
                f"{' and '.join(map(flag_of, given)) or 'none'}."
            )
        return given[0]

    def _check_what_goes_with(self, kind: str) -> None:
        defaults = {field.name: field.default for field in fields(self)}
        for name in dict.fromkeys(name for names in _KINDS.values() for name in names):
            if getattr(self, name) != defaults[name] and name not in _KINDS[kind]:
                kinds = [flag_of(other) for other, names in _KINDS.items() if name in names]
                raise InputError(
                    f"{name} is for {' and '.join(kinds)}, but {flag_of(kind)} was asked for."
                )
        needs = ["like"] if self.like is not None else []
        needs += [kind] if kind in _OF_ITEMS else []
        if self.table is None and needs:
            raise InputError(f"{flag_of(needs[0])} names items of a table; say which with --table.")
        if self.table is None and self.model is None:
            raise InputError("expected --model BUNDLE, or --table TABLE for the table's own.")
        if self.version is not None and (self.table is None or self.version < 0):
            raise InputError(
                f"version is {self.version}; expected 0 or more, and a --table that has it."
            )

    @property
    def drawing(self) -> Drawing:
        """What is to be drawn."""
        if self.traverse is not None:
            return Traversal(
                dims=parse_traverse(str(self.traverse)),
                steps=self.steps,
                bound=self.range,
                center=self.center,
                like=self.like,
            )
        if self.walk:
            return Walk(ends=self.walk, way=self.path, steps=self.steps)
        if self.reconstruct is not None:
            number = parse_number(str(self.reconstruct))
            return Reconstructions(number=number, order=self.order, seed=self.seed)
        if self.reconstruct_items:
            return Reconstructions(item_ids=self.reconstruct_items, order=self.order)
        return Points(queries=self.queries, z=self.z, samples=self.samples, seed=self.seed)

    @property
    def hardware(self) -> Hardware:
        """What to decode on."""
        return Hardware(self.device)


def decode_latents(options: DecodeLatents) -> Summary:
    """Decode in tasks; write the pictures and the page."""
    watch = Stopwatch()
    table = None if options.table is None else open_posteriors(options.table, options.version)
    use_py_files(options.py_files)
    bundle = _load_model(options, table)
    # A decoder that returns something else is found before any task starts.
    bundle.decode(np.zeros((1, bundle.latent_dim)))
    drawing = options.drawing
    drawing.check(bundle)
    options.check_outputs(options.output, PICTURES_MARK, _places_read(options, table))

    by_spark = [options.output] if options.output else []
    with spark_session("decode_latents", *by_spark) as spark, progress(spark, watch):
        if options.device == "cuda" and Cluster.of(spark).is_local:
            choose_device("cuda", None, 0)  # tasks would fail, one after the other
        Cluster.of(spark).add_py_files(options.py_files or ())
        context = Context(
            spark=spark,
            bundle=bundle,
            posteriors=table,
            catalog=options.catalog,
            hardware=options.hardware,
            format=options.format,
        )
        with watch.phase("decode"):
            drawn = _draw(drawing, context, options.output)
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


def _places_read(options: DecodeLatents, table: PosteriorTable | None) -> list[str]:
    named = (options.queries, options.catalog, options.model)
    if table is None:
        return [path for path in named if path is not None]
    return places_read(table, options.table, *named)


def _draw(drawing: Drawing, context: Context, output: str | None) -> Drawn:
    """Draw; write the pictures and their sheet, if an output folder is named."""
    if not output:
        return drawing.draw(context, None)
    with replacing(output, PICTURES_MARK) as folder:
        drawn = drawing.draw(context, folder)
        remove_drafts(folder)
        if drawn.sheet is not None:
            system, inner = filesystem(folder)
            make_folder(system, inner)
            with system.open_output_stream(posixpath.join(inner, SHEET)) as stream:
                stream.write(drawn.sheet)
    return drawn


def _load_model(options: DecodeLatents, table: PosteriorTable | None) -> Bundle:
    if table is None:
        bundle = load_bundle(str(options.model), trust_model=options.trust_model)
    else:
        path = options.model or table.provenance.get(MODEL_PATH_KEY)
        if path is None:
            raise InputError(
                f"{table.uri} is plain Parquet, which does not say what it was encoded with; name "
                "the model with --model."
            )
        bundle = load_model_of(table, path, trust_model=options.trust_model)
    if not bundle.has_decoder:
        path = options.model or "of the table"
        raise BundleError(f"model {path} has no decoder; export the model with one.")
    return bundle


def _facts(summary: Summary) -> list[tuple[str, str]]:
    facts = [("pictures decoded", f"{summary['pictures']:,}")]
    facts.append(("latent dimensions", str(summary["latent_dim"])))
    return facts + closing_facts(summary)
