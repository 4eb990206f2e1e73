"""What decode_latents writes, and what it refuses."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.tolerances import assert_same_levels
from vaeudf.decoding.file_names import file_name
from vaeudf.errors import InputError
from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)), dtype=int)


def check_files(output: Path, bundle, expected: dict[str, np.ndarray]) -> None:
    """The index names a file for every z, with the picture that the decoder gives for it."""
    rows = pq.read_table(output / "index.parquet").to_pylist()
    assert {row["query_id"]: row["z"] for row in rows} == {
        name: list(z) for name, z in expected.items()
    }
    decoded = bundle.decode([row["z"] for row in rows])
    for row, picture in zip(rows, decoded, strict=True):
        assert row["file"] == f"images/{file_name(row['query_id'])}.png"
        assert_same_levels(pixels((output / row["file"]).read_bytes()), picture)


def refused(message: str, error: type[Exception] = InputError, **options) -> None:
    with pytest.raises(error, match=re.escape(message)):
        decode_latents(DecodeLatents(**options))
