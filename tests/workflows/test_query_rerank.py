"""``query_topk --rerank picture``: what is printed, written and shown, and what is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vaeudf
from tests.support.scene import LATENT_DIM, NUM_ITEMS, SPEC, make_bundle
from vaeudf.decoding import rerank
from vaeudf.errors import BundleError, InputError
from vaeudf.images.decode import decode_image
from vaeudf.model.bundle import load_bundle
from vaeudf.table.open import open_posteriors
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.query_topk import QueryTopk, query_topk

Z = {"0,0,0,0": [0.0, 0, 0, 0], "0.5,-1,0,2": [0.5, -1, 0, 2]}
ASKED = {"z": list(Z), "rerank": "picture", "likelihood": "gaussian:0.02"}


def nearest_pictures(bundle_path, garments) -> list[list[str]]:
    """The items by the squared error of decode(z), nearest first, for each z."""
    bundle = load_bundle(bundle_path)
    found = []
    for z in Z.values():
        mean = bundle.decode([z])[0].astype(float)  # rounded; no two items are that near
        errors = {
            row["item_id"]: ((decode_image(row["image"], SPEC) - mean) ** 2).mean()
            for row in garments.to_pylist()
        }
        found.append(sorted(errors, key=errors.get))
    return found


@pytest.mark.spark
def test_printed(table, bundle_path, garments, capsys):
    summary = query_topk(QueryTopk(table, **ASKED, k=3, candidates=NUM_ITEMS, columns=["stock"]))
    told = {name: summary[name] for name in ("rerank", "k", "candidates", "likelihood")}
    assert told == {"rerank": "picture", "k": 3, "candidates": 40, "likelihood": "gaussian:0.02"}
    assert (summary["pictures_read"], summary["pictures_unreadable"]) == (NUM_ITEMS, 0)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    added = ["log_p_x_given_z", "picture_error", "candidate_rank"]
    assert lines[0] == ["query_id", "rank", "item_id", "log_likelihood", "stock", *added]
    right = nearest_pictures(bundle_path, garments)
    assert [line[2] for line in lines[1:7]] == [*right[0][:3], *right[1][:3]]


@pytest.mark.spark
def test_written_and_shown(table, bundle_path, garments, tmp_path):
    output, report = str(tmp_path / "out"), str(tmp_path / "page")
    asked = {**ASKED, "k": 2, "candidates": 5, "where": "stock < 30", "report": report}
    summary = query_topk(QueryTopk(table, **asked, output=output))
    rows = pq.read_table(output).to_pylist()
    assert len(rows) == 4 and all(int(row["item_id"][-3:]) < 30 for row in rows)
    for row in rows:
        assert 1 <= row["candidate_rank"] <= 5 and row["rank"] in (1, 2)
    page = Path(summary["report"]).read_text()
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert "of the 5 best items by log q(z|x), those whose own pictures the decoder" in text
    assert "log p(x|z), nats" in page and "gaussian:0.02" in text
    assert all(f"{row['picture_error']:.4f}" in text for row in rows)


@pytest.mark.slow
@pytest.mark.spark
def test_many_candidates_are_searched_for_once(table, tmp_path):
    count = 150  # more than are collected first
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(count, LATENT_DIM)))
    asked = {"rerank": "picture", "likelihood": "bernoulli", "k": 2}
    summary = query_topk(
        QueryTopk(table, queries=str(tmp_path / "z.npy"), output=str(tmp_path / "out"), **asked)
    )
    assert count * summary["candidates"] > rerank._FEW
    assert summary["scored_fraction"] <= 1.0
    assert summary["pictures_read"] == NUM_ITEMS


@pytest.mark.spark
def test_the_catalog_of_other_items(table, parquet_catalog, tmp_path):
    for file in Path(parquet_catalog).rglob("*.parquet"):
        rows = pq.read_table(file)
        names = pa.array([f"other-{i}" for i in range(len(rows))])
        other = rows.set_column(rows.column_names.index("item_id"), "item_id", names)
        (tmp_path / "other").mkdir(exist_ok=True)
        pq.write_table(other, tmp_path / "other" / file.name)
    asked = {**ASKED, "catalog": str(tmp_path / "other"), "output": str(tmp_path / "out")}
    with pytest.raises(InputError, match=r"catalog has none of the 40 candidates' pictures, such"):
        query_topk(QueryTopk(table, **asked))
    assert not (tmp_path / "out").exists()


@pytest.mark.spark
def test_nothing_found(table, capsys):
    summary = query_topk(QueryTopk(table, **ASKED, where="stock < 0"))
    assert (summary["pictures_read"], summary["pictures_unreadable"]) == (0, 0)
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.spark
def test_candidates_of_a_rule_keep_to_it(table, capsys):
    asked = {**ASKED, "candidates": 4, "k": 4, "per": "category:1"}
    query_topk(QueryTopk(table, **asked))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()][1:9]
    for query in "01":
        kinds = [line[2].rsplit("-", 1)[0] for line in lines if line[0] == query]
        assert len(kinds) == len(set(kinds)) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": 5}, "candidates is 5, and k is 10; expected at least as many candidates"),
        ({"k": 300}, "candidates is 200, and k is 300"),
        ({"candidates": 0}, "candidates is 0, and k is 10"),
        ({"k": 0}, "k is 0; expected at least 1"),
        ({"all": True, "min_score": 0.0, "output": "x"}, "--all does not go with --rerank"),
        ({"diversify": 0.5}, "--diversify does not go with --rerank: both choose"),
        ({"blend": True}, r"--blend does not go with --rerank: p\(x\|z\) is of one z"),
        ({"unlike": ["a"]}, r"--unlike does not go with --rerank: p\(x\|z\) is of one z"),
        ({"ignore_dims": "1"}, "--ignore-dims does not go with --rerank: a picture needs"),
        ({"columns": ["Picture_Error"]}, "column 'Picture_Error' is in the result already"),
        ({"likelihood": "normal"}, "likelihood is 'normal'; expected gaussian:VARIANCE"),
        ({"rerank": None}, "likelihood goes with --rerank"),
        (
            {"rerank": None, "likelihood": None, "candidates": 5},
            "candidates goes with --rerank or --diversify; name one of them, too",
        ),
        ({"rerank": "pictures"}, "rerank is 'pictures'; expected picture"),
    ],
)
def test_what_is_refused_before_anything_is_opened(change, message):
    with pytest.raises(InputError, match=message):
        QueryTopk("/nowhere", **{**ASKED, **change})


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"z": ["0,*,0,0"]}, InputError, "'0' leaves dimension 1 open; a picture needs a number"),
        ({"likelihood": None}, BundleError, "does not say how likely a picture is given z"),
        (
            {"catalog": "/nowhere"},
            InputError,
            "/nowhere does not exist.* --rerank reads its pictures: name the catalog with",
        ),
    ],
)
def test_what_is_refused_before_spark_starts(table, change, kind, message):
    with pytest.raises(kind, match=message):
        query_topk(QueryTopk(table, **{**ASKED, **change}))


def test_a_file_of_blends_is_refused(table, tmp_path):
    path = tmp_path / "q.csv"
    path.write_text("query_id,z0,z1,z2,z3,group,weight\na,0,0,0,0,g,1\nb,1,0,0,0,g,1\n")
    with pytest.raises(InputError, match="queries are blends, and --rerank needs one z for each"):
        query_topk(QueryTopk(table, queries=str(path), rerank="picture", likelihood="bernoulli"))


def test_a_model_without_a_decoder(table, bundle_path, monkeypatch):
    monkeypatch.setattr("vaeudf.model.bundle.Bundle.has_decoder", False)
    with pytest.raises(BundleError, match="no decoder, and --rerank compares pictures with what"):
        query_topk(QueryTopk(table, **ASKED))


@pytest.mark.slow
@pytest.mark.spark
def test_kept_pixels_need_no_catalog(
    spark, parquet_catalog, bundle_path, garments, tmp_path, capsys, caplog
):
    caplog.set_level("INFO")
    catalog, path = tmp_path / "catalog", str(tmp_path / "table")
    shutil.copytree(parquet_catalog, catalog)
    encode_catalog(EncodeCatalog(str(catalog), bundle_path, path, keep_pixels=True))
    shutil.rmtree(catalog)
    report = str(tmp_path / "page")
    summary = query_topk(QueryTopk(path, **ASKED, k=3, candidates=NUM_ITEMS, report=report))
    assert (summary["pictures_read"], summary["pictures_unreadable"]) == (NUM_ITEMS, 0)
    page = Path(summary["report"]).read_text()
    right = nearest_pictures(bundle_path, garments)
    shown = set(re.findall(r'<img src="data:image/[^"]+" alt="([^"]+-[0-9]+)"', page))
    assert shown == {*right[0][:3], *right[1][:3]}
    assert "the page shows the pictures that the table keeps." in caplog.text
    query_topk(QueryTopk(path, **ASKED, k=3, candidates=NUM_ITEMS))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:7]]
    assert [line[2] for line in lines] == [*right[0][:3], *right[1][:3]]

    # From Python, with the table in place of the catalog.
    table, z = open_posteriors(path), list(Z.values())
    hits = vaeudf.top_k(table, z, NUM_ITEMS)
    likelihood = vaeudf.GaussianPixels(0.02)
    bundle = load_bundle(bundle_path)
    rows = vaeudf.rerank(hits, bundle, table, z, 3, likelihood=likelihood).orderBy(
        "query_id", "rank"
    )
    assert [row.item_id for row in rows.collect()] == [line[2] for line in lines]
    other = make_bundle(tmp_path / "other", LATENT_DIM, seed=1)
    with pytest.raises(InputError, match=r"keeps the pixels that model .* takes, but the model is"):
        vaeudf.rerank(hits, other, table, z, likelihood=likelihood)

    # A data file without its pixels: then the catalog is needed again.
    pixels = next(Path(path, "_pixels").rglob("*.arrow"))
    pixels.unlink()
    with pytest.raises(InputError, match="does not keep the pixels of all its items; name the"):
        vaeudf.rerank(hits, bundle, open_posteriors(path), z, likelihood=likelihood)
    with pytest.raises(InputError, match="--rerank reads its pictures: name the catalog with"):
        query_topk(QueryTopk(path, **ASKED))
