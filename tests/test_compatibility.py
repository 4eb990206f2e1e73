"""What an earlier version has written is read, carried over and replaced by this one.

The folders in ``tests/fixtures`` were written by jobs of that version; its README says how. They
are copied, for jobs publish to the tables and replace the results.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from PIL import Image

import vaeudf
from tests.support.scene import tree
from tests.support.tolerances import (
    FUNCTION,
    assert_same_float32,
    assert_same_levels,
    assert_same_scores,
    assert_within,
    near_float64,
    near_score,
    score_bound,
    terms_of,
)
from vaeudf.errors import BundleError, InputError
from vaeudf.spark.cluster import Cluster
from vaeudf.workflows.cluster_catalog import ClusterCatalog, cluster_catalog
from vaeudf.workflows.decode_latents import DecodeLatents, decode_latents
from vaeudf.workflows.draw_catalog import DrawCatalog, draw_catalog
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.export_model import ExportModel, export_model
from vaeudf.workflows.inspect_table import InspectTable, inspect_table
from vaeudf.workflows.maintain_table import MaintainTable, maintain_table
from vaeudf.workflows.query_topk import QueryTopk, query_topk
from vaeudf.workflows.train_vae import TrainVae, train_vae

WRITTEN = Path(__file__).parent / "fixtures" / "written_by_0_1_0"
ITEMS, DAMAGED, GOODS = 24, 2, 12
FIRST, SECOND = 1, 2  # the versions of the table
CHANGED = "shirt/shirt-000007.png"
TAU, K = 0.3, 5


class Shop(NamedTuple):
    """A copy of all that there is, each part by its path."""

    root: Path
    model: str
    catalog: str
    table: str
    queries: str
    own_model: str
    goods: str
    goods_table: str
    code: str

    def night(self, **others: Any) -> dict[str, Any]:
        options = EncodeCatalog(
            self.catalog, self.model, self.table, max_error_fraction=0.1, **others
        )
        return encode_catalog(options)

    def night_of_goods(self) -> dict[str, Any]:
        how = {"trust_model": True, "py_files": [self.code]}
        return encode_catalog(EncodeCatalog(self.goods, self.own_model, self.goods_table, **how))

    def at(self, name: str) -> str:
        return str(self.root / name)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    root = tmp_path / "shop"
    shutil.copytree(WRITTEN, root, ignore=shutil.ignore_patterns("__pycache__"))
    names = ("model", "catalog", "posteriors", "queries.jsonl")
    names += ("own_model", "goods", "goods_posteriors", "shop_vae.py")
    shop = Shop(root, *(str(root / name) for name in names))
    # A checkout gives files the time of today, but the version of an item is time and length.
    for item_id, version in source_versions(shop.table).items():
        path = Path(shop.catalog, item_id)
        micros, length = map(int, version.split("-"))
        assert path.stat().st_size == length, f"{path} is not as it was committed"
        os.utime(path, ns=(micros * 1000, micros * 1000))
    return shop


def source_versions(table: str) -> dict[str, str]:
    rows = items(table).to_pylist() + pq.read_table(f"{table}/_quarantine").to_pylist()
    return {row["item_id"]: row["source_version"] for row in rows}


def items(table: str, version: int | None = None) -> pa.Table:
    """The rows of a table as any reader of Delta finds them."""
    return DeltaTable(table, version=version).to_pyarrow_table().sort_by("item_id")


def matrix(rows: pa.Table, column: str) -> np.ndarray:
    return np.array(rows[column].to_pylist(), dtype=np.float64)


def brute_force(rows: pa.Table, z: np.ndarray, tau: float = TAU) -> np.ndarray:
    """log N(z; mu, sigma² + tau²) of every pair, (Q, N) float64."""
    variance = np.exp(matrix(rows, "log_var")) + tau**2
    misfit = (z[:, None] - matrix(rows, "mu")) ** 2 / variance
    return -0.5 * (misfit + np.log(2 * np.pi * variance)).sum(axis=2)


def blurred(rows: pa.Table) -> tuple[Any, Any]:
    """All log variances that enter `brute_force`, for the bounds of its rounding."""
    return matrix(rows, "log_var"), 2 * np.log(TAU)


def best(rows: pa.Table, scores: np.ndarray, k: int = K) -> list[tuple[str, float]]:
    """The k items with the highest scores, best first."""
    pairs = zip(rows["item_id"].to_pylist(), scores, strict=True)
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:k]


def asked(path: str) -> tuple[list[str], np.ndarray]:
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [line["query_id"] for line in lines], np.array([line["z"] for line in lines])


def read_results(folder: str) -> pa.Table:
    return pq.read_table(folder).sort_by([("query_id", "ascending"), ("rank", "ascending")])


def assert_hits(
    results: pa.Table, names: list[str], z: np.ndarray, rows: pa.Table, k: int = K
) -> None:
    """That these are the k best of every query by brute force, with their scores."""
    scores = brute_force(rows, z)
    found = results.to_pylist()
    assert {row["query_id"] for row in found} == set(names)
    for name, own in zip(names, scores, strict=True):
        hits = [row for row in found if row["query_id"] == name]
        expected = best(rows, own, k)
        assert [row["rank"] for row in hits] == list(range(1, len(expected) + 1))
        assert [row["item_id"] for row in hits] == [item_id for item_id, _ in expected]
        assert_same_scores(
            [row["log_likelihood"] for row in hits],
            [score for _, score in expected],
            *blurred(rows),
            dims=z.shape[1],
        )


def assert_same_posteriors(
    found: dict[str, Any], expected: pa.Table, bundle: vaeudf.Bundle
) -> None:
    names = expected["item_id"].to_pylist()
    assert set(found) == set(names)
    terms = terms_of(bundle.encoder)
    for column in ("mu", "log_var"):
        # Another machine sums in another order.
        vectors = [found[name][column] for name in names]
        assert_same_float32(vectors, matrix(expected, column), terms=terms)


def refused(run: Callable[[Any], object], options: Any, message: str, root: Path) -> None:
    before = tree(root)
    with pytest.raises(InputError, match=message):
        run(options)
    assert tree(root) == before


# ---- models


def test_the_bundle_says_what_it_did(shop):
    bundle = vaeudf.load_bundle(shop.model)
    assert bundle.latent_dim == 4 and bundle.has_decoder
    mu = items(shop.table).schema.field("mu")
    assert mu.metadata[b"vaeudf.model_id"].decode() == bundle.model_id
    for number, z in enumerate(([0, 0, 0, 0], [1, 0, 0, -1])):
        with Image.open(shop.root / "pictures" / "images" / f"{number}.png") as picture:
            drawn = np.asarray(picture.convert("RGB"), dtype=np.int16)
        assert_same_levels(bundle.decode([z])[0], drawn)


@pytest.mark.spark
def test_the_bundle_gives_the_same_posteriors(spark, shop):
    pictures = [
        (name, Path(shop.catalog, name).read_bytes()) for name in source_versions(shop.table)
    ]
    frame = spark.createDataFrame(pictures, "item_id string, image binary")
    bundle = vaeudf.load_bundle(shop.model)
    rows = vaeudf.encode(frame, bundle).collect()
    failed = {row["item_id"]: row["reason"] for row in rows if row["reason"] is not None}
    assert failed == {
        "damaged/cut.png": "truncated",
        "damaged/text.png": "unsupported_format",
    }
    assert_same_posteriors(
        {row["item_id"]: row for row in rows if row["reason"] is None}, items(shop.table), bundle
    )


@pytest.mark.spark
def test_the_bundle_of_a_model_made_elsewhere(spark, shop, monkeypatch):
    monkeypatch.syspath_prepend(str(shop.root))
    with pytest.raises(BundleError, match="trust"):
        vaeudf.load_bundle(shop.own_model)
    bundle = vaeudf.load_bundle(shop.own_model, trust_model=True)
    mu = items(shop.goods_table).schema.field("mu")
    assert mu.metadata[b"vaeudf.model_id"].decode() == bundle.model_id
    Cluster.of(spark).add_py_files([shop.code])
    frame = spark.read.parquet(shop.goods).select("item_id", "image")
    rows = vaeudf.encode(frame, bundle).collect()
    assert_same_posteriors({row["item_id"]: row for row in rows}, items(shop.goods_table), bundle)


# ---- queries


@pytest.mark.spark
def test_queries_get_the_recorded_results(spark, shop):
    names, z = asked(shop.queries)
    recorded = read_results(shop.at("results"))
    assert recorded.num_rows == len(names) * K
    assert_hits(recorded, names, z, items(shop.table))
    output = shop.at("new results")
    summary = query_topk(
        QueryTopk(
            shop.table,
            queries=shop.queries,
            k=K,
            tolerance=TAU,
            explain=True,
            responsibilities=True,
            output=output,
        )
    )
    assert (summary["items"], summary["version"]) == (ITEMS, SECOND)
    found = read_results(output)
    assert found.schema.equals(recorded.schema)
    for name in ("query_id", "rank", "item_id"):
        assert found[name] == recorded[name]
    log_vars, dims = blurred(items(shop.table)), z.shape[1]
    for name in ("log_likelihood", "misfit", "volume"):
        assert_same_scores(found[name], recorded[name], *log_vars, dims=dims)
    sums = recorded["log_aggregate_posterior"].to_numpy()
    found_sums = found["log_aggregate_posterior"]
    assert_same_scores(found_sums, sums, *log_vars, dims=dims, items=ITEMS)
    shares = recorded["responsibility"].to_numpy()
    near = score_bound(recorded["log_likelihood"], *log_vars, dims=dims)
    near += score_bound(sums + np.log(ITEMS), *log_vars, dims=dims, items=ITEMS)
    assert_within(found["responsibility"], shares, shares * near, why="exp of a score and of a sum")
    costliest = [
        [[cost["dimension"] for cost in costs] for costs in rows["costliest"].to_pylist()]
        for rows in (found, recorded)
    ]
    assert costliest[0] == costliest[1]


@pytest.mark.spark
def test_from_python_the_same(spark, shop):
    names, z = asked(shop.queries)
    table = items(shop.table)
    hits = vaeudf.top_k(shop.table, z, K, tolerance=TAU).toArrow()
    assert_hits(hits, [str(number) for number in range(len(names))], z, table)
    index = vaeudf.PosteriorIndex(
        matrix(table, "mu"), matrix(table, "log_var"), ids=table["item_id"].to_pylist()
    )
    ids, _ = index.search(z, K, tolerance=TAU)
    recorded = read_results(shop.at("results")).to_pylist()
    for name, own in zip(names, ids.tolist(), strict=True):
        assert own == [row["item_id"] for row in recorded if row["query_id"] == name]


@pytest.mark.spark
def test_the_older_version_is_searched(spark, shop):
    old, new = items(shop.table, FIRST), items(shop.table, SECOND)
    changed = [
        one["item_id"]
        for one, other in zip(old.to_pylist(), new.to_pylist(), strict=True)
        if one != other
    ]
    assert changed == [CHANGED]
    # Where the item was before its picture changed.
    z = matrix(old, "mu")[old["item_id"].to_pylist().index(CHANGED)]
    answers = []
    for version, rows in ((FIRST, old), (SECOND, new)):
        output = shop.at(f"version {version}")
        text = ",".join(map(repr, z.tolist()))
        summary = query_topk(
            QueryTopk(shop.table, z=[text], k=3, tolerance=TAU, version=version, output=output)
        )
        assert (summary["version"], summary["items"]) == (version, ITEMS)
        results = read_results(output)
        assert_hits(results, ["0"], z[None], rows, 3)
        answers.append(results["item_id"].to_pylist())
    assert answers[0] != answers[1]


@pytest.mark.spark
def test_payload_is_found(spark, shop):
    output = shop.at("prices")
    query_topk(
        QueryTopk(
            shop.goods_table, z=["0,0,0"], k=GOODS, columns=["price", "colour"], output=output
        )
    )
    expected = {
        row["item_id"]: (row["price"], row["colour"])
        for row in pq.read_table(shop.goods).to_pylist()
    }
    found = {r["item_id"]: (r["price"], r["colour"]) for r in pq.read_table(output).to_pylist()}
    assert found == expected


@pytest.mark.spark
def test_centroids_are_queries(spark, shop):
    centroids = pq.read_table(shop.root / "clusters" / "centroids.parquet")
    rows = items(shop.table)
    output = shop.at("like the clusters")
    summary = query_topk(
        QueryTopk(shop.table, queries=shop.at("clusters/centroids.parquet"), k=ITEMS, output=output)
    )
    assert (summary["score"], summary["queries"]) == ("kl", centroids.num_rows)
    mu, log_var = matrix(centroids, "mu")[:, None], matrix(centroids, "log_var")[:, None]
    ratio = np.exp(log_var - matrix(rows, "log_var"))
    far = (mu - matrix(rows, "mu")) ** 2 / np.exp(matrix(rows, "log_var"))
    divergences = 0.5 * (far + ratio - 1 - np.log(ratio)).sum(axis=2)
    found = {(r["query_id"], r["item_id"]): r["kl"] for r in pq.read_table(output).to_pylist()}
    for name, own in zip(centroids["query_id"].to_pylist(), divergences, strict=True):
        values = [found[name, item_id] for item_id in rows["item_id"].to_pylist()]
        assert_same_scores(values, own, log_var, matrix(rows, "log_var"), dims=mu.shape[-1])


# ---- nights


def blank(shop: Shop) -> None:
    """Leave nothing in the pictures, but their length and time: they cannot be encoded again."""
    for item_id in source_versions(shop.table):
        path = Path(shop.catalog, item_id)
        state = path.stat()
        path.write_bytes(bytes(state.st_size))
        os.utime(path, ns=(state.st_mtime_ns, state.st_mtime_ns))


@pytest.mark.spark
def test_a_night_on_the_same_catalog_has_nothing_to_do(spark, shop):
    blank(shop)
    before = {name: size for name, size in tree(shop.table).items() if not name.startswith("_runs")}
    summary = shop.night()
    assert (summary["outcome"], summary["encoded"]) == ("nothing to do", 0)
    assert (summary["read"], summary["carried"]) == (ITEMS + DAMAGED, ITEMS)
    assert summary["quarantined"] == {"truncated": 1, "unsupported_format": 1}
    assert (summary["version_before"], summary["version"]) == (SECOND, SECOND)
    after = {name: size for name, size in tree(shop.table).items() if not name.startswith("_runs")}
    assert after == before
    runs = spark.read.parquet(f"{shop.table}/_runs").orderBy("started").collect()
    assert [(run.outcome, run.version, run.encoded, run.carried) for run in runs] == [
        ("published", FIRST, ITEMS, 0),
        ("published", SECOND, 1, ITEMS - 1),
        ("nothing to do", SECOND, 0, ITEMS),
    ]
    assert all(run.quarantined == summary["quarantined"] for run in runs)


@pytest.mark.slow
@pytest.mark.spark
def test_a_night_with_one_changed_picture_encodes_one(spark, shop):
    old = items(shop.table)
    name, other = "bag/bag-000014.png", "hat/hat-000003.png"
    picture = Path(shop.catalog, other).read_bytes()
    blank(shop)
    Path(shop.catalog, name).write_bytes(picture)
    summary = shop.night()
    assert (summary["outcome"], summary["encoded"]) == ("published", 1)
    assert (summary["carried"], summary["removed"]) == (ITEMS - 1, 0)
    assert (summary["version_before"], summary["version"]) == (SECOND, SECOND + 1)
    new = {row["item_id"]: row for row in items(shop.table).to_pylist()}
    terms = terms_of(vaeudf.load_bundle(shop.model).encoder)
    largest = np.abs(matrix(old, "mu")).max()
    for row in old.to_pylist():
        if row["item_id"] != name:
            assert new[row["item_id"]] == row
        if row["item_id"] == other:
            assert_same_float32(new[name]["mu"], row["mu"], terms=terms, magnitude=largest)
    assert items(shop.table, SECOND) == old
    quarantine = spark.read.parquet(f"{shop.table}/_quarantine")
    rows = quarantine.where(f"run_id = '{summary['run_id']}'").collect()
    assert {row.item_id for row in rows} == {"damaged/cut.png", "damaged/text.png"}
    assert quarantine.count() == 3 * DAMAGED


@pytest.mark.slow
@pytest.mark.spark
def test_what_is_in_quarantine_is_tried_again_on_demand(spark, shop):
    summary = shop.night(retry_quarantined=True)
    assert (summary["outcome"], summary["encoded"]) == ("nothing to do", 0)
    assert summary["carried"] == ITEMS
    Path(shop.catalog, "damaged/cut.png").write_bytes(Path(shop.catalog, CHANGED).read_bytes())
    summary = shop.night()
    assert (summary["encoded"], summary["carried"]) == (1, ITEMS)
    assert summary["quarantined"] == {"unsupported_format": 1}


@pytest.mark.slow
@pytest.mark.spark
def test_nights_on_a_catalog_in_parquet(spark, shop):
    summary = shop.night_of_goods()
    assert (summary["outcome"], summary["encoded"]) == ("nothing to do", 0)
    assert summary["carried"] == GOODS
    old = items(shop.goods_table)
    rows = pq.read_table(shop.goods).to_pylist()
    rows[3]["image"], rows[5]["price"] = rows[4]["image"], 1.5
    shutil.rmtree(shop.goods)
    os.mkdir(shop.goods)
    pq.write_table(pa.Table.from_pylist(rows), f"{shop.goods}/today.parquet")
    summary = shop.night_of_goods()
    assert (summary["outcome"], summary["encoded"]) == ("published", 1)
    assert summary["carried"] == GOODS - 1
    new = {row["item_id"]: row for row in items(shop.goods_table).to_pylist()}
    for row in old.to_pylist():
        if row["item_id"] == rows[5]["item_id"]:
            row["price"] = 1.5
        if row["item_id"] != rows[3]["item_id"]:
            assert new[row["item_id"]] == row


# ---- looking after the table


def test_versions_are_listed(shop, capsys):
    summary = maintain_table(MaintainTable(shop.table))
    assert summary["versions"] == [FIRST, SECOND]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    runs = pq.read_table(f"{shop.table}/_runs").sort_by("run_id")
    model_id = vaeudf.load_bundle(shop.model).model_id[:12]
    assert [(line[0], *line[3:]) for line in lines] == [
        (str(version), str(ITEMS), model_id, "there", run_id)
        for version, run_id in zip((FIRST, SECOND), runs["run_id"].to_pylist(), strict=True)
    ]


def test_the_table_goes_back_to_its_first_version(shop):
    summary = maintain_table(MaintainTable(shop.table, "roll_back", to_version=FIRST))
    assert (summary["version"], summary["items"]) == (SECOND + 1, ITEMS)
    assert items(shop.table) == items(shop.table, FIRST) != items(shop.table, SECOND)


@pytest.mark.slow
@pytest.mark.spark
def test_the_health_of_the_table_is_what_it_was(spark, shop):
    old = json.loads((shop.root / "health" / "health.json").read_text())

    def options(**others: Any) -> InspectTable:
        how = {"compare": str(FIRST), "hub_queries": 100, "taus": "0,0.2", "page": False}
        return InspectTable(shop.table, shop.at("health"), **how, **others)

    refused(inspect_table, options(), "--overwrite", shop.root)
    summary = inspect_table(options(overwrite=True))
    assert (summary["quarantined"], summary["changed"], summary["common"]) == (DAMAGED, 1, ITEMS)
    new = json.loads((shop.root / "health" / "health.json").read_text())
    assert new["format"] == old["format"]
    assert set(keys(old)) <= set(keys(new))
    assert new["quarantine"] == old["quarantine"]
    for name in ("version", "model_id", "items", "latent_dim", "active", "collapsed"):
        assert new[name] == old[name], name
    log_var = matrix(items(shop.table), "log_var")
    for name in ("rate", "aggregate_kl"):
        near = near_score(old[name], log_var, dims=new["latent_dim"], items=ITEMS)
        assert new[name] == near, name
    # The end of the same bucket of a sketch: a power.
    assert new["slider_range"] == near_float64(old["slider_range"], terms=2 * FUNCTION)


def keys(value: Any, path: str = "") -> Iterator[str]:
    """The names of everything in a record, with those above; of a list, of its first element."""
    if isinstance(value, list):
        value = {"[]": value[0]} if value else {}
    if isinstance(value, dict):
        for key, own in value.items():
            if key != "seconds":
                yield f"{path}/{key}"
                yield from keys(own, f"{path}/{key}")


# ---- results that may be replaced, and that never are without --overwrite


def query_results(shop: Shop, overwrite: bool) -> tuple[Any, Any, str]:
    options = QueryTopk(shop.table, z=["0,0,0,0"], output=shop.at("results"), overwrite=overwrite)
    return query_topk, options, "results"


def query_report(shop: Shop, overwrite: bool) -> tuple[Any, Any, str]:
    options = QueryTopk(
        shop.table,
        z=["0,0,0,0"],
        report=shop.at("page"),
        model=shop.model,
        catalog=shop.catalog,
        overwrite=overwrite,
    )
    return query_topk, options, "page"


def clusters(shop: Shop, overwrite: bool) -> tuple[Any, Any, str]:
    options = ClusterCatalog(
        shop.table,
        shop.at("clusters"),
        k=2,
        report=shop.at("clusters_page"),
        model=shop.model,
        catalog=shop.catalog,
        overwrite=overwrite,
    )
    return cluster_catalog, options, "clusters"


def pictures(shop: Shop, overwrite: bool) -> tuple[Any, Any, str]:
    options = DecodeLatents(
        model=shop.model, z=["0,0,0,1"], output=shop.at("pictures"), overwrite=overwrite
    )
    return decode_latents, options, "pictures"


def drawn(shop: Shop, overwrite: bool) -> tuple[Any, Any, str]:
    options = DrawCatalog(shop.catalog, items=3, size=16, format="png", overwrite=overwrite)
    return draw_catalog, options, "catalog"


def exported(shop: Shop, overwrite: bool) -> tuple[Any, Any, str]:
    options = ExportModel(
        factory="shop_vae:ShopVae",
        output=shop.own_model,
        arguments={"latent_dim": 2},
        py_files=[shop.code],
        trust_model=True,
        image_size=16,
        variance="log_sigma",
        overwrite=overwrite,
    )
    return export_model, options, "own_model"


def trained(shop: Shop, overwrite: bool) -> tuple[Any, Any, str]:
    options = TrainVae(
        shop.goods,
        shop.model,
        latent_dim=2,
        image_size=16,
        epochs=1,
        batch_size=4,
        base_channels=4,
        overwrite=overwrite,
    )
    return train_vae, options, "model"


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.parametrize(
    "job",
    [query_results, query_report, clusters, pictures, drawn, exported, trained],
)
def test_only_overwrite_replaces(spark, shop, job):
    run, options, name = job(shop, False)
    refused(run, options, "exists already.*--overwrite", shop.root)
    run, options, _ = job(shop, True)
    before = tree(shop.root / name)
    run(options)
    assert tree(shop.root / name) != before


@pytest.mark.spark
def test_one_kind_of_result_is_never_replaced_by_another(spark, shop):
    for output in ("clusters", "page", "catalog", "model", "posteriors", "health", "pictures"):
        options = QueryTopk(shop.goods_table, z=["0,0,0"], output=shop.at(output), overwrite=True)
        refused(query_topk, options, "--overwrite does not replace it", shop.root)
