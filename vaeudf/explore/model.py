"""The model of a version: decodes z and encodes photos. It is loaded in the background."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vaeudf.decoding.table_model import load_model_of
from vaeudf.errors import BundleError, InputError, StoreError
from vaeudf.explore.byte_cache import ByteCache
from vaeudf.explore.pictures import ImageFile
from vaeudf.images.decode import ImageFailure, decode_image, picture_png
from vaeudf.images.formats import FORMAT_NAMES, kind_of
from vaeudf.model.bundle_files import bundle_files
from vaeudf.schema import MODEL_PATH_KEY, PRECISION_KEY
from vaeudf.table.open import PosteriorTable

if TYPE_CHECKING:
    from vaeudf.images.spec import ImageSpec
    from vaeudf.model.bundle import Bundle
    from vaeudf.model.decoder import PictureDecoder
    from vaeudf.model.devices import BatchEncoder
    from vaeudf.model.likelihood import Likelihood

Format = Literal["png", "webp"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""Where nothing is said, the first."""
MOST_BYTES_OF_PHOTO = 25 * 2**20
_MOST_PIXELS_OF_PHOTO = 50_000_000
EXPECTED_PHOTO = (
    f"Expected a picture as {', '.join(FORMAT_NAMES[:-1])} or {FORMAT_NAMES[-1]}, of at most "
    f"{MOST_BYTES_OF_PHOTO // 2**20} MB and {_MOST_PIXELS_OF_PHOTO // 10**6} megapixels."
)
"""What photos may be, in words."""
_BYTES_OF_PICTURES = 32 * 2**20
# Of WebP, 0 to 100: at 90 a decoded picture's blur hides what is lost.
_WEBP_QUALITY = 90


class EncodedPhoto(NamedTuple):
    """A photo's posterior.

    Attributes:
        mu: Shape (n,).
        log_var: Shape (n,).
        seen: The photo as the model sees it.
        reconstruction: What mu decodes to; None where the model has no decoder.
        error: The mean squared difference of the two, levels in [0, 1]; None likewise.
    """

    mu: NDArray[np.float32]
    log_var: NDArray[np.float32]
    seen: ImageFile
    reconstruction: ImageFile | None
    error: float | None


def check_model(table: PosteriorTable, path: str) -> None:
    """Refuse a model that is not the table's, as far as can be told before it is loaded.

    Args:
        table: The version.
        path: Where the model is said to be.

    Raises:
        InputError: It is not there, or has another id.
        StoreError: Its store does not answer.
    """
    problem = _why_not(table, path)
    if problem is not None:
        raise InputError(problem)


class TableModel:
    """The model that a version was encoded with, loaded with the first use.

    Importing torch takes longer than loading a table: searches do not wait for it.
    """

    def __init__(self, table: PosteriorTable, path: str | None, *, trust_model: bool) -> None:
        """Take what is needed to load it.

        Args:
            table: The version.
            path: Where the model is now; None if it is where the table says.
            trust_model: Whether to run a model's code that is not vaeudf's.
        """
        self._table = table
        self._path = path or table.provenance.get(MODEL_PATH_KEY)
        self._trust = trust_model
        self._lock = Lock()
        self._bundle: Bundle | None = None
        self._decoder: PictureDecoder | None = None
        self._encoder: BatchEncoder | None = None
        try:
            self._failure = _why_not(table, self._path)
        except StoreError as error:
            self._failure = str(error)
        self._pictures: ByteCache[ImageFile] = ByteCache(_BYTES_OF_PICTURES)

    @property
    def why_not_decode(self) -> str | None:
        """Why z cannot be decoded; None if it can, or the model is not loaded yet."""
        if self._failure is None and self._bundle is not None and not self._bundle.has_decoder:
            return "the model has no decoder; export it with one."
        return self._failure

    @property
    def why_not_encode(self) -> str | None:
        """Why photos cannot be encoded; None if they can, or the model is not loaded yet."""
        return self._failure

    @property
    def why_not_compare(self) -> str | None:
        """Why hits cannot be ranked by p(x|z); None if they can, or the model is not loaded yet."""
        bundle = self._bundle
        if self.why_not_decode is None and bundle is not None and bundle.likelihood is None:
            return (
                "the model does not say how likely a picture is given z; export it with "
                "--likelihood."
            )
        return self.why_not_decode

    def load(self) -> Bundle:
        """Return the model, loaded once.

        Raises:
            BundleError: It is not there, damaged, or another one than the table's.
            StoreError: Its store does not answer; it may do so at another try.
        """
        with self._lock:
            if self._failure is not None:
                raise BundleError(self._failure)
            if self._bundle is None:
                assert self._path is not None
                try:
                    self._bundle = self._ready(self._path)
                except BundleError as error:
                    self._failure = str(error)
                    raise
            return self._bundle

    def _ready(self, path: str) -> Bundle:
        """Load the bundle and put its networks to use once: what comes first takes longer."""
        from vaeudf.model.devices import (
            Hardware,
            load_batch_decoder,
            load_batch_encoder,
            use_threads,
        )

        # As a search, a picture has a core: two threads that wait for each other on cores which
        # searches use, too, took 52 ms of a 64 × 64 picture, of which one thread takes 4.
        use_threads(1)
        bundle = load_model_of(self._table, path, trust_model=self._trust)
        half = self._table.provenance.get(PRECISION_KEY) == "bfloat16"
        hardware = Hardware("cpu", "bfloat16" if half else "float32")
        self._encoder = load_batch_encoder(bundle.encoder_files, hardware, None, 0)
        if bundle.has_decoder:
            self._decoder = load_batch_decoder(bundle.decoder_files, Hardware("cpu"), None, 0)
            self._decoder.decode(np.zeros((1, bundle.latent_dim)))
        return bundle

    @property
    def spec(self) -> ImageSpec:
        """How the model wants its pictures."""
        return self.load().manifest.image

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of its pictures; None if it is not loaded yet."""
        if self._bundle is None:
            return None
        spec = self._bundle.manifest.image
        return spec.height, spec.width, spec.channels

    @property
    def likelihood(self) -> Likelihood:
        """How the decoder's output is read.

        Raises:
            BundleError: The model does not say.
        """
        found = self.load().likelihood
        if found is None:
            raise BundleError(str(self.why_not_compare))
        return found

    def decode(self, z: ArrayLike) -> NDArray[np.uint8]:
        """Decode latents (B, n) to pictures (B, H, W, C) uint8.

        Raises:
            BundleError: The model cannot be loaded, or has no decoder.
            InputError: The latents have another shape.
        """
        return self._loaded_decoder().decode(z)

    def levels(self, z: ArrayLike) -> NDArray[np.float32]:
        """Decode latents (B, n) to levels in [0, 1], float32 (B, H · W · C).

        Raises:
            BundleError: As of :meth:`decode`, or a level is not finite.
            InputError: As of :meth:`decode`.
        """
        found = self._loaded_decoder().decode_levels(z)
        if not np.isfinite(found).all():
            raise BundleError(
                "the decoder gives a NaN or an infinite level for z; expected a picture. Ask with "
                "z nearer to the prior's mean 0."
            )
        return found.reshape(len(found), -1)

    def picture(self, z: Sequence[Sequence[float]], form: Format) -> ImageFile:
        """Return what points decode to, side by side in one image file.

        Args:
            z: Points, n numbers each.
            form: Of the file.

        Raises:
            BundleError: As of :meth:`decode`.
            InputError: A number is beyond float32, or a point decodes to no finite numbers.
        """
        key = (tuple(map(tuple, z)), form)
        greatest = float(np.finfo(np.float32).max)
        for number in (number for point in z for number in point):
            if not abs(number) <= greatest:
                raise InputError(
                    f"z has the number {number:g}, which float32 does not have; expected numbers "
                    f"of at most {greatest:.3g}."
                )

        def draw() -> ImageFile:
            pictures = self._loaded_decoder().decode(np.array(z, np.float64), finite=True)
            return _as_file(np.concatenate(list(pictures), axis=1), form)

        return self._pictures.get(key, draw)

    def encode(self, photo: bytes) -> EncodedPhoto:
        """Encode a photo as a night encodes those of the catalog.

        Args:
            photo: The bytes of an image file.

        Raises:
            InputError: It is no picture that can be decoded, or has no finite posterior.
            BundleError: The model cannot be loaded.
        """
        spec = self.spec
        assert self._encoder is not None
        pixels = decode_image(
            photo, spec, max_bytes=MOST_BYTES_OF_PHOTO, max_pixels=_MOST_PIXELS_OF_PHOTO
        )
        if isinstance(pixels, ImageFailure):
            # What else is in the message is said below, of photos.
            unknown = pixels.reason == "unsupported_format"
            found = kind_of(photo) if unknown else pixels.message.rstrip(".")
            raise InputError(f"the photo cannot be read: {found}. {EXPECTED_PHOTO}")
        mus, log_vars = self._encoder.start(pixels[None])()
        mu, log_var = mus[0], log_vars[0]
        if not (np.isfinite(mu).all() and np.isfinite(log_var).all()):
            raise InputError(
                "the encoder gives a NaN or an infinite number for the photo; "
                "expected finite ones. Ask with another photo."
            )
        seen = ImageFile(picture_png(pixels), "image/png")
        if self.why_not_decode is not None:
            return EncodedPhoto(mu, log_var, seen, None, None)
        drawn = self.picture([mu.tolist()], "png")
        return EncodedPhoto(mu, log_var, seen, drawn, float(self._errors(pixels[None], mus)[0]))

    def redrawing_errors(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return how far pictures are from what their means decode to.

        Args:
            pixels: Pictures as the model sees them, (B, H, W, C).

        Returns:
            The mean squared difference of each, levels in [0, 1], shape (B,); NaN or infinite where
            its posterior or its reconstruction is.

        Raises:
            BundleError: As of :meth:`decode`.
        """
        self.load()
        assert self._encoder is not None
        return self._errors(pixels, self._encoder.start(pixels)()[0])

    def _errors(self, pixels: NDArray[np.uint8], mu: NDArray[np.float32]) -> NDArray[np.float64]:
        levels = self._loaded_decoder().decode_levels(mu).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            apart = np.square(pixels / 255 - levels)
            found: NDArray[np.float64] = apart.reshape(len(pixels), -1).mean(axis=1)
        return found

    def _loaded_decoder(self) -> PictureDecoder:
        self.load()
        if self._decoder is None:
            raise BundleError(str(self.why_not_decode))
        return self._decoder


def _why_not(table: PosteriorTable, path: str | None) -> str | None:
    """Return why the model is not the table's, as far as can be told without torch."""
    if path is None:
        return "the table does not say which model it was encoded with; name it with --model."
    try:
        manifest = bundle_files(path).manifest()
    except BundleError:
        return f"model {path} is not there any more; name it with --model."
    found = hashlib.sha256(manifest).hexdigest()
    if table.provenance and found != table.model_id:
        return (
            f"model {path} has id {found[:12]}…, but the table was encoded with "
            f"{table.model_id[:12]}…; name the right one with --model."
        )
    return None


def _as_file(pixels: NDArray[np.uint8], form: Format) -> ImageFile:
    if form == "png":
        return ImageFile(picture_png(pixels), "image/png")
    stream = BytesIO()
    picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    picture.save(stream, "WEBP", quality=_WEBP_QUALITY)
    return ImageFile(stream.getvalue(), "image/webp")
