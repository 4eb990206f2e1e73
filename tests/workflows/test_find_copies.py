"""The job find_copies: what it writes, of which tables, and what it says of bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.cases import further_cases_slow
from tests.support.deletion_vectors import delete_items
from tests.support.near_pairs import certain_and_possible, divergences, groups_of
from tests.support.plain import write_plain
from tests.support.scene import NUM_ITEMS, tree
from tests.support.tolerances import near_score
from tests.support.versions import publish_rows
from vaeudf.copies.threshold import DIVERGENCES, Threshold
from vaeudf.errors import InputError
from vaeudf.workflows.find_copies import FindCopies, find_copies

pytestmark = pytest.mark.spark

# One chain, one group of equal items, a pair, and two that are alone; sigma is 1.
MU = [0.0, 0.3, 0.6, 0.88, 50.0, 50.0, 50.0, -7.0, -7.2, 20.0, 30.0]
IDS = ["c1", "c2", "c0", "c3", "e2", "e0", "e1", "p1", "p0", "a0", "a1"]
PRICES = [1.0, 5.0, float("nan"), 4.0, None, 2.0, 9.0, 3.0, 3.0, 0.0, 0.0]
NATS = 0.1  # reached at a distance of 0.316


def rows_of(ids=IDS, mu=MU, prices=PRICES) -> pa.Table:
    log_var = np.zeros((len(ids), 1), np.float32)
    return pa.table(
        {
            "item_id": ids,
            "mu": list(np.array(mu, np.float32)[:, None]),
            "log_var": list(log_var),
            "source_version": ["v"] * len(ids),
            "price": pa.array(prices, pa.float64()),
            "tags": [["x"]] * len(ids),
        }
    )


@pytest.fixture
def chain(tmp_path) -> str:
    path = str(tmp_path / "table")
    publish_rows(path, "run", rows_of(), "m")
    return path


def members(output) -> list[dict]:
    return pq.read_table(Path(output, "members")).to_pylist()


def test_groups_and_what_is_kept(chain, tmp_path):
    output = str(tmp_path / "copies")
    summary = find_copies(FindCopies(chain, output, nats=NATS, pairs=True))
    found = members(output)
    assert list(found[0]) == ["group", "size", "item_id", "kept", "kept_item_id", "divergence"]
    # The largest first; in each the one that is kept, and the others as they are far from it.
    assert [(row["group"], row["item_id"], row["kept"]) for row in found] == [
        *[(0, "c0", True), (0, "c3", False), (0, "c2", False), (0, "c1", False)],
        *[(1, "e0", True), (1, "e1", False), (1, "e2", False)],
        *[(2, "p0", True), (2, "p1", False)],
    ]
    place = {item_id: MU[IDS.index(item_id)] for item_id in IDS}
    for row in found:
        assert row["size"] == [4, 3, 2][row["group"]]
        assert row["kept_item_id"] == ["c0", "e0", "p0"][row["group"]]
        gap = np.float32(place[row["item_id"]]) - np.float32(place[row["kept_item_id"]])
        assert row["divergence"] == near_score(float(gap) ** 2, 0.0, dims=1)
    pairs = pq.read_table(Path(output, "pairs")).to_pylist()
    assert [(row["group"], row["item_id"], row["other_item_id"]) for row in pairs] == [
        *[(0, "c0", "c2"), (0, "c0", "c3"), (0, "c1", "c2")],
        *[(1, "e0", "e1"), (1, "e0", "e2"), (1, "e1", "e2"), (2, "p0", "p1")],
    ]
    assert all(0 <= row["divergence"] <= NATS for row in pairs)
    told = {"items": 11, "groups": 3, "members": 9, "copies": 6, "largest": 4, "pairs": 7}
    told |= {"divergence": "jeffreys", "nats": NATS, "beyond": 1, "table": chain, "version": 1}
    assert summary.items() >= told.items()
    assert summary["farthest"] == pytest.approx(0.36, rel=1e-4)  # stated with six decimals
    record = json.loads(Path(output, "copies.json").read_text())
    assert record.items() >= (told | {"keep": None, "format": 1}).items()
    json.dumps(summary)


# Null and NaN come last, and equal ones go by item_id.
KEPT = [
    ("price", ["c1", "e0", "p0"]),
    ("price desc", ["c2", "e1", "p0"]),
    (" price DESC , item_id desc ", ["c2", "e1", "p1"]),
    ("item_id desc", ["c3", "e2", "p1"]),
]


@pytest.mark.parametrize("keep, expected", further_cases_slow(KEPT, KEPT[2:3], several=True))
def test_keep_and_columns(chain, tmp_path, keep, expected):
    output = str(tmp_path / "copies")
    find_copies(FindCopies(chain, output, nats=NATS, keep=keep, columns=["tags", "price"]))
    found = members(output)
    assert all(row["tags"] == ["x"] for row in found)
    prices = {row["item_id"]: row["price"] for row in found}
    assert prices["c3"] == 4.0 and prices["e2"] is None
    firsts = [row for row in found if row["kept"]]
    assert all(row["item_id"] == row["kept_item_id"] for row in firsts)
    assert [row["item_id"] for row in firsts] == expected


@pytest.mark.slow
def test_deleted_rows_connect_nothing(chain, tmp_path):
    delete_items(chain, ["c2", "e0", "p1"])
    output = str(tmp_path / "copies")
    summary = find_copies(FindCopies(chain, output, nats=NATS))
    groups = {}
    for row in members(output):
        groups.setdefault(row["group"], set()).add(row["item_id"])
    assert list(groups.values()) == [{"c0", "c3"}, {"e1", "e2"}]
    assert (summary["items"], summary["members"]) == (8, 4)
    older = str(tmp_path / "older")
    assert find_copies(FindCopies(chain, older, nats=NATS, version=1))["members"] == 9


FEW_AND_MANY = [[1.0, 2.0, 3.0], [5.0], [0.25] * 40]


@pytest.mark.slow
@pytest.mark.parametrize("mu", FEW_AND_MANY)
def test_few_and_many(tmp_path, mu):
    path, output = str(tmp_path / "table"), str(tmp_path / "copies")
    ids = [f"i{place:02}" for place in range(len(mu))]
    publish_rows(path, "run", rows_of(ids, mu, [1.0] * len(mu)), "m")
    options = FindCopies(path, output, nats=0.0, pairs=True, keep="price", columns=["price"])
    summary = find_copies(options)
    found = members(output)
    if len(set(mu)) == len(mu):
        assert found == [] and (summary["groups"], summary["farthest"]) == (0, None)
        assert pq.read_table(Path(output, "pairs")).num_rows == 0
    else:
        assert [row["item_id"] for row in found] == ids and found[0]["kept"]
        assert {row["divergence"] for row in found} == {0.0}
        assert (summary["pairs"], pq.read_table(Path(output, "pairs")).num_rows) == (780, 780)


@pytest.mark.parametrize("name", further_cases_slow(DIVERGENCES, ["jeffreys"]))
def test_plain_parquet_against_brute_force(tmp_path, name):
    rng = np.random.default_rng(8)
    mu = rng.normal(0, 1, (600, 5))
    log_var = rng.normal(-4, 0.1, (600, 5))
    mu[:300] = mu[300:] + rng.normal(0, 0.01, (300, 5))
    log_var[:300] = log_var[300:] + rng.normal(0, 0.03, (300, 5))
    ids = rng.permutation(600)
    write_plain(tmp_path / "items.parquet", ids, mu, log_var, row_group_size=100)
    output = str(tmp_path / "copies")
    options = FindCopies(
        str(tmp_path / "items.parquet"), output, nats=0.05, divergence=name, pairs=True
    )
    summary = find_copies(options)
    certain, possible = certain_and_possible(name, 0.05, mu, log_var)
    assert certain == possible, "no pair is at the threshold"
    assert summary["pairs"] == len(certain) > 50
    groups = {}
    for row in members(output):
        groups.setdefault(row["group"], []).append(row)
    place = {str(item_id): row for row, item_id in enumerate(ids)}
    found = {frozenset(place[row["item_id"]] for row in own) for own in groups.values()}
    assert found == groups_of(certain, 600)
    values = divergences(name, mu, log_var)
    for own in groups.values():
        kept = min(row["item_id"] for row in own)  # as text
        assert {row["kept_item_id"] for row in own} == {kept}
        for row in own:
            expected = values[place[row["item_id"]], place[kept]]
            assert row["divergence"] == near_score(expected, log_var, dims=5)
    order = [(-len(own), own[0]["kept_item_id"]) for _, own in sorted(groups.items())]
    assert order == sorted(order)


@pytest.mark.slow
def test_the_page(table, tmp_path):
    output, report = str(tmp_path / "copies"), str(tmp_path / "page")
    options = FindCopies(table, output, nats=1e6, report=report, report_groups=1, report_items=4)
    summary = find_copies(options)
    page = Path(summary["report"]).read_text()
    assert summary["groups"] == 1 and summary["members"] == NUM_ITEMS
    assert f"group 0: {NUM_ITEMS} items" in page and f"{NUM_ITEMS - 4} more are not shown" in page
    assert page.count('<div class="shot"') == 4 and page.count(">kept<") == 1
    assert page.count("no picture in the catalog") == 0
    again = find_copies(
        FindCopies(table, output, nats=0.0, report=report, overwrite=True, divergence="jeffreys")
    )
    assert Path(again["report"]).is_file()


# ---- bad input


@pytest.mark.parametrize(
    "given, message",
    [
        ({"nats": -1.0}, r"^nats is -1\.0; expected a number from 0 on, such as 0\.1\.$"),
        ({"nats": float("nan")}, r"^nats is nan; expected a number from 0 on"),
        ({"divergence": "kl"}, r"^divergence is 'kl'; expected one of jeffreys, bhattacharyya\.$"),
        ({"version": -1}, r"^version is -1; expected 0 or more\.$"),
        ({"max_pairs": 0}, r"^max-pairs is 0; expected at least 1\.$"),
        ({"report_items": 0}, r"^report-items is 0; expected at least 1\.$"),
        ({"report_groups": 3}, r"^report-groups goes with --report; name that, too\.$"),
        ({"catalog": "c"}, r"^catalog goes with --report; name that, too\.$"),
        ({"keep": "a,,b"}, r"^keep is 'a,,b'; expected columns with commas between"),
        ({"keep": "a desc, a"}, r"^keep names 'a' twice; name each column once\.$"),
    ],
)
def test_options_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        FindCopies("table", "copies", **given)


@pytest.mark.parametrize(
    "given, message",
    [
        (
            {"keep": "weight desc"},
            r"^keep is 'weight'; expected a payload column of the table, or item_id: found price, "
            r"tags\.$",
        ),
        ({"keep": "mu"}, r"^keep is 'mu'; expected a payload column"),
        ({"keep": "tags"}, r"^keep is the column 'tags', which holds list<.*>; expected text, "),
        (
            {"columns": ["weight"]},
            r"^the table has no column 'weight' to carry into the result; found price, tags\.$",
        ),
        ({"columns": ["price", "price"]}, r"^column 'price' is in the result already; leave it"),
        ({"columns": ["item_id"]}, r"^column 'item_id' is in the result already"),
        ({"nats": 1e9, "max_pairs": 5}, r"^nats is 1e\+09, within which \d+ pairs were found so"),
        ({"max_pairs": 2, "pairs": True}, r"expected at most 2\. Items that are no copies are as"),
    ],
)
def test_what_the_table_does_not_allow(chain, tmp_path, given, message):
    before = tree(tmp_path)
    with pytest.raises(InputError, match=message):
        find_copies(FindCopies(chain, str(tmp_path / "copies"), **given))
    assert tree(tmp_path) == before


def test_an_output_that_is_there(chain, tmp_path):
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "mine").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        find_copies(FindCopies(chain, str(tmp_path / "copies")))
    with pytest.raises(InputError, match=re.escape("(it has no _vaeudf_copies)")):
        find_copies(FindCopies(chain, str(tmp_path / "copies"), overwrite=True))
    with pytest.raises(InputError, match="one is inside the other"):
        find_copies(FindCopies(chain, f"{chain}/copies"))


def test_plain_parquet_has_no_pictures_of_its_own(tmp_path):
    write_plain(tmp_path / "items.parquet", ["a"], [[0.0]], [[0.0]])
    options = FindCopies(
        str(tmp_path / "items.parquet"), str(tmp_path / "copies"), report=str(tmp_path / "page")
    )
    with pytest.raises(InputError, match=r"which does not say what it was encoded from; a page"):
        find_copies(options)


def test_the_default_threshold_is_the_documented_one():
    assert FindCopies("table", "copies").threshold == Threshold("jeffreys", 0.1)
