"""Hits with their pictures in a notebook: every hit in order, its own picture, and no network."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pyspark.sql import functions as F

import vaeudf
from tests.support.pages import HOSTILE, Page, image_file
from tests.support.scene import LATENT_DIM
from vaeudf.errors import InputError
from vaeudf.pages.notebook_view import NotebookView
from vaeudf.query.latents import Latents

pytestmark = pytest.mark.spark

Z = np.random.default_rng(2).normal(size=(12, LATENT_DIM))
OWN_STYLES = {"table", "thead", "tbody", "tr", "th", "td", "span", "img", "b", "br", "p"}


def shown(view: NotebookView, tmp_path) -> Page:
    path = tmp_path / "view.html"
    path.write_text(view._repr_html_(), "utf-8")
    page = Page(path)
    # No script, no style sheet, no link; a picture is in the page itself.
    assert {tag for tag, _ in page.tags} <= OWN_STYLES
    assert all(key in ("style", "src", "alt", "scope") for _, own in page.tags for key in own)
    return page


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)


def test_hits_of_a_table(table, bundle, garments, tmp_path):
    hits = vaeudf.top_k(table, Z, k=3, columns=["category"])
    view = vaeudf.show(hits, table, Z, bundle, num_queries=11)
    assert repr(view) == "<11 queries with 33 hits; a notebook shows their pictures>"
    assert view.html == view._repr_html_()
    page = shown(view, tmp_path)
    rows = {(row["query_id"], row["rank"]): row for row in hits.collect()}
    assert len(page.texts["td"]) == 11 and page.texts["p"] == ["Further queries are not shown."]
    assert page.texts["th"][2:] == [str(query) for query in range(11)]
    for query, text in enumerate(page.texts["td"]):
        expected = [rows[str(query), rank] for rank in (1, 2, 3)]
        words = [
            f"{row['rank']}. {row['item_id']} category {row['category']}"
            f" {row['log_likelihood']:.2f}"
            for row in expected
        ]
        assert text == " ".join(words).replace(" -", " −")
    # What a query decodes to, and the items' own pictures: of all in the catalog the likest.
    images = {
        row["item_id"]: pixels(row["image"])
        for row in garments.select(["item_id", "image"]).to_pylist()
    }
    pictures = iter(page.pictures())
    decoded = bundle.decode(Z)
    for query in range(11):
        alt, picture = next(pictures)
        assert alt == f"What {query} decodes to"
        assert (np.asarray(picture) == decoded[query]).all()
        for rank in (1, 2, 3):
            alt, picture = next(pictures)
            found = np.asarray(picture, float)
            likest = min(images, key=lambda name: np.abs(images[name] - found).mean())
            assert alt == likest == rows[str(query), rank]["item_id"]
    assert next(pictures, None) is None


def test_names_in_the_order_of_the_queries(table, tmp_path):
    latents = Latents(["late", "early", "10"], Z[:3])
    hits = vaeudf.top_k(table, latents, k=2)
    page = shown(vaeudf.show(hits, table, latents), tmp_path)
    assert page.texts["th"] == [
        *("query", "hits, best first; below each its log_likelihood, nats", "late", "early", "10")
    ]
    assert "p" not in page.texts
    assert not any(alt.startswith("What") for alt, _ in page.pictures())


def test_hits_alone(spark, table, tmp_path):
    """As a job's results are: nobody says which queries there were."""
    kept = str(tmp_path / "results")
    vaeudf.top_k(table, Z, k=2, score="mahalanobis").write.parquet(kept)
    hits = spark.read.parquet(kept)
    page = shown(vaeudf.show(hits, table), tmp_path)
    # By their names as text; of those that are shown, 10 after 9.
    assert page.texts["th"][2:] == ["0", "1", "2", "3", "4", "5", "6", "7", "10", "11"]
    assert page.texts["p"] == ["Further queries are not shown."]
    assert page.texts["th"][1].endswith("below each its mahalanobis")
    assert "p" not in shown(vaeudf.show(hits, table, num_queries=12), tmp_path).texts


def test_pictures_in_a_frame(spark, tmp_path):
    """What is evil in a catalog stays text; a picture that is not there is said."""
    ids = [HOSTILE, "no picture", "broken", "seven"]
    rows = [(name, [float(i)], [0.0]) for i, name in enumerate(ids)]
    posteriors = spark.createDataFrame(
        rows, "item_id string, mu array<float>, log_var array<float>"
    )
    images = spark.createDataFrame(
        [(HOSTILE, image_file("red")), ("broken", b"no image"), ("no picture", None)],
        "item_id string, image binary",
    )
    hits = vaeudf.top_k(posteriors, [[0.0]], k=4).withColumn("price", F.lit(1.5))
    page = shown(vaeudf.show(hits, images), tmp_path)
    assert [alt for alt, _ in page.pictures()] == [HOSTILE]
    (text,) = page.texts["td"]
    assert text.startswith(f"1. {HOSTILE} price 1.5 −0.92") and text.count("no picture") == 4
    assert "<script" not in page.source


def test_no_hits(table, tmp_path):
    hits = vaeudf.top_k(table, Z[:1], k=2, min_score=1e9)
    assert shown(vaeudf.show(hits, table, Z[:1]), tmp_path).texts["td"] == ["no hits"]
    assert "td" not in shown(vaeudf.show(hits, table), tmp_path).texts


def test_wrong_use(table, bundle, tmp_path, monkeypatch):
    def refused(*arguments, **options) -> str:
        with pytest.raises(InputError) as caught:
            vaeudf.show(*arguments, **options)
        return str(caught.value)

    hits = vaeudf.top_k(table, Z, k=1)
    assert refused(hits.drop("rank"), table) == (
        "hits has the columns query_id, item_id, log_likelihood; expected those of vaeudf.top_k: "
        "query_id, rank, item_id and a score, such as log_likelihood."
    )
    assert "and a score" in refused(hits.drop("log_likelihood"), table)
    assert refused(hits, table, num_queries=0) == "num_queries is 0; expected at least 1."
    assert refused(hits, table, bundle=bundle) == (
        "bundle is given, and queries are not; expected both, or no bundle."
    )
    assert "latent_dim" in refused(hits, table, Z[:, :2], bundle)
    assert refused(hits, hits) == (
        "pictures has the columns query_id, rank, item_id, log_likelihood; expected item_id and "
        "image, the bytes of image files."
    )
    assert "none" in refused(hits, table, catalog=str(tmp_path / "none"))
    blended = vaeudf.top_k(table, Z[:2], k=1, groups=["both", "both"])
    assert refused(blended, table, Z[:2]) == (
        "hits are of a query 'both', which is not among queries, the first of which is '0'; "
        "expected the queries that the hits were found with. Hits of blends are shown without "
        "queries."
    )
    assert len(vaeudf.show(blended, table).results) == 1
    monkeypatch.setattr(type(bundle), "has_decoder", False)
    assert refused(hits, table, Z, bundle) == (
        "bundle has no decoder; expected one, to show what queries decode to, or no bundle."
    )
