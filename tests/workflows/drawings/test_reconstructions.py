"""Reconstructions of some items, of named ones, and of all."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cases import further_cases_slow
from tests.support.drawings import pixels
from tests.support.scene import NUM_ITEMS
from tests.support.tables import moved
from tests.support.tolerances import near_float64, near_squared_error, terms_of
from vaeudf.errors import InputError
from vaeudf.images.decode import decode_image
from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents
from vaeudf.workflows.drawings.reconstructions import parse_number


@pytest.mark.parametrize(("text", "number"), [("all", None), (" all", None), ("7", 7)])
def test_how_many(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["many", "-1", "0", "1.5", ""])
def test_text_that_is_no_number_of_items(text):
    with pytest.raises(InputError) as caught:
        parse_number(text)
    assert str(caught.value) == (f"reconstruct is {text!r}; expected a number of items, or all.")


def errors_of(items, garments, bundle) -> dict[str, float]:
    spec = bundle.manifest.image
    found = {}
    for row in garments.to_pylist():
        decoded = bundle.decode([items[row["item_id"]]["mu"]])[0] / 255.0
        original = decode_image(row["image"], spec) / 255.0
        found[row["item_id"]] = float(((original - decoded) ** 2).mean())
    return found


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.parametrize("form", ["png", "parquet"])
def test_reconstructions_of_some(table, items, garments, bundle, tmp_path, form):
    expected = errors_of(items, garments, bundle)
    out, page = tmp_path / "out", tmp_path / "page"
    asked = {"table": table, "reconstruct": "6", "seed": 3, "order": "best", "format": form}
    summary = decode_latents(DecodeLatents(output=str(out), report=str(page), **asked))
    assert (summary["pictures"], summary["compared"], summary["changed"]) == (6, 6, 0)
    rows = {row["item_id"]: row for row in pq.read_table(out / "errors.parquet").to_pylist()}
    assert len(rows) == 6
    for name, row in rows.items():
        near = near_squared_error(expected[name], terms=terms_of(bundle.decoder))
        assert row["squared_error"] == near
        data = [row["original"], row["reconstruction"]]
        if form == "png":
            data = [(out / path).read_bytes() for path in data]
        difference = pixels(data[0]) / 255 - pixels(data[1]) / 255
        error = near_float64(row["squared_error"], terms=difference.size)
        assert np.mean(difference**2) == error
    values = sorted(row["squared_error"] for row in rows.values())
    assert summary["squared_error"]["mean"] == near_float64(np.mean(values), terms=6)
    assert summary["squared_error"]["worst"] == values[-1]
    text = (page / "index.html").read_text()
    shown = re.findall(r'class="score"[^>]*>squared error ([\d.]+)<', text)
    assert shown == [f"{value:.5f}" for value in values]
    assert text.count("<img ") == 12 and (out / "sheet.png").exists()
    # The seed chooses, and nothing else does.
    again = tmp_path / "again"
    decode_latents(DecodeLatents(output=str(again), **asked))
    assert set(pq.read_table(again / "errors.parquet")["item_id"].to_pylist()) == set(rows)
    asked["seed"] = 4
    decode_latents(DecodeLatents(output=str(again), overwrite=True, **asked))
    assert set(pq.read_table(again / "errors.parquet")["item_id"].to_pylist()) != set(rows)


@pytest.mark.spark
@pytest.mark.parametrize("written", further_cases_slow([True, False], [True]))
def test_reconstructions_of_all(table, items, garments, bundle, tmp_path, monkeypatch, written):
    monkeypatch.setattr("vaeudf.workflows.drawings.reconstructions._OF_EACH", 3)
    expected = errors_of(items, garments, bundle)
    out, page = tmp_path / "out", tmp_path / "page"
    options = {"reconstruct": "all", "report": str(page)}
    if written:
        options["output"] = str(out)
    summary = decode_latents(DecodeLatents(table=table, **options))
    assert summary["compared"] == NUM_ITEMS
    if written:
        found = pq.read_table(out / "errors.parquet")
        columns = ["item_id", "squared_error", "changed", "reason", "message"]
        assert found.column_names == columns and found.num_rows == NUM_ITEMS
        errors = dict(zip(*(found[name].to_pylist() for name in columns[:2]), strict=True))
        terms = terms_of(bundle.decoder)
        assert errors == {
            name: near_squared_error(error, terms=terms) for name, error in expected.items()
        }
    ordered = sorted(expected, key=lambda name: -expected[name])
    text = (page / "index.html").read_text()
    assert re.findall(r'alt="Original: (.*?)"', text) == [*ordered[:3], *ordered[:-4:-1]]
    assert f"{NUM_ITEMS - 6} further items are not shown" in text


@pytest.mark.spark
def test_reconstructions_of_named_items(table, items, image_folder, bundle_path, tmp_path):
    names = [list(items)[i] for i in (5, 2)]
    out = tmp_path / "out"
    decode_latents(DecodeLatents(table=table, reconstruct_items=names, output=str(out)))
    found = pq.read_table(out / "errors.parquet")["item_id"].to_pylist()
    assert sorted(found) == sorted(names)


@pytest.mark.slow
@pytest.mark.spark
def test_pictures_that_are_not_there_or_not_the_same(garments, catalog_table, tmp_path, caplog):
    catalog, table, out = tmp_path / "catalog", str(tmp_path / "table"), tmp_path / "out"
    catalog.mkdir()
    columns = garments.select(["item_id", "image"])
    moved(catalog_table, table, catalog=str(catalog))
    rows = columns.to_pylist()
    rows[1]["image"], rows[2]["image"] = b"no picture", rows[3]["image"]
    pq.write_table(pa.Table.from_pylist(rows[1:]), catalog / "a.parquet")
    asked = [row["item_id"] for row in rows[:4]]
    page = tmp_path / "page"
    summary = decode_latents(
        DecodeLatents(
            table=table,
            reconstruct_items=asked,
            output=str(out),
            report=str(page),
            format="parquet",
        )
    )
    assert (summary["pictures"], summary["compared"], summary["changed"]) == (4, 2, 1)
    assert summary["not_compared"] == {"missing": 1, "unsupported_format": 1}
    found = {row["item_id"]: row for row in pq.read_table(out / "errors.parquet").to_pylist()}
    assert [found[name]["changed"] for name in asked] == [None, None, True, False]
    assert "1 of 2 pictures have another source_version than when they were encoded" in caplog.text
    text = (page / "index.html").read_text()
    assert "the item is not in the catalog any more" in text and text.count("no picture<") == 2
