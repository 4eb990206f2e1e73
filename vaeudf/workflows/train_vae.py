"""Train the reference VAE on a catalog and write a model bundle."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from vaeudf.bundle import MANIFEST, save_bundle
from vaeudf.catalog import CatalogSource, read_catalog
from vaeudf.cli import Summary, option
from vaeudf.errors import InputError
from vaeudf.image_spec import ImageSpec, Resize
from vaeudf.pixels import collect_pixels
from vaeudf.progress import progress
from vaeudf.session import spark_session
from vaeudf.storage import absolute, check_output
from vaeudf.timing import Stopwatch
from vaeudf.training import TrainingPlan, train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainVae:
    """Train a convolutional VAE on a catalog of images and write it as a model bundle."""

    catalog: str = option(help="folder or glob of images, or Parquet with the images' bytes")
    output: str = option(help="folder of the model bundle to make")
    latent_dim: int = option(10, help="number of latent dimensions")
    image_size: int = option(64, help="height and width the model works at, a multiple of 16")
    channels: int = option(3, help="3 for RGB, 1 for grey")
    resize: Resize = option("pad", help="how pictures of another shape are fitted")
    epochs: int = option(15, help="passes over the images")
    batch_size: int = option(32, help="images per step")
    learning_rate: float = option(2e-3, help="peak of the one-cycle schedule")
    beta: float = option(10.0, help="weight of the KL term")
    base_channels: int = option(24, help="channels of the first convolution")
    held_out: float = option(0.1, help="fraction of images kept aside to measure the ELBO")
    max_images: int = option(50_000, help="train on at most this many, drawn at random")
    seed: int = option(0, help="seeds the draw, the split, the weights and the noise")
    id_column: str = option("item_id", help="Parquet: the column with the unique ids")
    image_column: str = option("image", help="Parquet: the column with the images' bytes")
    overwrite: bool = option(False, help="replace the bundle if it exists")

    def __post_init__(self) -> None:
        if self.image_size < 16 or self.image_size % 16:
            raise InputError(
                f"image-size is {self.image_size}; expected a multiple of 16, at least 16."
            )
        if self.max_images < 1:
            raise InputError(f"max-images is {self.max_images}; expected at least 1.")
        self.spec, self.plan  # noqa: B018 - both check what they are made of

    @property
    def spec(self) -> ImageSpec:
        """The pictures that the model takes."""
        return ImageSpec(self.image_size, self.image_size, self.channels, self.resize)

    @property
    def plan(self) -> TrainingPlan:
        """How to train."""
        return TrainingPlan(
            latent_dim=self.latent_dim,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            beta=self.beta,
            base_channels=self.base_channels,
            held_out=self.held_out,
            seed=self.seed,
        )


def train_vae(options: TrainVae) -> Summary:
    """Decode the catalog's images with Spark, train on the driver, write the bundle."""
    check_output(options.output, options.overwrite, MANIFEST, [options.catalog])
    watch = Stopwatch()
    source = CatalogSource(
        options.catalog,
        id_column=options.id_column,
        image_column=options.image_column,
        payload_columns=(),
    )
    with spark_session("train_vae") as spark, progress(spark, watch), watch.phase("read"):
        catalog = read_catalog(spark, source)
        pixels, unreadable = collect_pixels(catalog, options.spec, options.max_images, options.seed)
    if unreadable:
        log.info("%d images could not be decoded and were left out.", unreadable)
    with watch.phase("train"):
        trained = train(pixels, options.spec, options.plan)
    bundle = save_bundle(options.output, trained.networks, trained.manifest)
    return {
        "model": absolute(options.output),
        "model_id": bundle.model_id,
        "images": len(pixels),
        "unreadable": unreadable,
        "held_out": bundle.manifest.training["held_out"],
        "seconds": watch.seconds,
    }
