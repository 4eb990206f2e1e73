"""Catalogs of small JPEG files for the benchmarks that encode."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np

from benchmarks.measure import tell

_LONGEST, _WARM_UP = 160, 512
_ROWS_PER_FILE = 2_500


def make_data(root: Path, photos: str | None, count: int) -> None:
    """Write ``count`` JPEGs as files and as Parquet, and a small catalog to warm up on."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image, ImageOps

    from vaeudf.catalog.garments import draw_garment, sample_garment

    sources = sorted(Path(photos).rglob("*.jpg")) if photos else []

    def picture(i: int) -> bytes:
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
        out = io.BytesIO()
        image.save(out, "JPEG", quality=85)
        return out.getvalue()

    part = Path(f"{root}-part")
    shutil.rmtree(part, ignore_errors=True)
    for name, number in (("large", count), ("small", _WARM_UP)):
        (part / name / "parquet").mkdir(parents=True)
        for start in range(0, number, _ROWS_PER_FILE):
            ids, images = [], []
            for i in range(start, min(start + _ROWS_PER_FILE, number)):
                ids.append(f"{i % 100:02d}/{i:06d}.jpg")
                images.append(picture(i))
                file = part / name / "files" / ids[-1]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(images[-1])
            rows = pa.table({"item_id": ids, "image": images})
            pq.write_table(rows, part / name / "parquet" / f"{start:06d}.parquet")
            tell(f"made {start + len(ids):,} of {number:,} images")
    part.rename(root)
