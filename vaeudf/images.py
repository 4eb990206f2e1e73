"""Image bytes to a uint8 array of a declared shape, or the reason why not.

One way for training and for the nightly encode: the network must see in both the same pixels for
the same bytes. What is done to a picture, in this order:

1. Only the formats in `FORMATS` are opened, and the pixel cap is checked on the header.
2. The first frame of an animation is taken. ICC profiles are ignored: colours are read as sRGB.
3. 16-bit samples are scaled to 8 bits. Floats in [0, 1] are scaled by 255; other floats, and
   integers beyond 16 bits, have no known scale and are refused.
4. Transparent pixels are blended with ``ImageSpec.background``.
5. Bicubic resize (antialiased) to ``ImageSpec.height`` × ``width``, then EXIF orientation. JPEG's
   ``draft`` mode is not used: it is faster on big photos, but gives other pixels.

Memory, measured on 50 megapixels: 4 bytes a pixel for RGB, 8 with transparency or CMYK, 16 for
WebP, whose decoder keeps canvases of its own.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

# Imported for their registration: Image.open would otherwise load every plugin Pillow has.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from vaeudf.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

REASONS: Mapping[str, str] = {
    "empty": "there are no bytes",
    "too_large": "more bytes than allowed",
    "too_many_pixels": "the header declares more pixels, or a longer side, than allowed",
    "unsupported_format": f"not one of {', '.join(FORMATS)}",
    "unsupported_pixels": "pixel values whose scale is unknown",
    "truncated": "the file ends before its picture does",
    "unreadable": "the file is damaged, or of a kind Pillow cannot read",
}

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 100_000_000
# Pillow's resize allocates 32 bytes for each pixel of a side: 3 GB for 100,000,000 × 1.
_MAX_SIDE = 1_000_000
# Every scan of a progressive JPEG, even of 31 bytes, visits every pixel: 11 ms for 16 megapixels,
# 40 hours for 64 MiB of such scans on 100 megapixels. Ordinary files have about ten.
_MAX_SCANS = 100
_STRIP_PIXELS = 2**20

Resize = Literal["pad", "crop", "stretch"]
Scaling = Literal["zero_one", "minus_one_one"]
_SCALES = {  # scaled = pixel / divisor - offset
    "zero_one": (np.float32(255), np.float32(0)),
    "minus_one_one": (np.float32(127.5), np.float32(1)),
}
_T = TypeVar("_T")


@dataclass(frozen=True)
class ImageSpec:
    """How a model wants its pictures; stored in the model bundle's manifest.

    Attributes:
        height: Pixels, 1 to 4096.
        width: Pixels, 1 to 4096.
        channels: 3 (RGB) or 1 (grey, ITU-R 601 luma).
        resize: ``pad`` keeps the aspect and centres the picture on the background, ``crop`` keeps
            the aspect and cuts what sticks out, ``stretch`` does not keep the aspect.
        background: RGB under transparent pixels and in the padding.
        scaling: What the network gets (`scale_pixels`); arrays of uint8 are unscaled.

    Raises:
        InputError: A value is of the wrong type or out of range.
    """

    height: int
    width: int
    channels: int = 3
    resize: Resize = "pad"
    background: tuple[int, int, int] = (255, 255, 255)
    scaling: Scaling = "zero_one"

    def __post_init__(self) -> None:
        def need(name: str, ok: bool, expected: str) -> None:
            if not ok:
                raise InputError(
                    f"ImageSpec.{name} is {getattr(self, name)!r}; expected {expected}."
                )

        for name in ("height", "width"):
            value = getattr(self, name)
            need(name, type(value) is int and 1 <= value <= 4096, "an integer from 1 to 4096")
        need("channels", type(self.channels) is int and self.channels in (1, 3), "1 or 3")
        for name, kind in (("resize", Resize), ("scaling", Scaling)):
            allowed = get_args(kind)
            need(name, getattr(self, name) in allowed, "one of " + ", ".join(allowed))
        rgb = self.background
        is_rgb = isinstance(rgb, tuple) and len(rgb) == 3
        is_rgb = is_rgb and all(type(level) is int and 0 <= level <= 255 for level in rgb)
        need("background", is_rgb, "a tuple of three integers from 0 to 255")

    def to_dict(self) -> dict[str, object]:
        """The spec as JSON can hold it; `from_dict` reads it back."""
        return {**asdict(self), "background": list(self.background)}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> ImageSpec:
        """Reads what `to_dict` wrote; keys left out take their default.

        Raises:
            InputError: A key is unknown, ``height`` or ``width`` is missing, or a value is wrong.
        """
        if not isinstance(d, Mapping):
            raise InputError(f"the image spec is a {type(d).__name__}; expected a dictionary.")
        known = [field.name for field in fields(cls)]
        if unknown := [key for key in d if key not in known]:
            raise InputError(f"the image spec has unknown keys {unknown}; known are {known}.")
        if missing := [key for key in ("height", "width") if key not in d]:
            raise InputError(f"the image spec lacks {missing}; expected height and width.")
        values = dict(d)
        if isinstance(values.get("background"), list):
            values["background"] = tuple(values["background"])
        return cls(**values)


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

    def fit(picture: Image.Image, orientation: int) -> NDArray[np.uint8]:
        return _fit(picture, orientation, spec)

    return _decode(data, spec.background, max_bytes, max_pixels, fit)


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

    def shrink(picture: Image.Image, orientation: int) -> bytes:
        longest = max(picture.size)
        if longest > max_side:
            width, height = (_scaled(side, max_side, longest) for side in picture.size)
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        out = io.BytesIO()
        _upright(picture, orientation).save(out, "JPEG", quality=85)
        return out.getvalue()

    result = _decode(data, (255, 255, 255), MAX_BYTES, MAX_PIXELS, shrink)
    return result if isinstance(result, bytes) else None


def scale_pixels(pixels: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.float32]:
    """What the network gets: x / 255 (``zero_one``) or x / 127.5 - 1 (``minus_one_one``).

    Args:
        pixels: uint8 of shape (B, height, width, channels).
        spec: The shape and the scaling.

    Returns:
        float32 of shape (B, channels, height, width), contiguous.

    Raises:
        InputError: ``pixels`` has another type or shape.
    """
    shape = (spec.height, spec.width, spec.channels)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != shape:
        raise InputError(
            f"pixels are {pixels.dtype} of shape {pixels.shape}; "
            f"expected uint8 of shape (B, {', '.join(map(str, shape))})."
        )
    divisor, offset = _SCALES[spec.scaling]
    # Transposed as bytes first: half the time of a division that walks the pixels out of order.
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    scaled: NDArray[np.float32] = np.divide(planes, divisor, dtype=np.float32)
    scaled -= offset
    return scaled


def unscale_pixels(scaled: NDArray[np.float32], spec: ImageSpec) -> NDArray[np.uint8]:
    """The inverse of `scale_pixels`, for a decoder's output: rounded, and clipped to 0 … 255.

    Args:
        scaled: float of shape (B, channels, height, width).
        spec: The shape and the scaling.

    Returns:
        uint8 of shape (B, height, width, channels), contiguous; NaN becomes 0.

    Raises:
        InputError: ``scaled`` has another shape.
    """
    shape = (spec.channels, spec.height, spec.width)
    if scaled.shape[1:] != shape:
        raise InputError(
            f"scaled pixels have shape {scaled.shape}; expected (B, {', '.join(map(str, shape))})."
        )
    divisor, offset = _SCALES[spec.scaling]
    levels = np.rint((scaled.transpose(0, 2, 3, 1) + offset) * divisor)
    levels = np.nan_to_num(levels, nan=0.0).clip(0, 255)
    return np.ascontiguousarray(levels, dtype=np.uint8)


class _Quiet(threading.local):
    """Silences Pillow's warnings about odd files, in a thread that is decoding and nowhere else.

    ``warnings.catch_warnings`` would swap process-wide state, and two threads that leave it in the
    wrong order lose the program's filters for good. This object instead stands in
    ``warnings.filters`` as the pattern for the text, and matches only inside its ``with`` block.
    """

    decoding = False

    def match(self, text: str) -> bool:
        return self.decoding

    def __enter__(self) -> None:
        filters: list[Any] = warnings.filters  # type: ignore[assignment]
        # Not just at import: catch_warnings, as in every pytest test, may bring an older list back.
        if not filters or filters[0] is not _QUIET_FILTER:
            if _QUIET_FILTER in filters:
                filters.remove(_QUIET_FILTER)
            filters.insert(0, _QUIET_FILTER)
        self.decoding = True

    def __exit__(self, *exc: object) -> None:
        self.decoding = False

    def __reduce__(self) -> str:
        return "_QUIET"  # joblib pickles warnings.filters


_QUIET = _Quiet()
_QUIET_FILTER = ("ignore", _QUIET, Warning, None, 0)


def _decode(
    data: bytes | None,
    background: tuple[int, int, int],
    max_bytes: int,
    max_pixels: int,
    finish: Callable[[Image.Image, int], _T],
) -> _T | ImageFailure:
    """Opens ``data`` and hands an opaque "L" or "RGB" picture and its orientation to ``finish``."""
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
    kind = _kind_of(data)
    if kind not in FORMATS:
        return ImageFailure("unsupported_format", f"{kind}; expected {', '.join(FORMATS)}.")
    if kind == "JPEG" and (scans := data.count(b"\xff\xda")) > _MAX_SCANS:
        return ImageFailure("unreadable", f"a JPEG of {scans:,} scans; at most {_MAX_SCANS}.")
    stream = io.BytesIO(data)
    try:
        with _QUIET, Image.open(stream, formats=[kind]) as im:
            width, height = im.size
            if width * height > max_pixels or max(width, height) > _MAX_SIDE:
                return ImageFailure(
                    "too_many_pixels",
                    f"a {kind} of {width:,} × {height:,} pixels; at most {max_pixels:,} "
                    f"and {_MAX_SIDE:,} a side are decoded.",
                )
            picture = _opaque(im, background)
            return finish(picture, _orientation(im))
    except _Refused as refused:
        return refused.failure
    except Image.DecompressionBombError as error:
        return ImageFailure("too_many_pixels", f"a {kind} that Pillow refuses: {error}")
    except Exception as error:  # a hostile file can raise anything: struct, zlib, Recursion, …
        if _ended_early(data, kind, stream, error):
            return ImageFailure("truncated", f"a {kind} whose {len(data):,} bytes end too early.")
        if isinstance(error, UnidentifiedImageError):  # its text holds a memory address
            return ImageFailure("unreadable", f"begins like {kind}, but its header is damaged.")
        text = " ".join(str(error).split())[:200]
        return ImageFailure("unreadable", f"a damaged {kind}: {type(error).__name__}: {text}")


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


def _kind_of(data: bytes) -> str:
    """One of `FORMATS`, or words for what the bytes are instead."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        brand = data[8:11]
        heic = brand in (b"hei", b"hev", b"mif", b"msf")
        return "AVIF" if brand == b"avi" else "HEIC" if heic else "an MP4 or QuickTime file"
    for kind, magic in _MAGIC.items():
        if data.startswith(magic):
            return kind
    head = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip()
    text = " ".join(head.decode("utf-8", "ignore").split())
    if not text or not text.isprintable() or len(text.encode()) < len(head) // 2:
        return f"unknown bytes that begin {data[:8].hex(' ')}"
    for tag, kind in {"<svg": "SVG", "<html": "HTML", "<!doctype html": "HTML"}.items():
        if tag in text.lower():
            return kind
    return f"text that begins {text[:40]!r}"


_MAGIC: dict[str, bytes | tuple[bytes, ...]] = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": b"BM",
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "PDF": b"%PDF",
    "PostScript": b"%!PS",
    "Photoshop PSD": b"8BPS",
    "ICO": b"\0\0\1\0",
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "JPEG XL": (b"\0\0\0\x0cJXL ", b"\xff\x0a"),
    "a ZIP archive": b"PK\3\4",
    "a gzip file": b"\x1f\x8b",
}


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
    if picture.has_transparency_data and picture.mode not in ("LA", "RGBA"):
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    if picture.mode in ("LA", "RGBA") or frame != everything:
        canvas = Image.new("RGB", im.size, background)
        piece = picture if frame == everything else picture.crop(frame)
        canvas.paste(piece, frame[:2], piece if piece.mode in ("LA", "RGBA") else None)
        return canvas
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")


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
    return orientation if orientation in _TURNS else 1


_TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS[orientation]
    return picture if turn is None else picture.transpose(turn)


def _scaled(side: int, numerator: int, denominator: int) -> int:
    """``side * numerator / denominator``, rounded, at least 1."""
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))


def _fit(picture: Image.Image, orientation: int, spec: ImageSpec) -> NDArray[np.uint8]:
    """Resizes as stored, turns the small result: all placements are centred, so this commutes."""
    width, height = spec.width, spec.height
    if orientation >= 5:
        width, height = height, width
    w, h = picture.size
    size, box = (width, height), (0.0, 0.0, float(w), float(h))
    wider = w * height > h * width
    if spec.resize == "pad":
        size = (width, _scaled(h, width, w)) if wider else (_scaled(w, height, h), height)
    elif spec.resize == "crop" and wider:
        margin = (w - h * width / height) / 2
        box = (margin, 0.0, w - margin, float(h))
    elif spec.resize == "crop":
        margin = (h - w * height / width) / 2
        box = (0.0, margin, float(w), h - margin)
    small = _upright(picture.resize(size, Image.Resampling.BICUBIC, box), orientation)
    canvas = Image.new("RGB", (spec.width, spec.height), spec.background)
    canvas.paste(small, ((spec.width - small.width) // 2, (spec.height - small.height) // 2))
    pixels = np.array(canvas if spec.channels == 3 else canvas.convert("L"), np.uint8)
    return pixels.reshape(spec.height, spec.width, spec.channels)
