"""What export_table writes, opened by the packages that it is for."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from tests.support.tables import matrix, read
from tests.support.tolerances import UNIT_FLOAT32, assert_within, gamma
from vaeudf.workflows.encode_catalog import EncodeCatalog, encode_catalog
from vaeudf.workflows.export_table import ExportTable, export_table

pytestmark = [pytest.mark.interop, pytest.mark.spark]

K = 10


class Truth:
    """Brute force in float64 over the items of a table."""

    def __init__(self, table: str) -> None:
        items = read(table)
        self.ids = items["item_id"].to_pylist()
        self.mu, self.log_var = (matrix(items, name) for name in ("mu", "log_var"))
        rng = np.random.default_rng(3)
        chosen = rng.choice(len(self.ids), 20)
        n = self.mu.shape[1]
        self.z = np.concatenate(
            [self.mu[chosen] + 0.05 * rng.normal(size=(20, n)), rng.normal(size=(20, n))]
        )
        sigma = np.exp(self.log_var.astype(np.float64) / 2)
        mu = self.mu.astype(np.float64)
        self.scores = np.stack([norm.logpdf(z, mu, sigma).sum(axis=1) for z in self.z])
        self.row = {name: place for place, name in enumerate(self.ids)}

    def bounds(self, z: np.ndarray, center: np.ndarray) -> np.ndarray:
        """How far a float32 product of lifted vectors may be off, by item."""
        precision = np.exp(-self.log_var.astype(np.float64))
        mu, z = self.mu - center, z - center
        terms = precision * (np.abs(mu * z) + 0.5 * z * z + 0.5 * mu * mu)
        size = (terms + 0.5 * np.abs(self.log_var) + 1).sum(axis=1)
        return gamma(2 * mu.shape[1] + 4, UNIT_FLOAT32) * size

    def check(self, query: int, names: list[str], scores: np.ndarray, center: np.ndarray) -> None:
        """Check that hits are the best, but for what float32 cannot tell apart."""
        assert len(set(names)) == len(names) == K
        rows = [self.row[name] for name in names]
        bound = self.bounds(self.z[query], center)
        right = self.scores[query]
        for row, score in zip(rows, scores, strict=True):
            assert_within(score, right[row], bound[row], why="float32 sum of lifted products")
        best = np.argsort(-right)[:K]
        worst = min(right[row] + bound[row] for row in rows)
        for missed in set(best.tolist()) - set(rows):
            assert right[missed] - bound[missed] <= worst


@pytest.fixture(scope="module")
def truth(population) -> Truth:
    return Truth(population.table)


def exported(table: str, target: str, output: Path, **options) -> dict:
    summary = export_table(ExportTable(table, target, str(output), **options))
    assert summary["items"] > K
    return runpy.run_path(str(output / "query.py"))


def names_of(output: Path) -> np.ndarray:
    ids = pq.read_table(output / "ids.parquet")
    assert ids["row"].to_pylist() == list(range(len(ids)))
    return np.array(ids["item_id"].to_pylist(), object)


def test_faiss(population, truth, tmp_path):
    faiss = pytest.importorskip("faiss")
    query = exported(population.table, "faiss", tmp_path / "out")
    index = faiss.read_index(str(tmp_path / "out" / "index.faiss"))
    names = names_of(tmp_path / "out")
    assert index.ntotal == len(names) == len(truth.ids)
    scores, rows = index.search(query["lift"](truth.z), K)
    for place in range(len(truth.z)):
        truth.check(place, names[rows[place]].tolist(), scores[place], np.array(query["CENTER"]))


def test_hnswlib(population, truth, tmp_path):
    hnswlib = pytest.importorskip("hnswlib")
    query = exported(population.table, "hnswlib", tmp_path / "out")
    index = hnswlib.Index(space="ip", dim=2 * population.mu.shape[1] + 2)
    index.load_index(str(tmp_path / "out" / "index.hnsw"))
    names, center = names_of(tmp_path / "out"), np.array(query["CENTER"])
    index.set_ef(200)
    rows, distances = index.knn_query(query["lift"](truth.z), K)
    found = 0
    for place, hits in enumerate(names[rows]):
        right, bound = truth.scores[place], truth.bounds(truth.z[place], center)
        items = [truth.row[name] for name in hits]
        for item, distance in zip(items, distances[place], strict=True):
            # hnswlib's distance is 1 - the product.
            assert_within(1 - distance, right[item], 2 * bound[item], why="float32 sum, and of 1")
        least = np.sort(right)[-K]
        found += sum(right[item] + bound[item] >= least for item in items)
    assert found >= 0.9 * K * len(truth.z), "without equal norms it is 3 %"


def test_lance(population, truth, tmp_path):
    lance = pytest.importorskip("lance")
    query = exported(population.table, "lance", tmp_path / "out")
    items = lance.dataset(str(tmp_path / "out" / "items.lance"))
    assert items.count_rows() == len(truth.ids)
    stored = items.to_table().sort_by("item_id")
    original = read(population.table)
    assert stored["item_id"].to_pylist() == truth.ids
    for name in ("mu", "log_var"):
        flat = stored[name].combine_chunks().flatten().to_numpy()
        assert (flat.reshape(len(truth.ids), -1) == matrix(original, name)).all()
    for name in ("stock", "brand", "seen", "price", "sizes"):
        assert stored[name].to_pylist() == original[name].to_pylist()
    for place, vector in enumerate(query["lift"](truth.z)):
        asked = {"column": "vector", "q": vector, "k": K, "metric": "dot"}
        hits = items.to_table(nearest=asked, columns=["item_id", "_distance"])
        # Lance's distance is 1 - the product.
        scores = 1 - hits["_distance"].to_numpy().astype(np.float64)
        names = hits["item_id"].to_pylist()
        truth.check(place, names, scores, np.array(query["CENTER"]))


def test_qdrant(population, truth, tmp_path):
    qdrant_client = pytest.importorskip("qdrant_client")
    output = tmp_path / "out"
    query = exported(population.table, "qdrant", output)
    upload = [sys.executable, str(output / "upload.py"), "items", "--path", str(tmp_path / "db")]
    subprocess.run(upload, check=True)
    client = qdrant_client.QdrantClient(path=str(tmp_path / "db"))
    assert client.count("items").count == len(truth.ids)
    stock = dict(zip(truth.ids, read(population.table)["stock"].to_pylist(), strict=True))
    for place, vector in enumerate(query["lift"](truth.z)):
        hits = client.query_points("items", query=vector.tolist(), limit=K).points
        names = [hit.payload["item_id"] for hit in hits]
        assert [hit.payload.get("stock") for hit in hits] == [stock[name] for name in names]
        scores = np.array([hit.score for hit in hits])
        truth.check(place, names, scores, np.array(query["CENTER"]))
    client.close()


def test_pgvector(population, truth, tmp_path):
    pgserver = pytest.importorskip("pgserver")
    output = tmp_path / "out"
    query = exported(population.table, "pgvector", output)
    server = pgserver.get_server(tmp_path / "db", cleanup_mode="delete")
    try:
        psql = [str(pgserver._commands.POSTGRES_BIN_PATH / "psql"), server.get_uri()]

        def ask(*arguments: str) -> str:
            asked = [*psql, "-v", "ON_ERROR_STOP=1", "-AtX", "-F", "\t", *arguments]
            done = subprocess.run(asked, cwd=output, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return done.stdout

        ask("-f", "import.sql")
        stored = sorted(ask("-c", "SELECT item_id, payload->>'stock' FROM items").splitlines())
        items = read(population.table)
        names, stock = items["item_id"].to_pylist(), items["stock"].to_pylist()
        pairs = zip(names, stock, strict=True)
        assert stored == sorted(f"{name}\t{'' if n is None else n}" for name, n in pairs)
        for place, vector in enumerate(query["lift"](truth.z)):
            words = ",".join(map(str, vector.tolist()))
            found = ask(
                "-c",
                f"SELECT item_id, -(vector <#> '[{words}]') FROM items "
                f"ORDER BY vector <#> '[{words}]' LIMIT {K}",
            )
            hits = [line.split("\t") for line in found.splitlines()]
            scores = np.array([float(score) for _, score in hits])
            truth.check(place, [name for name, _ in hits], scores, np.array(query["CENTER"]))
    finally:
        server.cleanup()


def test_pgvector_reads_every_character(tmp_path):
    pgserver = pytest.importorskip("pgserver")
    names = ["a\tb", "back\\slash", "\\N", "new\nline\r", "quote'\"", "é 🧥", "\\.", "{}"]
    rows = {"item_id": names, "mu": [[0.5]] * 8, "log_var": [[-1.0]] * 8, "shop": names}
    pq.write_table(pa.table(rows), tmp_path / "items.parquet")
    output = tmp_path / "out"
    export_table(ExportTable(str(tmp_path / "items.parquet"), "pgvector", str(output)))
    server = pgserver.get_server(tmp_path / "db", cleanup_mode="delete")
    try:
        psql = [str(pgserver._commands.POSTGRES_BIN_PATH / "psql"), server.get_uri(), "-AtX"]
        subprocess.run([*psql, "-v", "ON_ERROR_STOP=1", "-f", "import.sql"], cwd=output, check=True)
        wanted = "SELECT json_agg(json_build_array(item_id, payload->>'shop')) FROM items"
        done = subprocess.run([*psql, "-c", wanted], capture_output=True, text=True, check=True)
        assert sorted(json.loads(done.stdout)) == sorted([name, name] for name in names)
    finally:
        server.cleanup()


def test_embedding_atlas(parquet_catalog, bundle_path, tmp_path):
    metrics = pytest.importorskip("embedding_atlas.graph_metrics")
    table, output = str(tmp_path / "posteriors"), tmp_path / "out"
    encode_catalog(EncodeCatalog(parquet_catalog, bundle_path, table, keep_pixels=True))
    export_table(ExportTable(table, "embedding-atlas", str(output), columns=["category"]))
    rows = pq.read_table(output / "items.parquet")
    degrees = metrics.compute_degree_columns(rows.to_pandas(), neighbors="neighbors")
    # Its own way of reading the column: it leaves out an item as its own neighbor.
    right = np.zeros(len(rows), int)
    for row, one in enumerate(rows["neighbors"].to_pylist()):
        for other in one["ids"]:
            right[other] += other != row
    assert degrees[0].tolist() == right.tolist()
