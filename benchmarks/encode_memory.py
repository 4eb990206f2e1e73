"""How much memory a Python worker takes to encode images of up to 50 megapixels.

    python -m benchmarks.encode_memory --data DIR

The catalog is made first if DIR does not exist: pictures of 50 megapixels in the formats that cost
most to decode.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.encode import make_model
from benchmarks.measure import PeakMemory, print_table, tell

# 49.9 megapixels, in two shapes.
_SIZES = ((8_640, 5_776), (5_776, 8_640))
_COPIES = 3
_ALLOWED = 1.5


def _formats(picture: Image.Image) -> dict[str, bytes]:
    grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    clear = picture.convert("RGBA")
    clear.putalpha(128)
    kinds: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "jpg": (picture, "JPEG", {"quality": 85}),
        "progressive.jpg": (picture, "JPEG", {"quality": 85, "progressive": True}),
        "cmyk.jpg": (picture.convert("CMYK"), "JPEG", {"quality": 85}),
        "png": (picture, "PNG", {"compress_level": 1}),
        "alpha.png": (clear, "PNG", {"compress_level": 1}),
        "grey16.png": (Image.fromarray(grey), "PNG", {"compress_level": 1}),
        "webp": (picture, "WEBP", {"quality": 80, "method": 0}),
    }
    encoded = {}
    for name, (image, kind, settings) in kinds.items():
        out = io.BytesIO()
        image.save(out, kind, **settings)
        encoded[name] = out.getvalue()
    return encoded


def make_data(root: Path) -> None:
    """Write the catalog."""
    part = Path(f"{root}-part")
    (part / "images").mkdir(parents=True, exist_ok=True)
    for number, (width, height) in enumerate(_SIZES):
        small = np.random.default_rng(number).integers(0, 256, (60, 40, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        for name, data in _formats(picture).items():
            for copy in range(_COPIES):
                (part / "images" / f"{number}-{copy}.{name}").write_bytes(data)
            tell(f"made {width} × {height} {name}, {len(data) / 2**20:.1f} MiB")
    make_model(part / "model")
    part.rename(root)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    data = options.data.absolute()
    if not data.exists():
        make_data(data)

    from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        "--master local[*,4] --properties-file vaeudf/spark/conf/local.conf pyspark-shell"
    )
    start = time.perf_counter()
    with PeakMemory() as watch:
        found = encode_catalog(
            EncodeCatalog(str(data / "images"), str(data / "model"), str(data / "table"), full=True)
        )
    seconds = time.perf_counter() - start
    if found["encoded"] != found["read"]:
        raise RuntimeError(f"not all were encoded: {found['quarantined']}")
    print_table(
        ["50 MP", "seconds", "largest Python worker, GB", "allowed"],
        [[f"{found['encoded']} images", seconds, watch.peak / 1e9, _ALLOWED]],
    )


if __name__ == "__main__":
    main()
