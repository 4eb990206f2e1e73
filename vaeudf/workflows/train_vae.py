"""Train the reference VAE on a catalog and write a model bundle."""

from __future__ import annotations

import logging
import posixpath
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from vaeudf.catalog.collect import collect_pixels
from vaeudf.catalog.globs import check_exists
from vaeudf.catalog.source import CatalogSource, list_items, stored_image_column
from vaeudf.errors import InputError
from vaeudf.images.spec import ImageSpec
from vaeudf.model.bundle import save_bundle
from vaeudf.model.bundle_files import MANIFEST
from vaeudf.model.devices import Device, choose_device
from vaeudf.pages.training_plots import reconstruction_sheet, training_curve
from vaeudf.spark.progress import progress
from vaeudf.spark.session import spark_session
from vaeudf.spark.stopwatch import Stopwatch
from vaeudf.storage.locations import absolute, is_empty_folder, is_local, remove_empty
from vaeudf.storage.outputs import check_output
from vaeudf.storage.refusals import check_writable, remove_or_tell
from vaeudf.training.checkpoints import CHECKPOINT, folder_checkpoints
from vaeudf.training.distributed import OUTCOME, PIXELS, train_together, whole_gpus
from vaeudf.training.loop import Trained, reconstruct, train
from vaeudf.training.plan import TrainingPlan, check_share
from vaeudf.workflows.cli import Summary, option, path_option
from vaeudf.workflows.jpeg_drafting import drafts_when_trained
from vaeudf.workflows.option_groups import FittingOptions

log = logging.getLogger(__name__)

CURVE, RECONSTRUCTIONS = "training.png", "reconstructions.png"
_SHOWN = 32


@dataclass(frozen=True)
class TrainVae(FittingOptions):
    """Train a convolutional VAE on a catalog of images and write it as a model bundle."""

    catalog: str = path_option(help="images: a folder or glob, Parquet, or CSV with their paths")
    output: str = path_option(help="folder of the model bundle to make")
    latent_dim: int = option(10, help="number of latent dimensions")
    image_size: int = option(64, help="height and width the model works at, a multiple of 16")
    channels: int = option(3, help="3 for RGB, 1 for grey")
    epochs: int = option(15, help="passes over the images")
    batch_size: int = option(32, help="images per step")
    learning_rate: float = option(2e-3, help="peak of the one-cycle schedule")
    beta: float = option(10.0, help="weight of the KL term")
    base_channels: int = option(24, help="channels of the first convolution")
    held_out: float = option(0.1, help="fraction of images kept aside to measure the ELBO")
    patience: int = option(
        5, help="stop when the held-out loss has not fallen for this many epochs; 0: never"
    )
    num_processes: int = option(
        1, help="number of processes that share each batch: beside the driver, or as tasks"
    )
    device: Device = option("auto", help="auto: GPUs where torch has them, else CPUs")
    checkpoints: str | None = path_option(
        None, help="folder to go on from if killed (default: OUTPUT.training, removed at the end)"
    )
    max_images: int = option(50_000, help="train on at most this many, drawn at random")
    seed: int = option(0, help="seeds the draw, the split, the weights and the noise")
    id_column: str = option("item_id", help="Parquet, CSV: the column with the unique ids")
    image_column: str = option("image", help="Parquet: the column with the images' bytes")
    path_column: str | None = option(
        None,
        help="CSV or Parquet: the column with the paths or URIs of image files; or images/{id}.jpg",
    )
    overwrite: bool = option(False, help="replace the bundle if it exists")

    def __post_init__(self) -> None:
        if self.image_size < 16 or self.image_size % 16:
            raise InputError(
                f"image-size is {self.image_size}; expected a multiple of 16, at least 16."
            )
        if self.max_images < 1:
            raise InputError(f"max-images is {self.max_images}; expected at least 1.")
        self.spec, self.plan  # noqa: B018 - both check what they are made of
        check_share(self.batch_size, self.num_processes)

    @property
    def spec(self) -> ImageSpec:
        """The pictures that the model takes."""
        spec = ImageSpec(
            height=self.image_size,
            width=self.image_size,
            channels=self.channels,
            **self.fitting,
        )
        if self.asked_draft == "auto" and drafts_when_trained(spec):
            return replace(spec, jpeg_draft=True)
        return spec

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
            patience=self.patience,
            seed=self.seed,
        )


def train_vae(options: TrainVae) -> Summary:
    """Decode the catalog's images with Spark, train, write the bundle."""
    check_exists(options.catalog)
    check_output(options.output, options.overwrite, MANIFEST, [options.catalog])
    watch = Stopwatch()
    source = CatalogSource(
        options.catalog,
        id_column=options.id_column,
        image_column=options.image_column,
        path_column=options.path_column,
        payload_columns=(),
    )
    folder = absolute(options.checkpoints or f"{absolute(options.output).rstrip('/')}.training")
    check_writable(posixpath.join(folder, CHECKPOINT))
    with spark_session("train_vae") as spark:
        with progress(spark, watch), watch.phase("read"):
            items = list_items(spark, source, versions=False)
            pixels, unreadable = collect_pixels(
                items,
                stored_image_column(spark, source),
                options.spec,
                options.max_images,
                options.seed,
            )
        if unreadable:
            log.info("%d images could not be decoded and were left out.", unreadable)
        with watch.phase("train"):
            trained = _train(spark, pixels, options, folder)
    for epoch, elbo in enumerate(trained.history, 1):
        log.info(
            "epoch %2d: held-out ELBO %.1f, KL %.2f, squared error %.5f%s",
            *(epoch, elbo.elbo, elbo.kl, elbo.squared_error),
            " (kept)" if epoch - 1 == trained.kept_epoch else "",
        )
    bundle = save_bundle(
        options.output, trained.networks, trained.manifest, _pictures(trained, pixels)
    )
    remove_or_tell(posixpath.join(folder, name) for name in (CHECKPOINT, PIXELS, OUTCOME))
    if options.checkpoints is None and not is_local(folder) and is_empty_folder(folder):
        remove_or_tell([folder])
    remove_empty(folder)
    return {
        "model": absolute(options.output),
        "model_id": bundle.model_id,
        "images": len(pixels),
        "unreadable": unreadable,
        "epochs": len(trained.history),
        "resumed_epochs": trained.resumed_epochs,
        "held_out": bundle.manifest.training["held_out"],
        "likelihood": str(bundle.likelihood),
        "seconds": watch.seconds,
    }


def _train(
    spark: SparkSession, pixels: NDArray[np.uint8], options: TrainVae, folder: str
) -> Trained:
    if options.num_processes == 1:
        device = "cuda:0" if choose_device(options.device, None, 0).type == "cuda" else "cpu"
        kept = folder_checkpoints(folder)
        return train(pixels, options.spec, options.plan, checkpoints=kept, device=device)
    return train_together(
        spark,
        pixels,
        options.spec,
        options.plan,
        folder=folder,
        num_processes=options.num_processes,
        on_gpus=whole_gpus(spark, options.device),
    )


def _pictures(trained: Trained, pixels: NDArray[np.uint8]) -> dict[str, bytes]:
    """Return the pictures that go with the bundle, by file name."""
    shown = pixels[trained.held_out_rows[:_SHOWN]]
    curves = zip(*((e.elbo, e.kl, e.squared_error) for e in trained.history), strict=True)
    elbo, kl, squared_error = (list(curve) for curve in curves)
    return {
        CURVE: training_curve(elbo, kl, squared_error, trained.kept_epoch),
        RECONSTRUCTIONS: reconstruction_sheet(shown, reconstruct(trained, shown)),
    }
