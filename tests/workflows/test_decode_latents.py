from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.scene import LATENT_DIM, NUM_ITEMS, make_bundle, tree
from vaeudf.decoding.file_names import file_name
from vaeudf.decoding.paths import fisher_rao_distance, fisher_rao_path, linear_path
from vaeudf.decoding.udf import samples_of
from vaeudf.errors import BundleError, InputError
from vaeudf.images.decode import decode_image
from vaeudf.model.bundle import load_bundle
from vaeudf.model.manifest import MANIFEST, Manifest
from vaeudf.table.open import open_table
from vaeudf.workflows.cli import parse
from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def items(table) -> dict[str, dict]:
    rows = pa.concat_tables(map(pq.read_table, open_table(table).files)).to_pylist()
    return {row["item_id"]: row for row in rows}


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
        assert np.abs(pixels((output / row["file"]).read_bytes()) - picture).max() <= 1


def test_points_to_files_and_a_page(bundle, bundle_path, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page"
    z = ["0,0,0,0", "-1,0.5,2,-3"]
    summary = decode_latents(
        DecodeLatents(model=bundle_path, z=z, output=str(out), report=str(page))
    )
    assert summary["pictures"] == summary["queries"] == 2
    assert "table" not in summary
    assert (summary["output"], summary["report"]) == (str(out), str(page / "index.html"))
    check_files(out, bundle, {"0": np.zeros(4), "1": np.array([-1, 0.5, 2, -3])})
    assert sorted(p.name for p in out.iterdir()) == ["_vaeudf_pictures", "images", "index.parquet"]
    text = (page / "index.html").read_text()
    assert text.count("<img ") == 2 and "2 pictures, each decoded from a point." in text


def test_points_to_parquet_and_awkward_names(bundle, bundle_path, tmp_path):
    names = ["../x", "a/b", "A", "a", "é", "x" * 300]
    z = np.random.default_rng(0).normal(size=(len(names), LATENT_DIM))
    queries = tmp_path / "q.parquet"
    pq.write_table(pa.table({"query_id": names, "z": z.tolist()}), queries)
    for form in ("png", "parquet"):
        options = {"queries": str(queries), "format": form, "output": str(tmp_path / form)}
        assert decode_latents(DecodeLatents(model=bundle_path, **options))["pictures"] == 6
    check_files(tmp_path / "png", bundle, dict(zip(names, z, strict=True)))
    assert len(list((tmp_path / "png" / "images").iterdir())) == 6
    rows = pq.read_table(tmp_path / "parquet" / "pictures.parquet").to_pylist()
    assert list(rows[0]) == ["query_id", "z", "image"]
    for row in rows:
        expected = bundle.decode([row["z"]])[0]
        assert row["z"] == z[names.index(row["query_id"])].tolist()
        assert np.abs(pixels(row["image"]) - expected).max() <= 1


@pytest.mark.parametrize("where", ["file", "folder"])
def test_gaussians_and_samples(spark, bundle, bundle_path, tmp_path, where):
    rng = np.random.default_rng(1)
    mu, log_var = rng.normal(size=(3, LATENT_DIM)), rng.normal(size=(3, LATENT_DIM))
    rows = [(f"g{i}", mu[i].tolist(), log_var[i].tolist()) for i in range(3)]
    queries = tmp_path / ("q.parquet" if where == "file" else "queries [1]")
    columns = ("query_id", "mu", "log_var")
    data = pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
    if where == "file":
        pq.write_table(data, queries)
    else:
        queries.mkdir()
        pq.write_table(data.slice(0, 2), queries / "a.parquet")
        pq.write_table(data.slice(2), queries / "b.parquet")
    out, page = tmp_path / "out", tmp_path / "page"
    summary = decode_latents(
        DecodeLatents(
            model=bundle_path,
            queries=str(queries),
            samples=2,
            seed=5,
            output=str(out),
            report=str(page),
        )
    )
    assert (summary["pictures"], summary["queries"], summary["samples"]) == (9, 3, 2)
    expected = {}
    for name, mean, log_variance in rows:
        expected[name] = np.array(mean)
        for k, z in enumerate(samples_of(name, mean, log_variance, 2, 5)):
            expected[f"{name}-sample-{k + 1}"] = z
    check_files(out, bundle, expected)
    text = (page / "index.html").read_text()
    assert "the mean of a Gaussian or from one of 2 draws from it" in text
    names = re.findall(r'<div class="name">(.*?)</div>', text)
    assert names[:4] == ["g0", "g0-sample-1", "g0-sample-2", "g1"] and text.count("<img ") == 9


def test_a_page_shows_so_many(bundle_path, tmp_path):
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(230, LATENT_DIM)))
    page = tmp_path / "page"
    options = {"queries": str(tmp_path / "z.npy"), "report": str(page)}
    assert decode_latents(DecodeLatents(model=bundle_path, **options))["pictures"] == 230
    text = (page / "index.html").read_text()
    assert text.count("<img ") == 200 and "30 further pictures are not shown." in text


def test_a_traversal_of_two(bundle, bundle_path, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page"
    summary = decode_latents(
        DecodeLatents(
            model=bundle_path,
            traverse="3,1",
            range=2.0,
            steps=3,
            center="9,8,7,6",
            output=str(out),
            report=str(page),
        )
    )
    assert (summary["pictures"], summary["rows"], summary["columns"]) == (9, 3, 3)
    values = [-2.0, 0.0, 2.0]
    check_files(
        out,
        bundle,
        {
            f"row-{i:03d}-column-{j:03d}": np.array([9, values[i], 7, values[j]])
            for i in range(3)
            for j in range(3)
        },
    )
    text = (page / "index.html").read_text()
    assert re.findall(r'<th scope="col">(.*?)</th>', text) == [
        "z1 ↓  z3 →",
        "−2.00",
        "0.00",
        "2.00",
    ]
    assert re.findall(r'<th scope="row">(.*?)</th>', text) == ["−2.00", "0.00", "2.00"]
    assert 'alt="Decoded picture: z3 = 2.00, z1 = −2.00"' in text
    sheet = pixels((out / "sheet.png").read_bytes())
    # Pictures of 16 pixels are shown six times as large.
    for level in bundle.decode([[9, 2, 7, -2]])[0].reshape(-1, 3)[:5]:
        assert (sheet == level).all(axis=2).sum() >= 36


def test_a_traversal_of_all_and_where_items_lie(bundle_path, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(bundle_path, model)
    content = json.loads((model / MANIFEST).read_text())
    content["z_range"] = [[-1.0, -2.0, -3.0, -4.0], [1.0, 2.0, 3.0, 5.0]]
    (model / MANIFEST).write_text(json.dumps(content))
    out = tmp_path / "out"
    options = {"traverse": "all", "steps": 2, "output": str(out), "format": "parquet"}
    assert decode_latents(DecodeLatents(model=str(model), **options))["pictures"] == 8
    rows = pq.read_table(out / "pictures.parquet").to_pylist()
    z = {row["query_id"]: row["z"] for row in rows}
    assert z["row-001-column-000"] == [0, -2, 0, 0] and z["row-003-column-001"] == [0, 0, 0, 5]
    page = tmp_path / "page"
    decode_latents(DecodeLatents(model=str(model), traverse="2", steps=4, report=str(page)))
    text = (page / "index.html").read_text()
    assert re.findall(r'<th scope="col">(.*?)</th>', text) == ["", "−3.00", "−1.00", "1.00", "3.00"]


def test_a_traversal_around_an_item(table, items, tmp_path):
    item, out, page = next(iter(items)), tmp_path / "out", tmp_path / "page"
    decode_latents(
        DecodeLatents(
            table=table, traverse="0", like=item, steps=2, output=str(out), report=str(page)
        )
    )
    z = pq.read_table(out / "index.parquet").sort_by("query_id")["z"].to_pylist()
    np.testing.assert_allclose(z, [[end, *items[item]["mu"][1:]] for end in (-3, 3)])
    assert f"around mu of {item}" in (page / "index.html").read_text()


@pytest.mark.parametrize("path", ["linear", "fisher_rao"])
def test_a_walk(table, items, tmp_path, path):
    a, b = list(items)[3], list(items)[20]
    ends = [np.array(items[name][key]) for name in (a, b) for key in ("mu", "log_var")]
    out, page = tmp_path / "out", tmp_path / "page"
    summary = decode_latents(
        DecodeLatents(
            table=table, walk=[a, b], path=path, steps=5, output=str(out), report=str(page)
        )
    )
    assert (summary["pictures"], summary["path"]) == (5, path)
    assert (summary["table"], summary["version"]) == (table, 1)
    assert summary["fisher_rao_length"] == pytest.approx(fisher_rao_distance(*ends))
    assert summary["euclidean_length"] == pytest.approx(np.linalg.norm(ends[2] - ends[0]))
    expected = linear_path(ends[0], ends[2], 5)
    if path == "fisher_rao":
        expected = fisher_rao_path(*ends, 5)[0]
    z = pq.read_table(out / "index.parquet").sort_by("query_id")["z"].to_pylist()
    np.testing.assert_allclose(z, expected)
    text = (page / "index.html").read_text()
    assert text.count("<img ") == 7 and text.count("Photo of ") == 2
    assert text.index(f"Photo of {a}") < text.index("picture: 0 %") < text.index("picture: 25 %")
    assert text.index("picture: 100 %") < text.index(f"Photo of {b}")
    assert ("σ" in text) == (path == "fisher_rao")


def test_a_walk_without_the_catalog(parquet_catalog, bundle_path, tmp_path, caplog):
    catalog, table, page = (str(tmp_path / name) for name in ("catalog", "table", "page"))
    shutil.copytree(parquet_catalog, catalog)
    encode_catalog(EncodeCatalog(catalog, bundle_path, table))
    ids = pq.read_table(catalog, columns=["item_id"])["item_id"].to_pylist()
    shutil.rmtree(catalog)
    decode_latents(DecodeLatents(table=table, walk=ids[:2], steps=4, report=page))
    assert Path(page, "index.html").read_text().count("<img ") == 4
    assert "The walk is shown without the two items' own pictures: catalog" in caplog.text
    with pytest.raises(InputError, match="does not exist"):
        decode_latents(DecodeLatents(table=table, reconstruct="3", output=str(tmp_path / "o")))
    assert not (tmp_path / "o").exists()


def errors_of(items, garments, bundle) -> dict[str, float]:
    spec = bundle.manifest.image
    found = {}
    for row in garments.to_pylist():
        decoded = bundle.decode([items[row["item_id"]]["mu"]])[0] / 255.0
        original = decode_image(row["image"], spec) / 255.0
        found[row["item_id"]] = float(((original - decoded) ** 2).mean())
    return found


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
        assert row["squared_error"] == pytest.approx(expected[name], rel=1e-4)
        data = [row["original"], row["reconstruction"]]
        if form == "png":
            data = [(out / path).read_bytes() for path in data]
        assert np.mean((pixels(data[0]) / 255 - pixels(data[1]) / 255) ** 2) == pytest.approx(
            row["squared_error"]
        )
    values = sorted(row["squared_error"] for row in rows.values())
    assert summary["squared_error"]["mean"] == pytest.approx(np.mean(values))
    assert summary["squared_error"]["worst"] == pytest.approx(values[-1])
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


@pytest.mark.parametrize("written", [True, False])
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
        assert errors == pytest.approx(expected, rel=1e-4)
    ordered = sorted(expected, key=lambda name: -expected[name])
    text = (page / "index.html").read_text()
    assert re.findall(r'alt="Original: (.*?)"', text) == [*ordered[:3], *ordered[:-4:-1]]
    assert f"{NUM_ITEMS - 6} further items are not shown" in text


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), 1e39])
def test_a_folder_with_numbers_that_are_none(spark, bundle_path, tmp_path, value):
    folder = tmp_path / "queries"
    folder.mkdir()
    rows = {"query_id": ["a", "b"], "z": [[0.0] * 4, [0.0, value, 0.0, 0.0]]}
    pq.write_table(pa.table(rows), folder / "a.parquet")
    message = (
        "query 'b' has a number in z that is null, NaN, infinite or beyond float32; "
        "expected finite numbers only."
    )
    for where in ({"report": str(tmp_path / "page")}, {"output": str(tmp_path / "out")}):
        with pytest.raises(InputError) as error:
            decode_latents(DecodeLatents(model=bundle_path, queries=str(folder), **where))
        assert str(error.value) == message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["queries"]


def test_reconstructions_of_named_items(table, items, image_folder, bundle_path, tmp_path):
    names = [list(items)[i] for i in (5, 2)]
    out = tmp_path / "out"
    decode_latents(DecodeLatents(table=table, reconstruct_items=names, output=str(out)))
    found = pq.read_table(out / "errors.parquet")["item_id"].to_pylist()
    assert sorted(found) == sorted(names)


def test_pictures_that_are_not_there_or_not_the_same(garments, bundle_path, tmp_path, caplog):
    catalog, table, out = tmp_path / "catalog", str(tmp_path / "table"), tmp_path / "out"
    catalog.mkdir()
    columns = garments.select(["item_id", "image"])
    pq.write_table(columns, catalog / "a.parquet")
    encode_catalog(EncodeCatalog(str(catalog), bundle_path, table))
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


def refused(message: str, error: type[Exception] = InputError, **options) -> None:
    with pytest.raises(error, match=re.escape(message)):
        decode_latents(DecodeLatents(**options))


def test_bad_options(bundle_path, table, tmp_path):
    out = {"output": str(tmp_path / "out")}
    kinds = "--queries, --z, --traverse, --walk, --reconstruct or --reconstruct-items"
    model = {"model": bundle_path, **out}
    refused(f"expected one thing to decode, from {kinds}; found none.", **model)
    refused("found --z and --traverse.", z=["0,0,0,0"], traverse="1", **model)
    refused(
        "found --reconstruct and --reconstruct-items.", reconstruct="1", reconstruct_items=["a"]
    )
    refused("expected --output or --report, or both", model=bundle_path, z=["0,0,0,0"])
    refused("expected --model BUNDLE, or --table TABLE", z=["0,0,0,0"], **out)
    refused("--like names items of a table; say which with", traverse="1", like="a", **model)
    refused("--walk names items of a table; say which with", walk=["a", "b"], **model)
    refused("--reconstruct names items of a table", reconstruct="3", **model)
    both = {"table": table, **out}
    refused("walk is 'a'; expected two different items: --walk A --walk B.", walk=["a"], **both)
    refused("walk is 'a' and 'a'; expected two different", walk=["a", "a"], **both)
    refused("walk is 'a' and 'b' and 'c'; expected two", walk=["a", "b", "c"], **both)
    refused("steps is 1; expected at least 2: both ends.", traverse="1", steps=1, **model)
    refused("steps is 26; expected at most 25 on such", traverse="1,2", steps=26, **model)
    refused("steps is 201; expected at most 200 on such", traverse="1", steps=201, **model)
    for text in ("", "1,2,3", "x", "1,1", "1.5"):
        refused(f"traverse is {text!r}; expected a dimension, such as 3", traverse=text, **model)
    refused("range is -1.0; expected a finite number above 0", traverse="1", range=-1.0, **model)
    refused("range is for --traverse, but --z was asked for.", z=["0"], range=1.0, **model)
    refused("samples is for --queries, but --z", z=["0"], samples=2, **model)
    refused("path is for --walk, but --z", z=["0"], path="fisher_rao", **model)
    refused(
        "path is 'straight'; expected one of linear, fisher_rao",
        walk=["a", "b"],
        path="straight",
        **both,
    )
    refused("center is for --traverse, but --z", z=["0"], center="0", **model)
    refused("expected --center or --like, not both", traverse="1", center="0", like="a", **both)
    refused("catalog is for --walk and --reconstruct and", z=["0"], catalog="c", **model)
    refused("version is 3; expected 0 or more, and a --table", z=["0"], version=3, **model)
    refused(
        "reconstruct is 'many'; expected a number of items, or all.", reconstruct="many", **both
    )
    refused("reconstruct is '-1'; expected a number", reconstruct="-1", **both)
    refused("seed is -1; expected 0 or more", reconstruct="1", seed=-1, **both)
    refused("order is 'any'; expected one of worst, best", reconstruct="1", order="any", **both)
    refused("format is 'gif'; expected one of png, parquet", z=["0"], format="gif", **model)
    refused("device is 'tpu'; expected one of auto", z=["0"], device="tpu", **model)
    assert list(tmp_path.iterdir()) == []


def test_bad_input(spark, bundle_path, table, items, parquet_catalog, tmp_path):
    out = {"output": str(tmp_path / "out"), "report": str(tmp_path / "page")}
    model, both = {"model": bundle_path, **out}, {"table": table, **out}
    outside = "there is no dimension 4; the model has latent_dim 4: expected 0 to 3."
    refused(outside, traverse="1,4", **model)
    refused(outside.replace("dimension 4;", "dimension -1;"), traverse="-1", **model)
    wrong = "query '0' has 3 dimensions, but the model has latent_dim 4."
    refused(wrong, z=["0,0,0"], **model)
    middle = "center is '{}'; expected 4 numbers with commas between, one for each dimension"
    refused("reconstruct is '0'; expected a number of items, or all.", reconstruct="0", **both)
    for center in ("0,0,0", "x", "0,0,0,nan", ""):
        refused(middle.format(center), traverse="1", center=center, **model)
    refused(
        "there is no item 'none' in the table; expected item_ids",
        walk=[next(iter(items)), "none"],
        **both,
    )
    refused("there is no item 'none' in the table;", traverse="1", like="none", **both)
    refused(
        "there is no item 'none' in the table (nor 1 more);",
        reconstruct_items=["none", "x"],
        **both,
    )
    refused("queries none.csv do not exist", queries="none.csv", **model)
    points = tmp_path / "z.npy"
    np.save(points, np.zeros((2, LATENT_DIM)))
    refused("samples is 2, but the queries are points z", queries=str(points), samples=2, **model)
    points.unlink()
    refused(
        "is not a folder; expected a model bundle",
        BundleError,
        model=f"{tmp_path}/no",
        z=["0"],
        **out,
    )
    make_bundle(tmp_path / "other", LATENT_DIM, seed=5)
    refused(
        "its pictures would not be those of z. Name the right one with --model.",
        BundleError,
        table=table,
        model=str(tmp_path / "other"),
        z=["0,0,0,0"],
        **out,
    )
    shutil.rmtree(tmp_path / "other")
    for path in (table, bundle_path, parquet_catalog):
        refused("are one, or one is inside the other", reconstruct="1", table=table, output=path)
    refused(
        "are one, or one is inside",
        z=["0,0,0,0"],
        model=bundle_path,
        output=f"{tmp_path}/a",
        report=f"{tmp_path}/a/b",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_table_whose_model_is_not_there(parquet_catalog, bundle_path, tmp_path):
    model, table = str(tmp_path / "model"), str(tmp_path / "table")
    shutil.copytree(bundle_path, model)
    encode_catalog(EncodeCatalog(parquet_catalog, model, table))
    shutil.rmtree(model)
    out = str(tmp_path / "out")
    refused("name it with --model", BundleError, table=table, z=["0,0,0,0"], output=out)
    decode_latents(DecodeLatents(table=table, model=bundle_path, z=["0,0,0,0"], output=out))


def test_plain_parquet_says_neither_model_nor_pictures(
    table, items, parquet_catalog, bundle_path, tmp_path
):
    plain, out = str(tmp_path / "plain.parquet"), str(tmp_path / "out")
    pq.write_table(pa.concat_tables(map(pq.read_table, open_table(table).files)), plain)
    a, b = list(items)[:2]
    named = {"table": plain, "model": bundle_path}
    refused(
        "is plain Parquet, which does not say what it was", table=plain, walk=[a, b], output=out
    )
    refused("does not say where its pictures are", reconstruct="2", output=out, **named)
    decode_latents(DecodeLatents(walk=[a, b], output=out, **named))
    done = decode_latents(
        DecodeLatents(reconstruct="2", catalog=parquet_catalog, output=f"{out}-2", **named)
    )
    assert (done["compared"], done["changed"]) == (2, 0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"z": [[0.0] * 4]}, "with the columns z; expected query_id, and z, or mu and log_var"),
        ({"query_id": ["a"], "z": [1.0]}, "z must be lists of numbers"),
        ({"query_id": ["a", "a"], "z": [[0.0] * 4] * 2}, "query_id 'a' stands 2 times; expected"),
        ({"query_id": ["a"], "z": [[0.0] * 3]}, "'a' has 3 dimensions in z, but the model has lat"),
        ({"query_id": ["a"], "mu": [[0.0] * 4]}, "expected query_id, and z, or mu and log_var"),
        (
            {"query_id": ["a"], "mu": [[0.0] * 4], "log_var": [[0.0]]},
            "'a' has 1 dimensions in log_var",
        ),
        (
            {"query_id": pa.array([], pa.string()), "z": pa.array([], pa.list_(pa.float32()))},
            "there are no queries",
        ),
    ],
)
def test_folders_that_are_no_queries(spark, bundle_path, tmp_path, columns, message):
    (tmp_path / "q").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "q" / "a.parquet")
    refused(message, model=bundle_path, queries=str(tmp_path / "q"), output=str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["q"]


def test_a_sample_that_would_take_anothers_name(bundle_path, tmp_path):
    names = ["a", "a-sample-1"]
    data = {"query_id": names, "mu": [[0.0] * 4] * 2, "log_var": [[0.0] * 4] * 2}
    pq.write_table(pa.table(data), tmp_path / "q.parquet")
    (tmp_path / "q").mkdir()
    pq.write_table(pa.table(data), tmp_path / "q" / "a.parquet")
    for queries in ("q.parquet", "q"):
        refused(
            "query_id 'a-sample-1' holds '-sample-', which tells samples from their Gaussians",
            model=bundle_path,
            queries=str(tmp_path / queries),
            samples=1,
            output=str(tmp_path / "out"),
        )


def test_a_decoder_of_another_shape(bundle_path, tmp_path):
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(bundle_path, model)
    module = tmp_path / "odd_vae.py"
    module.write_text(
        "import torch\n"
        "class Odd(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a = torch.nn.Linear(2, 2)\n"
        "    def encode(self, x):\n"
        "        m = x.flatten(1)[:, :2]\n"
        "        return self.a(m), self.a(m)\n"
        "    def decode(self, z):\n"
        "        return torch.zeros(len(z), 3, 8, 8)\n"
    )
    from dataclasses import replace

    import vaeudf.model.bundle as bundles
    from vaeudf.images.spec import ImageSpec
    from vaeudf.model.foreign import build_foreign, networks_of
    from vaeudf.model.interface import Interface
    from vaeudf.model.py_files import use_py_files

    use_py_files([str(module)])
    interface = Interface("encode", "0", "1", "decode", "", (2,))
    manifest = Manifest("odd_vae:Odd", {}, 2, ImageSpec(16, 16), interface=interface)
    made = build_foreign("odd_vae:Odd", {})
    bundles.save_bundle(model, networks_of(made, interface), manifest)
    asked = {"model": str(model), "z": ["0,0"], "output": str(out), "py_files": [str(module)]}
    refused("--trust-model", BundleError, **asked)
    refused(
        "the decoder's pictures: scaled pixels have shape (1, 3, 8, 8)",
        BundleError,
        trust_model=True,
        **asked,
    )
    blind = replace(interface, decoder=None)
    manifest = replace(manifest, interface=blind)
    bundles.save_bundle(model, networks_of(made, blind), manifest)
    refused(f"model {model} has no decoder", BundleError, trust_model=True, **asked)
    assert not out.exists()
    # And one that is as it should be, rebuilt by the workers from its bytes.
    module.write_text(module.read_text().replace("3, 8, 8)", "3, 16, 16) + z[:, :1, None, None]"))
    good = ImageSpec(16, 16)
    text = module.read_text()
    other = tmp_path / "even_vae.py"
    other.write_text(text)
    use_py_files([str(other)])
    manifest = Manifest("even_vae:Odd", {}, 2, good, interface=interface)
    made = build_foreign("even_vae:Odd", {})
    bundles.save_bundle(model, networks_of(made, interface), manifest)
    asked |= {"z": ["0.2,0", "0.6,0"], "py_files": [str(other)], "trust_model": True}
    decode_latents(DecodeLatents(**asked))
    for name, level in (("0", 51), ("1", 153)):
        assert (pixels((out / "images" / f"{name}.png").read_bytes()) == level).all()


def test_an_older_output_stays(bundle_path, tmp_path):
    out, mine = tmp_path / "out", tmp_path / "mine"
    options = {"model": bundle_path, "z": ["0,0,0,0"], "output": str(out)}
    decode_latents(DecodeLatents(**options))
    before = tree(out)
    refused("exists already; name another folder, or replace it with --overwrite", **options)
    assert tree(out) == before
    options["z"] = ["0,0,0,0", "1,1,1,1"]
    decode_latents(DecodeLatents(overwrite=True, **options))
    assert len(list((out / "images").iterdir())) == 2
    mine.mkdir()
    (mine / "thesis.doc").write_text("x")
    options["output"] = str(mine)
    refused("so --overwrite does not replace it", overwrite=True, **options)


def test_options_from_the_command_line_and_a_file(tmp_path):
    found = parse(
        DecodeLatents,
        ["--table", "t", "--walk", "a,b", "--walk", "c", "--output", "o", "--path", "fisher_rao"],
    )
    assert (found.walk, found.path) == (["a,b", "c"], "fisher_rao")
    found = parse(
        DecodeLatents, ["--model", "m", "--traverse", "3", "--center", "-1,2", "--report", "r"]
    )
    assert (found.drawing.dims, found.center) == ((3,), "-1,2")
    found = parse(DecodeLatents, ["--table", "t", "--reconstruct", "7", "--report", "r"])
    assert found.reconstruct in (7, "7")
    config = Path(__file__).parents[2] / "conf" / "examples" / "decode_latents.yaml"
    assert parse(DecodeLatents, ["--config", str(config)]).drawing.dims == (0, 1)
    (tmp_path / "c.yaml").write_text("model: m\ntraverse: 3\nreport: r\n")
    assert parse(DecodeLatents, ["--config", f"{tmp_path}/c.yaml"]).drawing.dims == (3,)
    (tmp_path / "c.yaml").write_text("table: m\nreconstruct: 100\nreport: r\n")
    assert parse(DecodeLatents, ["--config", f"{tmp_path}/c.yaml"]).reconstruct == 100


def test_the_model_is_that_of_the_table(table, bundle_path, tmp_path):
    summary = decode_latents(DecodeLatents(table=table, z=["0,0,0,0"], report=str(tmp_path / "p")))
    assert summary["model_id"] == load_bundle(bundle_path).model_id
