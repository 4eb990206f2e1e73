"""Catalogs of JPEG files for the benchmarks that encode."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import tell

_LONGEST, _WARM_UP = 160, 512
_ROWS_PER_FILE = 2_500


def make_data(
    root: Path,
    photos: str | None,
    count: int,
    size: tuple[int, int] | None = None,
    grain: float = 0.0,
) -> None:
    """Write JPEGs as files and as Parquet, and a small catalog to warm up on.

    Args:
        root: Where to; made whole or not at all.
        photos: A folder of JPEGs to make them of; None for drawn garments.
        count: How many.
        size: Width and height that upright pictures are enlarged to, and height and width of
            others; None to leave them.
        grain: Standard deviation of noise that is laid over what was enlarged, in levels: an
            enlarged photo is smooth, and smaller as a file than one that a camera took.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sources = sorted(Path(photos).rglob("*.jpg")) if photos else []
    picture = partial(_picture, sources=sources, size=size, grain=grain)

    part = Path(f"{root}-part")
    shutil.rmtree(part, ignore_errors=True)
    for name, number in (("large", count), ("small", _WARM_UP)):
        (part / name / "parquet").mkdir(parents=True)
        for start in range(0, number, _ROWS_PER_FILE):
            rows = range(start, min(start + _ROWS_PER_FILE, number))
            ids = [f"{i % 100:02d}/{i:06d}.jpg" for i in rows]
            with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                images = list(pool.map(picture, rows, chunksize=50))
            for file, image in zip(
                (part / name / "files" / one for one in ids), images, strict=True
            ):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(image)
            table = pa.table({"item_id": ids, "image": images})
            pq.write_table(table, part / name / "parquet" / f"{start:06d}.parquet")
            tell(f"made {start + len(ids):,} of {number:,} images")
    part.rename(root)


def _picture(
    i: int, *, sources: Sequence[Path], size: tuple[int, int] | None, grain: float
) -> bytes:
    """Return the JPEG of a number: a photo mirrored and cropped, or a drawing."""
    from PIL import Image, ImageOps

    from vaeudf.catalog.garments import draw_garment, sample_garment

    rng = np.random.default_rng(i)
    if sources:
        with Image.open(sources[i % len(sources)]) as im:
            image = im.convert("RGB")
        w, h = image.size
        cut = rng.integers(0, 8, 4)
        image = image.crop((cut[0], cut[1], w - cut[2], h - cut[3]))
    else:
        image = Image.fromarray(np.asarray(draw_garment(sample_garment(7, i), _LONGEST)))
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if size is not None:
        upright = size if image.height >= image.width else size[::-1]
        image = image.resize(upright, Image.Resampling.BICUBIC)
    if grain:
        noise = rng.standard_normal((image.height, image.width, 1), np.float32) * grain
        levels = np.clip(np.asarray(image) + noise, 0, 255)
        image = Image.fromarray(np.rint(levels).astype(np.uint8))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()
