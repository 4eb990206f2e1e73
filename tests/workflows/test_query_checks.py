"""What query_topk refuses before Spark starts, though it depends on the table."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vaeudf.errors import InputError
from vaeudf.workflows import query_topk as job
from vaeudf.workflows.query_topk import QueryTopk, query_topk

Z = {"z": ["0.5,-1,0"]}
COLUMNS = "item_id, mu, log_var, source_version, stock, brand, seen, price, sizes"


class SparkStarted(Exception):
    pass


@pytest.fixture(autouse=True)
def no_spark(monkeypatch):
    def start(*args, **options):
        raise SparkStarted

    monkeypatch.setattr(job, "spark_session", start)


@pytest.fixture(params=["table", "parquet"])
def posteriors(population, request) -> str:
    return getattr(population, request.param)


def check(message: str | None, posteriors: str, **options) -> None:
    """Run a query that is refused with this message; with None, one that goes on to Spark."""
    if message is None:
        with pytest.raises(SparkStarted):
            query_topk(QueryTopk(posteriors, **options))
        return
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        query_topk(QueryTopk(posteriors, **options))


def not_carried(name: str) -> str:
    return f"the posteriors have no column {name!r} to carry into the result; found {COLUMNS}."


def not_shared(name: str) -> str:
    return f"share is of {name!r}, which the posteriors have no column for; found {COLUMNS}."


def not_comparable(option: str, name: str, kind: str) -> str:
    return (
        f"{option} is the column {name!r}, which holds {kind}; expected text, whole numbers, "
        "decimals, booleans, dates or times."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": "nope"}, not_shared("nope")),
        ({"share": "Brand"}, not_shared("Brand")),
        ({"share": ""}, not_shared("")),
        ({"share": "mu"}, not_comparable("share", "mu", "array<float>")),
        (
            {"share": "Item_ID"},
            "share is of item_id; for each item's own part, name responsibilities.",
        ),
        ({"per": "nope:2"}, not_carried("nope")),
        ({"per": "sizes"}, not_comparable("per", "sizes", "array<bigint>")),
        ({"columns": ["stock", "nope"]}, not_carried("nope")),
        ({"columns": [""]}, not_carried("")),
        ({"columns": ["stock", "stock"]}, "column 'stock' is in the result already; leave it out."),
        ({"columns": ["Rank"]}, "column 'Rank' is in the result already; leave it out."),
        (
            {"columns": ["log_likelihood"]},
            "column 'log_likelihood' is in the result already; leave it out.",
        ),
        ({"columns": ["kl"], "like": ["a"]}, "column 'kl' is in the result already; leave it out."),
        ({"columns": ["rank"], "all": True, "min_score": 0.0, "output": "o"}, not_carried("rank")),
        (
            {"tolerance": "0.1,0.2"},
            "tolerance has 2 numbers, but there are 3 latent dimensions; expected one number, or "
            "one for each dimension.",
        ),
        ({"ignore_dims": "0,3"}, "there is no dimension 3; expected 0 to 2."),
        ({"share": "brand", "columns": ["stock", "sizes"], "per": "price:2"}, None),
        (
            {"share": "seen", "per": "stock", "tolerance": "0.1,0,2", "like": ["a"]}
            | {"score": "log_likelihood"},
            None,
        ),
    ],
)
def test_names_and_numbers(posteriors, options, message):
    check(message, posteriors, **(options if "like" in options else Z | options))


@pytest.mark.parametrize("queries", [{"like": ["a"]}, {"image": ["a.jpg"]}])
@pytest.mark.parametrize("name", ["share", "explain", "responsibilities"])
def test_items_and_photos_are_not_asked_by_a_density(queries, name):
    options = {name: "brand" if name == "share" else True}
    remedy = "with --score log_likelihood items, photos and other Gaussians ask by their mu alone."
    for score in ("kl", None):
        message = f"{name} is for log_likelihood, but the score is kl; {remedy}"
        check(message, "no table", **queries, **options, score=score)
    message = f"{name} is for log_likelihood, but the score is mls; {remedy}"
    check(message, "no table", **queries, **options, score="mls")
    QueryTopk("no table", **queries, **options, score="log_likelihood")


def test_columns_that_only_some_files_have(tmp_path):
    rows = pa.table({"item_id": ["a"], "mu": [[0.0]], "log_var": [[0.0]]})
    pq.write_table(rows, tmp_path / "0.parquet")
    pq.write_table(rows.append_column("size", pa.array([3])), tmp_path / "1.parquet")
    # Whether it is found is a setting of Spark's.
    check(None, str(tmp_path), z=["0"], share="size")
    check(
        "share is of 'nope', which the posteriors have no column for; found item_id, mu, log_var, "
        "size.",
        str(tmp_path),
        z=["0"],
        share="nope",
    )


def test_exclude_self_is_for_files_of_blends(population, tmp_path):
    text = "group,weight,query_id,z0,z1,z2\na,1,x,0,0,0\na,1,y,1,1,1\n"
    grouped, plain = tmp_path / "grouped.csv", tmp_path / "plain.csv"
    grouped.write_text(text)
    plain.write_text(text.replace("group,weight", "g,w"))
    options = {"exclude_self": True, "k": 3}
    check(None, population.table, queries=str(grouped), **options)
    check(None, population.table, queries=str(plain), blend=True, **options)
    check(
        f"exclude-self is for --like and for blends, but queries {plain} are not blended: the file "
        "does not have both columns group and weight. Leave it out, or add --blend.",
        population.table,
        queries=str(plain),
        **options,
    )
