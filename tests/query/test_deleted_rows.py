"""Bulk queries of a table of which deletion vectors delete rows: as if these had never been."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import vaeudf
from tests.support.cases import further_cases_slow
from tests.support.deletion_vectors import delete_items
from vaeudf.gaussian.scores import SCORES
from vaeudf.query.latents import from_rows
from vaeudf.table.footers import read_row_groups
from vaeudf.table.open import open_table
from vaeudf.table.splits import SplitReader, join

pytestmark = pytest.mark.spark


@pytest.fixture(
    scope="module", params=[pytest.param(0.01, marks=pytest.mark.slow), 0.6], ids=["few", "most"]
)
def deleted(population, tmp_path_factory, request):
    """A table, the ids and posteriors of its live items, and the means of the deleted ones."""
    uri = str(tmp_path_factory.mktemp("deleted") / "table")
    shutil.copytree(population.table, uri)
    ids = np.array(population.items["item_id"].to_pylist())
    gone = np.random.default_rng(1).random(len(ids)) < request.param
    # A whole row group, and some blocks, have no item left.
    group = read_row_groups(open_table(uri).snapshot)[0]
    reader = SplitReader(open_table(uri).latent_dim, ())
    [split] = join([group], 0)
    reader.posteriors(split)
    names = reader.items(np.arange(group.num_rows)).column("item_id").to_pylist()
    gone |= np.isin(ids, names if request.param > 0.5 else names[:200])
    delete_items(uri, ids[gone].tolist())
    return uri, ids[~gone], population.mu[~gone], population.log_var[~gone], population.mu[gone]


@pytest.mark.parametrize(
    ("num_queries", "k"), further_cases_slow([(1, 5), (700, 7), (3, 400)], [(700, 7)], several=True)
)
def test_as_if_they_had_never_been(spark, deleted, num_queries, k):
    uri, ids, mu, log_var, gone = deleted
    rng = np.random.default_rng(2)
    # At deleted items, which would be the best.
    z = gone[rng.integers(len(gone), size=num_queries)]
    found = vaeudf.top_k(uri, z, k=k, responsibilities=True).toArrow()
    found = found.sort_by([("query_id", "ascending"), ("rank", "ascending")])
    order = np.argsort(ids, kind="stable")
    rows, scores = vaeudf.nearest(z, mu[order], log_var[order], k=min(k, len(ids)))
    by_query = found["query_id"].to_numpy().reshape(num_queries, -1)[:, 0].astype(int)
    expected = ids[order][rows][by_query]
    assert np.array_equal(found["item_id"].to_numpy().reshape(num_queries, -1), expected)
    np.testing.assert_array_equal(
        found["log_likelihood"].to_numpy().reshape(num_queries, -1), scores[by_query]
    )


@pytest.mark.parametrize("score", further_cases_slow(SCORES, ["log_likelihood", "kl"]))
def test_every_score(spark, deleted, score):
    uri, ids, mu, log_var, gone = deleted
    queries = list(gone[[0, 10, -1]])
    kind = SCORES[score]
    spread = log_var[[3, 50, 7]] if kind.between_gaussians else None
    latents = from_rows(queries, ["0", "1", "2"], None if spread is None else list(spread))
    found = vaeudf.top_k(uri, latents, k=20, score=score).toArrow()
    found = found.sort_by([("query_id", "ascending"), ("rank", "ascending")])
    order = np.argsort(ids, kind="stable")
    rows, _ = vaeudf.nearest(
        np.stack(queries), mu[order], log_var[order], k=20, score=score, query_log_var=spread
    )
    assert np.array_equal(found["item_id"].to_numpy().reshape(3, 20), ids[order][rows])
