"""An index that lives on: some of its items, other open dimensions, saved and opened again."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

import vaeudf
from tests.support.cases import each_value_once
from tests.support.reference import KINDS, assert_same_score, items_and_queries
from tests.support.tolerances import assert_same_scores
from vaeudf.errors import InputError
from vaeudf.gaussian.scores import SCORES
from vaeudf.search.index import PosteriorIndex

N = 3_000


def index_of(n=5, *, ids=None, seed=0):
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


@each_value_once(
    ("queries", [1, 40]),
    ("share", [0.0, 0.001, 0.3, 1.0]),
    ("score", ["log_likelihood", "mahalanobis", "euclidean"]),
)
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
            np.testing.assert_array_equal(rows[q], expected[0])


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
    tolerances = [0.0, 0.2, 0.2, (0.1, 0.0, 3.0), 0.0, 1.0, 1e3, 1e3, 1e3, (0.0, 0.0, 0.5)]
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


@pytest.mark.parametrize("tolerances", [[0.0, 0.3, 0.3, 0.3, 1.0], [0.5, 0.0, 0.0, 0.5]])
def test_other_tolerances_with_open_dimensions(tolerances):
    index, mu, log_var = index_of()
    everyone = np.ones(N, bool)
    rng = np.random.default_rng(11)
    for tolerance in tolerances:
        z = rng.normal(size=(2, 5))
        z[:, 1] = np.nan
        closed = ~np.isnan(z[0])
        found, _ = index.search(z, k=5, tolerance=tolerance)
        blurred = np.log(np.exp(np.float64(log_var)) + tolerance**2)
        expected, _ = best(z[:, closed], mu[:, closed], blurred[:, closed], everyone, 5)
        np.testing.assert_array_equal(found, expected)
        everything, _ = index.search(np.nan_to_num(z), k=5, tolerance=tolerance)
        expected, _ = best(np.nan_to_num(z), mu, blurred, everyone, 5)
        np.testing.assert_array_equal(everything, expected)


@each_value_once(
    ("kind", KINDS),
    ("shape", ["a number each", "a number for each dimension"]),
    ("part_open", [0.0, 0.4]),
)
def test_each_query_with_its_own_tolerance(kind, shape, part_open):
    mu, log_var, z, _ = items_and_queries(kind, 4, 80, 64, 30)
    rng = np.random.default_rng(9)
    z[:, 1:][rng.random((30, 3)) < part_open] = np.nan
    taus = 10.0 ** rng.uniform(-6, 2, size=(30, 1 if shape == "a number each" else 4))
    taus[rng.random(taus.shape) < 0.2] = 0
    each = np.broadcast_to(taus, z.shape)
    expected = np.concatenate(
        [SCORES["log_likelihood"].reference(*pair) for pair in _one_by_one(z, mu, log_var, each)]
    )
    for found, scores in (
        vaeudf.nearest(z, mu, log_var, k=9, tolerance=taus),
        PosteriorIndex(mu, log_var).search(z, k=9, tolerance=taus),
    ):
        for q in range(len(z)):
            seen = np.concatenate([part[:, ~np.isnan(z[q])] for part in (mu, log_var)], axis=1)
            same = np.unique(seen, axis=0, return_inverse=True)[1].ravel()
            best_scores = np.sort(expected[q])[::-1][:9]
            tau = each[q]
            own = expected[q][found[q]]
            for some in (best_scores, own):
                assert_same_score("log_likelihood", scores[q], some, None, mu, log_var, tau.max())
            # Of the same items the first ones.
            for row in found[q]:
                twins = np.flatnonzero(same == same[row])
                assert set(twins[twins < row]) <= set(found[q])


def _one_by_one(z, mu, log_var, taus):
    for one, tau in zip(z, taus, strict=True):
        closed = ~np.isnan(one)
        yield one[None, closed], mu[:, closed], log_var[:, closed], tau[closed]


def test_a_query_with_its_own_tolerance_is_that_query_with_that_tolerance():
    index, _, _ = index_of()
    rng = np.random.default_rng(2)
    z, taus = rng.normal(size=(40, 5)), rng.uniform(0, 1, size=(40, 5))
    found, scores = index.search(z, k=6, tolerance=taus)
    for q in range(40):
        ids, expected = index.search(z[q], k=6, tolerance=taus[q])
        assert found[q].tolist() == ids[0].tolist() and scores[q].tolist() == expected[0].tolist()


@pytest.mark.parametrize(
    ("z", "arguments", "message"),
    [
        (
            np.zeros((2, 5)),
            {"tolerance": np.zeros((3, 1))},
            "tolerance has shape (3, 1); expected (Q, n) = (2, 5) or (Q, 1), for each query its "
            "own; or one number, or one for each dimension.",
        ),
        (
            np.zeros((2, 5)),
            {"tolerance": np.zeros((2, 1)), "score": "mahalanobis"},
            "a tolerance for each query is for log_likelihood, but the score is mahalanobis.",
        ),
        (
            np.zeros((1, 5)),
            {"tolerance": [[-1.0]]},
            "tolerance is [-1.0]; expected a finite number of at least 0 for each dimension",
        ),
    ],
)
def test_tolerances_that_do_not_fit(z, arguments, message):
    index, mu, log_var = index_of()
    with pytest.raises(InputError, match=re.escape(message)):
        index.search(z, **arguments)
    with pytest.raises(InputError, match=re.escape(message)):
        vaeudf.nearest(z, mu, log_var, **arguments)


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


def without_manifest(folder):
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
        (without_manifest, "holds no saved index: index.json is missing. Save one with"),
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


def frozen(array):
    array.flags.writeable = False
    return array


def at_most(rows, values, most, k):
    """The first k of ranked rows of which so many have the same value."""
    seen, found = {}, []
    for row in rows:
        seen[values[row]] = seen.get(values[row], 0) + 1
        if seen[values[row]] <= most:
            found.append(row)
    return found[:k]


def test_arrays_that_nobody_can_write_to_are_known_again_and_told_apart():
    index, mu, log_var = index_of()
    rng = np.random.default_rng(1)
    z = rng.normal(size=(3, 5))
    masks = [frozen(rng.random(N) < share) for share in (0.5, 0.1)]
    columns = [frozen(rng.integers(0, 4, N).astype(kind)) for kind in (np.int32, np.int64)]
    for where in (masks[0], masks[1], masks[0], masks[0], np.ones(N, bool)):
        rows, expected = best(z, mu, log_var, where, N)
        found, scores = index.search(z, 9, where=where)
        assert found.tolist() == rows[:, :9].tolist()
        assert_same_scores(scores, expected[:, :9], log_var, dims=5)
        for values, most in ((columns[0], 2), (columns[0], 1), (columns[1], 2), (columns[0], 2)):
            found, _ = index.search(z, 4, where=where, per=(values, most))
            assert found.tolist() == [at_most(row, values, most, 4) for row in rows.tolist()]


def test_an_array_that_is_written_to_is_read_again():
    index, mu, log_var = index_of()
    rng = np.random.default_rng(2)
    z, where, values = rng.normal(size=(2, 5)), np.ones(N, bool), np.arange(N, dtype=np.int32) % 3
    shown = where[:]
    shown.flags.writeable = False  # a view, of what can be written to
    for _ in range(3):
        rows, _ = best(z, mu, log_var, where, N)
        for mask in (where, shown):
            found, _ = index.search(z, 5, where=mask, per=(values, 2))
            assert found.tolist() == [at_most(row, values, 2, 5) for row in rows.tolist()]
        where[rows[0, :4]] = False
        values[rows[:, 5:60]] = rng.integers(0, 3, (2, 55))


def test_values_that_only_the_last_items_have_count():
    mu = np.arange(20_000, dtype=np.float64)[:, None]
    index = PosteriorIndex(mu, np.zeros_like(mu))
    values = (np.arange(20_000) >= 19_998).astype(np.int32)
    found, scores = index.search([[0.0], [20_000.0]], 5, per=(values, 3))
    assert found.tolist() == [[0, 1, 2, 19_998, 19_999], [19_999, 19_998, 19_997, 19_996, 19_995]]
    assert scores.shape == (2, 5)
