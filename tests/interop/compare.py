"""A model's posteriors as the job encode_catalog publishes them, beside the pixels it saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vaeudf.images.decode import decode_image
from vaeudf.model.bundle import Bundle
from vaeudf.model.pixels import PixelScaler
from vaeudf.table.open import open_table
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog


def pixels_of(garments: pa.Table, bundle: Bundle) -> torch.Tensor:
    """The catalog's pictures as the network gets them, in the order of item_id."""
    spec = bundle.manifest.image
    images = garments.sort_by("item_id")["image"].to_pylist()
    return PixelScaler(spec).scale_array(np.stack([decode_image(i, spec) for i in images]))


def encoded_by_spark(
    bundle: Bundle, model: Path, catalog: str, folder: Path, py_files: list[str] | None
) -> dict[str, np.ndarray]:
    """What the job makes of it, in the order of item_id."""
    table = str(folder / "table")
    summary = encode_catalog(
        EncodeCatalog(
            catalog=catalog, model=str(model), table=table, trust_model=True, py_files=py_files
        )
    )
    assert not summary["quarantined"]
    rows = pa.concat_tables(pq.read_table(uri) for uri in open_table(table).files)
    rows = rows.sort_by("item_id")
    return {name: np.stack(rows[name].to_numpy()) for name in ("mu", "log_var")}
