"""An index that lives on: some of its items, other open dimensions, saved and opened again."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

from tests.support.reference import assert_same_score
from tests.support.tolerances import assert_same_scores
from vaeudf.errors import InputError
from vaeudf.gaussian.scores import SCORES
from vaeudf.search.index import PosteriorIndex

N = 3_000


def index_of(n=5, *, ids=None, seed=0, kind="near"):
    rng = np.random.default_rng([n, seed])
    mu = rng.normal(size=(N, n)).astype(np.float32)
    mu[1::7] = mu[0]
    log_var = rng.normal(-2, 1, size=(N, n)).astype(np.float32)
    log_var[1::7] = log_var[0]
    return PosteriorIndex(mu, log_var, ids=ids), mu, log_var


def best(z, mu, log_var, mask, k, score="log_likelihood"):
    """Rows and scores by brute force in float64, by score, then row."""
    rows = np.flatnonzero(mask)
    scores = SCORES[score].reference(z, mu[rows], log_var[rows])
    keys = scores if SCORES[score].ascending else -scores
    order = np.argsort(keys, axis=1, kind="stable")[:, :k]
    return rows[order], np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("score", ["log_likelihood", "mahalanobis", "euclidean"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 1.0])
@pytest.mark.parametrize("queries", [1, 40])
def test_some_of_the_items(score, share, queries):
    index, mu, log_var = index_of()
    rng = np.random.default_rng(3)
    mask = rng.random(N) < share
    z = rng.normal(size=(queries, 5))
    z[0] = mu[0]  # ties
    k = min(12, int(mask.sum()))
    with pytest.warns(UserWarning, match="returning all") if k < 12 else nullcontext():
        rows, scores = index.search(z, k=12, score=score, where=mask)
    expected_rows, expected = best(z, mu, log_var, mask, k, score)
    np.testing.assert_array_equal(rows, expected_rows)
    assert_same_scores(scores, expected, log_var, dims=5)


def test_a_mask_is_in_the_order_in_which_the_items_were_given():
    names = np.array([f"item {i * 7919 % N:05d}" for i in range(N)])
    index, mu, _ = index_of(ids=names)
    np.testing.assert_array_equal(index.ids, names)
    only = np.zeros(N, bool)
    only[[5, 1234]] = True
    ids, _ = index.search(mu[1234], k=2, where=only)
    assert ids.tolist() == [["item " + f"{1234 * 7919 % N:05d}", "item " + f"{5 * 7919 % N:05d}"]]


def test_ids_of_an_index_without_any():
    index, _, _ = index_of()
    np.testing.assert_array_equal(index.ids, np.arange(N))


def test_a_mask_is_of_one_search_alone():
    index, mu, _ = index_of()
    mask = np.arange(N) != 2
    assert index.search(mu[2], k=1, where=mask)[0] != [[2]]
    assert index.search(mu[2], k=1)[0].tolist() == [[2]]


def test_masks_of_several_threads():
    index, mu, log_var = index_of()
    z = np.random.default_rng(1).normal(size=(8, 5))

    def one(seed):
        mask = np.random.default_rng(seed).random(N) < 0.4
        rows, _ = index.search(z, k=5, where=mask)
        return np.array_equal(rows, best(z, mu, log_var, mask, 5)[0])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(16)))


def test_closed_queries_after_open_ones():
    index, mu, log_var = index_of()
    rng = np.random.default_rng(5)
    z = rng.normal(size=(50, 5))
    some_open = np.where(rng.random(z.shape) < 0.4, np.nan, z)
    everyone = np.ones(N, bool)
    for queries in (z, some_open, z, some_open[::-1].copy()):
        rows, _ = index.search(queries, k=7)
        for q, one in enumerate(queries):
            closed = ~np.isnan(one)
            expected, _ = best(one[None, closed], mu[:, closed], log_var[:, closed], everyone, 7)
            np.testing.assert_array_equal(rows[q], expected[0] if closed.any() else np.arange(7))


def test_a_mask_and_a_limit_per_value(tmp_path):
    names = np.array([f"{i * 7919 % N:05d}" for i in range(N)])
    index, mu, log_var = index_of(ids=names)
    index.save(str(tmp_path / "index"))
    rng = np.random.default_rng(4)
    mask, values = rng.random(N) < 0.2, rng.integers(0, 6, N)
    z = rng.normal(size=(20, 5))
    rows, _ = best(z, mu, log_var, mask, N)
    for one in (index, PosteriorIndex.open(str(tmp_path / "index"))):
        found, _ = one.search(z, k=9, where=mask, per=(values, 2))
        for q in range(len(z)):
            # Ties go by name.
            scores = SCORES["log_likelihood"].reference(z[q], mu[rows[q]], log_var[rows[q]])[0]
            in_order = rows[q][np.lexsort((names[rows[q]], -scores))]
            taken = []
            for row in in_order:
                if sum(values[row] == values[other] for other in taken) < 2 and len(taken) < 9:
                    taken.append(row)
            assert found[q].tolist() == names[taken].tolist()


@pytest.mark.parametrize("score", list(SCORES))
def test_other_tolerances_from_one_search_to_the_next(score):
    # Enough items for bounds to be computed.
    rng = np.random.default_rng(8)
    mu = rng.normal(size=(9_000, 3)).astype(np.float32)
    log_var = rng.normal(-2, 1, size=(9_000, 3)).astype(np.float32)
    index = PosteriorIndex(mu, log_var)
    kind = SCORES[score]
    spreads = rng.normal(-2, 1, size=(3, 3)) if kind.between_gaussians else None
    tolerances = [0.0, 0.2, 0.2, (0.1, 0.0, 3.0), 0.0, 1.0, 1e3, (0.0, 0.0, 0.5)]
    for place, tolerance in enumerate(tolerances):
        z = rng.normal(size=(3, 3)) * (1 + place)
        found, scores = index.search(
            z, k=6, query_log_var=spreads, score=score, tolerance=tolerance
        )
        queries = (z,) if spreads is None else (z, spreads)
        expected = kind.reference(*queries, mu, log_var, tolerance=tolerance)
        in_order = np.argsort(expected if kind.ascending else -expected, axis=1, kind="stable")
        np.testing.assert_array_equal(found, in_order[:, :6])
        best_scores = np.take_along_axis(expected, in_order[:, :6], axis=1)
        assert_same_score(score, scores, best_scores, spreads, mu, log_var, np.max(tolerance))


def test_a_mask_that_does_not_fit():
    index, mu, _ = index_of()
    message = (
        "where is an array of int64 and shape (2,); expected bool and shape (3000,), one for each "
        "item in the order of ids."
    )
    with pytest.raises(InputError, match=re.escape(message)):
        index.search(mu[0], where=[1, 2])


@pytest.mark.parametrize("ids", [None, "text", "numbers"])
def test_saved_and_opened(tmp_path, ids):
    names = {
        None: None,
        "text": np.array([f"Größe {i}" for i in range(N)]),
        "numbers": np.arange(N)[::-1] * 10,
    }[ids]
    index, _, _ = index_of(ids=names)
    index.save(str(tmp_path / "index"))
    opened = PosteriorIndex.open(str(tmp_path / "index"))
    assert (len(opened), opened.latent_dim) == (N, 5)
    np.testing.assert_array_equal(opened.ids, index.ids)
    z = np.random.default_rng(1).normal(size=(30, 5))
    mask = np.arange(N) % 3 > 0
    for arguments in ({}, {"tolerance": 0.3}, {"where": mask}, {"score": "euclidean"}):
        for found, expected in zip(
            opened.search(z, **arguments), index.search(z, **arguments), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


def test_an_open_index_stays_as_it_was_when_it_is_overwritten(tmp_path):
    folder = str(tmp_path / "index")
    first, mu, _ = index_of(seed=1)
    first.save(folder)
    opened = PosteriorIndex.open(folder)
    other, _, _ = index_of(seed=2)
    with pytest.raises(InputError, match=re.escape("holds an index already; choose another")):
        other.save(folder)
    other.save(folder, overwrite=True)
    np.testing.assert_array_equal(opened.search(mu[:9])[0], first.search(mu[:9])[0])
    again = PosteriorIndex.open(folder)
    np.testing.assert_array_equal(again.search(mu[:9])[0], other.search(mu[:9])[0])
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_what_cannot_be_saved(tmp_path):
    index, mu, log_var = index_of()
    (tmp_path / "photos").mkdir()
    with pytest.raises(
        InputError, match=re.escape("photos is there already and is no saved index")
    ):
        index.save(str(tmp_path / "photos"), overwrite=True)
    with pytest.raises(InputError, match=re.escape("nowhere does not exist; create it first.")):
        index.save(str(tmp_path / "nowhere" / "index"))
    objects = PosteriorIndex(mu, log_var, ids=np.array([str(i) for i in range(N)], object))
    with pytest.raises(InputError, match="ids are Python objects, which are not saved"):
        objects.save(str(tmp_path / "index"))
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def damage_nothing(folder):
    (folder / "index.json").unlink()


def damage_manifest(folder):
    (folder / "index.json").write_text("{")


def damage_format(folder):
    (folder / "index.json").write_text(json.dumps({"format": 2, "arrays": []}))


def damage_array(folder):
    whole = (folder / "mu.npy").read_bytes()
    (folder / "mu.npy").write_bytes(whole[: len(whole) // 2])


def damage_shape(folder):
    np.save(folder / "labels.npy", np.arange(7))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_nothing, "holds no saved index: index.json is missing. Save one with"),
        (damage_manifest, "is damaged: index.json cannot be read; save it again."),
        (damage_format, "is not of format 1, which this version of vaeudf reads; save it again."),
        (damage_array, "is damaged: mu.npy is missing or cut short; save it again."),
        (damage_shape, "is damaged: its arrays do not fit each other; save it again."),
    ],
)
def test_a_damaged_index(tmp_path, damage, message):
    index, _, _ = index_of()
    index.save(str(tmp_path / "index"))
    damage(tmp_path / "index")
    with pytest.raises(InputError, match=re.escape(message)):
        PosteriorIndex.open(str(tmp_path / "index"))
