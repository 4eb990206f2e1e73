"""query_topk --blend and --unlike, and what their options must be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.blends import assert_best_of_blend, blend_scores
from tests.support.scene import LATENT_DIM, NUM_ITEMS
from vaeudf.errors import InputError
from vaeudf.workflows.query_topk import QueryTopk, query_topk

Z = ["0.5,-1,0,2", "1,0.3,0,-1"]


def read(output):
    return sorted(pq.read_table(output).to_pylist(), key=lambda row: (row["query_id"], row["rank"]))


def check(rows, items, members, weights, score, without=(), **named):
    """Compare hits with the definition; members are item_ids or points."""
    names = sorted(items)
    mu, log_var = (np.array([items[name][part] for name in names]) for part in ("mu", "log_var"))
    z = np.array([items[one]["mu"] if isinstance(one, str) else one for one in members])
    own = None
    if score == "kl":
        own = np.array([items[one]["log_var"] for one in members], float)
    expected, bound = blend_scores(z.astype(float), own, weights, mu, log_var, score=score, **named)
    expected[[names.index(name) for name in without]] = np.inf if score == "kl" else -np.inf
    found = np.array([names.index(row["item_id"]) for row in rows])
    scores = np.array([row[score] for row in rows])
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert_best_of_blend(found, scores, expected, bound, ascending=score == "kl")


@pytest.mark.spark
def test_a_blend_of_points(table, items, tmp_path, caplog):
    caplog.set_level("INFO")
    output = str(tmp_path / "out")
    summary = query_topk(
        QueryTopk(table, z=Z, blend=True, k=6, ignore_dims="2", z_bound=3, output=output)
    )
    assert (summary["queries"], summary["members"], summary["score"]) == (1, 2, "log_likelihood")
    assert "without_bound" not in summary
    assert "1 of 1 queries leave dimensions open." not in caplog.text  # each of the two does
    rows = read(output)
    assert {row["query_id"] for row in rows} == {"blend"} and len(rows) == 6
    points = [[0.5, -1, np.nan, 2], [1, 0.3, np.nan, -1]]
    check(rows, items, points, [1, 1], "log_likelihood")


@pytest.mark.spark
def test_items_like_some_and_unlike_others(table, items, tmp_path, caplog):
    caplog.set_level("INFO")
    a, b, c, d = list(items)[:4]
    output = str(tmp_path / "out")
    named = {"like": [a, b], "unlike": [c, d], "k": 5, "exclude_self": True, "output": output}
    summary = query_topk(QueryTopk(table, **named))
    assert (summary["queries"], summary["members"], summary["score"]) == (1, 4, "kl")
    weights = [0.5, 0.5, -0.25, -0.25]
    check(read(output), items, [a, b, c, d], weights, "kl", (a, b, c, d))
    assert "no bound" not in caplog.text

    summary = query_topk(QueryTopk(table, **named, unlike_weight=1.0, overwrite=True))
    assert summary["without_bound"] == 1 and summary["scored_fraction"] == 1
    assert (
        "1 of 1 blends have weights that add up to less than 0.05 of what is liked: no bound holds "
        "for them, and every item is scored." in caplog.messages
    )
    check(read(output), items, [a, b, c, d], [0.5, 0.5, -0.5, -0.5], "kl", (a, b, c, d))


@pytest.mark.slow
@pytest.mark.spark
def test_points_unlike_an_item(table, items, tmp_path, capsys):
    unlike = list(items)[7]
    output = str(tmp_path / "out")
    named = {"z": Z[:1], "unlike": [unlike], "unlike_weight": 0.3}
    query_topk(QueryTopk(table, **named, k=NUM_ITEMS, output=output, ignore_dims=1))
    mean = np.array(items[unlike]["mu"], float)
    mean[1] = np.nan
    points = [[0.5, np.nan, 0, 2], mean.tolist()]
    check(read(output), items, points, [1, -0.3], "log_likelihood")
    query_topk(QueryTopk(table, **named, k=2, explain=True))
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["blend"] * 2


@pytest.mark.spark
def test_a_file_of_groups(table, items, tmp_path):
    names = list(items)
    members = [("anna", 1, 3), ("anna", 2, 5), ("bert", 1, 5), ("bert", -0.4, 8)]
    rows = [
        {"group": group, "weight": weight, "query_id": names[place]}
        | {name: items[names[place]][name] for name in ("mu", "log_var")}
        for group, weight, place in members
    ]
    path, output = tmp_path / "q.jsonl", str(tmp_path / "out")
    path.write_text("\n".join(map(json.dumps, rows)))
    summary = query_topk(
        QueryTopk(table, queries=str(path), blend=True, exclude_self=True, k=4, output=output)
    )
    assert (summary["queries"], summary["members"]) == (2, 4)
    found = read(output)
    assert [row["query_id"] for row in found] == ["anna"] * 4 + ["bert"] * 4
    for hits, group in ((found[:4], "anna"), (found[4:], "bert")):
        own = [row["query_id"] for row in rows if row["group"] == group]
        weights = [row["weight"] for row in rows if row["group"] == group]
        check(hits, items, own, weights, "kl", own)


@pytest.mark.slow
@pytest.mark.spark
def test_a_page_of_a_blend(table, items, tmp_path):
    a, b = list(items)[:2]
    page = tmp_path / "page"
    query_topk(QueryTopk(table, like=[a], unlike=[b], k=3, report=str(page)))
    text = (page / "index.html").read_text(encoding="utf-8")
    assert f"blend: {a} − {b}" in text
    assert "what the mean of the blend decodes to" in text
    assert f"unlike {b}</span>" in text and text.count("<img") == 3 + 2 + 1
    query_topk(
        QueryTopk(table, like=[a], unlike=[b], unlike_weight=1.0, report=str(page), overwrite=True)
    )
    text = (page / "index.html").read_text(encoding="utf-8")
    assert "what the mean of what is liked decodes to" in text
    assert "<dt>blends scored by the formula alone</dt><dd>1 of 1</dd>" in text


# ---- what is refused


def refusal(table, **named):
    with pytest.raises(InputError) as caught:
        query_topk(QueryTopk(table, **named))
    return str(caught.value)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            {"queries": "q.csv", "unlike": ["a"]},
            "unlike is for --like, --z and --image; in a file of queries, name what belongs "
            "together in a column group, and write weights below 0 in a column weight.",
        ),
        (
            {"z": Z, "unlike": ["a"], "unlike_weight": -1.0},
            "unlike-weight is -1.0; expected a finite number of at least 0.",
        ),
        (
            {"z": Z, "unlike": ["a"], "unlike_weight": float("nan")},
            "unlike-weight is nan; expected a finite number of at least 0.",
        ),
        (
            {"z": Z, "unlike": ["a"], "unlike_weight": 1e20},
            "unlike-weight is 1e+20; expected less than 1e+15, for beside such a weight nothing of "
            "what is liked is left in float64.",
        ),
        (
            {"z": Z, "blend": True, "unlike_weight": 0.7},
            "unlike-weight goes with --unlike; name that, too.",
        ),
        (
            {"like": ["a"], "blend": True, "score": "mls"},
            "score mls is not for blends; choose log_likelihood, or kl if all members are "
            "Gaussians.",
        ),
        (
            {"like": ["a"], "unlike": ["a"], "score": "bhattacharyya"},
            "score bhattacharyya is not for blends; choose log_likelihood, or kl if all members "
            "are Gaussians.",
        ),
        *(
            (
                {"z": Z, "responsibilities": True, **named},
                "responsibilities are not for blends, which are no density of one z; leave them "
                "out, or ask without blending.",
            )
            for named in ({"blend": True}, {"unlike": ["a"]})
        ),
        *(
            (
                {"z": Z, "share": "category", **named},
                "share is not for blends, which are no density of one z; leave it out, or ask "
                "without blending.",
            )
            for named in ({"blend": True}, {"unlike": ["a"]})
        ),
        (
            {"z": Z, "blend": True, "exclude_self": True},
            "exclude-self is for --like: a z has no item of its own.",
        ),
    ],
)
def test_options_that_do_not_go_together(named, message):
    assert refusal("no table", **named) == message


def test_blends_that_do_not_fit(table, tmp_path):
    assert refusal(table, z=["1,2,,4", "1,2,3,"], blend=True) == (
        "members '0' and '1' of a blend leave different dimensions open, such as 2; expected the "
        "same ones in all members."
    )
    assert refusal(table, z=Z, blend=True, score="kl").startswith(
        "score kl is between Gaussians, but members of the blend are points z"
    )
    # Each member is looked at, and not their mean.
    assert refusal(table, z=["9,0,0,0", "-9,0,0,0"], blend=True, z_bound=5.0) == (
        "query 'blend/0' has z = 9 in dimension 0, outside [-5, 5] (2 such queries of 2); mend "
        "them, or raise --z-bound."
    )
    path = Path(tmp_path, "q.csv")
    path.write_text("group,weight,z0,z1,z2,z3\na,1,9,0,0,0\na,1,-9,0,0,0\n")
    assert refusal(table, queries=str(path), z_bound=5.0).startswith("query 'a/0' has z = 9")
    assert refusal(table, z=["1,2"], unlike=["a"]) == (
        f"query '0' has 2 dimensions, but the posteriors have latent_dim {LATENT_DIM}."
    )


@pytest.mark.spark
def test_unlikes_that_do_not_fit(table, items):
    a = next(iter(items))
    assert refusal(table, z=Z, unlike=["nothing"]).startswith("there is no item 'nothing'")
    far = max(items, key=lambda name: abs(items[name]["mu"][0]))
    bound = abs(items[far]["mu"][0]) * 0.99
    assert refusal(table, z=["0,0,0,0"], unlike=[far], z_bound=bound).startswith(
        f"query 'blend/{far}' has z = "
    )
    assert refusal(table, like=[a], unlike=[far], z_bound=1e-9).startswith(f"query '{a}' has mu = ")
    assert refusal(table, z=Z, unlike=[a], score="kl").startswith(
        "score kl is between two Gaussians"
    )
    assert refusal(table, z=["1,2,,4", "1,2,3,"], unlike=[a]).startswith("members '0' and '1'")
