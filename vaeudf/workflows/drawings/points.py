"""Points, and the means and samples of Gaussians, as decode_latents decodes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.decoding.udf import SAMPLE, samples_of, with_samples
from vaeudf.errors import InputError, root_cause
from vaeudf.model.bundle import Bundle
from vaeudf.pages.decode_page import Picture, Tiles
from vaeudf.query.files import read_latents
from vaeudf.query.latents import Latents, from_rows, parse_z
from vaeudf.schema import LOG_VAR, MU, QUERY_ID, Z
from vaeudf.spark.cluster import Cluster
from vaeudf.storage.locations import exists, is_file, spark_literal
from vaeudf.workflows.drawings.drawing import NOTES, Context, Drawn

# The page contains its pictures, so it shows only so many.
_MOST_POINTS = 200
_MOST_SAMPLES = 10_000


@dataclass(frozen=True)
class Points:
    """Points, or the means of Gaussians and samples of them.

    Attributes:
        queries: A file of queries, or a folder of Parquet; None to use z.
        z: Points as text.
        samples: The number of samples of each Gaussian.
        seed: The seed of the samples.
    """

    queries: str | None = None
    z: list[str] | None = None
    samples: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.samples <= _MOST_SAMPLES:
            raise InputError(f"samples is {self.samples}; expected 0 to {_MOST_SAMPLES:,}.")

    @cached_property
    def _latents(self) -> Latents | None:
        """The queries; None if they are in a folder, which Spark reads."""
        if self.queries is None:
            return parse_z(self.z or [])
        if exists(self.queries) and not is_file(self.queries):
            return None
        return read_latents(self.queries)

    def check(self, bundle: Bundle) -> None:
        """Check them; read them first, unless they are in a folder.

        Raises:
            InputError: They cannot be read, or do not fit the model or each other.
        """
        if self._latents is None:
            return
        self._latents.check_latent_dim(bundle.latent_dim, "the model has")
        self._latents.check_closed()
        self._check_samples(self._latents.is_gaussian)
        clashing = [name for name in self._latents.ids if SAMPLE in name]
        if self.samples and clashing:
            raise InputError(_clash(clashing[0]))

    def draw(self, context: Context, folder: str | None) -> Drawn:
        """Decode them with their samples; show the first ones.

        Raises:
            InputError: The folder does not hold queries, or they do not fit the model.
        """
        # Each comes with its samples, and so many fill the page.
        first = -(-_MOST_POINTS // (1 + self.samples))
        if self._latents is None:
            frame = self._read_folder(context.spark, context.bundle.latent_dim)
            count, shown = frame.count(), _first_of(frame, first)
            shown.check_latent_dim(context.bundle.latent_dim, "the model has")
        else:
            frame = context.frame_of(self._latents)
            count, shown = len(self._latents), self._latents.subset(slice(first))
        total = count * (1 + self.samples)
        if folder is not None:
            sampled = with_samples(frame, self.samples, self.seed) if self.samples else frame
            context.write_pictures(sampled.select(QUERY_ID, Z), total, folder)
        what = "the mean of a Gaussian" if shown.is_gaussian else "a point"
        if self.samples:
            shown = _sampled(shown, self.samples, self.seed)
        shown = shown.subset(slice(_MOST_POINTS))
        decoded = context.decode_here(shown.z)
        pictures = [
            Picture(name, pixels, z=z)
            for name, pixels, z in zip(shown.ids, decoded, shown.z, strict=True)
        ]
        lead = f"{total:,} {'picture' if total == 1 else 'pictures'}, each decoded from {what}"
        lead += f" or from one of {self.samples} draws from it." if self.samples else "."
        hidden = total - len(pictures)
        notes = f" {hidden:,} further {'picture is' if hidden == 1 else 'pictures are'} not shown."
        return Drawn(
            count=total,
            title="What these z look like",
            lead=lead,
            sections=[Tiles(title="", text="", pictures=pictures)],
            notes=NOTES + (notes if hidden else ""),
            facts={"queries": count, "samples": self.samples},
        )

    def _check_samples(self, is_gaussian: bool) -> None:
        if self.samples and not is_gaussian:
            raise InputError(
                f"samples is {self.samples}, but the queries are points z; expected mu and log_var "
                "to draw from."
            )

    def _read_folder(self, spark: SparkSession, latent_dim: int) -> DataFrame:
        path = str(self.queries)
        Cluster.of(spark).check_connectors(path)
        try:
            frame = spark.read.parquet(spark_literal(path))
        except PySparkException as error:
            raise InputError(
                f"queries {path} is a folder that cannot be read as Parquet: {root_cause(error)}."
            ) from None
        names = frame.columns
        is_gaussian = MU in names and LOG_VAR in names
        if QUERY_ID not in names or (Z in names) == is_gaussian:
            raise InputError(
                f"queries {path} is a folder of Parquet with the columns {', '.join(names)}; "
                "expected query_id, and z, or mu and log_var: lists of numbers."
            )
        self._check_samples(is_gaussian)
        columns = {Z: MU, LOG_VAR: LOG_VAR} if is_gaussian else {Z: Z}
        try:
            frame = frame.select(
                F.col(QUERY_ID).cast("string").alias(QUERY_ID),
                *(F.col(old).cast("array<double>").alias(new) for new, old in columns.items()),
            )
        except PySparkException as error:
            raise InputError(
                f"queries {path}: {', '.join(columns.values())} must be lists of numbers: "
                f"{root_cause(error)}."
            ) from None
        self._check_rows(frame, path, latent_dim)
        return frame

    def _check_rows(self, frame: DataFrame, path: str, latent_dim: int) -> None:
        repeated = (
            frame.groupBy(QUERY_ID).count().where((F.col("count") > 1) | F.col(QUERY_ID).isNull())
        )
        row = repeated.first()
        if row is not None:
            raise InputError(
                f"queries {path}: query_id {row[QUERY_ID]!r} stands {row['count']} times; expected "
                "unique ids, none null."
            )
        lengths = [F.coalesce(F.size(name), F.lit(-1)) for name in frame.columns[1:]]
        for length, name in zip(lengths, frame.columns[1:], strict=True):
            row = frame.where(length != latent_dim).select(QUERY_ID, length.alias("n")).first()
            if row is not None:
                raise InputError(
                    f"query {row[QUERY_ID]!r} has {max(0, row['n'])} dimensions in {name}, but the "
                    f"model has latent_dim {latent_dim}."
                )
            row = frame.where(F.exists(name, _is_not_finite)).select(QUERY_ID).first()
            if row is not None:
                raise InputError(
                    f"query {row[QUERY_ID]!r} has a number in {name} that is null, NaN, "
                    "infinite or beyond float32; expected finite numbers only."
                )
        if self.samples:
            row = frame.where(F.col(QUERY_ID).contains(SAMPLE)).first()
            if row is not None:
                raise InputError(_clash(row[QUERY_ID]))
        if frame.first() is None:
            raise InputError("there are no queries; expected at least one z vector.")


def _first_of(frame: DataFrame, count: int) -> Latents:
    """Return the first rows of a folder of queries, by query_id."""
    rows = frame.orderBy(QUERY_ID).limit(count).collect()
    log_var = [row[LOG_VAR] for row in rows] if LOG_VAR in frame.columns else None
    return from_rows([row[Z] for row in rows], [row[QUERY_ID] for row in rows], log_var)


def _sampled(gaussians: Latents, samples: int, seed: int) -> Latents:
    """Return Gaussians' means, each followed by its samples, as points."""
    names: list[str] = []
    points: list[NDArray[np.float64]] = []
    pairs = zip(gaussians.z, np.asarray(gaussians.log_var), strict=True)
    for name, (mu, log_var) in zip(gaussians.ids, pairs, strict=True):
        names += [name, *(f"{name}{SAMPLE}{i + 1}" for i in range(samples))]
        points += [mu, *samples_of(name, mu, log_var, samples, seed)]
    return from_rows(points, names)


def _is_not_finite(x: Column) -> Column:
    return x.isNull() | F.isnan(x) | (F.abs(x) > float(np.finfo(np.float32).max))


def _clash(name: str) -> str:
    return (
        f"query_id {name!r} holds {SAMPLE!r}, which tells samples from their Gaussians; rename it, "
        "or do without --samples."
    )
