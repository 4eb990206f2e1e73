"""A posterior table as a test reads it: whole, with pyarrow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vaeudf.schema import CATALOG_KEY, MODEL_PATH_KEY
from vaeudf.storage.locations import filesystem
from vaeudf.table.open import open_table


def matrix(rows: pa.Table, name: str) -> np.ndarray:
    return np.stack(rows[name].to_numpy())


def moved(table: str, to: str, catalog: str | None = None, model: str | None = None) -> str:
    """A copy of a table that says that it was made of another catalog, or with another model.

    Args:
        table: As the jobs have written it.
        to: Where the copy will be.
        catalog: The path that the copy has of its catalog.
        model: The path that the copy has of its model.
    """
    shutil.copytree(table, to)
    for entry in Path(to, "_delta_log").glob("*.json"):
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            if "metaData" not in action:
                continue
            schema = json.loads(action["metaData"]["schemaString"])
            (made,) = (f["metadata"] for f in schema["fields"] if CATALOG_KEY in f["metadata"])
            if catalog is not None:
                source = json.loads(made[CATALOG_KEY])
                assert source["path"] != catalog
                made[CATALOG_KEY] = json.dumps(source | {"path": catalog})
            made[MODEL_PATH_KEY] = model or made[MODEL_PATH_KEY]
            action["metaData"]["schemaString"] = json.dumps(schema)
        entry.write_text("\n".join(map(json.dumps, actions)))
    return to


def read(table: str) -> pa.Table:
    places = map(filesystem, open_table(table).files)
    parts = (pq.read_table(inner, filesystem=files) for files, inner in places)
    return pa.concat_tables(parts).sort_by("item_id")
