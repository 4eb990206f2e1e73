"""A shop whose catalog changes from night to night."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.scene import ENCODER_TERMS
from tests.support.tables import matrix
from tests.support.tolerances import assert_same_float32


def assert_same_table(found: pa.Table, expected: pa.Table) -> None:
    for column in ("mu", "log_var"):
        right = matrix(expected, column)
        assert_same_float32(matrix(found, column), right, terms=ENCODER_TERMS)
    vectors = ["mu", "log_var"]
    assert found.drop(vectors) == expected.drop(vectors)


class Shop:
    """A catalog that changes: in a folder of images, or in Parquet."""

    def __init__(self, root: Path, kind: str, garments: pa.Table) -> None:
        self.path = str(root / "catalog")
        self.kind = kind
        self.images = garments["image"].to_pylist()
        self.items: dict[str, tuple[bytes, int]] = {}
        self.clock = 1_700_000_000

    def put(self, name: str, which: int, price: int = 0) -> None:
        image = b"damaged" if which < 0 else self.images[which]
        self.items[name] = image, price
        if self.kind == "images":
            path = Path(self.path, f"{name}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
            self.clock += 1
            os.utime(path, (self.clock, self.clock))

    def remove(self, name: str) -> None:
        del self.items[name]
        if self.kind == "images":
            Path(self.path, f"{name}.png").unlink()

    def open(self) -> str:
        if self.kind == "parquet":
            shutil.rmtree(self.path, ignore_errors=True)
            Path(self.path).mkdir()
            names = sorted(self.items)
            for part in (0, 1):
                own = names[part::2]
                rows = {
                    "item_id": own,
                    "image": pa.array([self.items[n][0] for n in own], pa.binary()),
                    "price": [self.items[n][1] for n in own],
                }
                pq.write_table(pa.table(rows), f"{self.path}/{part}.parquet")
        return self.path
