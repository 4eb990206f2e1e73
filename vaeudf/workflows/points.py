"""Points, and Gaussians and draws from them, as decode_latents decodes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from vaeudf.decoding.udf import SAMPLE, draws, with_samples
from vaeudf.errors import InputError, root_cause
from vaeudf.model.bundle import Bundle
from vaeudf.pages.decode_page import Picture, Tiles
from vaeudf.query.latents import Latents, from_rows, parse_z, read_latents
from vaeudf.schema import LOG_VAR, MU, QUERY_ID, Z
from vaeudf.storage.locations import exists, is_file, spark_literal
from vaeudf.workflows.drawn import NOTES, Drawn, decoded, frame_of

# Pictures that a page shows, at some 8 KB each.
_MOST_POINTS = 200


@dataclass(frozen=True)
class Points:
    """Points, or the means of Gaussians and draws from them.

    Attributes:
        latents: The queries; None if they are left to Spark.
        folder: A folder of Parquet with them.
        samples: Draws from each Gaussian.
        seed: Of the draws.
    """

    latents: Latents | None
    folder: str | None
    samples: int
    seed: int

    @classmethod
    def read(cls, queries: str | None, z: list[str] | None, samples: int, seed: int) -> Points:
        """Read queries, unless they are in a folder, which is left to Spark.

        Raises:
            InputError: They cannot be read.
        """
        if queries is None:
            return cls(parse_z(z or []), None, samples, seed)
        if exists(queries) and not is_file(queries):
            return cls(None, queries, samples, seed)
        return cls(read_latents(queries), None, samples, seed)

    def check(self, bundle: Bundle) -> None:
        """Raise InputError if they do not fit the model, or each other."""
        if self.latents is None:
            return
        self.latents.check_latent_dim(bundle.latent_dim, "the model has")
        self._check_samples(self.latents.is_gaussian)
        clashing = [name for name in self.latents.ids if SAMPLE in name]
        if self.samples and clashing:
            raise InputError(_clash(clashing[0]))

    def draw(self, spark: SparkSession, bundle: Bundle) -> Drawn:
        """Return them with their draws, and decode those that the page shows.

        Raises:
            InputError: The folder does not hold queries, or not such that fit.
        """
        first = -(-_MOST_POINTS // (1 + self.samples))
        if self.latents is not None:
            frame, count = frame_of(spark, self.latents), len(self.latents)
            shown, is_gaussian = self.latents.subset(slice(first)), self.latents.is_gaussian
        else:
            frame, count = self._read_folder(spark, bundle), 0
            is_gaussian = LOG_VAR in frame.columns
            count = frame.count()
            rows = frame.orderBy(QUERY_ID).limit(first).collect()
            shown = from_rows(
                [row[Z] for row in rows],
                [row[QUERY_ID] for row in rows],
                [row[LOG_VAR] for row in rows] if is_gaussian else None,
            )
            shown.check_latent_dim(bundle.latent_dim, "the model has")
        if self.samples:
            frame = with_samples(frame, self.samples, self.seed)
            shown = self._with_draws(shown)
        shown = shown.subset(slice(_MOST_POINTS))
        total = count * (1 + self.samples)
        pictures = [
            Picture(name, pixels, z=z)
            for name, pixels, z in zip(shown.ids, decoded(bundle, shown.z), shown.z, strict=True)
        ]
        what = "the mean of a Gaussian" if is_gaussian else "a point"
        lead = f"{total:,} {'picture' if total == 1 else 'pictures'}, each decoded from {what}"
        lead += f" or from one of {self.samples} draws from it." if self.samples else "."
        hidden = total - len(pictures)
        notes = f" {hidden:,} further {'picture is' if hidden == 1 else 'pictures are'} not shown."
        return Drawn(
            frame.select(QUERY_ID, Z),
            total,
            "What these z look like",
            lead,
            [Tiles("", "", pictures)],
            notes=NOTES + (notes if hidden else ""),
            facts={"queries": count, "samples": self.samples},
        )

    def _with_draws(self, latents: Latents) -> Latents:
        assert latents.log_var is not None
        names: list[str] = []
        points: list[NDArray[np.float64]] = []
        for name, mu, log_var in zip(latents.ids, latents.z, latents.log_var, strict=True):
            names += [name, *(f"{name}{SAMPLE}{i + 1}" for i in range(self.samples))]
            points += [mu, *draws(name, mu, log_var, self.samples, self.seed)]
        return from_rows(points, names)

    def _check_samples(self, is_gaussian: bool) -> None:
        if self.samples and not is_gaussian:
            raise InputError(
                f"samples is {self.samples}, but the queries are points z; expected mu and log_var "
                "to draw from."
            )

    def _read_folder(self, spark: SparkSession, bundle: Bundle) -> DataFrame:
        path = str(self.folder)
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
        self._check_rows(frame, path, bundle.latent_dim)
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
            row = frame.where(F.exists(name, _is_no_number)).select(QUERY_ID).first()
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


def _is_no_number(x: Column) -> Column:
    return x.isNull() | F.isnan(x) | (F.abs(x) > float(np.finfo(np.float32).max))


def _clash(name: str) -> str:
    return (
        f"query_id {name!r} holds {SAMPLE!r}, which tells samples from their Gaussians; rename it, "
        "or do without --samples."
    )
