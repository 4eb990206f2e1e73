"""The pixels that a table keeps, read with pyarrow alone, and compared with the decoded images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from vaeudf.images.decode import decode_image
from vaeudf.images.spec import ImageSpec
from vaeudf.table.open import open_table


def pixel_file_of(data_file: str) -> Path:
    path = Path(data_file)
    return path.parents[1] / "_pixels" / path.parent.name / f"{path.stem}.arrow"


def read_kept(path: Path) -> pa.Table:
    with ipc.open_file(path.read_bytes()) as file:
        return file.read_all()


def kept_pixels(table: str) -> dict[str, bytes]:
    """Return the pixels by item, those of deleted rows too; rows are in the data file's order."""
    found = {}
    for uri in open_table(table).files:
        rows = read_kept(pixel_file_of(uri))
        assert rows["item_id"].to_pylist() == pq.read_table(uri)["item_id"].to_pylist()
        found.update(zip(rows["item_id"].to_pylist(), rows["pixels"].to_pylist(), strict=True))
    return found


def assert_kept(table: str, images: Mapping[str, bytes], spec: ImageSpec) -> None:
    """Assert that a table keeps the pixels of just these items' images."""
    found = kept_pixels(table)
    assert sorted(found) == sorted(images)
    for item, data in images.items():
        pixels = decode_image(data, spec)
        assert pixels.shape == (spec.height, spec.width, spec.channels)
        assert found[item] == pixels.tobytes(), item
