"""Names that need care, in item_ids and paths, through the jobs, and for several nights."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.scene import LATENT_DIM
from tests.support.tables import read
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.query_topk import QueryTopk, query_topk

pytestmark = [pytest.mark.spark, pytest.mark.slow]

NAMES = [
    *("plain", " leading and trailing ", "two  spaces", "tab\there", "new\nline", "a,b;c|d"),
    *("it's", 'the "best"', "`tick`", "$HOME", "100%", "%41", "a+b&c=d?e#f", "[1]", "{a,b}", "*"),
    *("..", "../../etc/passwd", "/etc/passwd", "a/../b", "./a", "C:\\shirts\\1", "back\\slash"),
    *("Shirt", "shirt", "SHIRT", "ſhirt", "ß", "SS", "İ", "i", "null", "NULL", "None", "nan", "0"),
    *("00", "-1", "1e3", "true", "Kleid é", "Kleid " + unicodedata.normalize("NFD", "é")),
    *("连衣裙", "платье", "שמלה", "👗", "👗🏽", "\u202edress", "zero\u200bwidth", "x" * 5000),
]
# In a file's name there is no slash, and 255 bytes at most; Spark passes over . and _ at its
# beginning.
FILES = [n for n in NAMES if "/" not in n and len(n) < 200 and n[0] not in "._"]


def ask(table: str, tmp_path: Path) -> list[str]:
    """Return all item_ids in the order of a query."""
    z, out = tmp_path / "z.npy", tmp_path / "found"
    np.save(z, np.zeros((1, LATENT_DIM)))
    query_topk(QueryTopk(table=table, queries=str(z), k=500, output=str(out)))
    rows = pa.concat_tables(pq.read_table(path) for path in out.glob("*.parquet"))
    return [row["item_id"] for row in sorted(rows.to_pylist(), key=lambda row: row["rank"])]


def test_item_ids(spark, garments, bundle_path, tmp_path):
    catalog, table = tmp_path / "catalog.parquet", str(tmp_path / "posteriors")
    images = garments["image"].to_pylist()
    rows = {"item_id": NAMES, "image": [images[i % len(images)] for i in range(len(NAMES))]}
    pq.write_table(pa.table(rows), catalog)
    options = EncodeCatalog(str(catalog), bundle_path, table)
    assert encode_catalog(options)["encoded"] == len(NAMES)
    assert read(table)["item_id"].to_pylist() == sorted(NAMES, key=str.encode)
    assert encode_catalog(options)["outcome"] == "nothing to do"
    found = ask(table, tmp_path)
    assert sorted(found) == sorted(NAMES)

    # One that is left out, of three that differ in case only.
    rows = {
        name: [v for v, n in zip(rows[name], NAMES, strict=True) if n != "shirt"] for name in rows
    }
    pq.write_table(pa.table(rows), catalog)
    summary = encode_catalog(options)
    assert (summary["removed"], summary["encoded"]) == (1, 0)
    assert set(NAMES) - set(read(table)["item_id"].to_pylist()) == {"shirt"}


def test_files(spark, garments, bundle_path, tmp_path):
    root = tmp_path / "new [2026] é%20 {a,b} it's #1 + ?" / ("deep " * 30).strip()
    table = str(tmp_path / "a table é 'x' #1" / "posteriors")
    images = garments["image"].to_pylist()
    ids = []
    for i, name in enumerate(FILES):
        item_id = f"{name}/{name}.png" if len(name) < 100 else f"{name}.png"
        path = root / item_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images[i % len(images)])
        os.utime(path, (1_700_000_000 + i, 1_700_000_000 + i))
        ids.append(item_id)
    options = EncodeCatalog(str(root), bundle_path, table)
    assert encode_catalog(options)["encoded"] == len(ids)
    assert sorted(read(table)["item_id"].to_pylist()) == sorted(ids)
    os.utime(root / ids[3], (1_800_000_000, 1_800_000_000))
    summary = encode_catalog(options)
    assert (summary["encoded"], summary["carried"]) == (1, len(ids) - 1)
    assert sorted(ask(table, tmp_path)) == sorted(ids)
