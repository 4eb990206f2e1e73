"""Image bytes to a uint8 array of a declared shape, or the reason why not.

Training and encoding decode in the same way, so that the network sees the same pixels for the same
bytes. What is done to a picture, in this order:

1. Only the formats of `vaeudf.images.formats` are opened; the pixel cap is checked on the header.
2. The first frame of an animation is taken. ICC profiles are ignored: colours are read as sRGB.
3. 16-bit samples are scaled to 8 bits. Floats in [0, 1] are scaled by 255; other floats, and
   integers beyond 16 bits, have no known scale and are refused.
4. Transparent pixels are blended with ``ImageSpec.background``.
5. It is brought to ``ImageSpec.height`` × ``width`` and upright by `vaeudf.images.fitting`. Only
   where the spec says so, JPEG's ``draft`` mode decodes at a half, a quarter or an eighth of the
   size: it is faster on big photos, but gives other pixels.

Memory, measured on 50 megapixels: 4 bytes a pixel for RGB, 8 with transparency or CMYK, 16 for
WebP, whose decoder keeps canvases of its own.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from vaeudf.errors import InputError
from vaeudf.images.containers import num_scans, png_lacks_rows, without_metadata
from vaeudf.images.fitting import (
    TURNS,
    Stored,
    TooManyPixelsError,
    draft_size,
    fitted,
    scaled,
    upright,
)
from vaeudf.images.formats import FORMAT_NAMES, kind_of, register_formats
from vaeudf.images.jpeg_end import continuations
from vaeudf.images.spec import JPEG_DRAFT_GAP, ImageSpec

register_formats()

REASONS: Mapping[str, str] = {
    "empty": "there are no bytes",
    "too_large": "more bytes than allowed",
    "too_many_pixels": "the header declares more pixels, or a longer side, than allowed",
    "unsupported_format": f"not one of {', '.join(FORMAT_NAMES)}",
    "unsupported_pixels": "pixel values whose scale is unknown",
    "truncated": "the file ends before its picture does",
    "unreadable": "the file is damaged, or of a kind Pillow cannot read",
}

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 100_000_000
# Pillow's resize allocates 32 bytes for each pixel of a side: 3 GB for 100,000,000 × 1.
_MAX_SIDE = 1_000_000
# Every scan of a progressive JPEG, even of 31 bytes, visits every pixel: with 64 MiB of such scans,
# 100 megapixels would take more than a day. Ordinary files have about ten.
_MAX_SCANS = 100
_STRIP_PIXELS = 2**20

_T = TypeVar("_T")


@dataclass(frozen=True)
class ImageFailure:
    """Why bytes did not become an array.

    Attributes:
        reason: A key of `REASONS`.
        message: One sentence for a person: what was found.
    """

    reason: str
    message: str


class _Refused(Exception):
    """Carries an `ImageFailure` out of a half-done decode."""

    def __init__(self, reason: str, message: str) -> None:
        self.failure = ImageFailure(reason, message)


def decode_image(
    data: bytes | None,
    spec: ImageSpec,
    *,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8] | ImageFailure:
    """Decodes one picture; the same bytes give the same array.

    Nothing about the data raises. Pillow's own limit (twice ``PIL.Image.MAX_IMAGE_PIXELS``) holds
    beside ``max_pixels``. A JPEG damaged in the middle of its pixel data, but complete, decodes
    without complaint: the format has no checksum. For some damaged TIFFs, libtiff itself prints a
    line to stderr.

    Args:
        data: The file's content, or None for a missing one.
        spec: The wanted shape.
        max_bytes: Longer data is refused unread.
        max_pixels: A header that declares more is refused before any pixel is decoded.

    Returns:
        uint8 of shape (height, width, channels), contiguous and writable, or an `ImageFailure`.

    Raises:
        InputError: ``data`` is not bytes, or the program allows truncated files in Pillow.
    """

    def fit(stored: Stored) -> NDArray[np.uint8]:
        try:
            return fitted(stored, spec)
        except TooManyPixelsError as error:
            raise _Refused("too_many_pixels", str(error)) from None

    draft = spec if spec.jpeg_draft else None
    return _decode(data, spec.background, max_bytes, max_pixels, fit, draft)


def thumbnail(data: bytes | None, max_side: int) -> bytes | None:
    """A small JPEG of the whole picture for a report: upright, on white, never enlarged.

    Args:
        data: The file's content.
        max_side: Longest side of the result in pixels.

    Returns:
        The bytes of a JPEG file, or None if ``data`` cannot be decoded.

    Raises:
        InputError: ``max_side`` is below 1, or as for `decode_image`.
    """
    if max_side < 1:
        raise InputError(f"max_side is {max_side}; expected 1 or more.")

    def shrink(stored: Stored) -> bytes:
        picture = stored.picture
        longest = max(picture.size)
        if longest > max_side:
            width, height = (scaled(side, max_side, longest) for side in picture.size)
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        out = io.BytesIO()
        upright(picture, stored.orientation).save(out, "JPEG", quality=90, subsampling=0)
        return out.getvalue()

    result = _decode(data, (255, 255, 255), MAX_BYTES, MAX_PIXELS, shrink)
    return result if isinstance(result, bytes) else None


def picture_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels (H, W, C) as a PNG file, the same pixels as `decode_image` gives for it."""
    stream = io.BytesIO()
    picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    # Faster than Pillow's default, with which a small picture costs as much as the network that
    # decoded it; the files are somewhat larger.
    picture.save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def _decode(
    data: bytes | None,
    background: tuple[int, int, int],
    max_bytes: int,
    max_pixels: int,
    finish: Callable[[Stored], _T],
    draft: ImageSpec | None = None,
) -> _T | ImageFailure:
    """Opens ``data`` and hands an opaque picture to ``finish``.

    Of a JPEG no more is decoded than a model needs whose spec is ``draft``.
    """
    if data is not None and not isinstance(data, bytes | bytearray | memoryview):
        raise InputError(f"image data is a {type(data).__name__}; expected bytes or None.")
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise InputError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True: half a picture would pass for a whole "
            "one; expected False, so find the import that sets it."
        )
    if not data:
        return ImageFailure("empty", "there are no bytes." if data is None else "0 bytes.")
    if len(data) > max_bytes:
        return ImageFailure("too_large", f"{len(data):,} bytes; at most {max_bytes:,} are read.")
    data = bytes(data)
    kind = kind_of(data)
    if kind not in FORMAT_NAMES:
        return ImageFailure("unsupported_format", f"{kind}; expected {', '.join(FORMAT_NAMES)}.")
    if kind == "JPEG" and (scans := num_scans(data)) > _MAX_SCANS:
        return ImageFailure("unreadable", f"a JPEG of {scans:,} scans; at most {_MAX_SCANS}.")
    first = _open(data, kind, background, max_pixels, finish, draft)
    if not isinstance(first, ImageFailure) or first.reason not in ("unreadable", "truncated"):
        return first
    # What is wrong may be said beside the picture, and the pixels be sound.
    bare = without_metadata(data, kind) or data
    second: _T | ImageFailure = first
    if bare is not data:
        second = _open(bare, kind, background, max_pixels, finish, draft)
    if kind == "JPEG" and isinstance(second, ImageFailure) and second.reason == "truncated":
        ended = _with_end(bare, max_pixels)
        if ended is not None:
            second = _open(ended, kind, background, max_pixels, finish, draft)
    return first if isinstance(second, ImageFailure) else second


def _with_end(data: bytes, max_pixels: int) -> bytes | None:
    """Return a JPEG file with an end, if that is all that it lacks."""
    ended, found = None, None
    for ended in continuations(data):
        digest = _open(ended, "JPEG", (0, 0, 0), max_pixels, _digest, None)
        if isinstance(digest, ImageFailure) or digest != (found or digest):
            return None
        found = digest
    return ended


def _digest(stored: Stored) -> bytes:
    """Return a hash of the pixels, read in strips so that they are not copied at once."""
    picture = stored.picture
    width, height = picture.size
    step = max(1, _STRIP_PIXELS // width)
    digest = hashlib.sha256()
    for top in range(0, height, step):
        digest.update(picture.crop((0, top, width, min(top + step, height))).tobytes())
    return digest.digest()


def _open(
    data: bytes,
    kind: str,
    background: tuple[int, int, int],
    max_pixels: int,
    finish: Callable[[Stored], _T],
    draft: ImageSpec | None,
) -> _T | ImageFailure:
    stream = io.BytesIO(data)
    try:
        with without_warnings(), Image.open(stream, formats=[kind]) as im:
            width, height = im.size
            if width * height > max_pixels or max(width, height) > _MAX_SIDE:
                return ImageFailure(
                    "too_many_pixels",
                    f"this {kind} file has {width:,} × {height:,} pixels; at most {max_pixels:,} "
                    f"and {_MAX_SIDE:,} a side are decoded.",
                )
            factor = _draft(im, draft) if draft is not None and kind == "JPEG" else 1
            picture = _opaque(im, background)
            if kind == "PNG" and _may_lack_rows(im) and png_lacks_rows(data):
                raise _Refused("truncated", "this PNG file has fewer rows than its header says.")
            size = (width, height) if factor > 1 else picture.size  # Pillow turns a TIFF by itself
            return finish(Stored(picture, _orientation(im), size, factor))
    except _Refused as refused:
        return refused.failure
    except Image.DecompressionBombError as error:
        return ImageFailure("too_many_pixels", f"Pillow refuses this {kind} file: {error}")
    except Exception as error:  # a hostile file can raise anything: struct, zlib, Recursion, …
        if _ended_early(data, kind, stream, error):
            return ImageFailure(
                "truncated", f"this {kind} file of {len(data):,} bytes ends too early."
            )
        if isinstance(error, UnidentifiedImageError):  # its text holds a memory address
            return ImageFailure("unreadable", f"begins like {kind}, but its header is damaged.")
        text = " ".join(str(error).split())[:200] or "Pillow cannot decode it"
        return ImageFailure("unreadable", f"a damaged {kind}: {text.rstrip('.')}.")


def _draft(im: ImageFile.ImageFile, spec: ImageSpec) -> int:
    """Let the decoder of a JPEG make it smaller; return by how much, for `Stored.factor`."""
    whole = im.size
    drafted = im.draft(None, draft_size(whole, _orientation(im), spec))
    if drafted is None or spec.jpeg_draft_gap != JPEG_DRAFT_GAP:
        return 1  # for models of the first bundles, what the decoder gives is the whole picture
    _, (_, _, width, _) = drafted
    return round(whole[0] / width)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Pillow, which warns of odd metadata: in a worker's log, noise that names no file.

    Where several threads decode, it must be around all of them too: they share the filters.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _ended_early(data: bytes, kind: str, stream: io.BytesIO, error: Exception) -> bool:
    """Whether decoding failed for want of bytes; Pillow says so in half of the cases only."""
    if kind == "WEBP":  # the container says its own length
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    text = str(error).lower()
    if "truncated" in text or "not enough image data" in text:
        return True
    # Headers are read piece by piece; pixel data in blocks that reach the end in any small file.
    in_header = isinstance(error, UnidentifiedImageError | SyntaxError)
    in_header = in_header or text == "cannot load this image"  # a JPEG without pixel data
    return in_header and stream.tell() >= len(data)


def _opaque(im: ImageFile.ImageFile, background: tuple[int, int, int]) -> Image.Image:
    """Loads the first frame, as "L" or "RGB", full size, blended with the background."""
    everything = (0, 0, *im.size)
    # A GIF's first frame may be smaller than its canvas; the rest is transparent to browsers.
    frame = (im.tile[0][1] if im.format == "GIF" else None) or everything
    if "transparency" in im.info and im.format == "PNG":
        _scale_png_key(im)
    im.load()
    picture: Image.Image = im
    if im.mode == "F" or im.mode.startswith("I"):
        picture = _deep_to_grey(im)
    if im.format == "BMP" and picture.mode == "RGBA" and picture.getchannel("A").getbbox() is None:
        # Windows' own programs leave it 0; as browsers do, such a picture is taken as opaque.
        picture = picture.convert("RGB")
    if picture.has_transparency_data and picture.mode not in ("LA", "RGBA"):
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    if picture.mode in ("LA", "RGBA") or frame != everything:
        canvas = Image.new("RGB", im.size, background)
        piece = picture if frame == everything else picture.crop(frame)
        canvas.paste(piece, frame[:2], piece if piece.mode in ("LA", "RGBA") else None)
        return canvas
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")


def _may_lack_rows(im: ImageFile.ImageFile) -> bool:
    """Whether rows may be missing of a PNG that Pillow has loaded: it leaves them 0."""
    width, height = im.size
    last = im.crop((0, height - 1, width, height)).tobytes()
    return bool(im.info.get("interlace")) or not last.strip(b"\0")


def _scale_png_key(im: ImageFile.ImageFile) -> None:
    """Pillow scales the samples of a PNG to 8 bits, but not the colour that is transparent."""
    key, rawmode = im.info["transparency"], im.tile[0][3]
    if rawmode in ("L;2", "L;4"):
        im.info["transparency"] = (key & 3) * 85 if rawmode == "L;2" else (key & 15) * 17
    elif rawmode == "RGB;16B":
        im.info["transparency"] = tuple(level >> 8 for level in key)


def _deep_to_grey(im: ImageFile.ImageFile) -> Image.Image:
    """16-bit and float samples as "L", or "RGBA" for a PNG with a transparent grey level.

    In strips, so that nothing of full size but the 8-bit result comes on top of the source.
    """
    width, height = im.size
    tags = getattr(im, "tag_v2", {})
    bits, signed = tags.get(258, (16,))[0], tags.get(339, (1,))[0] == 2
    # What is stored in 32 bits is nearly always 16-bit data; more than 16 bits is refused below.
    full = 1 if im.mode == "F" else 2 ** min(bits - signed, 16) - 1
    inverted = tags.get(262) == 0  # "white is zero", which Pillow heeds for 8 bits only
    key = im.info.get("transparency")
    grey = np.empty((height, width), np.uint8)
    alpha = None if key is None else np.empty_like(grey)
    step = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        strip = np.asarray(im.crop((0, rows.start, width, rows.stop)))
        low, high = strip.min(), strip.max()
        if not (low >= 0 and high <= full):  # also for NaN
            found = f"samples from {low:g} to {high:g}; expected 0 to {full:,}."
            raise _Refused("unsupported_pixels", found)
        grey[rows] = np.rint(strip * np.float64(255 / full))
        if alpha is not None:
            alpha[rows] = np.where(strip == key, 0, 255)
    if inverted:
        np.subtract(255, grey, out=grey)
    picture = Image.fromarray(grey)
    if alpha is None:
        return picture
    # Not "LA", the natural mode: merged so, Pillow pastes it into RGB as shades of red.
    return Image.merge("RGBA", (picture, picture, picture, Image.fromarray(alpha)))


def _orientation(im: ImageFile.ImageFile) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none, or none that makes sense.

    Asked after loading: a PNG may carry it behind its pixels, and Pillow turns a TIFF by itself.
    """
    try:
        orientation = int(im.getexif().get(0x0112, 1))
    except Exception:  # a picture with damaged metadata is still a picture
        return 1
    return orientation if orientation in TURNS else 1
