"""``export_table``, as far as no other package is needed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.scene import tree
from tests.support.tables import matrix, read
from tests.support.tolerances import (
    UNIT_FLOAT32,
    assert_same_float32,
    assert_within,
    score_bound,
)
from vaeudf.errors import InputError, TableError
from vaeudf.table.open import open_table
from vaeudf.table.pixel_files import PixelFile, find_pixel_files
from vaeudf.workflows.cli import main
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.export_table import ExportTable, export_table


@pytest.mark.spark
def test_flat_parquet_has_every_number(population, tmp_path):
    output = str(tmp_path / "flat")
    summary = export_table(ExportTable(population.table, "parquet-flat", output))
    found = pq.read_table(f"{output}/items").sort_by("item_id")
    items, n = read(population.table), population.mu.shape[1]
    numbers = [f"{name}_{i}" for name in ("mu", "log_var") for i in range(n)]
    payload = ["stock", "brand", "seen", "price", "sizes"]
    assert found.column_names == ["item_id", *numbers, *payload]
    for name in ("mu", "log_var"):
        right = matrix(items, name)
        for i in range(n):
            column = found[f"{name}_{i}"]
            assert column.type == pa.float32()
            assert (column.to_numpy() == right[:, i]).all()
    assert found["item_id"].to_pylist() == items["item_id"].to_pylist()
    for name in payload:
        assert found[name].to_pylist() == items[name].to_pylist()
    assert summary["items"] == len(items)
    assert json.loads(Path(output, "export.json").read_text())["columns"] == payload


@pytest.mark.spark
def test_chosen_rows_and_columns(population, tmp_path):
    output = str(tmp_path / "flat")
    options = ExportTable(
        population.parquet, "parquet-flat", output, where="stock < 20", columns=["brand"]
    )
    summary = export_table(options)
    found = pq.read_table(f"{output}/items")
    right = population.items.filter(pc.less(population.items["stock"], 20))
    assert sorted(found["item_id"].to_pylist()) == sorted(right["item_id"].to_pylist())
    assert found.column_names[-1] == "brand" and "stock" not in found.column_names
    assert summary["items"] == len(right) > 0
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"flat exists already; .*--overwrite"):
        export_table(options)
    assert tree(tmp_path) == before


@pytest.mark.spark
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"where": "stock < 0 - 99999"}, "no item is left to export; .* Change --where"),
        ({"where": "nothing = 1"}, "where is 'nothing = 1', which is not a condition"),
        ({"columns": ["colour"]}, "the table has no column 'colour' to export; found item_id, "),
        ({"columns": ["brand", "brand"]}, "column 'brand' would be in the export twice"),
        ({"columns": ["mu"]}, "column 'mu' would be in the export twice"),
    ],
)
def test_refused(population, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        export_table(
            ExportTable(population.table, "parquet-flat", str(tmp_path / "out"), **changes)
        )
    assert tree(tmp_path) == {}


@pytest.mark.spark
def test_damaged_posteriors(tmp_path):
    rows = {"item_id": ["a", "b", "c"], "mu": [[0.0], [1.0], [float("nan")]]}
    pq.write_table(
        pa.table({**rows, "log_var": [[0.0], [0.0, 1.0], [0.0]]}), tmp_path / "t.parquet"
    )
    output = tmp_path / "out"
    with pytest.raises(TableError, match="item 'b' has no posterior of 1 finite numbers"):
        export_table(ExportTable(str(tmp_path / "t.parquet"), "parquet-flat", str(output)))
    assert not output.exists()


@pytest.mark.parametrize("target", ["pgvector", pytest.param("faiss", marks=pytest.mark.interop)])
def test_a_vector_that_float32_cannot_hold(tmp_path, target):
    """One infinite number would make NaN of the scores, with equal norms of all of them."""
    if target == "faiss":
        pytest.importorskip("faiss", reason="needs faiss-cpu: ./spark-submit.sh test-interop")
    rows = {"item_id": ["a", "b"], "mu": [[0.5], [1.0]], "log_var": [[0.0], [-100.0]]}
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    output = tmp_path / "out"
    with pytest.raises(TableError) as error:
        export_table(ExportTable(str(tmp_path / "t.parquet"), target, str(output)))
    assert str(error.value) == (
        "item 'b' has a variance too small, or a mean too large, for a lifted vector of float32, "
        "whose largest number is 3.4e38; leave it out with --where, or take --to parquet-flat."
    )
    assert not output.exists()


@pytest.mark.parametrize("target", ["faiss", "hnswlib"])
def test_a_package_that_is_missing(target, population, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vaeudf.workflows.export_table.find_spec", lambda name: None)
    arguments = ["--table", population.table, "--to", target, "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(ExportTable, export_table, arguments)
    assert ended.value.code == 2
    assert f"--to {target} needs the package {target}, which is not installed; pip install" in (
        capsys.readouterr().err
    )
    assert tree(tmp_path) == {}


def test_columns_are_for_targets_that_have_payload():
    with pytest.raises(InputError, match="--to faiss has item_ids and no payload"):
        ExportTable("t", "faiss", "out", columns=["brand"])


@pytest.mark.spark
@pytest.mark.slow
def test_embedding_atlas(parquet_catalog, bundle_path, tmp_path):
    table, output = str(tmp_path / "posteriors"), tmp_path / "out"
    encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table, keep_pixels=True))
    export_table(ExportTable(table, "embedding-atlas", str(output), where="stock > 3"))
    found = pq.read_table(output / "items.parquet")
    names = ["item_id", "x", "y", "neighbors", "category", "price", "stock", "image"]
    assert found.column_names == names
    items = {row["item_id"]: row for row in read(table).to_pylist() if row["stock"] > 3}
    rows = [items[name] for name in found["item_id"].to_pylist()]
    assert len(rows) == len(items)
    mu, log_var = (np.array([row[name] for row in rows], float) for name in ("mu", "log_var"))
    kl = np.array(
        [
            0.5 * (np.exp(lv - log_var) + (m - mu) ** 2 / np.exp(log_var) - 1 + log_var - lv).sum(1)
            for m, lv in zip(mu, log_var, strict=True)
        ]
    )
    bound = score_bound(kl, log_var, dims=mu.shape[1])
    for row, one in enumerate(found["neighbors"].to_pylist()):
        ids, distances = one["ids"], np.array(one["distances"])
        assert len(set(ids)) == len(ids) == 16 and row in ids
        assert (np.diff(distances) >= 0).all()
        near = bound.max() + UNIT_FLOAT32 * kl.max()
        assert_within(distances, kl[row][ids], near, why="rounded to float32")
        assert kl[row][ids].max() <= np.sort(kl[row])[15] + near
    # Principal components: no axis has more variance than x, and y is not correlated with it.
    places = np.stack([found[name].to_numpy() for name in ("x", "y")], 1)
    values = np.linalg.eigvalsh(np.cov(mu.T, bias=True))[::-1][:2]
    found_cov = np.cov(places.T, bias=True)
    assert_same_float32(found_cov, np.diag(values), terms=8, magnitude=values[0])
    kept = {}
    for file in find_pixel_files(table, open_table(table).files).values():
        with PixelFile(file.uri) as stored:
            kept |= dict(zip(stored.item_ids(), stored.rows(range(stored.num_rows)), strict=True))
    for name, one in zip(found["item_id"].to_pylist(), found["image"].to_pylist(), strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(one["bytes"])))
        assert (pixels == kept[name].squeeze()).all()
