"""``inspect_table --pictures``, against loops over the items with torch and Pillow's pixels."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.latent_space import curve
from tests.support.scene import LATENT_DIM, SPEC, make_bundle, png
from vaeudf.errors import BundleError, InputError, TableError
from vaeudf.health.agreement import Z_PER_KIND, draw_points
from vaeudf.images.decode import decode_image
from vaeudf.numerics.sketches import TopList
from vaeudf.table.open import open_table
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.inspect_table import InspectTable, inspect_table
from vaeudf.workflows.picture_agreement import prepare_agreement

pytestmark = pytest.mark.spark

NUM_ITEMS = 60
FEW = {"hub_queries": 5, "sample": 5, "taus": "0,0.5"}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> str:
    """Pictures of two colours each."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(NUM_ITEMS):
        pixels = np.repeat(np.repeat(rng.integers(0, 256, (2, 2, 3), np.uint8), 8, 0), 8, 1)
        rows.append({"item_id": f"item{i:02d}", "image": png(pixels)})
    folder = tmp_path_factory.mktemp("catalog") / "pictures"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def pictured_table(spark, catalog, bundle_path, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("tables") / "posteriors")
    encode_catalog(EncodeCatalog(catalog, bundle_path, path))
    return path


@pytest.fixture(scope="module")
def inspected(pictured_table, catalog, tmp_path_factory) -> tuple[dict, dict, str]:
    """The summary, health.json and the page; one picture has gone since the table was made."""
    later = tmp_path_factory.mktemp("later") / "pictures"
    later.mkdir()
    rows = pq.read_table(Path(catalog, "a.parquet")).to_pylist()[:-1]
    rows[7]["image"] = b"broken"
    pq.write_table(pa.Table.from_pylist(rows), later / "a.parquet")
    output = tmp_path_factory.mktemp("health") / "out"
    options = InspectTable(pictured_table, str(output), pictures=500, catalog=str(later), **FEW)
    summary = inspect_table(options)
    return summary, json.loads((output / "health.json").read_text()), summary["report"]


@pytest.mark.slow
def test_shares_are_those_of_loops(inspected, pictured_table, catalog, bundle):
    summary, record, _ = inspected
    found = record["agreement"]
    assert (found["items"], found["unreadable"], found["likelihood"]) == (NUM_ITEMS - 2, 2, None)
    assert found["squared_error"]["queries_per_kind"] == Z_PER_KIND
    images = {
        row["item_id"]: decode_image(row["image"], SPEC) / 255
        for row in pq.read_table(Path(catalog, "a.parquet")).to_pylist()
    }
    rows = pa.concat_tables(map(pq.read_table, open_table(pictured_table).files)).to_pylist()
    rows = [row for row in rows if row["item_id"] not in ("item07", f"item{NUM_ITEMS - 1}")]
    rows.sort(key=lambda row: row["item_id"])
    mu, log_var = (np.array([row[name] for row in rows]) for name in ("mu", "log_var"))
    looks = np.stack([images[row["item_id"]] for row in rows])
    points = draw_points(mu, Z_PER_KIND, 0)
    for kind, own in zip(("near items", "prior", "sliders ±3", "sliders ±5"), points, strict=True):
        shares = {"literal": [], 0.5: [], "reranked": []}
        with torch.inference_mode():
            decoded = bundle.decoder(torch.tensor(own, dtype=torch.float32))
        decoded = decoded.permute(0, 2, 3, 1).numpy().astype(np.float64)
        for z, mean in zip(own, decoded, strict=True):
            errors = ((looks - mean) ** 2).mean(axis=(1, 2, 3))
            nearest = set(np.argsort(errors)[:10].tolist())
            for name, tau in (("literal", 0.0), (0.5, 0.5)):
                variance = np.exp(log_var) + tau**2
                log_q = -0.5 * ((z - mu) ** 2 / variance + np.log(variance)).sum(axis=1)
                hits = np.argsort(-log_q, kind="stable")
                shares[name].append(len(nearest & set(hits[:10].tolist())) / 10)
            best = sorted(hits[:50].tolist(), key=lambda row: errors[row])
            shares["reranked"].append(len(nearest & set(best[:10])) / 10)
        literal, tolerant = found["squared_error"]["taus"]
        # One pair of pictures that two computations put in another order may be another hit.
        assert abs(literal["hits"][kind]["mean"] - np.mean(shares["literal"])) < 1 / Z_PER_KIND
        assert abs(tolerant["hits"][kind]["mean"] - np.mean(shares[0.5])) < 1 / Z_PER_KIND
        last = tolerant["reranked"][-1]
        assert last["candidates"] == 50
        assert abs(last[kind]["mean"] - np.mean(shares["reranked"])) < 1 / Z_PER_KIND
        assert summary["agreement"][kind]["literal"] == round(literal["hits"][kind]["mean"], 4)
    assert (summary["pictures"], summary["pictures_unreadable"]) == (NUM_ITEMS - 2, 2)
    assert summary["candidates"] == found["recommended_candidates"]
    assert summary["agreeing_tau"] == found["recommended_tau"]


def test_the_page(inspected):
    _, record, report = inspected
    page = Path(report).read_text()
    assert "Do the hits look like what the sliders show?" in page
    assert "Decoded picture of a z from sliders ±5" in page
    for one in record["agreement"]["examples"]:
        assert len(one["literal"]) == 5
        assert all(f'title="{name}"' in page for name in one["literal"])
    assert "2 of 60 sampled items have no picture" in page
    assert "The model does not say how likely a picture is given z" in page


@pytest.mark.slow
def test_kept_pixels_give_the_same(inspected, spark, catalog, bundle_path, tmp_path):
    """Without the catalog, which is gone."""
    moved, kept = tmp_path / "pictures", str(tmp_path / "kept")
    shutil.copytree(catalog, moved)
    encode_catalog(EncodeCatalog(str(moved), bundle_path, kept, keep_pixels=True))
    options = InspectTable(kept, "out", pictures=50, **FEW)
    table = open_table(kept)
    rows = pa.concat_tables(map(pq.read_table, table.files))
    sample = TopList(50, LATENT_DIM)
    mu, log_var = (np.stack(rows[name].to_numpy()) for name in ("mu", "log_var"))
    sample.add(np.arange(NUM_ITEMS) / NUM_ITEMS, rows["item_id"].to_pylist(), mu, log_var)
    hubs = curve([[0.01]], [0.01], taus=(0.0,))
    found = []
    for uses_kept in (False, True):
        if uses_kept:
            shutil.rmtree(moved)
        prepared = prepare_agreement(options, table)
        assert prepared.uses_kept_pixels
        prepared = dataclasses.replace(prepared, uses_kept_pixels=uses_kept)
        found.append(prepared.measure(spark, table, sample, hubs, 0))
    (from_catalog, theirs), (from_table, ours) = found
    assert (from_table.items, from_table.unreadable) == (50, 0)
    assert (from_table.error.reranked.mean == from_catalog.error.reranked.mean).all()
    assert from_table.truths.low.tolist() == from_catalog.truths.low.tolist()
    assert ours.items.keys() == theirs.items.keys()
    assert all((ours.items[name] == theirs.items[name]).all() for name in ours.items)


def test_what_is_refused(pictured_table, catalog, table, bundle_path, tmp_path):
    out = str(tmp_path / "out")

    def refused(message: str, kind: type[Exception] = InputError, **options) -> None:
        options = {"table": pictured_table, "output": out, "pictures": 50, **FEW} | options
        with pytest.raises(kind) as caught:
            inspect_table(InspectTable(**options))
        assert message in str(caught.value)
        assert not Path(out).exists()

    for count in (0, 49, 20_001):
        refused(f"pictures is {count}; expected 50 to 20,000, such as 2000.", pictures=count)
    for name, value in (("model", "m"), ("trust_model", True), ("py_files", ["a.py"])):
        message = f"{name.replace('_', '-')} goes with --pictures; name that, too."
        refused(message, pictures=None, **{name: value})
    refused("40 items; --pictures needs at least 50: among fewer, any", TableError, table=table)
    refused("none does not exist", catalog=f"{tmp_path}/none")
    refused("--pictures reads its pictures: name the catalog with", catalog=f"{tmp_path}/none")
    make_bundle(tmp_path / "other", LATENT_DIM, seed=9)
    refused("but the table was encoded with", BundleError, model=str(tmp_path / "other"))
    refused("name it with --model", BundleError, model=str(tmp_path / "none"))
    plain = str(tmp_path / "plain.parquet")
    pq.write_table(pa.concat_tables(map(pq.read_table, open_table(pictured_table).files)), plain)
    needs = "--pictures needs --model and --catalog."
    refused(needs, table=plain)
    refused(needs, table=plain, catalog=catalog)
    refused(needs, table=plain, model=bundle_path)


def test_a_model_without_a_decoder(pictured_table, bundle, monkeypatch):
    monkeypatch.setattr(type(bundle), "has_decoder", False)
    options = InspectTable(pictured_table, "out", pictures=50)
    with pytest.raises(BundleError) as caught:
        prepare_agreement(options, open_table(pictured_table))
    assert "has no decoder, and --pictures compares hits with what each z" in str(caught.value)
    assert "or do without --pictures." in str(caught.value)


@pytest.mark.slow
def test_too_few_pictures_can_be_read(pictured_table, catalog, tmp_path):
    rows = pq.read_table(Path(catalog, "a.parquet")).to_pylist()[:20]
    folder = tmp_path / "few"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    options = InspectTable(
        pictured_table, str(tmp_path / "out"), pictures=50, catalog=str(folder), page=False, **FEW
    )
    with pytest.raises(InputError) as caught:
        inspect_table(options)
    assert "of the 50 pictures can be read; --pictures needs at least 50. Name the catalog" in str(
        caught.value
    )
    assert not (tmp_path / "out").exists()
