"""Ranks by p(x|z) against all pairs of picture and z, computed one by one in float64."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pyspark.sql import functions as F

import vaeudf
from tests.support.cases import further_cases_slow
from tests.support.scene import LATENT_DIM, NUM_ITEMS, SPEC, make_bundle
from tests.support.tolerances import near_float32, near_float64, terms_of
from vaeudf.catalog.source import CatalogSource
from vaeudf.decoding import means, rerank
from vaeudf.errors import BundleError, InputError
from vaeudf.images.decode import decode_image
from vaeudf.model.bundle import save_bundle
from vaeudf.model.likelihood import GaussianPixels
from vaeudf.model.networks import Networks
from vaeudf.query.latents import from_rows

pytestmark = pytest.mark.spark

SIZE = SPEC.height * SPEC.width * SPEC.channels
VARIANCE = 0.03
GAUSSIAN = GaussianPixels(VARIANCE)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The small model, with a decoder that gives another picture for another z."""
    path = tmp_path_factory.mktemp("model") / "bundle"
    made = make_bundle(path, LATENT_DIM, seed=0)
    with torch.no_grad():
        for name, weight in made.decoder.named_parameters():
            if name.endswith("weight"):
                weight.mul_(5.0)
        made.decoder.upsample[-1].bias.add_(3.0)  # bright, as the garments' backgrounds
    return save_bundle(path, Networks(made.encoder.network, made.decoder), made.manifest)


@pytest.fixture(scope="module")
def posteriors(spark, bundle, garments):
    """The items' posteriors, which stay."""
    frame = spark.createDataFrame(garments.select(["item_id", "image", "category"]))
    return vaeudf.encode(frame, bundle).select("item_id", "category", "mu", "log_var").persist()


@pytest.fixture(scope="module")
def levels(garments):
    """Item → its picture's levels, in [0, 1]."""
    return {
        row["item_id"]: decode_image(row["image"], SPEC).ravel() / 255
        for row in garments.to_pylist()
    }


def test_the_model_is_one_whose_pictures_differ(bundle, levels):
    """Else no test here could tell one z from another."""
    orders = set()
    for z in points(70):
        errors = errors_of(bundle, levels, z)
        orders.add(tuple(sorted(errors, key=errors.get)[:3]))
    assert len(orders) > 20


def points(count=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, LATENT_DIM))


def decoded(bundle, z):
    """What a z decodes to, (D,) in float64, decoded by itself."""
    with torch.inference_mode():
        found = bundle.decoder(torch.tensor(np.atleast_2d(z), dtype=torch.float32))
    return found.permute(0, 2, 3, 1).reshape(-1).to(torch.float64).numpy()


def errors_of(bundle, levels, z):
    mean = decoded(bundle, z)
    return {name: float(((x - mean) ** 2).mean()) for name, x in levels.items()}


def by_query(frame):
    rows = {}
    for row in frame.orderBy("query_id", "rank").collect():
        rows.setdefault(row.query_id, []).append(row)
    return rows


def test_all_items_as_candidates_give_the_exact_ranking(
    spark, bundle, posteriors, levels, parquet_catalog
):
    z = points()
    hits = vaeudf.top_k(posteriors, z, NUM_ITEMS, columns=["category"])
    found = vaeudf.rerank(hits, bundle, parquet_catalog, z, 7, likelihood=GAUSSIAN)
    added = ["log_p_x_given_z", "picture_error", "candidate_rank"]
    assert found.columns == [*hits.columns, *added]
    before = {(row.query_id, row.item_id): row for row in hits.collect()}
    # The mean of (x - m)² for x and m in [0, 1] is as far off as twice m is, and m as a quarter of
    # what the sigmoid gets, which is below 50.
    bound = near_float32(2.0, terms=terms_of(bundle.decoder), magnitude=25.0).abs
    rows = by_query(found)
    assert sorted(rows) == ["0", "1", "2"]
    for name, own in rows.items():
        errors = errors_of(bundle, levels, z[int(name)])
        assert [row["rank"] for row in own] == list(range(1, 8))
        assert [row.item_id for row in own] == sorted(errors, key=errors.get)[:7]
        for row in own:
            old = before[name, row.item_id]
            assert row.candidate_rank == old["rank"]
            assert (row.category, row.log_likelihood) == (old.category, old.log_likelihood)
            # The mean of (x - m)² for x and m in [0, 1]: as far off as twice m is.
            assert row.picture_error == pytest.approx(errors[row.item_id], rel=0.0, abs=bound)
            error, variance = torch.tensor([row.picture_error, VARIANCE], dtype=torch.float64)
            of_one = float(torch.distributions.Normal(0.0, variance.sqrt()).log_prob(error.sqrt()))
            magnitude = SIZE * (abs(of_one) + 4)
            assert row.log_p_x_given_z == near_float64(SIZE * of_one, terms=64, magnitude=magnitude)


def test_only_candidates_are_ranked(bundle, posteriors, levels, image_folder):
    z = points(2, seed=1)
    names = {f"{name.rsplit('-', 1)[0]}/{name} é.png": name for name in levels}
    in_folder = posteriors.withColumn(
        "item_id", F.concat(F.col("category"), F.lit("/"), F.col("item_id"), F.lit(" é.png"))
    )
    latents = from_rows(list(z), ["a", "b"])
    hits = vaeudf.top_k(in_folder, latents, 9, tolerance=0.5)
    candidates = by_query(hits)
    for given in (latents, dict(zip("ab", z, strict=True))):
        rows = by_query(vaeudf.rerank(hits, bundle, image_folder, given, 4, likelihood=GAUSSIAN))
        for name, own in rows.items():
            errors = errors_of(bundle, levels, z["ab".index(name)])
            allowed = {row.item_id for row in candidates[name]}
            expected = sorted(allowed, key=lambda item: errors[names[item]])[:4]
            assert [row.item_id for row in own] == expected


def test_a_bernoulli_ranks_by_the_cross_entropy(bundle, posteriors, levels, parquet_catalog):
    z = points(1, seed=2)
    hits = vaeudf.top_k(posteriors, z, NUM_ITEMS)
    found = vaeudf.rerank(hits, bundle, Path(parquet_catalog), z, 5, likelihood="bernoulli")
    mean = torch.tensor(decoded(bundle, z[0]))
    likely = {
        name: -float(
            torch.nn.functional.binary_cross_entropy(mean, torch.tensor(x), reduction="sum")
        )
        for name, x in levels.items()
    }
    rows = found.orderBy("rank").collect()
    assert [row.item_id for row in rows] == sorted(likely, key=likely.get, reverse=True)[:5]
    for row in rows:
        near = near_float32(
            likely[row.item_id], terms=terms_of(bundle.decoder), magnitude=100 * SIZE
        )
        assert row.log_p_x_given_z == near


@pytest.mark.slow
def test_many_queries_are_decoded_in_tasks_and_kept_in_several_arrays(
    monkeypatch, bundle, posteriors, levels, parquet_catalog
):
    count = means._FEW + 6
    monkeypatch.setattr(means, "_BYTES_PER_ARRAY", 4 * SIZE * 9)
    monkeypatch.setattr(rerank, "_FEW", 10)  # and the catalog is listed
    z = points(count, seed=3)
    hits = vaeudf.top_k(posteriors, z, 6)
    done = rerank.plan_rerank(hits, bundle, parquet_catalog, z, 2, likelihood=GAUSSIAN)
    candidates, rows = by_query(hits), by_query(done.hits)
    assert len(rows) == count
    for name, own in rows.items():
        errors = errors_of(bundle, levels, z[int(name)])
        expected = sorted((row.item_id for row in candidates[name]), key=errors.get)[:2]
        assert [row.item_id for row in own] == expected
    # Each picture is read once, however many queries want it.
    wanted = {row.item_id for own in candidates.values() for row in own}
    assert (done.pictures, done.unreadable) == (len(wanted), 0)


def test_pictures_that_cannot_be_read_keep_their_ranks(
    spark, bundle, garments, posteriors, levels, tmp_path
):
    z = points(1, seed=4)
    hits = vaeudf.top_k(posteriors, z, 8)
    order = [row.item_id for row in by_query(hits)["0"]]
    damaged = {order[0]: b"no picture", order[3]: None, order[6]: b""}
    rows = [
        row | {"image": damaged.get(row["item_id"], row["image"])}
        for row in garments.select(["item_id", "image"]).to_pylist()
        if row["item_id"] != order[4]  # gone since
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    source = CatalogSource(str(tmp_path / "a.parquet"))
    done = rerank.plan_rerank(hits, bundle, source, z, 6, likelihood=GAUSSIAN)
    own = by_query(done.hits)["0"]
    assert (done.pictures, done.unreadable) == (8, 4)
    errors = errors_of(bundle, levels, z[0])
    readable = sorted(set(order) - {order[place] for place in (0, 3, 4, 6)}, key=errors.get)
    expected = [order[0], readable[0], readable[1], order[3], order[4], readable[2]]
    assert [row.item_id for row in own] == expected
    assert [row["rank"] for row in own] == [1, 2, 3, 4, 5, 6]
    for row in own:
        gone = row.item_id not in readable
        assert (row.log_p_x_given_z is None, row.picture_error is None) == (gone, gone)
        assert row.candidate_rank == order.index(row.item_id) + 1


@pytest.mark.slow
def test_items_without_a_picture_or_with_one_in_common_are_counted_once(
    bundle, garments, posteriors, tmp_path
):
    z = points(6, seed=6)
    hits = vaeudf.top_k(posteriors, z, NUM_ITEMS)
    garment = garments["image"][0].as_py()
    (tmp_path / "one.png").write_bytes(garment)
    names = garments["item_id"].to_pylist()
    lines = [f"{name},one.png" for name in names[5:]]  # five are gone
    (tmp_path / "a.csv").write_text("item_id,path\n" + "\n".join(lines) + "\n")
    source = CatalogSource(str(tmp_path / "a.csv"), path_column="path")
    done = rerank.plan_rerank(hits, bundle, source, z, NUM_ITEMS, likelihood=GAUSSIAN)
    rows = done.hits.collect()
    assert (done.pictures, done.unreadable) == (NUM_ITEMS, 5)
    gone = {row.item_id for row in rows if row.picture_error is None}
    assert gone == set(names[:5])


@pytest.mark.parametrize("few", further_cases_slow([0, 20_000], [0]))
def test_no_hits(monkeypatch, bundle, posteriors, parquet_catalog, few):
    monkeypatch.setattr(rerank, "_FEW", few)
    z = points(2)
    hits = vaeudf.top_k(posteriors, z, 5, min_score=1e6)
    done = rerank.plan_rerank(
        hits, bundle, parquet_catalog, z, 2, likelihood=GAUSSIAN, at_most=few or 10
    )
    assert done.hits.collect() == []
    assert (done.pictures, done.unreadable) == (0, 0)


@pytest.mark.slow
def test_columns_may_have_the_names_of_places(bundle, posteriors, parquet_catalog):
    z = points(1)
    named = posteriors.withColumns({"image_file": F.lit(1), "Image_Row": F.lit(2)})
    named = named.withColumn("a.b`c", F.lit(3))
    columns = ["image_file", "Image_Row", "a.b`c"]
    hits = vaeudf.top_k(named, z, 4, columns=columns)
    found = vaeudf.rerank(hits, bundle, parquet_catalog, z, 2, likelihood=GAUSSIAN)
    for row in found.collect():
        assert [row[name] for name in columns] == [1, 2, 3]


@pytest.mark.slow
def test_few_hits_are_evaluated_once(bundle, posteriors, parquet_catalog, tmp_path):
    z = points(2)
    told = str(tmp_path / "told")

    @F.udf("boolean")
    def counted(_):
        with open(told, "a") as file:
            file.write("1")
        return True

    hits = vaeudf.top_k(posteriors, z, 6).where(counted("item_id"))
    found = vaeudf.rerank(hits, bundle, parquet_catalog, z, 2, likelihood=GAUSSIAN)
    assert found.count() == 4
    assert Path(told).read_text() == 12 * "1"


@pytest.mark.slow
def test_ties_are_ranked_by_item_id(spark, bundle, garments, tmp_path):
    image = garments["image"][0].as_py()
    names = ["b", "ab", "a", "c"]
    rows = [{"item_id": name, "image": image} for name in names]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    zeros = [0.0] * LATENT_DIM
    frame = [(name, [float(i)] * LATENT_DIM, zeros) for i, name in enumerate(names)]
    frame = spark.createDataFrame(frame, "item_id string, mu array<double>, log_var array<double>")
    z = points(1)
    hits = vaeudf.top_k(frame, z, 4)
    found = vaeudf.rerank(hits, bundle, str(tmp_path), z, 3, likelihood=GAUSSIAN)
    assert [row.item_id for row in found.orderBy("rank").collect()] == ["a", "ab", "b"]


@pytest.mark.slow
def test_a_grey_model_of_the_prior_finds_its_own_picture(
    spark, bundle, posteriors, levels, tmp_path
):
    """The picture that z decodes to itself comes first, with the error of its rounding."""
    z = points(1, seed=5)
    own = bundle.decode(z)[0]
    stream = io.BytesIO()
    Image.fromarray(own).save(stream, "PNG")
    pq.write_table(
        pa.table({"item_id": ["x"], "image": pa.array([stream.getvalue()])}), tmp_path / "a.parquet"
    )
    frame = spark.createDataFrame(
        [("0", 5, "x", -1.0)], "query_id string, rank int, item_id string, s double"
    )
    (row,) = vaeudf.rerank(frame, bundle, str(tmp_path), z, likelihood=GAUSSIAN).collect()
    assert row["rank"] == 1 and row.candidate_rank == 5
    assert row.picture_error <= (0.5 / 255) ** 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": [[0.0] * 3]}, r"queries have shape \(1, 3\); expected \(Q, 4\)"),
        ({"queries": [[0.0, np.nan, 0.0, 0.0]]}, "'0' has nan in dimension 1; expected finite"),
        ({"queries": {"a": [0.0] * 4, "b": [0.0] * 3}}, "not points of one latent space"),
        ({"k": 0}, "k is 0"),
        ({"likelihood": "normal"}, "likelihood is 'normal'; expected gaussian:VARIANCE"),
        ({"likelihood": None}, "does not say how likely a picture is given z"),
        ({"drop": "rank"}, "hits have no column 'rank'; expected what top_k returns"),
        ({"rename": "Picture_Error"}, "column 'picture_error' already, which rerank adds"),
        ({"catalog": "/nowhere"}, "/nowhere does not exist"),
    ],
)
def test_what_is_refused(bundle, posteriors, parquet_catalog, change, message):
    z = points(1)
    hits = vaeudf.top_k(posteriors, z, 3)
    arguments = {"catalog": parquet_catalog, "queries": z, "k": 2, "likelihood": GAUSSIAN, **change}
    if column := arguments.pop("drop", None):
        hits = hits.drop(column)
    if column := arguments.pop("rename", None):
        hits = hits.withColumnRenamed("log_likelihood", column)
    with pytest.raises((InputError, BundleError), match=message):
        vaeudf.rerank(hits, bundle, **arguments)


@pytest.mark.slow
def test_hits_of_queries_without_a_z(bundle, posteriors, parquet_catalog):
    z = points(2)
    hits = vaeudf.top_k(posteriors, z, 2)
    found = vaeudf.rerank(hits, bundle, parquet_catalog, z[:1], likelihood=GAUSSIAN)
    with pytest.raises(Exception, match="the hits are of queries that have no z"):
        found.collect()
