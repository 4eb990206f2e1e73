"""Make a bundle of a model that was trained elsewhere."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaeudf.catalog.collect import collect_in_ways
from vaeudf.catalog.globs import check_exists
from vaeudf.catalog.source import CatalogSource, list_items, stored_image_column
from vaeudf.errors import BundleError, InputError
from vaeudf.images.spec import ImageSpec, Scaling, is_resized_first
from vaeudf.model.bundle_files import MANIFEST
from vaeudf.model.export.evidence import format_evidence
from vaeudf.model.export.foreign_model import ForeignModel
from vaeudf.model.export.origin import OnnxFiles
from vaeudf.model.export.probe import MEASURED_ON_NOTHING, Probe
from vaeudf.model.export.readings import format_readings
from vaeudf.model.interface import Activation, LatentLayout, PixelLayout
from vaeudf.model.likelihood import MEASURED
from vaeudf.model.py_files import use_py_files
from vaeudf.model.variance import Variance
from vaeudf.spark.session import spark_session
from vaeudf.storage.fetching import on_this_machine
from vaeudf.storage.locations import absolute
from vaeudf.storage.outputs import check_output
from vaeudf.workflows.cli import Summary, check_goes_with, option, path_option
from vaeudf.workflows.jpeg_drafting import choose_draft
from vaeudf.workflows.option_groups import FittingOptions

log = logging.getLogger(__name__)

# A picture of one colour differs from a photo on white by some 0.1.
_BAD_RECONSTRUCTION = 0.05
# The options that name files which others' libraries read, on this machine alone.
_FILES = ("weights", "onnx", "onnx_decoder")


@dataclass(frozen=True)
class ExportModel(FittingOptions):
    """Make a model bundle of a VAE that was trained elsewhere, from a Python factory and weights.

    Or from ONNX. The factory's code is run; ONNX has none. Options that are left out are
    recognised, except how an unknown model states its variance: the job shows each reading on a
    sample of the catalog, and asks.
    """

    output: str = path_option(help="folder of the model bundle to make")
    factory: str | None = path_option(
        None,
        help="module:callable or file.py:callable that makes the model, or a pair of networks",
        local=True,
    )
    onnx: str | None = path_option(None, help="an encoder as a file of ONNX, in place of a factory")
    onnx_decoder: str | None = path_option(None, help="its decoder, likewise")
    weights: str | None = path_option(
        None, help="safetensors, or torch.save's state_dict (default: the factory's own)"
    )
    weights_prefix: str | None = option(
        None, help="take this off the names in the weights; leave others out"
    )
    weights_key: str | None = option(
        None, help="where in the file the weights are, such as ema (default: found by the names)"
    )
    arguments: dict[str, Any] | None = option(None, help="the factory's arguments, as JSON")
    py_files: list[str] | None = path_option(
        None, help="module, archive or package folder with the model's code; repeat it", local=True
    )
    trust_model: bool = option(False, help="run the factory's code; it needs this")
    catalog: str | None = path_option(
        None, help="images to try the model on: a folder, a glob, Parquet, or CSV with their paths"
    )
    sample: int = option(256, help="try it on this many of them")
    variance: Variance | None = option(
        None, help="what the encoder states; known of pythae, diffusers and torch.distributions"
    )
    image_size: int | None = option(None, help="height and width of the pictures it takes")
    height: int | None = option(None, help="height, if it is not the width")
    width: int | None = option(None, help="width, if it is not the height")
    channels: int = option(3, help="3 for RGB, 1 for grey")
    background: str | None = option(
        None, help="RGB under transparent pixels and in the padding, as 0,0,0 (default: white)"
    )
    scaling: Scaling = option(
        "zero_one", help="x/255; x/127.5 - 1; or (x/255 - mean)/std, with --mean and --std"
    )
    mean: str | None = option(None, help="per channel, as 0.485,0.456,0.406")
    std: str | None = option(None, help="per channel, as 0.229,0.224,0.225")
    pixel_layout: PixelLayout | None = option(
        None, help="of the tensors it takes: channel first or last, or flat (default: as it takes)"
    )
    encoder: str | None = option(None, help="path of what encodes, such as encode or vae.encoder")
    decoder: str | None = option(None, help="path of what decodes; none leaves it out")
    mu_output: str | None = option(
        None, help="place of mu in what the encoder gives, such as 0, z_mean or latent_dist.mean"
    )
    variance_output: str | None = option(None, help="place of what states the variance")
    picture_output: str | None = option(None, help="place of the picture in what the decoder gives")
    activation: Activation = option("none", help="what the decoder's output still must go through")
    latent_layout: LatentLayout | None = option(
        None, help="of latents with three axes, channel first or last (default: chw)"
    )
    clamp: str | None = option(None, help="clamp what states the variance first, as -30,20")
    latent_scale: float = option(1.0, help="latents are (mu - shift) · scale")
    latent_shift: float = option(0.0, help="see latent-scale")
    likelihood: str | None = option(
        None,
        help="loss of its training: gaussian (squared error; variance measured on the catalog), "
        "gaussian:VARIANCE, or bernoulli (binary cross-entropy) (default: not recorded)",
    )
    seed: int = option(0, help="chooses the sample")
    id_column: str = option("item_id", help="Parquet, CSV: the column with the unique ids")
    image_column: str = option("image", help="Parquet: the column with the images' bytes")
    path_column: str | None = option(
        None,
        help="CSV or Parquet: the column with the paths or URIs of image files; or images/{id}.jpg",
    )
    overwrite: bool = option(False, help="replace the bundle if it exists")

    def __post_init__(self) -> None:
        if self.sample < 2:
            raise InputError(f"sample is {self.sample}; expected at least 2.")
        if (self.factory is None) == (self.onnx is None):
            found = "neither is given" if self.factory is None else "both are given"
            raise InputError(
                f"a model is made by --factory, or read from --onnx, and {found}; name one of them."
            )
        check_goes_with(self, "onnx", ["onnx_decoder"])
        if not all(self._size):
            raise InputError(
                "the size of the model's pictures is not known; name it with --image-size, or "
                "--height and --width."
            )
        if self.model.stated_likelihood == MEASURED and self.catalog is None:
            raise InputError(MEASURED_ON_NOTHING)

    @property
    def model(self) -> ForeignModel:
        """The model, and what the options say of it."""
        height, width = self._size
        image = ImageSpec(
            height=height,
            width=width,
            channels=self.channels,
            background=self._background,
            scaling=self.scaling,
            **self.fitting,
            mean=_numbers("mean", self.mean),
            std=_numbers("std", self.std),
        )
        clamp = _numbers("clamp", self.clamp)
        if clamp is not None and not (len(clamp) == 2 and clamp[0] < clamp[1]):
            raise InputError(f"clamp is {self.clamp!r}; expected LOW,HIGH, as -30,20.")
        return ForeignModel(
            factory=OnnxFiles(self.onnx, self.onnx_decoder) if self.onnx else self.factory or "",
            image=image,
            arguments=self.arguments or {},
            weights=self.weights,
            weights_prefix=self.weights_prefix,
            weights_key=self.weights_key,
            variance=self.variance,
            encoder=self.encoder,
            decoder=self.decoder,
            mu_output=self.mu_output,
            variance_output=self.variance_output,
            picture_output=self.picture_output,
            activation=self.activation,
            pixel_layout=self.pixel_layout,
            latent_layout=self.latent_layout,
            clamp=None if clamp is None else (clamp[0], clamp[1]),
            latent_scale=self.latent_scale,
            latent_shift=self.latent_shift,
            likelihood=self.likelihood,
        )

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width of the pictures; zero what is not known."""
        height, width = self.size_of_steps
        size = self.image_size or 0
        return self.height or size or height, self.width or size or width

    @property
    def _background(self) -> tuple[int, int, int]:
        numbers = _numbers("background", self.background)
        if numbers is None:
            return (255, 255, 255)
        if len(numbers) != 3 or any(n not in range(256) for n in numbers):
            raise InputError(
                f"background is {self.background!r}; expected three whole numbers from 0 to 255, "
                "as 0,0,0."
            )
        red, green, blue = map(int, numbers)
        return red, green, blue


def export_model(options: ExportModel) -> Summary:
    """Make the model, try it on a sample of the catalog, show what its variance may mean, save."""
    if options.factory is not None and not options.trust_model:
        raise BundleError(
            f"to export {options.factory} is to run its code, with all that it may do here. If you "
            "trust it, say so: --trust-model."
        )
    named = [getattr(options, name) for name in ("catalog", *_FILES)]
    inputs = [path for path in named if path]
    if options.catalog is not None:
        check_exists(options.catalog)
    check_output(options.output, options.overwrite, MANIFEST, inputs)
    use_py_files(options.py_files)
    probe = _probe(options)
    if probe.taken:
        log.info("the weights are %s.", probe.taken)
    error = None
    if options.catalog is not None:
        whole, drafted = _sample(options, options.catalog)
        probe.use(whole)
        if drafted is not None and probe.variance is not None:
            choose_draft(probe, drafted, options.asked_draft)
        log.info("%s", format_readings(probe.trial.readings(), probe.variance))
        log.info("%s", _explanation(len(whole)))
        _show_evidence(probe)
        error = probe.trial.reconstruction_error()
        if error is not None:
            _warn_of_pictures(error, probe.errors_by_scaling(), options.scaling)
    if probe.variance is None:
        more = "" if options.catalog else " With --catalog, each reading is tried on its images."
        raise BundleError(probe.question() + more)
    bundle = probe.save(options.output)
    if options.factory is not None and bundle.manifest.architecture != options.factory:
        file = options.factory.rpartition(":")[0]
        log.info(
            "the bundle names %s; jobs that use it need --py-files %s, too.",
            bundle.manifest.architecture,
            file,
        )
    return {
        "model": absolute(options.output),
        "model_id": bundle.model_id,
        "factory": options.factory or options.onnx,
        "weights": probe.taken or None,
        "recognised": probe.recognised.family or None,
        "latent_dim": bundle.latent_dim,
        "variance": bundle.manifest.variance,
        "likelihood": None if bundle.likelihood is None else str(bundle.likelihood),
        "jpeg_draft": bundle.manifest.image.jpeg_draft,
        "reconstruction_error": None
        if options.catalog is None
        else probe.trial.reconstruction_error(),
        "interface": probe.interface.to_dict(),
    }


def _probe(options: ExportModel) -> Probe:
    """Return the model, made of files on this machine; those in stores are copied for that."""
    with ExitStack() as fetched:
        copies: dict[str, Any] = {
            name: fetched.enter_context(on_this_machine(getattr(options, name)))
            for name in _FILES
            if getattr(options, name) is not None
        }
        try:
            return Probe(replace(options, **copies).model)
        except BundleError as error:
            message = str(error)
            for name, copy in copies.items():
                message = message.replace(copy, getattr(options, name))
            raise BundleError(message) from None


def _sample(
    options: ExportModel, catalog: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return the pictures of the sample decoded in full, and as JPEG drafts if these may be used.

    Both of shape (N, H, W, C).
    """
    specs = [replace(options.model.image, jpeg_draft=False)]
    if options.asked_draft != "off" and is_resized_first(specs[0].resize):
        specs.append(replace(specs[0], jpeg_draft=True))
    source = CatalogSource(
        catalog,
        id_column=options.id_column,
        image_column=options.image_column,
        path_column=options.path_column,
        payload_columns=(),
    )
    with spark_session("export_model") as spark:
        items = list_items(spark, source, versions=False)
        pixels, _ = collect_in_ways(
            items, stored_image_column(spark, source), specs, options.sample, options.seed
        )
    whole, *others = map(np.ascontiguousarray, pixels)
    return whole, others[0] if others else None


def _explanation(pictures: int) -> str:
    """Return how to read the table of readings."""
    return (
        f"On {pictures} pictures. KL is to the prior N(0, I); aggregate is E[sigma²] + "
        "Var[mu], near 1 where training held the posteriors to the prior; noise MSE is what "
        "decode(mu + sigma·eps) differs from decode(mu), pixels in [0, 1]: the right reading "
        "leaves the picture recognisable. Where several could be right, the KL that the training "
        "logged tells them apart, or the line of its code that draws z: mu + exp(s / 2)·eps is "
        "log_var, mu + exp(s)·eps is log_sigma."
    )


def _show_evidence(probe: Probe) -> None:
    """Show what decode(mu) of the sample says of the likelihood, and how to know it."""
    evidence = probe.trial.evidence
    if evidence is None:
        return
    stated = probe.source.stated_likelihood
    chosen = evidence.gaussian if stated == MEASURED and evidence.is_finite else stated
    log.info("%s", format_evidence(evidence, None if isinstance(chosen, str) else chosen))
    last = {
        "sigmoid": "its last layer is a sigmoid, which either loss may have",
        "tanh": "its last layer is a tanh, which is rare with this loss",
        "none": "whether its last layer is a sigmoid is not known",
    }[probe.last_activation()]
    log.info(
        "On %d pictures. The likelihood is what the reconstruction loss of the training was: "
        "squared error (MSE, L2) is gaussian, binary cross-entropy (BCE) is bernoulli; of another "
        "loss, leave it out. The variance is the mean squared error of decode(mu), levels in "
        "[0, 1], which makes the pictures most likely. The decoder gives levels from %.3g to %.3g; "
        "a bernoulli needs [0, 1], and %s. Nats are means per picture%s.%s",
        *(evidence.pictures, evidence.low, evidence.high, last),
        "; those of bernoulli are not normalised for grey levels, and not to be compared"
        if evidence.are_probabilities
        else "",
        "" if stated else " The likelihood is not recorded unless --likelihood says it.",
    )


def _warn_of_pictures(error: float, by_scaling: dict[str, float], scaling: Scaling) -> None:
    """Warn if reconstructions are too bad to be the model's own.

    Args:
        error: Mean squared error of decode(mu) against the pictures, pixels in [0, 1].
        by_scaling: The same with each way to scale pixels.
        scaling: The one that was asked for.
    """
    best = min(by_scaling, key=lambda name: by_scaling[name])
    if best != scaling and by_scaling[best] < error / 2:
        log.warning(
            "warning: decode(mu) differs from the pictures by %.2g (mean squared error, pixels in "
            "[0, 1]), but with --scaling %s by %.2g: is that what the model was trained with?",
            *(error, best, by_scaling[best]),
        )
    elif error > _BAD_RECONSTRUCTION:
        log.warning(
            "warning: decode(mu) differs from the pictures by %.2g (mean squared error, pixels in "
            "[0, 1]); expected at most %.2g. Are --scaling, --activation and the weights right?",
            *(error, _BAD_RECONSTRUCTION),
        )


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{name} is {text!r}; expected numbers, as 0.5,0.5,0.5.") from None
